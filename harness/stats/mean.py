"""One score with its interval. Formulas: Wilson 1927; Clopper and Pearson 1934; Miller 2024 (arXiv 2411.00640).

Every function returns an `Estimate`. What cannot be known (the spread of one value) is None with a reason, never 0.
`stderr` is the usual plug-in, with n - 1; it is None where all outcomes are alike, also where the interval is known.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy import special

from harness.stats.arrays import Clusters, Values, as_codes, as_values, check_confidence, is_binary
from harness.values import Estimate

ALIKE = "all outcomes are alike: they show no spread to compute a standard error from"


def accuracy(values: Values, clusters: Clusters | None = None, confidence: float = 0.95) -> Estimate:
    """Returns the mean of scores in [0, 1] with the interval that suits them; `method` names it.

    Scores of 0 and 1 get Wilson's, others Student's t, cut to [0, 1]. With clusters (one per value) of more than one
    value, the clustered t. If all clustered answers are right, or all wrong, that t has no spread: then Wilson's
    with the number of clusters as n, as if each cluster were one answer (which is the cautious reading).
    Raises ValueError for empty input and for a score outside [0, 1].
    """
    array = as_values(values)
    if array.min() < 0 or array.max() > 1:
        raise ValueError("a score lies outside 0 to 1")
    if clusters is not None:
        _, count = as_codes(clusters, array.size)
        if count < array.size:
            if is_binary(array) and np.ptp(array) == 0:
                alike = wilson(count * int(array[0]), count, confidence)
                return replace(alike, n=array.size, method=f"wilson over clusters (C={count})")
            return _cut(clustered_mean(array, clusters, confidence))
    if is_binary(array):
        return wilson(int(array.sum()), array.size, confidence)
    return _cut(t_mean(array, confidence))


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


def t_mean(values: Values, confidence: float = 0.95) -> Estimate:
    """Returns the mean with Student's t interval, n - 1 degrees of freedom."""
    array = as_values(values)
    check_confidence(confidence)
    n, mean = array.size, float(array.mean())
    if n == 1:
        return Estimate(mean, n=1, method="t", reason="one value has no standard error")
    if np.ptp(array) == 0:
        return Estimate(mean, n=n, method="t", reason=ALIKE)
    return t_interval(mean, float(array.std(ddof=1) / np.sqrt(n)), n - 1, n, "t", confidence)


def clustered_mean(values: Values, clusters: Clusters, confidence: float = 0.95) -> Estimate:
    """Returns the mean with the cluster-robust standard error (CR1) and t with C - 1 degrees of freedom.

    Values of one cluster (questions on one document, epochs of one sample) are not independent: the plain error can
    be a third of the true one. With fewer than about 30 clusters of very different sizes it is still somewhat narrow.
    """
    array = as_values(values)
    check_confidence(confidence)
    codes, count = as_codes(clusters, array.size)
    mean, method = float(array.mean()), f"clustered t (C={count})"
    if count == 1:
        return Estimate(mean, n=array.size, method=method, reason="one cluster has no standard error")
    sums = np.bincount(codes, weights=array - mean)
    error = float(np.sqrt((sums**2).sum() * count / (count - 1)) / array.size)
    if error <= 1e-12 * max(1.0, float(np.abs(array).max())):  # rounding only
        return Estimate(mean, n=array.size, method=method, reason=ALIKE)
    return t_interval(mean, error, count - 1, array.size, method, confidence)


def t_interval(value: float, stderr: float, df: int, n: int, method: str, confidence: float) -> Estimate:
    """Returns value +- t * stderr, t with `df` degrees of freedom."""
    half = float(special.stdtrit(df, (1 + confidence) / 2)) * stderr
    return Estimate(value, value - half, value + half, stderr, n, method)


def _share(successes: int, n: int, low: float, high: float, method: str) -> Estimate:
    p = successes / n
    if successes in (0, n):
        return Estimate(p, low, high, None, n, method, ALIKE)
    return Estimate(p, low, high, float(np.sqrt(p * (1 - p) / (n - 1))), n, method)


def _cut(estimate: Estimate) -> Estimate:
    """Returns the interval cut to [0, 1], where a score lies."""
    if estimate.low is None or estimate.high is None:
        return estimate
    return replace(estimate, low=max(0.0, estimate.low), high=min(1.0, estimate.high))


def _check_counts(successes: int, n: int) -> None:
    if n < 1 or not 0 <= successes <= n:
        raise ValueError(f"{successes} successes of {n} is no share")
