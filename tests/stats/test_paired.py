import csv
from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pytest import approx
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar

from harness.stats import accuracy, noninferiority, paired_difference
from harness.stats.paired import _mean_test, mcnemar_exact, mcnemar_midp, newcombe10, sign_flip, tango, tango_z


def scores(both, wins, losses, neither):
    """Returns the 0/1 scores of a and b that make this table."""
    a = [1.0] * (both + wins) + [0.0] * (losses + neither)
    b = [1.0] * both + [0.0] * wins + [1.0] * losses + [0.0] * neither
    return a, b


@pytest.mark.parametrize(
    ("b", "c", "exact", "midp"),
    [(1, 7, 0.070313, 0.039063), (6, 16, 0.052479, 0.034690), (86, 150, 3.716e-5, 2.893e-5)],
)
def test_p_values_are_those_of_fagerland_and_agresti(b, c, exact, midp):
    assert mcnemar_exact(b, c) == approx(exact, rel=2e-4, abs=5e-7)
    assert mcnemar_midp(b, c) == approx(midp, rel=2e-4, abs=5e-7)


@pytest.mark.parametrize(
    ("table", "score", "hybrid"),
    [
        ((1, 1, 7, 12), (-0.5172, -0.0260), (-0.5069, -0.0256)),
        ((36, 12, 2, 0), (0.0611, 0.3447), (0.0569, 0.3404)),
        ((43, 0, 1, 0), (-0.1181, 0.0594), None),
    ],
)
def test_intervals_of_a_paired_difference_are_the_published_ones(table, score, hybrid):
    ours = tango(table[1], table[2], sum(table))
    assert (ours.low, ours.high) == approx(score, abs=6e-5)
    assert ours.value == approx((table[1] - table[2]) / sum(table))
    if hybrid:
        ours = newcombe10(*table)
        assert (ours.low, ours.high) == approx(hybrid, abs=6e-5)


@pytest.mark.slow
def test_p_values_equal_statsmodels_and_tango_ends_are_where_its_statistic_crosses_z():
    rng = np.random.default_rng(0)
    for _ in range(1000):
        a, b, c, d = rng.multinomial(rng.integers(5, 400), rng.dirichlet([3, 1, 1, 2])).tolist()
        assert mcnemar_exact(b, c) == approx(mcnemar([[a, b], [c, d]], exact=True).pvalue, abs=1e-9)
        n = a + b + c + d
        ours, mirrored = tango(b, c, n, 0.9), tango(c, b, n, 0.9)
        assert -1 <= ours.low <= ours.value <= ours.high <= 1
        assert (mirrored.low, mirrored.high) == approx((-ours.high, -ours.low), abs=1e-9)
        if ours.low > -1 and ours.high < 1:
            assert tango_z(b, c, n, ours.low) == approx(1.6448536, abs=1e-4)
            assert tango_z(b, c, n, ours.high) == approx(-1.6448536, abs=1e-4)


def test_tango_at_zero_is_mcnemars_statistic():
    assert tango_z(150, 86, 1600, 0.0) ** 2 == approx(17.356, abs=5e-4)  # Agresti's approval ratings


def test_two_models_on_binary_scores_get_tango_and_mid_p_and_swapping_them_flips_the_sign():
    a, b = scores(59, 6, 16, 80)
    there, back = paired_difference(a, b), paired_difference(b, a)
    assert (there.test, there.difference.method) == ("McNemar mid-p", "tango")
    assert (there.wins, there.losses, there.ties) == (6, 16, 139) == (back.losses, back.wins, back.ties)
    assert there.p_value == back.p_value == approx(0.034690, abs=1e-6)
    assert back.difference.value == -there.difference.value
    assert (back.difference.low, back.difference.high) == approx((-there.difference.high, -there.difference.low))


def test_samples_on_which_the_models_agree_leave_the_p_value_unchanged():
    assert paired_difference(*scores(0, 6, 1, 0)).p_value == paired_difference(*scores(500, 6, 1, 300)).p_value


