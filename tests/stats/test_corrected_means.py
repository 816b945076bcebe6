import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pytest import approx
from scipy import stats

from harness.stats import bounded_mean, clopper_pearson, ppi_mean, rogan_gladen

HUMAN, JUDGE = [1, 1, 0, 1, 0, 1, 1, 0, 1, 1], [1, 1, 1, 1, 0, 1, 0, 0, 1, 1]
OTHERS = [1] * 70 + [0] * 30


def test_ppi_values_and_errors_are_those_of_ppi_py():
    for weight, low, high in ((1, 0.40863, 0.99137), (None, 0.45393, 0.94607), (0, 0.41597, 0.98403)):
        found = ppi_mean(HUMAN, JUDGE, OTHERS, weight=weight)
        assert found.value == approx((low + high) / 2, abs=1e-5)
        assert found.stderr == approx((high - low) / (2 * 1.959964), abs=1e-5)  # theirs is a normal interval
        assert "10 labels" in found.method and found.n == 110


def test_few_labels_have_no_interval_and_enough_of_them_one_inside_0_to_1():
    few = ppi_mean(HUMAN, JUDGE, OTHERS)
    assert few.low is few.high is None and "10 labels of people are too few" in few.reason and "30" in few.reason
    enough = ppi_mean(HUMAN * 3, JUDGE * 3, OTHERS)
    assert 0 < enough.low < enough.value < enough.high < 1 and enough.reason is None
    sure = ppi_mean([1] * 40, [1] * 40, [1] * 500)
    assert (sure.value, sure.high, sure.stderr) == (1.0, 1.0, None) and 0.85 < sure.low < 0.95


def test_labels_alone_have_gaffkes_interval_and_many_of_them_ppi_pys():
    alone = ppi_mean(HUMAN * 4, [1] * 40, [1] * 1000)
    plain = bounded_mean(HUMAN * 4)
    assert (alone.low, alone.high) == approx((plain.low, plain.high), abs=1e-6)
    many = ppi_mean(HUMAN * 300, JUDGE * 300, OTHERS * 300)
    half = 1.959964 * many.stderr
    assert (many.low, many.high) == approx((many.value - half, many.value + half), abs=2e-3)


def test_a_judge_that_says_nothing_leaves_the_human_mean():
    found = ppi_mean(HUMAN, [1] * 10, [1] * 100)
    assert (found.value, found.stderr) == approx((0.7, ppi_mean(HUMAN, JUDGE, OTHERS, weight=0).stderr))
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


def test_what_has_no_spread_has_no_standard_error_and_yet_an_interval():
    found = rogan_gladen(10, 10, 10, 10, 10, 10)
    assert (found.value, found.high, found.stderr) == (1.0, 1.0, None) and "no outcome varies" in found.reason
    assert found.low == approx(clopper_pearson(10, 10).low, abs=0.1)  # the judge's own errors are unknown too


def by_numbers(passed, right, refused, up):
    """Returns the end of the corrected rate on a grid of quantiles of the three shares: no draw is made."""
    q = (np.arange(120) + 0.5) / 120

    def ends(part, whole, high):
        edge = part == (whole if high else 0)
        return np.full(120, float(high)) if edge else stats.beta.ppf(q, part + high, whole - part + (not high))

    p, q0, q1 = ends(*passed, up), ends(*refused, up), ends(*right, not up)
    p, q0, q1 = p[:, None, None], q0[None, :, None], q1[None, None, :]
    power = q0 + q1 - 1
    rate = np.where(power > 0, (p + q0 - 1) / np.where(power > 0, power, 1), float(up)).clip(0, 1)
    return np.quantile(rate, 0.975 if up else 0.025)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("passed", "right", "refused"),
    [((70, 100), (95, 100), (90, 100)), ((20, 40), (9, 10), (18, 20)), ((0, 30), (8, 9), (5, 5))],
)
def test_the_melded_interval_is_that_of_the_three_shares_by_numbers(passed, right, refused):
    found = rogan_gladen(*passed, *right, *refused)
    assert found.low == approx(by_numbers(passed, right, refused, False), abs=0.01)
    assert found.high == approx(by_numbers(passed, right, refused, True), abs=0.01)


def test_a_judge_known_without_error_leaves_clopper_and_pearsons_interval():
    found = rogan_gladen(70, 100, 10**7, 10**7, 10**7, 10**7)
    exact = clopper_pearson(70, 100)
    assert (found.low, found.high) == approx((exact.low, exact.high), abs=0.003)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 40)), min_size=3, max_size=3))
def test_a_corrected_rate_stays_between_0_and_1(shares):
    found = rogan_gladen(*(number for part, whole in shares for number in (min(part, whole), whole)))
    if found.value is not None:
        assert 0 <= found.low <= found.value <= found.high <= 1


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: ppi_mean([], [], [1]), "human is empty"),
        (lambda: ppi_mean([1, 0], [1], [1]), "2 human scores and 1"),
        (lambda: ppi_mean([1, 0], [1, 0], []), "judge_only is empty"),
        (lambda: ppi_mean([1, 2], [1, 0], [1]), "outside 0 to 1"),
        (lambda: rogan_gladen(3, 2, 1, 1, 1, 1), "3 of 2"),
        (lambda: rogan_gladen(1, 2, 1, 1, 0, 0), "0 of 0"),
    ],
)
def test_a_callers_bug_is_a_value_error(call, words):
    with pytest.raises(ValueError, match=words):
        call()


@pytest.mark.slow
def test_corrected_intervals_cover_the_truth_where_the_judges_own_mean_is_off():
    rng = np.random.default_rng(0)
    truth = (rng.uniform(size=(400, 700)) < 0.6).astype(float)
    passed = np.where(truth == 1, rng.uniform(size=truth.shape) < 0.95, rng.uniform(size=truth.shape) < 0.30) * 1.0
    assert passed.mean() == approx(0.69, abs=0.005)
    found = [ppi_mean(t[:100], f[:100], f[100:]) for t, f in zip(truth, passed)]
    assert np.mean([e.low <= 0.6 <= e.high for e in found]) == approx(0.965, abs=0.025)
    assert np.mean([e.stderr for e in found]) < 0.85 * np.sqrt(0.24 / 100)  # and narrower than the labels alone
    rates = rng.binomial([600, 100, 100], [0.69, 0.95, 0.70], size=(400, 3)).tolist()
    found = [rogan_gladen(x, 600, right, 100, refused, 100) for x, right, refused in rates]
    assert np.mean([e.low <= 0.6 <= e.high for e in found]) == approx(0.96, abs=0.025)
