"""P values when many comparisons are made. The family is every comparison that was run, not every one that is shown."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from harness.stats.arrays import Codes, Floats, as_values


def holm(p_values: Sequence[float]) -> list[float]:
    """Returns Holm's adjusted p values, in the order given: for "which of these differ" (Holm 1979).

    The chance of even one false claim stays below the level, whatever the dependence.
    """
    p = _checked(p_values)
    order, m = np.argsort(p, kind="stable"), p.size
    adjusted = np.maximum.accumulate(p[order] * (m - np.arange(m)))
    return _back(adjusted, order)


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """Returns Benjamini and Hochberg's adjusted p values, in the order given: for screening many tasks (1995).

    The expected share of false claims among the claims made stays below the level.
    """
    p = _checked(p_values)
    order, m = np.argsort(p, kind="stable"), p.size
    scaled = p[order] * m / np.arange(1, m + 1)
    return _back(np.minimum.accumulate(scaled[::-1])[::-1], order)


def _checked(p_values: Sequence[float]) -> Floats:
    p = as_values(p_values, "p_values")
    if p.min() < 0 or p.max() > 1:
        raise ValueError("a p value lies outside 0 to 1")
    return p


def _back(adjusted: Floats, order: Codes) -> list[float]:
    """Returns the adjusted values in the order the p values came in, none above 1."""
    result = np.empty_like(adjusted)
    result[order] = np.minimum(adjusted, 1.0)
    return [float(value) for value in result]