def test_exact_sign_flips_of_binary_scores_are_the_exact_mcnemar_test():
    assert sign_flip([1] * 6 + [-1]) == (approx(0.125), "exact sign-flip")
    for b in range(8):
        for c in range(8):
            assert sign_flip([1] * b + [-1] * c + [0])[0] == approx(mcnemar_exact(b, c), abs=1e-12)


def test_sign_flips_equal_scipys_permutation_test():
    values = np.random.default_rng(6).normal(0.4, 1, size=11)
    theirs = stats.permutation_test((values,), np.sum, permutation_type="samples", n_resamples=np.inf)
    assert sign_flip(values)[0] == approx(theirs.pvalue, abs=1e-12)
    many = np.random.default_rng(7).normal(0.4, 1, size=25)
    p_value, test = sign_flip(many, seed=1)
    assert test == "sign-flip" and sign_flip(many, seed=1)[0] == p_value
    assert p_value == approx(stats.ttest_1samp(many, 0).pvalue, abs=0.02)


def test_graded_scores_get_gaffkes_interval_and_the_paired_t_test_and_few_of_them_sign_flips():
    rng = np.random.default_rng(8)
    a, b = rng.uniform(size=(2, 40))
    many = paired_difference(a, b)
    theirs = stats.ttest_rel(a, b)
    assert (many.test, many.p_value) == ("paired t", approx(theirs.pvalue))
    interval = theirs.confidence_interval()
    assert many.difference.method == "gaffke"
    assert -1 < many.difference.low < interval.low and interval.high < many.difference.high < 1
    assert paired_difference(a[:20], b[:20]).test == "sign-flip"
    assert paired_difference(a[:12], b[:12]).test == "exact sign-flip"


def test_clusters_are_the_unit_of_the_test():
    a, b = [1, 1, 1, 0, 1, 1, 0, 0], [0, 0, 1, 0, 0, 0, 0, 1]
    clusters = ["p", "p", "q", "q", "r", "r", "s", "s"]
    found = paired_difference(a, b, clusters)
    assert (found.test, found.p_value) == ("exact sign-flip over clusters (C=4)", approx(0.5))  # 2 0 2 -1: 4 of 8
    assert found.difference.method == "tango over clusters (C=4)"
    assert found.difference.value == accuracy(a).value - accuracy(b).value
    assert paired_difference(a, b, range(8)) == paired_difference(a, b)  # clusters of one
    assert paired_difference(a, b, np.array(clusters)) == found
    graded = paired_difference([0.5, *a[1:]], b, clusters).difference
    assert graded.method == "gaffke over clusters (C=4)" and -1 < graded.low < graded.value < graded.high < 1


def test_the_same_pairs_twice_in_clusters_are_no_more_certain_than_once():
    a, b = scores(30, 12, 4, 20)
    once = paired_difference(a, b).difference
    twice = paired_difference(a * 2, b * 2, list(range(66)) * 2).difference
    assert twice.stderr == approx(once.stderr, rel=0.01)
    assert (twice.low, twice.high) == approx((once.low, once.high), abs=0.005)


