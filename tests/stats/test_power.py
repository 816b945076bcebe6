import numpy as np
import pytest
from pytest import approx

from harness.stats import detectable_difference, detectable_gap, needed_n, noninferiority_n
from harness.stats.paired import mcnemar_midp


def test_needed_samples_are_millers():
    assert needed_n(0.03, 1 / 9) == 969
    assert needed_n(0.03, 1 / 9, within=(1 / 6, 1 / 6)) == 3876
    assert needed_n(0.03, 1 / 9, within=(1 / 6, 1 / 6), draws=(10, 10)) == 1260
    assert needed_n(-0.5, 1.0) == 32  # half a standard deviation


def test_detectable_differences_are_millers():
    found = [detectable_difference(198, 1 / 9, (1 / 6, 1 / 6), (k, k)) for k in (1, 2, 5, 10)]
    assert found == approx([0.1327, 0.1049, 0.0839, 0.0757], abs=6e-5)
    assert detectable_difference(198, 1 / 9) == approx(0.0664, abs=6e-5)


def test_the_detectable_difference_needs_that_many_samples():
    for n in (20, 198, 5000):
        assert needed_n(detectable_difference(n, 0.2) * (1 + 1e-9), 0.2) == n


def test_412_samples_show_gaps_of_about_six_points():
    assert detectable_gap(412) == approx(0.062, abs=5e-4)
    assert detectable_gap(10, discordance=0.05) == approx(0.785, abs=5e-4)  # a gap is never larger than the discordance
    assert detectable_gap(2) == 1.0


@pytest.mark.parametrize(("n", "discordance"), [(412, 0.2), (1000, 0.1), (150, 0.4)])
def test_a_gap_of_that_size_is_found_four_times_in_five(n, discordance):
    gap = detectable_gap(n, discordance)
    rng = np.random.default_rng(n)
    draws = rng.multinomial(n, [(discordance + gap) / 2, (discordance - gap) / 2, 1 - discordance], size=2000)
    assert np.mean([mcnemar_midp(b, c) <= 0.05 for b, c, _ in draws.tolist()]) == approx(0.8, abs=0.05)


def test_samples_for_noninferiority_are_the_tabulated_ones():
    cases = ((0.03, 0.10), (0.05, 0.10), (0.03, 0.20), (0.05, 0.20))
    assert [noninferiority_n(margin, discordance) for margin, discordance in cases] == [687, 248, 1374, 495]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: needed_n(0, 1), "difference of 0"),
        (lambda: needed_n(0.1, -1), "variance is negative"),
        (lambda: needed_n(0.1, 1, draws=(0, 1)), "draws no answer"),
        (lambda: detectable_difference(0, 1), "0 samples"),
        (lambda: detectable_gap(0), "0 samples"),
        (lambda: detectable_gap(10, discordance=20), "discordance is 20"),
        (lambda: detectable_gap(10, power=80), "power is 80"),
        (lambda: noninferiority_n(0, 0.1), "margin is 0"),
    ],
)
def test_a_callers_bug_is_a_value_error(call, words):
    with pytest.raises(ValueError, match=words):
        call()
