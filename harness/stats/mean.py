"""One score with its interval. Wilson 1927; Clopper and Pearson 1934; Gaffke 2005; Korn and Graubard 1998.

Every function returns an `Estimate`. What cannot be known (the spread of one value) is None with a reason, never 0.
`stderr` is the usual plug-in, with n - 1; it is None where all outcomes are alike, though the interval is known.
"""

from __future__ import annotations

import numpy as np
from scipy import special

from harness.stats.arrays import Clusters, Floats, Values, as_codes, as_values, check_confidence, is_binary
from harness.stats.bounded import SHARE, Ends, mean_bounds
from harness.stats.clusters import clustered_error
from harness.values import Estimate

ALIKE = "all outcomes are alike: they show no spread to compute a standard error from"
ONE = "one value has no standard error"
ONE_CLUSTER = "one cluster has no standard error"


def accuracy(values: Values, clusters: Clusters | None = None, confidence: float = 0.95) -> Estimate:
    """Returns the mean of scores in [0, 1] with the interval that suits them; `method` names it.

    Scores of 0 and 1 get Wilson's interval, others and clustered ones that of `bounded_mean`.
    Raises ValueError for empty input and for a score outside [0, 1].
    """
    array = as_values(values)
    if array.min() < 0 or array.max() > 1:
        raise ValueError("a score lies outside 0 to 1")
    if is_binary(array) and (clusters is None or as_codes(clusters, array.size)[1] == array.size):
        return wilson(int(array.sum()), array.size, confidence)
    return bounded_mean(array, clusters, confidence=confidence)


def wilson(successes: int, n: int, confidence: float = 0.95) -> Estimate:
    """Returns the share of successes with Wilson's score interval: the default for 0/1 scores, good from n = 1 on."""
    return _share(successes, n, *wilson_bounds(successes, n, confidence), "wilson")


def wilson_bounds(successes: int, n: int, confidence: float) -> tuple[float, float]:
    """Returns the ends of Wilson's score interval."""
    _check_counts(successes, n)
    check_confidence(confidence)
    z, p = special.ndtri((1 + confidence) / 2), successes / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    low = 0.0 if successes == 0 else float(centre - half)
    return low, 1.0 if successes == n else float(centre + half)


def clopper_pearson(successes: int, n: int, confidence: float = 0.95) -> Estimate:
    """Returns the share of successes with the exact interval: never covers less than `confidence`, so it is wider.

    Use it where a guarantee is claimed ("at most 1 % of refunds go wrong").
    """
    _check_counts(successes, n)
    check_confidence(confidence)
    tail = (1 - confidence) / 2
    low = 0.0 if successes == 0 else float(special.betaincinv(successes, n - successes + 1, tail))
    high = 1.0 if successes == n else float(special.betaincinv(successes + 1, n - successes, 1 - tail))
    return _share(successes, n, low, high, "clopper-pearson")


def bounded_mean(
    values: Values, clusters: Clusters | None = None, ends: Ends = SHARE, confidence: float = 0.95
) -> Estimate:
    """Returns the mean of values that lie between two ends, with Gaffke's interval, which holds for any n.

    With clusters (one per value) of more than one value the rows count as the independent ones that they are worth
    (`clusters.clustered_error`): for scores of 0 and 1 that is Korn and Graubard's interval. One cluster has none.
    `stderr` is then CR2, which for clusters of one size is the usual CR1.
    """
    array = as_values(values)
    check_confidence(confidence)
    if array.min() < ends.low or array.max() > ends.high:
        raise ValueError(f"a value lies outside {ends.low:g} to {ends.high:g}")
    codes, count = (np.arange(array.size), array.size) if clusters is None else as_codes(clusters, array.size)
    if count == array.size:
        return _independent(array, ends, confidence)
    mean, n = float(array.mean()), array.size
    name = "korn-graubard" if is_binary(array) and ends == SHARE else "gaffke"
    method = f"{name} over clusters (C={count})"
    if count == 1:
        return Estimate(mean, n=n, method=method, reason=ONE_CLUSTER)
    error = clustered_error(array, codes, count)
    low, high = mean_bounds(array, ends, error.worth_at(confidence), confidence)
    known = error.stderr > 0
    return Estimate(mean, low, high, error.stderr if known else None, n, method, None if known else ALIKE)


def _independent(array: Floats, ends: Ends, confidence: float) -> Estimate:
    n, mean = array.size, float(array.mean())
    low, high = mean_bounds(array, ends, None, confidence)
    if n == 1 or np.ptp(array) == 0:
        return Estimate(mean, low, high, None, n, "gaffke", ONE if n == 1 else ALIKE)
    return Estimate(mean, low, high, float(array.std(ddof=1) / np.sqrt(n)), n, "gaffke")


def _share(successes: int, n: int, low: float, high: float, method: str) -> Estimate:
    p = successes / n
    if successes in (0, n):
        return Estimate(p, low, high, None, n, method, ALIKE)
    return Estimate(p, low, high, float(np.sqrt(p * (1 - p) / (n - 1))), n, method)


def _check_counts(successes: int, n: int) -> None:
    if n < 1 or not 0 <= successes <= n:
        raise ValueError(f"{successes} successes of {n} is no share")
