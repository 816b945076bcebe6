import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pytest import approx
from statsmodels.stats.inter_rater import cohens_kappa
from statsmodels.stats.inter_rater import fleiss_kappa as their_fleiss

from harness.stats import cohen_kappa, fleiss_kappa, krippendorff_alpha

WIKIPEDIA = [  # ten samples, fourteen judges, five categories
    [0, 0, 0, 0, 14],
    [0, 2, 6, 4, 2],
    [0, 0, 3, 5, 6],
    [0, 3, 9, 2, 0],
    [2, 2, 8, 1, 1],
    [7, 7, 0, 0, 0],
    [3, 2, 6, 3, 0],
    [2, 5, 3, 2, 2],
    [6, 5, 2, 1, 0],
    [0, 2, 2, 3, 7],
]
N = None
KRIPPENDORFF = [  # Computing Krippendorff's alpha-reliability, 2011, part C
    [1, 2, 3, 3, 2, 1, 4, 1, 2, N, N, N],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, N, 3],
    [N, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, N],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, N],
]


def judgements(both, first, second, neither):
    """Returns two judges' verdicts that make this table."""
    return (
        ["y"] * (both + first) + ["n"] * (second + neither),
        ["y"] * both + ["n"] * first + ["y"] * second + ["n"] * neither,
    )


def test_cohens_kappa_is_the_textbooks():
    found = cohen_kappa(*judgements(20, 5, 10, 15))
    assert (found.value, found.stderr) == approx((0.4, 0.1270), abs=6e-5)
    assert (found.low, found.high) == approx((0.1511, 0.6489), abs=0.05)  # theirs is a normal interval
    assert cohen_kappa(*judgements(45, 15, 25, 15)).value == approx(0.1304, abs=6e-5)
    assert cohen_kappa(*judgements(25, 35, 5, 35)).value == approx(0.2593, abs=6e-5)


@pytest.mark.slow
def test_cohens_kappa_and_its_error_equal_statsmodels():
    rng = np.random.default_rng(0)
    for _ in range(200):
        table = rng.multinomial(60, rng.dirichlet(np.ones(9))).reshape(3, 3)
        a = np.repeat([0, 0, 0, 1, 1, 1, 2, 2, 2], table.ravel()).tolist()
        b = np.repeat([0, 1, 2] * 3, table.ravel()).tolist()
        ours, theirs = cohen_kappa(a, b), cohens_kappa(table)
        assert (ours.value, ours.stderr) == approx((theirs.kappa, theirs.std_kappa), abs=1e-9)
        assert cohen_kappa(b, a).value == approx(ours.value)


@pytest.mark.slow
def test_quadratic_weights_and_their_error_equal_statsmodels():
    rng = np.random.default_rng(1)
    for _ in range(200):
        table = rng.multinomial(60, rng.dirichlet(np.ones(16))).reshape(4, 4)
        table[0, 0] += 1
        table[3, 3] += 1  # else the widest distance seen is not that of the scale
        a = np.repeat(np.repeat([1, 2, 3, 4], 4), table.ravel()).tolist()
        b = np.repeat([1, 2, 3, 4] * 4, table.ravel()).tolist()
        ours, theirs = cohen_kappa(a, b, ordered=True), cohens_kappa(table, wt="quadratic")
        assert (ours.value, ours.stderr) == approx((theirs.kappa, theirs.std_kappa), abs=1e-9)


def test_a_near_miss_counts_in_part_only_where_categories_are_ordered():
    a, b = [1, 2, 3, 4, 5] * 4, [2, 2, 4, 4, 5] * 4
    assert cohen_kappa(a, b).value < 0.6 < 0.8 < cohen_kappa(a, b, ordered=True).value


def test_fleiss_kappa_is_wikipedias_and_statsmodels():
    found = fleiss_kappa(WIKIPEDIA)
    assert found.value == approx(0.20993, abs=5e-6)
    assert found.low < found.value < found.high
    rng = np.random.default_rng(1)
    for _ in range(20):
        counts = rng.multinomial(5, rng.dirichlet(np.ones(4)), size=12)
        assert fleiss_kappa(counts).value == approx(their_fleiss(counts), abs=1e-9)


@pytest.mark.parametrize(
    ("level", "alpha"),
    [("nominal", 0.743421), ("ordinal", 0.815388), ("interval", 0.849107), ("ratio", 0.797403)],
)
def test_krippendorffs_alpha_is_his_own(level, alpha):
    found = krippendorff_alpha(KRIPPENDORFF, level)
    assert found.value == approx(alpha, abs=6e-7)
    assert found.n == 11 and found.low < alpha < found.high  # the sample rated once is left out


