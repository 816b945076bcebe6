"""How far judges agree beyond chance. Cohen 1960; Fleiss, Cohen and Everitt 1969; Fleiss 1971; Krippendorff 2011.

1 is full agreement, 0 is what chance alone would give. Undefined where nobody ever used a second category.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from harness.stats.arrays import Floats, check_confidence
from harness.stats.bootstrap import Extremes, drawn_counts, interval_of, one_row_more
from harness.stats.mean import ALIKE
from harness.values import Estimate

Level = Literal["nominal", "ordinal", "interval", "ratio"]
ONE_CATEGORY = "only one category was ever used: agreement beyond chance is not defined"


def cohen_kappa(
    a: Sequence[Hashable], b: Sequence[Hashable], confidence: float = 0.95, *, ordered: bool = False
) -> Estimate:
    """Returns Cohen's kappa of two judges of the same samples.

    `ordered`: the categories are numbers, and a near miss counts in part (quadratic weights, Fleiss and Cohen 1973).
    The interval is the Bayesian bootstrap's with one sample more, a disagreement or an agreement, spread over all
    categories. `stderr` is the large-sample one (Fleiss, Cohen and Everitt 1969), None where it would be 0.
    """
    check_confidence(confidence)
    if len(a) != len(b) or not len(a):
        raise ValueError(f"{len(a)} judgements against {len(b)}: they must be of the same samples")
    method = "cohen kappa, quadratic weights" if ordered else "cohen kappa"
    categories = list(dict.fromkeys((*a, *b)))
    index = {category: i for i, category in enumerate(categories)}
    k, n = len(index), len(a)
    weights = _nearness(categories) if ordered else np.eye(k)

    def kappa(sums: Floats) -> Floats:
        p = (sums / sums.sum(axis=1, keepdims=True)).reshape(-1, k, k)
        chance = np.einsum("ri,ij,rj->r", p.sum(axis=2), weights, p.sum(axis=1))
        return _beyond(1 - (p * weights).sum(axis=(1, 2)), 1 - chance)

    if k == 1:
        return Estimate(None, n=n, method=method, reason=ONE_CATEGORY)
    counts = np.bincount([index[x] * k + index[y] for x, y in zip(a, b)], minlength=k * k)
    seen, apart = np.flatnonzero(counts), (1 - weights).ravel()
    extremes = Extremes(apart / apart.sum(), np.eye(k).ravel() / k)
    drawn = drawn_counts(np.eye(k * k)[seen], counts[seen])
    found = interval_of(float(kappa(counts[None].astype(float))[0]), drawn, kappa, extremes, n, confidence)
    if found.value is None:
        return Estimate(None, n=n, method=method, reason=ONE_CATEGORY)
    error = _large_sample_error(counts.reshape(k, k) / n, weights, found.value, n)
    return replace(found, method=method, stderr=error, reason=None if error is not None else ALIKE)


def _large_sample_error(p: Floats, weights: Floats, kappa: float, n: int) -> float | None:
    """Returns the standard error of kappa; None where no judgement varies from the rest."""
    rows, columns = p.sum(axis=1), p.sum(axis=0)
    chance = float(rows @ weights @ columns)
    # Fleiss, Cohen and Everitt 1969, eq. 13
    usual = (weights @ columns)[:, None] + (rows @ weights)[None, :]
    variance = float((p * (weights - usual * (1 - kappa)) ** 2).sum())
    variance = (variance - (kappa - chance * (1 - kappa)) ** 2) / (n * (1 - chance) ** 2)
    return float(np.sqrt(variance)) if variance > 1e-15 else None


def _nearness(categories: Sequence[Hashable]) -> Floats:
    """Returns 1 - (distance / the largest distance)² of every two numbers."""
    values = np.array(categories, dtype=float)
    spread = float(np.ptp(values)) or 1.0
    nearness: Floats = 1 - ((values[:, None] - values[None, :]) / spread) ** 2
    return nearness


def fleiss_kappa(counts: Sequence[Sequence[int]], confidence: float = 0.95, seed: int = 0) -> Estimate:
    """Returns Fleiss' kappa, with an interval as that of Cohen's kappa.

    `counts` has shape (samples, categories): how many judges chose each; every sample has the same number of judges.
    """
    table = np.asarray(counts, dtype=float)
    if table.ndim != 2 or table.size == 0:
        raise ValueError(f"counts must have samples and categories, not shape {table.shape}")
    judges = table.sum(axis=1)
    if judges.min() < 2 or np.ptp(judges) > 0:
        raise ValueError("every sample needs the same number of judges, two or more")
    m = judges[0]
    agreeing = (table * (table - 1)).sum(axis=1) / (m * (m - 1))
    ones = np.ones(len(table))

    def kappa(sums: Floats) -> Floats:
        observed, rows = sums[:, 0] / sums[:, 1], sums[:, 1]
        chance = ((sums[:, 2:] / (rows * m)[:, None]) ** 2).sum(axis=1)
        return _beyond(1 - observed, 1 - chance)

    k = table.shape[1]
    even = np.full(k, m / k)  # of one sample more: all judges of one mind, or as far apart as they can be
    extremes = Extremes(np.array([_least_agreement(m, k), 1.0, *even]), np.array([1.0, 1.0, *even]))
    rows = np.column_stack([agreeing, ones, table])
    return _named(one_row_more(rows, kappa, extremes, confidence=confidence, seed=seed), "fleiss kappa")


def krippendorff_alpha(
    ratings: Sequence[Sequence[float | None]], level: Level = "nominal", confidence: float = 0.95, seed: int = 0
) -> Estimate:
    """Returns Krippendorff's alpha for any number of judges, with gaps; its interval as that of Cohen's kappa.

    `ratings` has shape (judges, samples); None or NaN is a rating not given. `level` is how two ratings differ:
    equal or not, by rank, by their distance, or by their distance over their sum.
    """
    array = np.array([[np.nan if value is None else value for value in row] for row in ratings], dtype=float)
    if array.ndim != 2 or array.size == 0:
        raise ValueError(f"ratings must have judges and samples, not shape {array.shape}")
    values = np.unique(array[~np.isnan(array)])
    counts = (array[:, :, None] == values).sum(axis=0)  # (samples, values)
    counts = counts[counts.sum(axis=1) > 1]  # a sample rated once says nothing of agreement
    if counts.size == 0:
        raise ValueError("no sample was rated twice")
    m, v = counts.sum(axis=1), len(values)
    pairs = counts[:, :, None] * counts[:, None, :] - counts[:, :, None] * np.eye(v)
    coincidences = pairs / (m - 1)[:, None, None]  # (samples, values, values)

    def alpha(sums: Floats) -> Floats:
        o = sums.reshape(-1, v, v)
        marginal = o.sum(axis=2)
        total = marginal.sum(axis=1)
        distance = _distance(level, values, marginal)
        expected = (marginal[:, :, None] * marginal[:, None, :] * distance).sum(axis=(1, 2)) / (total - 1)
        return _beyond((o * distance).sum(axis=(1, 2)), expected)

    whole, apart = float(m.mean()), 1 - np.eye(v)
    extremes = Extremes((apart / max(1.0, apart.sum()) * whole).ravel(), (np.eye(v) / v * whole).ravel())
    table = coincidences.reshape(len(counts), v * v)
    found = one_row_more(table, alpha, extremes, confidence=confidence, seed=seed)
    return _named(found, f"krippendorff alpha ({level})")


def _least_agreement(judges: float, categories: int) -> float:
    """Returns the share of pairs of judges that agree where they spread over the categories as evenly as they can."""
    each, over = divmod(int(judges), categories)
    agreeing = over * (each + 1) * each + (categories - over) * each * (each - 1)
    return agreeing / (judges * (judges - 1))


def _distance(level: Level, values: Floats, marginal: Floats) -> Floats:
    """Returns the squared difference of every two values, (1 or r, v, v); that of ranks depends on the marginals."""
    gap: Floats = values[:, None] - values[None, :]
    if level == "nominal":
        apart: Floats = (gap != 0).astype(float)
        return apart[None]
    if level == "interval":
        return np.square(gap)[None]
    if level == "ratio":
        total = values[:, None] + values[None, :]
        share = np.zeros_like(gap)
        np.divide(gap, total, out=share, where=total != 0)
        return np.square(share)[None]
    if level == "ordinal":
        middle = np.cumsum(marginal, axis=1) - marginal / 2  # ratings up to the middle of each value
        return np.square(middle[:, :, None] - middle[:, None, :])
    raise ValueError(f"level is {level!r}, not nominal, ordinal, interval or ratio")


def _beyond(seen: Floats, expected: Floats) -> Floats:
    """Returns 1 - seen / expected disagreement, NaN where none is expected."""
    return 1 - np.divide(seen, expected, out=np.full_like(expected, np.nan), where=expected > 1e-12)


def _named(estimate: Estimate, method: str) -> Estimate:
    reason = ONE_CATEGORY if estimate.value is None else estimate.reason
    return replace(estimate, method=method, reason=reason)