@pytest.mark.shared
def test_real_scores_of_two_models_give_the_published_difference(shared):
    rows = defaultdict(dict)
    with open(shared / "oracles" / "gpqa_diamond_scores.csv", newline="") as file:
        for row in csv.DictReader(file):
            rows[row["model_id"]][row["item_id"], row["epoch"]] = float(row["score"])
    nano, mini = (next(v for k, v in rows.items() if name in k) for name in ("nano", "mini"))
    keys = sorted(nano)
    assert set(keys) == set(mini)
    items = [item for item, _ in keys]
    found = paired_difference([nano[k] for k in keys], [mini[k] for k in keys], items)
    assert found.test == "paired t over clusters (C=198)" and found.p_value == approx(0.0363, abs=6e-5)
    assert (found.difference.value, found.difference.stderr) == approx((0.0586, 0.0278), abs=6e-5)
    assert (found.difference.low, found.difference.high) == approx((0.0038, 0.1134), abs=2e-3)  # theirs is a t interval
    sums = defaultdict(float)
    for key in keys:
        sums[key[0]] += nano[key] - mini[key]
    assert sign_flip(list(sums.values()))[0] == approx(0.0397, abs=0.006)  # by random flips
    reverse = paired_difference([mini[k] for k in keys], [nano[k] for k in keys], items, confidence=0.9)
    assert reverse.difference.low == approx(-0.1045, abs=2e-3)  # so mini is not shown to be within 5 points of nano


def test_noninferiority_is_tangos_example_and_its_bound_and_p_value_agree():
    found = noninferiority(0, 1, 44, margin=0.10)
    assert (found.z, found.p_value) == approx((1.7086, 0.0438), abs=6e-5)
    assert found.holds and found.lower > -0.10
    rng = np.random.default_rng(9)
    for _ in range(300):
        b, c, rest = rng.multinomial(rng.integers(20, 300), [0.1, 0.12, 0.78]).tolist()
        found = noninferiority(b, c, b + c + rest, margin=0.05)
        assert found.holds == (found.lower > -0.05)


def test_models_that_never_differ_are_not_given_an_error_of_zero():
    same = paired_difference([1, 0, 1] * 10, [1, 0, 1] * 10)
    assert (same.difference.value, same.p_value, same.difference.stderr) == (0.0, 1.0, None)
    assert same.difference.low == approx(-0.1135, abs=1e-4) and same.difference.high == approx(0.1135, abs=1e-4)
    graded = paired_difference([0.5] * 40, [0.25] * 40)
    assert graded.difference.value == 0.25 and graded.difference.stderr is None and "alike" in graded.difference.reason
    assert 0.1 < graded.difference.low < 0.25 < graded.difference.high < 0.4
    assert graded.p_value < 0.001
    one = paired_difference([0.5], [0.25])
    assert one.difference.low < -0.9 and "one value" in one.difference.reason and one.p_value == 1.0
    tied = paired_difference([1, 0, 1, 1], [1, 0, 1, 1], list("aabb")).difference
    assert tied.value == 0 and tied.stderr is None and tied.low == -tied.high < -0.5  # two clusters: two samples
    lone = paired_difference([1, 0], [0, 0], ["a", "a"]).difference
    assert lone.value == 0.5 and lone.low is lone.high is None and "one cluster" in lone.reason
    z2 = 1.959964**2  # where all are wins, the end is (n - z^2) / (n + z^2)
    assert paired_difference([1], [0]).difference.low == approx((1 - z2) / (1 + z2), abs=1e-6)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: paired_difference([], []), "a is empty"),
        (lambda: paired_difference([1, 0], [1]), "a has 2 scores and b 1"),
        (lambda: paired_difference([1, 0], [1, 1], ["x"]), "1 clusters for 2"),
        (lambda: paired_difference([1, 0], [1, 2]), "outside 0 to 1"),
        (lambda: tango(3, 2, 4), "3 wins and 2 losses of 4"),
        (lambda: mcnemar_midp(-1, 2), "-1 wins"),
        (lambda: noninferiority(1, 2, 9, margin=5), "margin is 5"),
        (lambda: tango(1, 2, 9, confidence=1.0), "confidence is 1.0"),
        (lambda: sign_flip([]), "differences is empty"),
    ],
)
def test_a_callers_bug_is_a_value_error(call, words):
    with pytest.raises(ValueError, match=words):
        call()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("n", "wins", "losses"), [(20, 0.2, 0.2), (30, 0.15, 0.05), (100, 0.1, 0.02), (400, 0.08, 0.1)]
)
def test_intervals_of_a_paired_difference_cover_the_truth_as_often_as_they_say(n, wins, losses):
    draws = np.random.default_rng(n).multinomial(n, [0.5, wins, losses, 0.5 - wins - losses], size=2000)
    tables, counts = np.unique(draws, axis=0, return_counts=True)

    def covered(interval):
        ends = [interval(table) for table in tables.tolist()]
        return sum(k for e, k in zip(ends, counts) if e.low <= wins - losses <= e.high) / 2000

    assert covered(lambda t: tango(t[1], t[2], n)) == approx(0.95, abs=0.02)
    assert covered(lambda t: newcombe10(*t)) == approx(0.95, abs=0.03)


