import numpy as np
import pytest
from pytest import approx
from scipy import stats

from harness.stats import Ends, bootstrap_sums, bounded_mean, clopper_pearson, ratio_of_sums
from harness.stats.bootstrap import bootstrap

# Efron and Tibshirani 1993, table 14.1: a spatial test of 26 children
SPATIAL = [48, 36, 20, 29, 42, 42, 20, 42, 22, 41, 45, 14, 6, 0, 33, 28, 34, 4, 32, 24, 47, 41, 24, 26, 30, 41]


def mean_of(sums):
    return sums[:, 0] / sums[:, 1]


def ones_beside(values):
    return np.stack([values, np.ones(len(values))], axis=1)


def moments(values):
    return np.stack([np.ones(len(values)), values, np.square(values)], axis=1)


def variance_of(sums):
    return sums[:, 2] / sums[:, 0] - (sums[:, 1] / sums[:, 0]) ** 2


def test_the_variance_of_the_spatial_test_has_the_interval_of_the_book():
    values = np.array(SPATIAL, dtype=float)
    bca = bootstrap_sums(moments(values), variance_of, confidence=0.9, resamples=200_000)
    assert bca.value == approx(171.534, abs=5e-4)
    assert (bca.low, bca.high) == approx((115.4, 260.3), abs=2.0)
    plain = bootstrap_sums(moments(values), variance_of, method="percentile", confidence=0.9, resamples=200_000)
    assert (plain.low, plain.high) == approx((98.0, 235.5), abs=1.0)


@pytest.mark.slow
def test_bca_equals_scipys_on_the_same_draws():
    values = np.random.default_rng(1).exponential(size=40)
    theirs = stats.bootstrap((values,), np.var, n_resamples=999, method="BCa", rng=np.random.default_rng(3))
    low, high = theirs.confidence_interval
    fast = bootstrap_sums(moments(values), variance_of, resamples=999, seed=3)
    assert (fast.low, fast.high, fast.stderr) == approx((low, high, theirs.standard_error))
    other = bootstrap(values, np.var, resamples=9_999, seed=4)
    assert other.stderr == approx(theirs.standard_error, rel=0.1)


def test_a_statistic_of_several_columns_sees_whole_rows():
    rng = np.random.default_rng(4)
    rows = rng.multivariate_normal([0, 0], [[1, 0.8], [0.8, 1]], size=60)
    found = bootstrap(rows, lambda some: np.corrcoef(some.T)[0, 1], resamples=2_000)
    assert found.value == approx(np.corrcoef(rows.T)[0, 1])
    assert 0.6 < found.low < found.value < found.high < 0.95


def test_resampling_clusters_gives_the_clustered_error():
    rng = np.random.default_rng(5)
    values = (rng.normal(size=(40, 1)) + rng.normal(size=(40, 5))).ravel()
    clusters = np.arange(40).repeat(5)
    far = Ends(-9, 9)
    robust, plain = bounded_mean(values, clusters, far).stderr, bounded_mean(values, None, far).stderr
    assert robust > 1.5 * plain
    assert bootstrap(values, clusters=clusters, resamples=3_000).stderr == approx(robust, rel=0.08)
    assert bootstrap_sums(ones_beside(values), mean_of, clusters).stderr == approx(robust, rel=0.08)
    assert bootstrap_sums(ones_beside(values), mean_of).stderr == approx(plain, rel=0.08)


def test_the_same_seed_gives_the_same_interval_and_another_seed_another():
    values = np.random.default_rng(6).uniform(size=30)
    assert bootstrap(values, resamples=500, seed=1) == bootstrap(values, resamples=500, seed=1)
    assert bootstrap(values, resamples=500, seed=1) != bootstrap(values, resamples=500, seed=2)


def test_intervals_of_many_resamples_do_not_depend_on_how_they_are_batched(monkeypatch):
    values = np.random.default_rng(7).uniform(size=30)
    whole = bootstrap_sums(ones_beside(values), mean_of, resamples=500)
    monkeypatch.setattr("harness.stats.bootstrap.BATCH", 1_000)
    assert bootstrap_sums(ones_beside(values), mean_of, resamples=500) == whole


