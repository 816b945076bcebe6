"""What clustered rows are worth, against matrices written out and known cases."""

import numpy as np
import pytest
from pytest import approx

from harness.stats import accuracy
from harness.stats.clusters import _degrees, clustered_error


def by_matrices(sizes, rho):
    """Returns Bell and McCaffrey's degrees of freedom of CR2 for a mean, from the matrices themselves."""
    n, c = sum(sizes), len(sizes)
    member = np.repeat(np.arange(c), sizes)[:, None] == np.arange(c)
    residual = np.eye(n) - 1 / n
    law = residual @ ((1 - rho) * np.eye(n) + rho * member @ member.T.astype(float)) @ residual
    factors = 1 / (n * np.sqrt(1 - np.array(sizes) / n))
    b = factors[:, None] * (member.T.astype(float) @ law @ member) * factors
    return np.trace(b) ** 2 / np.trace(b @ b)


@pytest.mark.parametrize("sizes", [[4, 4, 4], [1, 2, 9, 3], [1, 1, 1, 1, 20], [5, 5, 5, 5, 5, 6]])
@pytest.mark.parametrize("rho", [0.0, 0.3, 1.0])
def test_degrees_of_freedom_are_those_of_the_matrices(sizes, rho):
    shape = np.array(sizes, dtype=float)
    found = _degrees(shape, 1 / (shape.sum() * np.sqrt(1 - shape / shape.sum())), rho)
    assert found == approx(max(1.0, by_matrices(sizes, rho)))


def test_clusters_of_one_size_have_one_degree_less_than_there_are_and_the_usual_error():
    values = np.random.default_rng(0).uniform(size=60)
    found = clustered_error(values, np.arange(12).repeat(5), 12)
    sums = (values - values.mean()).reshape(12, 5).sum(axis=1)
    assert found.df == approx(11)
    assert found.stderr == approx(np.sqrt((sums**2).sum() * 12 / 11) / 60)  # CR1


def test_the_error_is_unbiased_for_independent_rows_in_very_unequal_clusters():
    rng, codes = np.random.default_rng(1), np.arange(6).repeat([1, 1, 2, 3, 5, 30])
    squares = [clustered_error(rng.normal(size=42), codes, 6).stderr ** 2 for _ in range(4000)]
    assert np.mean(squares) == approx(1 / 42, rel=0.05)


def test_copies_are_worth_what_was_copied_and_independent_rows_all_that_they_are():
    rng = np.random.default_rng(2)
    rows = rng.uniform(size=50)
    copies = clustered_error(rows.repeat(4), np.arange(50).repeat(4), 50)
    assert copies.worth() == approx(50, rel=0.03)
    apart = clustered_error(rng.uniform(size=4000), np.arange(1000).repeat(4), 1000)
    assert 3200 < apart.worth() <= 4000
    assert clustered_error(np.ones(20), np.arange(4).repeat(5), 4).worth() == 4  # all alike: one row each


def test_one_cluster_that_holds_half_of_all_rows_leaves_few_degrees_of_freedom():
    codes = np.repeat(np.arange(41), [100, *[3] * 40])
    p = np.random.default_rng(3).beta(2, 2, size=41)[codes]
    values = (np.random.default_rng(4).uniform(size=codes.size) < p) * 1.0
    found = clustered_error(values, codes, 41)
    assert found.df < 10
    interval = accuracy(values, codes.tolist())
    assert interval.high - interval.low > 2 * 2 * found.stderr


@pytest.mark.slow
@pytest.mark.parametrize(("clusters", "p"), [(10, 0.5), (30, 0.85), (100, 0.95)])
def test_the_interval_covers_the_truth_where_clusters_differ_in_size_and_difficulty(clusters, p):
    rng, held, reps = np.random.default_rng(clusters), 0, 400
    for _ in range(reps):
        codes = np.arange(clusters).repeat(np.maximum(1, rng.lognormal(1.2, 0.7, size=clusters)).astype(int))
        right = rng.beta(4 * p, 4 * (1 - p), size=clusters)[codes]
        found = accuracy((rng.uniform(size=codes.size) < right) * 1.0, codes.tolist())
        held += found.low <= p <= found.high
    assert held / reps >= 0.93