@pytest.mark.slow
@pytest.mark.parametrize("n", [20, 100])
def test_tests_of_binary_scores_are_wrong_at_most_as_often_as_they_say(n):
    draws = np.random.default_rng(10 + n).multinomial(n, [0.5, 0.15, 0.15, 0.2], size=2000)
    assert np.mean([mcnemar_midp(b, c) <= 0.05 for _, b, c, _ in draws.tolist()]) <= 0.055
    assert np.mean([mcnemar_exact(b, c) <= 0.05 for _, b, c, _ in draws.tolist()]) <= 0.05
    draws = np.random.default_rng(11 + n).multinomial(n, [0.5, 0.10, 0.20, 0.2], size=2000)  # worse by the margin
    assert np.mean([noninferiority(b, c, n, 0.10).holds for _, b, c, _ in draws.tolist()]) <= 0.065


@pytest.mark.slow
@pytest.mark.parametrize(
    ("units", "size", "reps"), [(12, 1, 500), (20, 1, 150), (40, 1, 2000), (12, 5, 500), (40, 5, 2000)]
)
def test_tests_of_graded_scores_are_wrong_as_often_as_they_say(units, size, reps):
    rng = np.random.default_rng(units * size)
    shared_part = rng.normal(scale=0.1, size=(reps, units, 1))  # the same for a whole cluster
    a = np.clip(0.5 + shared_part + rng.normal(scale=0.1, size=(reps, units, size)), 0, 1).reshape(reps, -1)
    clusters = np.arange(units).repeat(size)
    found = [_mean_test(row - 0.5, clusters, units, 0)[0] for row in a]
    assert np.mean(np.array(found) <= 0.05) == approx(0.05, abs=3 * np.sqrt(0.05 * 0.95 / reps))


@pytest.mark.slow
def test_the_test_over_clusters_of_unequal_sizes_is_wrong_as_often_as_it_says():
    rng, wrong, reps = np.random.default_rng(3), 0, 600
    for _ in range(reps):
        sizes = np.maximum(1, rng.lognormal(1.5, 1, size=35)).astype(int)
        codes = np.arange(35).repeat(sizes)
        delta = np.clip(rng.normal(scale=0.2, size=35)[codes] + rng.normal(scale=0.2, size=codes.size), -1, 1)
        wrong += _mean_test(delta, codes, 35, 0)[0] <= 0.05
    assert wrong / reps <= 0.075  # with as many degrees of freedom as clusters it is above 0.08


unit = st.floats(0, 1)
pairs = st.lists(st.tuples(unit, unit, st.integers(0, 4)), min_size=1, max_size=30)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(pairs, st.booleans(), st.booleans())
def test_a_difference_stays_between_minus_1_and_1_and_turns_over_with_the_models(rows, right_or_wrong, clustered):
    a, b, clusters = map(list, zip(*rows))
    if right_or_wrong:
        a, b = np.round(a).tolist(), np.round(b).tolist()
    named = clusters if clustered else None
    there, back = (paired_difference(*pair, named).difference for pair in ((a, b), (b, a)))
    if there.low is not None:
        assert -1 <= there.low <= there.value <= there.high <= 1
        assert (back.low, back.high) == approx((-there.high, -there.low), abs=1e-6)
