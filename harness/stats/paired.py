"""Two models on the same samples. The difference is always a - b, and always has an interval.

    b  samples that a got right and b wrong (wins of a)      c  the reverse (losses of a)

Sources: McNemar 1947; Newcombe 1998 (Stat Med 17:2635); Tango 1998 (Stat Med 17:891); Fagerland et al. 2013 (BMC Med
Res Meth 13:91) on why mid-p; Gaffke 2005 for graded scores (`bounded`). Ids must be aligned by the caller.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from harness.stats.arrays import (
    Clusters,
    Codes,
    Floats,
    Values,
    as_codes,
    as_values,
    check_confidence,
    crossing,
    is_binary,
)
from harness.stats.bounded import GAP
from harness.stats.clusters import clustered_error
from harness.stats.mean import ALIKE, ONE_CLUSTER, bounded_mean, wilson_bounds
from harness.values import Estimate

FEW = 30  # below this many independent differences the t distribution is not trusted for the p value
EXACT = 16  # up to this many differences all 2^n sign flips are counted
DRAWS = 9_999  # beyond: this many random flips, so that the smallest p value is 1/10,000


@dataclass(frozen=True, slots=True)
class Comparison:
    """Model a against model b on the same samples. `difference` is a - b."""

    difference: Estimate
    p_value: float  # two-sided, for "no difference"
    test: str
    wins: int  # samples on which a scored higher
    losses: int
    ties: int


@dataclass(frozen=True, slots=True)
class NonInferiority:
    """Whether a is at most `margin` worse than b. `lower` is the one-sided bound of a - b."""

    holds: bool
    lower: float
    margin: float
    z: float
    p_value: float  # one-sided, for "a is worse by the margin or more"


def paired_difference(
    a: Sequence[float],
    b: Sequence[float],
    clusters: Clusters | None = None,
    confidence: float = 0.95,
    seed: int = 0,
) -> Comparison:
    """Returns a - b over the same samples, in the same order, with interval and two-sided p value.

    Scores lie in [0, 1]. Of 0/1 scores: Tango's score interval and McNemar's mid-p. Otherwise Gaffke's interval, and
    the t test from 30 differences on; below that the sign-flip test, exact up to 16 differences that are not 0, else
    with `seed`. With clusters of more than one sample the same intervals for the independent samples that they are
    worth, and the same tests with a cluster as the unit. Raises ValueError when a and b differ in length, are empty,
    or hold a score outside [0, 1].
    """
    first, second = as_values(a, "a"), as_values(b, "b")
    if first.size != second.size:
        raise ValueError(f"a has {first.size} scores and b {second.size}: they must be of the same samples")
    if min(first.min(), second.min()) < 0 or max(first.max(), second.max()) > 1:
        raise ValueError("a score lies outside 0 to 1")
    delta, n = first - second, first.size
    wins, losses = int((delta > 0).sum()), int((delta < 0).sum())
    codes, units = (np.arange(n), n) if clusters is None else as_codes(clusters, n)
    if not is_binary(first, second):
        difference = bounded_mean(delta, codes, GAP, confidence)
    elif units == n:
        difference = tango(wins, losses, n, confidence)
    else:
        difference = clustered_tango(delta, codes, units, confidence)
    if units == n and is_binary(first, second):
        p_value, test = mcnemar_midp(wins, losses), "McNemar mid-p"
    else:
        p_value, test = _mean_test(delta, codes, units, seed)
    return Comparison(difference, p_value, test, wins, losses, n - wins - losses)


def _mean_test(delta: Floats, codes: Codes, units: int, seed: int) -> tuple[float, str]:
    """Returns the two-sided p value of "the mean of the differences is 0", and the name of the test."""
    over = "" if units == delta.size else f" over clusters (C={units})"
    if units >= FEW:
        error = clustered_error(delta, codes, units)
        if error.stderr > 0:
            ratio = abs(float(delta.mean())) / error.stderr
            return float(2 * special.stdtr(error.df, -ratio)), f"paired t{over}"
    p_value, test = sign_flip(np.asarray(np.bincount(codes, weights=delta), dtype=float), seed)
    return p_value, test + over


def clustered_tango(delta: Floats, codes: Codes, count: int, confidence: float = 0.95) -> Estimate:
    """Returns the mean of differences of -1, 0 and 1 with Tango's interval for the rows that they are worth.

    Wins, losses and n are scaled down by how much more the mean varies than that of as many independent rows would;
    Student's quantile stands for the normal one. `stderr` as in `bounded_mean`.
    """
    n, value, method = delta.size, float(delta.mean()), f"tango over clusters (C={count})"
    if count == 1:
        return Estimate(value, n=n, method=method, reason=ONE_CLUSTER)
    error = clustered_error(delta, codes, count)
    share = error.worth_at(confidence) / n
    wins, losses = share * int((delta > 0).sum()), share * int((delta < 0).sum())
    low, high = _tango_bounds(wins, losses, share * n, confidence)
    known = error.stderr > 0
    return Estimate(value, low, high, error.stderr if known else None, n, method, None if known else ALIKE)


def tango(b: int, c: int, n: int, confidence: float = 0.95) -> Estimate:
    """Returns (b - c) / n with Tango's score interval, near exact also at small n. The models differ on b + c of n."""
    _check_table(b, c, n)
    value = (b - c) / n
    low, high = _tango_bounds(b, c, n, confidence)
    spread = (b + c) - (b - c) ** 2 / n
    if spread <= 0:  # no discordant sample, or nothing but wins (or losses)
        return Estimate(value, low, high, None, n, "tango", ALIKE)
    return Estimate(value, low, high, float(np.sqrt(spread)) / n, n, "tango")


