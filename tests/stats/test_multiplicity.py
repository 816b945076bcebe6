import numpy as np
import pytest
from pytest import approx
from statsmodels.stats.multitest import multipletests

from harness.stats import benjamini_hochberg, holm

# Benjamini and Hochberg 1995, section 4.1
P = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1]


def test_adjusted_p_values_are_those_of_the_paper():
    assert holm(P)[:9] == approx([0.0015, 0.0056, 0.0247, 0.114, 0.2211, 0.278, 0.278, 0.278, 0.3213])
    assert holm(P)[9:] == [1.0] * 6
    first = [0.0015, 0.003, 0.0095, 0.035625, 0.0603, 0.063857, 0.063857, 0.0645, 0.0765, 0.486]
    assert benjamini_hochberg(P)[:10] == approx(first, abs=1e-6)
    assert sum(p <= 0.05 for p in holm(P)) == 3
    assert sum(p <= 0.05 for p in benjamini_hochberg(P)) == 4


@pytest.mark.slow
def test_adjusted_p_values_equal_statsmodels_in_any_order():
    rng = np.random.default_rng(0)
    for _ in range(20):
        p = rng.choice([rng.uniform(), 1.0, 0.0, 0.01], size=rng.integers(1, 30)) * rng.uniform()
        assert holm(p) == approx(multipletests(p, method="holm")[1])
        assert benjamini_hochberg(p) == approx(multipletests(p, method="fdr_bh")[1])


def test_one_comparison_is_left_as_it_is():
    assert holm([0.03]) == benjamini_hochberg([0.03]) == [0.03]


def test_one_false_claim_in_ten_true_nulls_is_as_rare_with_holm_as_it_says():
    p = np.random.default_rng(1).uniform(size=(2000, 10))
    assert np.mean([min(holm(row)) <= 0.05 for row in p]) == approx(0.05, abs=0.015)
    assert np.mean([min(benjamini_hochberg(row)) <= 0.05 for row in p]) == approx(0.05, abs=0.015)


@pytest.mark.parametrize("adjust", [holm, benjamini_hochberg])
def test_a_callers_bug_is_a_value_error(adjust):
    with pytest.raises(ValueError, match="p_values is empty"):
        adjust([])
    with pytest.raises(ValueError, match="outside 0 to 1"):
        adjust([0.2, 1.2])