def test_krippendorffs_alpha_of_two_binary_judges_is_his_own_and_shuffling_judges_changes_nothing():
    two = [[0, 1, 0, 0, 0, 0, 0, 0, 1, 0], [1, 1, 1, 0, 0, 1, 0, 0, 0, 0]]
    assert krippendorff_alpha(two).value == approx(0.095238, abs=6e-7)
    assert krippendorff_alpha(two[::-1]) == krippendorff_alpha(two)
    assert krippendorff_alpha(KRIPPENDORFF[::-1], "ordinal").value == approx(0.815388, abs=6e-7)


def test_full_agreement_is_one_with_a_lower_bound_and_one_category_has_no_value():
    perfect = cohen_kappa(["a", "b", "a"], ["a", "b", "a"])
    assert (perfect.value, perfect.high, perfect.stderr) == (1.0, 1.0, None) and "alike" in perfect.reason
    assert perfect.low < 0 < cohen_kappa(["a", "b", "a"] * 9, ["a", "b", "a"] * 9).low
    assert krippendorff_alpha([[1, 2, 1] * 9, [1, 2, 1] * 9]).value == 1.0
    for found in (
        cohen_kappa(["a", "a"], ["a", "a"]),
        fleiss_kappa([[3, 0], [3, 0]]),
        krippendorff_alpha([[1, 1], [1, 1]]),
    ):
        assert found.value is None and found.low is None and "only one category" in found.reason


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: cohen_kappa([], []), "0 judgements"),
        (lambda: cohen_kappa(["a"], ["a", "b"]), "1 judgements against 2"),
        (lambda: fleiss_kappa([]), "samples and categories"),
        (lambda: fleiss_kappa([[2, 0], [2, 1]]), "same number of judges"),
        (lambda: krippendorff_alpha([]), "judges and samples"),
        (lambda: krippendorff_alpha([[1, N], [N, 2]]), "no sample was rated twice"),
        (lambda: krippendorff_alpha([[1, 2], [2, 1]], "cardinal"), "level is 'cardinal'"),
    ],
)
def test_a_callers_bug_is_a_value_error(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_the_interval_is_that_of_draws_of_the_table():
    rng = np.random.default_rng(4)
    a, b = judgements(20, 5, 10, 15)
    table = rng.gamma([20, 5, 10, 15], size=(100_000, 4))
    more = rng.exponential(size=(100_000, 1)) / 2

    def kappa(cells):
        p = cells / cells.sum(axis=1, keepdims=True)
        chance = (p[:, 0] + p[:, 1]) * (p[:, 0] + p[:, 2]) + (p[:, 2] + p[:, 3]) * (p[:, 1] + p[:, 3])
        return (p[:, 0] + p[:, 3] - chance) / (1 - chance)

    found = cohen_kappa(a, b)
    assert found.low == approx(np.quantile(kappa(table + more * [0, 1, 1, 0]), 0.025), abs=0.015)
    assert found.high == approx(np.quantile(kappa(table + more * [1, 0, 0, 1]), 0.975), abs=0.015)


verdicts = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=30)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(verdicts, st.booleans())
def test_an_interval_of_agreement_lies_between_minus_1_and_1(pairs, ordered):
    a, b = map(list, zip(*pairs))
    counts = [[(x == i) + (y == i) for i in range(4)] for x, y in pairs]
    for found in (cohen_kappa(a, b, ordered=ordered), fleiss_kappa(counts)):
        if found.value is not None:
            assert -1 <= found.low <= found.value <= found.high <= 1


@pytest.mark.slow
@pytest.mark.parametrize(("rate", "n"), [(0.5, 50), (0.05, 50), (0.05, 200)])
def test_the_intervals_of_kappa_cover_the_truth_at_skewed_rates_too(rate, n):
    rng, held, known = np.random.default_rng(2), np.zeros(3), 0
    for _ in range(200):
        first = rng.uniform(size=n) < rate
        second = np.where(rng.uniform(size=n) < 0.8, first, rng.uniform(size=n) < rate)  # kappa 0.8
        a, b = first.astype(int).tolist(), second.astype(int).tolist()
        if len({*a, *b}) == 1:
            continue
        known += 1
        counts = [[2 - x - y, x + y] for x, y in zip(a, b)]
        found = cohen_kappa(a, b), fleiss_kappa(counts), krippendorff_alpha([a, b])
        held += [one.low <= 0.8 <= one.high for one in found]
    assert (held / known >= 0.925).all()