def test_cost_per_correct_answer_is_all_cost_over_all_correct():
    rng = np.random.default_rng(8)
    cost, right = rng.uniform(0.5, 1.5, size=400), rng.binomial(1, 0.6, size=400).astype(float)
    found = ratio_of_sums(cost, right)
    assert found.value == approx(cost.sum() / right.sum())
    by_scipy = stats.bootstrap(
        (cost, right),
        lambda c, r, axis: c.sum(axis) / r.sum(axis),
        paired=True,
        vectorized=True,
        rng=np.random.default_rng(9),
    )
    low, high = by_scipy.confidence_interval
    assert (found.low, found.high, found.stderr) == approx((low, high, by_scipy.standard_error), rel=0.03)


def test_the_cost_of_a_correct_answer_at_one_price_is_that_price_over_the_share():
    found, share = ratio_of_sums([0.02] * 40, [1.0] * 30 + [0.0] * 10), clopper_pearson(30, 40)
    assert (found.low, found.high) == approx((0.02 / share.high, 0.02 / share.low), rel=0.005)
    copies = ratio_of_sums([0.02] * 80, ([1.0] * 30 + [0.0] * 10) * 2, list(range(40)) * 2)
    assert (copies.low, copies.high) == approx((found.low, found.high))


def test_a_ratio_without_a_spread_or_a_value_says_so():
    rare = ratio_of_sums([1.0] * 30, [0.0] * 29 + [1.0])
    assert rare.value == 30 and rare.low > 5 and 500 < rare.high < 2000
    none = ratio_of_sums([1.0] * 30, [0.0] * 30)
    assert none.value is None and none.low is None and "nothing to divide by" in none.reason
    free = ratio_of_sums([0.0] * 30, [1.0] * 30)
    assert (free.value, free.low) == (0.0, None) and "alike" in free.reason
    alike = ratio_of_sums([2.0] * 30, [1.0] * 30)
    assert (alike.value, alike.low, alike.stderr) == (2.0, 2.0, None) and "alike" in alike.reason
    assert alike.high == approx(2 / clopper_pearson(30, 30).low, rel=0.01)
    lone = ratio_of_sums([1.0, 2.0], [1.0, 0.0], ["a", "a"])
    assert lone.value == 3.0 and lone.high is None and "one cluster" in lone.reason


def test_what_cannot_be_resampled_has_no_interval_and_a_reason():
    for found, words in (
        (bootstrap([0.3]), "one value or cluster"),
        (bootstrap_sums([[0.3, 1]], mean_of), "one value or cluster"),
        (bootstrap([1, 0], clusters=["a", "a"]), "one value or cluster"),
        (bootstrap([1.0] * 9, resamples=99), "alike"),
        (bootstrap([0.0, 1, 2], lambda some: some.mean() if some.any() else np.nan), "of the resamples"),
    ):
        assert found.value is not None and found.low is found.high is found.stderr is None
        assert words in found.reason
    undefined = bootstrap([1.0, 2.0], lambda some: np.nan, resamples=9)
    assert undefined.value is None and "not defined" in undefined.reason


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: bootstrap([]), "rows is empty"),
        (lambda: bootstrap_sums(np.empty((0, 2)), mean_of), "rows and columns"),
        (lambda: bootstrap_sums([1, 2], mean_of), "rows and columns"),
        (lambda: ratio_of_sums([], []), "top is empty"),
        (lambda: ratio_of_sums([1], [1, 2]), "top has 1 values and bottom 2"),
        (lambda: ratio_of_sums([1], [-1]), "negative"),
        (lambda: bootstrap([1, 2], confidence=2, resamples=9), "confidence is 2"),
    ],
)
def test_a_callers_bug_is_a_value_error(call, words):
    with pytest.raises(ValueError, match=words):
        call()


@pytest.mark.slow
def test_bootstrap_intervals_cover_the_truth_nearly_as_often_as_they_say():
    rng = np.random.default_rng(10)
    covered = {"bca": 0, "percentile": 0}
    ratios = 0
    for seed in range(2000):
        table = ones_beside(rng.beta(2, 3, size=40))
        for method in covered:
            e = bootstrap_sums(table, mean_of, method=method, resamples=399, seed=seed)
            covered[method] += e.low <= 0.4 <= e.high
        costs = np.stack([rng.binomial(1, 0.6, size=40), rng.exponential(size=40)], axis=1)
        e = bootstrap_sums(costs, mean_of, resamples=399, seed=seed)
        ratios += e.low <= 0.6 <= e.high
    assert covered["bca"] / 2000 == approx(0.95, abs=0.025)
    assert covered["percentile"] / 2000 == approx(0.95, abs=0.025)
    assert ratios / 2000 == approx(0.95, abs=0.03)
