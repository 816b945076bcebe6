import numpy as np
import pytest
from pytest import approx

from harness.stats import ppi_mean, rogan_gladen

HUMAN, JUDGE = [1, 1, 0, 1, 0, 1, 1, 0, 1, 1], [1, 1, 1, 1, 0, 1, 0, 0, 1, 1]
OTHERS = [1] * 70 + [0] * 30


def test_ppi_intervals_are_those_of_ppi_py():
    plain, tuned = ppi_mean(HUMAN, JUDGE, OTHERS, weight=1), ppi_mean(HUMAN, JUDGE, OTHERS)
    alone = ppi_mean(HUMAN, JUDGE, OTHERS, weight=0)
    assert (plain.value, plain.low, plain.high) == approx((0.70, 0.40863, 0.99137), abs=1e-5)
    assert (tuned.low, tuned.high) == approx((0.45393, 0.94607), abs=1e-5)
    assert (alone.low, alone.high) == approx((0.41597, 0.98403), abs=1e-5)
    assert "10 labels" in tuned.method and tuned.n == 110


def test_a_judge_that_says_nothing_leaves_the_human_mean():
    found = ppi_mean(HUMAN, [1] * 10, [1] * 100)
    assert (found.value, found.low) == approx((0.7, ppi_mean(HUMAN, JUDGE, OTHERS, weight=0).low))
    against = ppi_mean(HUMAN, [1 - y for y in HUMAN], OTHERS)
    assert "lambda=0.00" in against.method  # a judge that is always wrong is not used, rather than turned over


def test_rogan_gladen_is_the_worked_example():
    found = rogan_gladen(70, 100, 95, 100, 90, 100)
    assert found.value == approx(0.70588, abs=5e-6)
    value, variance = 0.60 / 0.85, 0.7 * 0.3 / 100
    variance += (1 - value) ** 2 * 0.9 * 0.1 / 100 + value**2 * 0.95 * 0.05 / 100
    assert found.stderr == approx(np.sqrt(variance) / 0.85)


def test_a_perfect_judge_is_not_corrected_and_a_coin_cannot_be():
    assert rogan_gladen(70, 100, 50, 50, 50, 50).value == approx(0.7)
    assert rogan_gladen(2, 100, 48, 50, 40, 50).value == 0.0  # fewer passes than false ones
    coin = rogan_gladen(70, 100, 25, 50, 25, 50)
    assert coin.value is None and coin.low is None and "no better than chance" in coin.reason


def test_what_has_no_spread_has_no_interval():
    for found, words in (
        (ppi_mean([1], [1], [1, 0]), "one label"),
        (ppi_mean([1, 1], [1, 1], [1, 1]), "agree wholly"),
        (rogan_gladen(10, 10, 10, 10, 10, 10), "no outcome varies"),
    ):
        assert found.value is not None and found.low is found.stderr is None and words in found.reason


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: ppi_mean([], [], [1]), "human is empty"),
        (lambda: ppi_mean([1, 0], [1], [1]), "2 human scores and 1"),
        (lambda: ppi_mean([1, 0], [1, 0], []), "judge_only is empty"),
        (lambda: rogan_gladen(3, 2, 1, 1, 1, 1), "3 of 2"),
        (lambda: rogan_gladen(1, 2, 1, 1, 0, 0), "0 of 0"),
    ],
)
def test_a_callers_bug_is_a_value_error(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_corrected_intervals_cover_the_truth_where_the_judges_own_mean_is_off():
    rng = np.random.default_rng(0)
    truth = (rng.uniform(size=(2000, 700)) < 0.6).astype(float)
    passed = np.where(truth == 1, rng.uniform(size=truth.shape) < 0.95, rng.uniform(size=truth.shape) < 0.30) * 1.0
    assert passed.mean() == approx(0.69, abs=0.005)
    found = [ppi_mean(t[:100], f[:100], f[100:]) for t, f in zip(truth, passed)]
    assert np.mean([e.low <= 0.6 <= e.high for e in found]) == approx(0.95, abs=0.02)
    assert np.mean([e.stderr for e in found]) < 0.85 * np.sqrt(0.24 / 100)  # and narrower than the labels alone
    rates = rng.binomial([600, 100, 100], [0.69, 0.95, 0.70], size=(2000, 3)).tolist()
    found = [rogan_gladen(x, 600, right, 100, refused, 100) for x, right, refused in rates]
    assert np.mean([e.low <= 0.6 <= e.high for e in found]) == approx(0.95, abs=0.02)
