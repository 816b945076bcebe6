"""Intervals by resampling, for statistics that have no formula. Efron and Tibshirani 1993, chapters 13 and 14.

What is resampled is a row, or a whole cluster of rows where clusters are given. The same seed gives the same interval.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import special

from harness.stats.arrays import Clusters, Codes, Floats, Values, as_codes, as_values, check_confidence
from harness.stats.bounded import Ends, ratio_bounds
from harness.stats.mean import ALIKE, ONE_CLUSTER
from harness.values import Estimate

Method = Literal["bca", "percentile"]

BAYESIAN = "bayesian bootstrap"
RESAMPLES = 4_999  # the ends of a 95 % interval then move by about 2 % of its width from seed to seed
UNDEFINED = 0.01  # a larger share of resamples without a value, and there is no interval
BATCH = 4_000_000  # weights held at once (32 MB)
WHOLE, FEWEST = 20_000_000, 499  # weights drawn in all, and the fewest draws: of very many rows fewer draws will do


def bootstrap(
    rows: Values,
    statistic: Callable[[Floats], float] = np.mean,
    clusters: Clusters | None = None,
    method: Method = "bca",
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Estimate:
    """Returns statistic(rows) with its bootstrap standard error and interval.

    `rows` has shape (n,) or (n, k); `statistic` gets some of the rows, some of them repeated, and returns a number.
    For a function of column sums `bootstrap_sums` gives the same much faster. No interval (with a reason) where
    there is one row or cluster, or where over 1 % of the resamples have no value. Raises ValueError for empty input.
    """
    array = np.asarray(rows, dtype=float)
    if array.shape[:1] in ((), (0,)):
        raise ValueError("rows is empty")
    members = _members(clusters, len(array))

    def value_of(chosen: Floats) -> float:
        return float(statistic(array[np.concatenate([members[unit] for unit in chosen])]))

    units, rng = np.arange(len(members)), np.random.default_rng(seed)
    value = float(statistic(array))
    if len(units) == 1:
        return _one_unit(value, len(array), method)
    draws = np.array([value_of(rng.choice(units, len(units))) for _ in range(resamples)])
    left_out = np.array([value_of(np.delete(units, unit)) for unit in units]) if method == "bca" else None
    return _estimate(value, draws, left_out, len(array), method, confidence)


def bootstrap_sums(
    table: Floats,
    function: Callable[[Floats], Floats],
    clusters: Clusters | None = None,
    method: Method = "bca",
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Estimate:
    """Returns function(column sums of table) with its bootstrap standard error and interval.

    `table` has shape (n, m). `function` maps sums of shape (r, m) to values of shape (r,), so that all resamples are
    one matrix product. Means, ratios, F1 and kappa are such functions. Reasons and errors as for `bootstrap`.
    """
    array = np.asarray(table, dtype=float)
    if array.ndim != 2 or array.size == 0:
        raise ValueError(f"table must have rows and columns, not shape {array.shape}")
    sums = _sums(array, clusters)
    units, total, rng = len(sums), sums.sum(axis=0), np.random.default_rng(seed)
    value = float(function(total[None])[0])
    if units == 1:
        return _one_unit(value, len(array), method)
    step, draws = max(1, BATCH // units), []
    for start in range(0, resamples, step):
        size = min(step, resamples - start)
        chosen = rng.integers(units, size=(size, units)) + units * np.arange(size)[:, None]
        weights = np.bincount(chosen.ravel(), minlength=size * units).reshape(size, units)
        draws.append(function(weights @ sums))
    left_out = function(total - sums) if method == "bca" else None
    return _estimate(value, np.concatenate(draws), left_out, len(array), method, confidence)


@dataclass(frozen=True, slots=True)
class Extremes:
    """One row more, as it would be at the worst for the lower and for the upper end; shape (m,) each."""

    low: Floats
    high: Floats


@dataclass(frozen=True, slots=True)
class Drawn:
    """Column sums in which each row has a random share of the whole: shape (draws, m), and that of one row more."""

    sums: Floats
    more: Floats  # (draws, 1)


def drawn_sums(table: Floats, clusters: Clusters | None = None, seed: int = 0) -> Drawn:
    """Returns draws of the column sums of table (n, m) by Rubin's Bayesian bootstrap (1981), rows or clusters drawn."""
    rows, counts = np.unique(_sums(np.asarray(table, dtype=float), clusters), axis=0, return_counts=True)
    return drawn_counts(rows, counts, seed)


