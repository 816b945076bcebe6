import csv
from collections import defaultdict

import numpy as np
import pytest
from pytest import approx
from scipy.stats import binom
from statsmodels.stats.proportion import proportion_confint

from harness.stats import Ends, accuracy, bounded_mean, clopper_pearson, wilson
from harness.stats.bootstrap import bootstrap

TOY = [1, 1, 1, 0, 0, 0, 0, 1, 1, 1, 1, 1, 0, 0, 1, 0]  # four clusters of four


@pytest.mark.parametrize(
    ("x", "n", "by_wilson", "exact"),
    [  # Newcombe 1998 (Stat Med 17:857), table I, and two of GSM8K's sizes
        (81, 263, (0.2553, 0.3662), (0.2527, 0.3676)),
        (15, 148, (0.0624, 0.1605), (0.0578, 0.1617)),
        (0, 20, (0.0, 0.1611), (0.0, 0.1684)),
        (1, 29, (0.0061, 0.1718), (0.0009, 0.1776)),
        (27, 30, (0.7438, 0.9654), (0.7347, 0.9789)),
        (143, 164, (0.8122, 0.9147), (0.8109, 0.9190)),
    ],
)
def test_intervals_of_a_share_are_the_published_ones(x, n, by_wilson, exact):
    assert (wilson(x, n).low, wilson(x, n).high) == approx(by_wilson, abs=6e-5)
    assert (clopper_pearson(x, n).low, clopper_pearson(x, n).high) == approx(exact, abs=6e-5)


def test_thirty_without_a_failure_bound_the_failure_rate_at_nine_and_a_half_percent():
    assert clopper_pearson(0, 30, confidence=0.90).high == approx(0.09503, abs=5e-6)


def test_intervals_of_a_share_equal_statsmodels_and_hold_the_share():
    rng = np.random.default_rng(1)
    n = rng.integers(1, 2000, size=1000)
    x = rng.binomial(n, rng.uniform(size=1000))
    for function, name in ((wilson, "wilson"), (clopper_pearson, "beta")):
        ours = [function(int(a), int(b), 0.9) for a, b in zip(x, n)]
        low, high = proportion_confint(x, n, alpha=0.1, method=name)
        assert [e.low for e in ours] == approx(low, abs=1e-9)
        assert [e.high for e in ours] == approx(high, abs=1e-9)
        assert all(e.low <= e.value <= e.high for e in ours)
        mirrored = [function(int(b - a), int(b), 0.9) for a, b in zip(x, n)]
        assert [1 - e.high for e in mirrored] == approx([e.low for e in ours], abs=1e-9)


def test_bootstrap_agrees_with_the_formula_for_a_mean():
    scores = [1.0] * 60 + [0.0] * 40  # p = 0.6, n = 100
    assert bounded_mean(scores).stderr == approx(0.0492, abs=1e-4)  # sqrt(p(1-p)/(n-1))
    assert accuracy(scores).stderr == approx(0.0492, abs=1e-4)
    assert bootstrap(scores, seed=0).stderr == approx(0.0490, rel=0.1)


