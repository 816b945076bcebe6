"""Gaffke's interval against the laws that it has in special cases, against draws, and inside its range."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pytest import approx
from scipy import stats

from harness.stats import Ends, accuracy, bounded_mean, clopper_pearson
from harness.stats.bounded import SHARE, chance_below_zero, mean_bounds, ratio_bounds


def by_draws(values, end, draws=200_000, weight=1.0):
    """Returns draws of the mean with one value more at an end, each value with a random share of the whole."""
    rng = np.random.default_rng(0)
    shares = rng.gamma([*[weight] * len(values), 1.0], size=(draws, len(values) + 1))
    return shares @ np.append(values, end) / shares.sum(axis=1)


@pytest.mark.parametrize(("x", "n"), [(1, 2), (2, 5), (27, 30), (0, 20), (95, 100), (81, 263)])
def test_right_or_wrong_gives_clopper_and_pearsons_interval(x, n):
    low, high = mean_bounds(np.array([1.0] * x + [0.0] * (n - x)), SHARE, None, 0.95)
    exact = clopper_pearson(x, n)
    assert (low, high) == approx((exact.low, exact.high), abs=0.002)


def test_the_published_interval_of_korn_and_graubard_is_clopper_and_pearsons_at_the_effective_size():
    values = np.array([1.0] * 30 + [0.0] * 70)
    low, high = mean_bounds(values, SHARE, 25.0, 0.95)
    exact = stats.beta.ppf([0.025, 0.975], [7.5, 8.5], [18.5, 17.5])  # x = 7.5 of 25
    assert (low, high) == approx(exact, abs=0.001)


@pytest.mark.parametrize("values", [[0.2, 0.9, 0.4], [1, 1, 1, 0.7, 0.95], [0.5] * 12, list(np.linspace(0, 0.2, 40))])
def test_graded_values_give_the_quantiles_of_draws(values):
    low, high = mean_bounds(np.array(values, dtype=float), SHARE, None, 0.95)
    assert low == approx(np.quantile(by_draws(values, 0), 0.025), abs=0.004)
    assert high == approx(np.quantile(by_draws(values, 1), 0.975), abs=0.004)


def test_fewer_independent_values_and_other_ends_give_the_quantiles_of_draws():
    values = np.array([-0.5, 0.0, 0.25, 0.25, 1.0, 0.0, -0.25, 0.5])
    low, high = mean_bounds(values, Ends(-1, 1), 4.0, 0.9)
    assert low == approx(np.quantile(by_draws(values, -1, weight=0.5), 0.05), abs=0.005)
    assert high == approx(np.quantile(by_draws(values, 1, weight=0.5), 0.95), abs=0.005)


def test_a_ratio_gives_the_quantiles_of_draws():
    top, bottom = np.array([1.0, 0, 3, 2, 2]), np.array([2.0, 1, 3, 4, 2])
    rng = np.random.default_rng(1)
    shares = rng.gamma(1.0, size=(200_000, 6))
    low, high = ratio_bounds(top, bottom, SHARE, 0.95)
    drawn = shares @ np.append(top, 0) / (shares @ np.append(bottom, bottom.mean()))
    assert low == approx(np.quantile(drawn, 0.025), abs=0.004)
    drawn = shares @ np.append(top, 2.4) / (shares @ np.append(bottom, bottom.mean()))
    assert high == approx(np.quantile(drawn, 0.975), abs=0.004)


def test_a_sum_of_gamma_variables_lies_below_zero_as_often_as_a_beta_variable_says():
    for a, b, t in ((3.0, 5.0, 0.2), (0.5, 9.0, 0.3), (40.0, 2.0, 0.93), (7.0, 7.0, 0.5)):
        # x / (x + y) <= t where (1 - t) x - t y <= 0
        found = chance_below_zero(np.array([a, b]), np.array([1 - t, -t]))
        assert found == approx(stats.beta.cdf(t, a, b), abs=0.003)
    assert chance_below_zero(np.ones(2), np.array([-1.0, 0.0])) == 1.0
    assert chance_below_zero(np.ones(2), np.array([0.5, 0.0])) == 0.0


def test_of_many_values_it_is_the_usual_interval():
    values = np.random.default_rng(5).beta(2, 3, size=20_000)
    found = accuracy(values)
    half = 1.959964 * values.std(ddof=1) / np.sqrt(values.size)
    assert (found.low, found.high) == approx((values.mean() - half, values.mean() + half), abs=1e-4)


grades = st.lists(st.one_of(st.sampled_from([0.0, 1.0]), st.floats(0, 1)), min_size=1, max_size=40)


@pytest.mark.slow
@settings(max_examples=80, deadline=None)
@given(grades, st.data())
def test_the_interval_lies_in_its_range_and_holds_the_mean(values, data):
    clusters = data.draw(st.none() | st.lists(st.integers(0, 6), min_size=len(values), max_size=len(values)))
    found = bounded_mean(values, clusters)
    if found.low is None:
        assert "one cluster" in found.reason
    else:
        assert 0 <= found.low <= found.value <= found.high <= 1 and found.low < found.high
        mirrored = bounded_mean([1 - value for value in values], clusters)
        assert (1 - mirrored.high, 1 - mirrored.low) == approx((found.low, found.high), abs=1e-5)


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(0, 50), min_size=1, max_size=30))
def test_an_interval_of_costs_lies_between_nothing_and_the_dearest(values):
    found = bounded_mean(values, None, Ends(0, 50))
    assert 0 <= found.low <= found.value <= found.high <= 50


@pytest.mark.slow
@pytest.mark.parametrize("n", [10, 30])
def test_it_covers_scores_near_1_where_the_t_interval_does_not(n):
    rng, held, by_t = np.random.default_rng(n), 0, 0
    for _ in range(400):
        values = np.where(rng.uniform(size=n) < 0.95, 1.0, rng.uniform(size=n))
        found = accuracy(values)
        held += found.low <= 0.975 <= found.high
        half = stats.t.ppf(0.975, n - 1) * values.std(ddof=1) / np.sqrt(n)
        by_t += abs(values.mean() - 0.975) <= half
    assert held / 400 >= 0.94 and by_t / 400 < 0.8