def drawn_counts(rows: Floats, counts: Codes, seed: int = 0) -> Drawn:
    """Returns the same of rows of which each occurs `counts` times."""
    draws = int(np.clip(WHOLE // max(rows.shape), FEWEST, RESAMPLES))
    rng, parts = np.random.default_rng(seed), []
    step = max(1, BATCH // len(rows))
    for start in range(0, draws, step):
        size = (min(step, draws - start), len(rows))
        shares = rng.standard_exponential(size) if counts.max() == 1 else rng.standard_gamma(counts, size)
        parts.append(shares @ rows)
    return Drawn(np.concatenate(parts), rng.standard_exponential((draws, 1)))


def one_row_more(
    table: Floats,
    function: Callable[[Floats], Floats],
    extremes: Extremes,
    clusters: Clusters | None = None,
    confidence: float = 0.95,
    seed: int = 0,
) -> Estimate:
    """Returns function(column sums of table) with the interval of the Bayesian bootstrap, one row more at the worst.

    That row is what Gaffke's interval of a mean has too (`bounded`): without it rows that are all alike, or lack what
    is rare, would give an interval of no width. `stderr` is the spread of the draws without it. One cluster has no
    interval; nor has what is undefined for over 1 % of the draws.
    """
    array = np.asarray(table, dtype=float)
    value = float(function(array.sum(axis=0)[None])[0])
    if clusters is not None and as_codes(clusters, len(array))[1] == 1 < len(array):
        return Estimate(value, n=len(array), method=BAYESIAN, reason=ONE_CLUSTER)
    return interval_of(value, drawn_sums(array, clusters, seed), function, extremes, len(array), confidence)


def interval_of(
    value: float,
    drawn: Drawn,
    function: Callable[[Floats], Floats],
    extremes: Extremes,
    n: int,
    confidence: float,
) -> Estimate:
    """Returns a value with the interval that `one_row_more` describes, from the draws; NaN has no value."""
    check_confidence(confidence)
    if not np.isfinite(value):
        return Estimate(None, n=n, method=BAYESIAN, reason="the statistic is not defined for these values")
    tail = (1 - confidence) / 2
    lows, highs = (function(drawn.sums + drawn.more * row) for row in (extremes.low, extremes.high))
    if min(np.isfinite(lows).mean(), np.isfinite(highs).mean()) < 1 - UNDEFINED:
        return Estimate(value, n=n, method=BAYESIAN, reason="not defined for some of the draws")
    low, high = float(np.nanquantile(lows, tail)), float(np.nanquantile(highs, 1 - tail))
    spread = function(drawn.sums)
    spread = spread[np.isfinite(spread)]
    known = spread.size > 1 and np.ptp(spread) > 1e-12 * max(1.0, abs(value))
    error, reason = (float(spread.std()), None) if known else (None, ALIKE)
    return Estimate(value, min(value, low), max(value, high), error, n, BAYESIAN, reason)


def ratio_of_sums(
    top: Sequence[float], bottom: Sequence[float], clusters: Clusters | None = None, confidence: float = 0.95
) -> Estimate:
    """Returns sum(top) / sum(bottom), such as dollars spent per correct answer: `bottom` holds scores in [0, 1].

    The interval is that of bottom / top turned over, by `bounded.ratio_bounds`: one sample more is all right or all
    wrong, at the mean cost. Nothing correct at all: no value.
    """
    over, under = as_values(top, "top"), as_values(bottom, "bottom")
    if over.size != under.size:
        raise ValueError(f"top has {over.size} values and bottom {under.size}")
    if min(over.min(), under.min()) < 0 or under.max() > 1:
        raise ValueError("what is divided is negative, or a score lies outside 0 to 1")
    n, method = over.size, "gaffke of a ratio"
    if under.sum() == 0:
        return Estimate(None, n=n, method=method, reason="nothing to divide by: the sum below is 0")
    value = float(over.sum() / under.sum())
    if over.sum() == 0:
        return Estimate(value, n=n, method=method, reason=ALIKE)
    pairs = _sums(np.stack([over, under], axis=1), clusters)
    if len(pairs) == 1 < n:
        return Estimate(value, n=n, method=method, reason=ONE_CLUSTER)
    low, high = ratio_bounds(pairs[:, 1], pairs[:, 0], Ends(0.0, n / float(over.sum())), confidence)
    gaps = (pairs[:, 0] - value * pairs[:, 1]) / under.sum()
    error = float(np.sqrt(np.square(gaps).sum() * len(pairs) / max(1, len(pairs) - 1)))  # delta method
    known = error > 1e-12 * value
    ends = min(value, 1 / high), max(value, 1 / low)
    return Estimate(value, *ends, error if known else None, n, method, None if known else ALIKE)


def _sums(table: Floats, clusters: Clusters | None) -> Floats:
    """Returns the rows, or the sums of each cluster of them."""
    if clusters is None:
        return table
    codes, count = as_codes(clusters, len(table))
    sums = np.zeros((count, table.shape[1]))
    np.add.at(sums, codes, table)
    return sums


def _members(clusters: Clusters | None, n: int) -> list[Floats]:
    """Returns the row numbers of each unit that is resampled."""
    if clusters is None:
        return list(np.arange(n)[:, None])
    codes, count = as_codes(clusters, n)
    return np.split(np.argsort(codes, kind="stable"), np.cumsum(np.bincount(codes, minlength=count))[:-1])


def _estimate(
    value: float, draws: Floats, left_out: Floats | None, n: int, method: Method, confidence: float
) -> Estimate:
    check_confidence(confidence)
    name = f"{method} bootstrap"
    if not np.isfinite(value):
        return Estimate(None, n=n, method=name, reason="the statistic is not defined for these values")
    undefined = 1 - np.isfinite(draws).mean()
    if undefined > UNDEFINED:
        return Estimate(value, n=n, method=name, reason=f"not defined for {100 * undefined:.0f} % of the resamples")
    draws = draws[np.isfinite(draws)]
    if np.ptp(draws) <= 1e-12 * max(1.0, abs(value)):
        return Estimate(value, n=n, method=name, reason=ALIKE)
    tails = np.array([(1 - confidence) / 2, (1 + confidence) / 2])
    if left_out is not None:
        tails = _bca_tails(value, draws, left_out, tails)
    low, high = np.quantile(draws, tails)
    return Estimate(value, float(low), float(high), float(draws.std(ddof=1)), n, name)


def _bca_tails(value: float, draws: Floats, left_out: Floats, tails: Floats) -> Floats:
    """Returns the quantiles to read instead of `tails`: shifted for bias and for an error that grows with the value."""
    share = ((draws < value).mean() + (draws <= value).mean()) / 2  # ties count half
    bias = special.ndtri(np.clip(share, 0.5 / len(draws), 1 - 0.5 / len(draws)))
    gap = left_out[np.isfinite(left_out)]
    gap = gap.mean() - gap
    squares = (gap**2).sum()
    acceleration = (gap**3).sum() / (6 * squares**1.5) if squares > 0 else 0.0
    z = bias + special.ndtri(tails)
    shifted: Floats = special.ndtr(bias + z / (1 - acceleration * z))
    return shifted


def _one_unit(value: float, n: int, method: Method) -> Estimate:
    return Estimate(value, n=n, method=f"{method} bootstrap", reason="one value or cluster has no standard error")