def test_clustered_errors_are_those_of_inspect_and_of_the_toy():
    wide = Ends(0, 19)
    assert bounded_mean(range(20), [i % 4 for i in range(20)], wide).stderr == approx(0.64550, abs=1e-5)
    assert bounded_mean(range(20), None, wide).stderr == approx(1.32288, abs=1e-5)
    clusters = [i // 4 for i in range(16)]
    assert bounded_mean(TOY, clusters).value == 0.5625
    assert bounded_mean(TOY, clusters).stderr == approx(0.187500, abs=1e-6)
    assert bounded_mean(TOY).stderr == approx(0.128087, abs=1e-6)


def test_clusters_of_one_give_the_plain_interval_and_their_names_and_order_do_not_matter():
    values = np.random.default_rng(2).uniform(size=40)
    assert accuracy(values, range(40)) == accuracy(values)
    order = np.random.default_rng(3).permutation(40)
    names = np.array(["a", "b", "c", "d"]).repeat(10)
    whole, shuffled = accuracy(values, names), accuracy(values[order], names[order])
    assert (whole.value, whole.stderr, whole.low) == approx((shuffled.value, shuffled.stderr, shuffled.low))


@pytest.mark.shared
def test_real_scores_of_two_models_give_the_published_clustered_errors(shared):
    scores, items = defaultdict(list), defaultdict(list)
    with open(shared / "oracles" / "gpqa_diamond_scores.csv", newline="") as file:
        for row in csv.DictReader(file):
            scores[row["model_id"]].append(float(row["score"]))
            items[row["model_id"]].append(row["item_id"])
    expected = {"nano": (0.6758, 0.0149, 0.0276, 3.437), "mini": (0.6172, 0.0155, 0.0296, 3.672)}
    for model, values in scores.items():
        mean, naive, robust, effect = next(v for k, v in expected.items() if k in model)
        clustered = accuracy(values, items[model])
        assert clustered.method == "korn-graubard over clusters (C=198)" and clustered.n == 990
        assert (clustered.value, clustered.stderr) == approx((mean, robust), abs=6e-5)
        assert bounded_mean(values).stderr == approx(naive, abs=6e-5)
        assert (clustered.stderr / bounded_mean(values).stderr) ** 2 == approx(effect, abs=6e-4)
    assert len(scores) == 2


@pytest.mark.parametrize(
    ("values", "clusters", "method"),
    [
        ([1, 0, 1], None, "wilson"),
        ([1, 0.5, 1], None, "gaffke"),
        ([1, 0, 1], ["a", "b", "c"], "wilson"),  # clusters of one are no clusters
        ([1, 0, 1, 1], ["a", "a", "b", "b"], "korn-graubard over clusters (C=2)"),
        ([1, 0, 1, 0.5], ["a", "a", "b", "b"], "gaffke over clusters (C=2)"),
    ],
)
def test_accuracy_says_which_interval_suits_the_scores(values, clusters, method):
    assert accuracy(values, clusters).method == method


def test_an_accuracy_stays_between_0_and_1_and_unanimous_clusters_count_once_each():
    wide = accuracy([1, 0, 1, 1], ["a", "a", "b", "b"])
    assert 0 <= wide.low < 0.1 and 0.98 < wide.high <= 1
    alike = accuracy([1.0] * 40, ["a"] * 20 + ["b"] * 20)
    assert (alike.value, alike.high, alike.n) == (1.0, 1.0, 40)
    assert alike.low == approx(clopper_pearson(2, 2).low, abs=0.003)


def test_what_cannot_be_known_is_none_with_a_reason_never_zero():
    one = accuracy([0, 1], ["a", "a"])
    assert one.value == 0.5 and one.low is one.high is one.stderr is None and "one cluster" in one.reason
    for estimate, words in (
        (accuracy([0.4]), "one value"),
        (accuracy([0.1] * 7), "alike"),
        (accuracy([0, 1, 0, 1], ["a", "a", "b", "b"]), "alike"),
        (accuracy([1]), "alike"),
    ):
        assert estimate.low < estimate.value <= estimate.high
        assert estimate.stderr is None and words in estimate.reason
    assert accuracy([1]).low == approx(0.2065, abs=1e-4)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: accuracy([]), "values is empty"),
        (lambda: accuracy([0, 2]), "outside 0 to 1"),
        (lambda: accuracy([1, float("nan")]), "not a finite number"),
        (lambda: accuracy([[1, 0]]), "one row of numbers"),
        (lambda: accuracy([1, 0], ["a"]), "1 clusters for 2 values"),
        (lambda: accuracy([1, 0], ["a", None]), "no cluster"),
        (lambda: bounded_mean([1, 0], ends=Ends(0.5, 1)), "outside 0.5 to 1"),
        (lambda: wilson(3, 2), "3 successes of 2"),
        (lambda: wilson(0, 0), "0 successes of 0"),
        (lambda: accuracy([1, 0.5], confidence=95), "confidence is 95"),
    ],
)
def test_a_callers_bug_is_a_value_error(call, words):
    with pytest.raises(ValueError, match=words):
        call()


@pytest.mark.parametrize(
    ("n", "by_wilson", "exact"),
    [
        (30, (0.952, 0.860), (0.974, 0.954)),
        (100, (0.950, 0.910), (0.965, 0.954)),
        (300, (0.950, 0.935), (0.959, 0.951)),
    ],
)
def test_exact_coverage_of_the_intervals_of_a_share_is_the_tabulated_one(n, by_wilson, exact):
    p = np.arange(0.005, 0.9951, 0.005)
    chance = binom.pmf(np.arange(n + 1)[:, None], n, p)
    for function, (mean, least) in ((wilson, by_wilson), (clopper_pearson, exact)):
        ends = [function(x, n) for x in range(n + 1)]
        covered = [(chance[:, i] * [e.low <= p[i] <= e.high for e in ends]).sum() for i in range(len(p))]
        assert (np.mean(covered), np.min(covered)) == approx((mean, least), abs=0.003)


def test_intervals_of_a_share_cover_the_truth_as_often_as_they_say():
    rng = np.random.default_rng(10)
    p = rng.uniform(0.05, 0.95, size=2000)
    draws = [(rng.binomial(50, q), q) for q in p.tolist()]
    for function, low, high in ((wilson, 0.935, 0.965), (clopper_pearson, 0.95, 0.99)):
        assert low <= np.mean([function(x, 50).low <= q <= function(x, 50).high for x, q in draws]) <= high