def _tango_bounds(b: float, c: float, n: float, confidence: float) -> tuple[float, float]:
    check_confidence(confidence)
    z, value = float(special.ndtri((1 + confidence) / 2)), (b - c) / n
    low = crossing(lambda delta: tango_z(b, c, n, delta) - z, -1.0, value)
    return low, crossing(lambda delta: tango_z(b, c, n, delta) + z, value, 1.0)


def tango_z(b: float, c: float, n: float, delta: float) -> float:
    """Returns Tango's score statistic for "the true difference is delta", standard normal under it (1998, eq. 4)."""
    # q: the probability of a loss that is most likely under delta; the larger root of 2n q^2 + s q + k = 0.
    s, k = -b - c + (2 * n - b + c) * delta, -c * delta * (1 - delta)
    root = np.sqrt(max(0.0, s * s - 8 * n * k))
    q = (root - s) / (4 * n) if s <= 0 else -2 * k / (root + s)  # the same root; each form cancels where not used
    variance = n * (2 * q + delta * (1 - delta))
    gap = b - c - n * delta
    if variance <= 0:
        return 0.0 if gap == 0 else float(np.copysign(np.inf, gap))
    return float(gap / np.sqrt(variance))


def noninferiority(b: int, c: int, n: int, margin: float, confidence: float = 0.95) -> NonInferiority:
    """Returns whether a is at most `margin` (a share, fixed before the run) worse than b, by Tango's score test.

    `lower` is the one-sided bound at `confidence`; `holds` says that it lies above -margin.
    """
    _check_table(b, c, n)
    if not 0 < margin < 1:
        raise ValueError(f"margin is {margin}, not a share between 0 and 1")
    z = tango_z(b, c, n, -margin)
    lower, _ = _tango_bounds(b, c, n, 2 * confidence - 1)  # the two-sided interval leaves 1 - confidence below it
    p_value = float(special.ndtr(-z))
    return NonInferiority(p_value < 1 - confidence, lower, margin, z, p_value)


def mcnemar_exact(b: int, c: int) -> float:
    """Returns the two-sided exact p value; too large at small counts, mid-p is the default."""
    _check_table(b, c, b + c)
    return float(min(1.0, 2 * special.bdtr(min(b, c), b + c, 0.5)))


def mcnemar_midp(b: int, c: int) -> float:
    """Returns the two-sided mid-p value: the exact one less the probability of the observed split."""
    _check_table(b, c, b + c)
    k, m = min(b, c), b + c
    point = np.exp(-np.log(m + 1) - special.betaln(k + 1, m - k + 1) - m * np.log(2))
    return float(min(1.0, 2 * special.bdtr(k, m, 0.5) - point))


def newcombe10(a: int, b: int, c: int, d: int, confidence: float = 0.95) -> Estimate:
    """Returns (b - c) / n with Newcombe's hybrid score interval (his method 10); a both right, d both wrong."""
    n = a + b + c + d
    _check_table(b, c, n)
    first, second = wilson_bounds(a + b, n, confidence), wilson_bounds(a + c, n, confidence)
    gap = float(a * d - b * c)
    gap = max(gap - n / 2, 0.0) if gap > 0 else gap  # the correction that makes it method 10
    margins = (a + b) * (c + d) * (a + c) * (b + d)
    phi = gap / np.sqrt(margins) if margins else 0.0

    def reach(u: float, v: float) -> float:
        return float(np.sqrt(u * u - 2 * phi * u * v + v * v))

    right_a, right_b, value = (a + b) / n, (a + c) / n, (b - c) / n
    below = reach(right_a - first[0], second[1] - right_b)
    above = reach(first[1] - right_a, right_b - second[0])
    return Estimate(value, value - below, value + above, None, n, "newcombe 10", "the method gives an interval only")


def sign_flip(differences: Values, seed: int = 0) -> tuple[float, str]:
    """Returns the two-sided p value of the sum of differences under random signs, and the name of the test.

    Exact up to 16 differences that are not 0 (zeros change nothing), else 9,999 random flips drawn from `seed`.
    """
    nonzero = as_values(differences, "differences")
    nonzero = nonzero[nonzero != 0]
    observed = abs(nonzero.sum()) * (1 - 1e-9)  # equal sums may differ in the last bits
    if nonzero.size <= EXACT:
        signs = 1 - 2 * ((np.arange(2**nonzero.size)[:, None] >> np.arange(nonzero.size)) & 1)
        return float((np.abs(signs @ nonzero) >= observed).mean()), "exact sign-flip"
    signs = np.random.default_rng(seed).choice((-1.0, 1.0), size=(DRAWS, nonzero.size))
    return float((1 + (np.abs(signs @ nonzero) >= observed).sum()) / (DRAWS + 1)), "sign-flip"


def _check_table(b: int, c: int, n: int) -> None:
    if min(b, c) < 0 or b + c > n:
        raise ValueError(f"{b} wins and {c} losses of {n} samples is no table")
