"""Intervals of means and ratios of values whose ends are known, without any law of how they are spread between them.

Gaffke 2005 (Preprint 06/2005, Magdeburg); Learned-Miller and Thomas 2019 (arXiv 1905.06208). Each value gets a random
share of a whole (Dirichlet, as in Rubin's Bayesian bootstrap), and one value more stands at the worst end: the quantile
of the mean of these bounds the true mean. For values of 0 and 1 that is Clopper and Pearson's interval, with fewer
independent values than there are rows Korn and Graubard's (1998, Survey Methodology 24:193).

No draw is made: the chance that a sum of gamma variables lies below 0 is computed from their cumulants (Lugannani and
Rice 1980), to about 0.001 in the tail. So the ends depend on no seed, and 100,000 values take a fraction of a second.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import special

from harness.stats.arrays import Floats, check_confidence, crossing

NEAR = 1e-4  # this near to the middle the formula is 0 / 0, and its limit stands in for it


@dataclass(frozen=True, slots=True)
class Ends:
    """Between what a value, or the ratio of each row, must lie."""

    low: float
    high: float


SHARE = Ends(0.0, 1.0)
GAP = Ends(-1.0, 1.0)  # of the difference of two shares


def mean_bounds(values: Floats, ends: Ends, n_effective: float | None, confidence: float) -> tuple[float, float]:
    """Returns the ends of Gaffke's interval of the mean; both lie inside `ends`, and the mean between them.

    `n_effective` is how many independent values these are worth; None: each is one.
    """
    distinct, counts = np.unique(values, return_counts=True)
    weights = counts.astype(float) * (1.0 if n_effective is None else n_effective / values.size)
    return _bounds(distinct, np.ones(distinct.size), weights, ends, confidence)


def ratio_bounds(top: Floats, bottom: Floats, ends: Ends, confidence: float) -> tuple[float, float]:
    """Returns the ends of the same interval of sum(top) / sum(bottom), rows (or clusters) being what varies.

    `bottom` is not negative. The value that stands at the worst end weighs as much as the mean row.
    """
    pairs, counts = np.unique(np.stack([top, bottom], axis=1), axis=0, return_counts=True)
    return _bounds(pairs[:, 0], pairs[:, 1], counts.astype(float), ends, confidence)


def _bounds(top: Floats, bottom: Floats, weights: Floats, ends: Ends, confidence: float) -> tuple[float, float]:
    check_confidence(confidence)
    value = float(top @ weights / (bottom @ weights))
    scale, tail = float(bottom @ weights / weights.sum()), (1 - confidence) / 2
    every = np.append(weights, 1.0)

    def over(t: float, end: float, below: float) -> float:
        """Returns how much more than `below` is the chance that the ratio is at most t, a value more at `end`."""
        factors: Floats = np.append(top - t * bottom, (end - t) * scale)
        return chance_below_zero(every, factors) - below

    gaps = np.append(top - value * bottom, max(ends.high - value, value - ends.low) * scale)
    step = 2 * float(np.sqrt(every @ gaps**2)) / float(bottom @ weights)  # about as far as the ends are
    low = _end(lambda t: over(t, ends.low, tail), value, ends.low, -step)
    high = _end(lambda t: over(t, ends.high, 1 - tail), value, ends.high, step)
    return min(low, value), max(high, value)


def _end(rising: Callable[[float], float], value: float, furthest: float, step: float) -> float:
    """Returns where a rising function crosses 0 between a value and `furthest`, searched for from the value on."""
    near, far = value, value + step
    while (far - furthest) * step < 0 and rising(far) * step < 0:
        near, far, step = far, far + 2 * step, 2 * step
    low, high = sorted((near, far if (far - furthest) * step < 0 else furthest))
    return crossing(lambda t: -rising(t), low, high, steps=40)


def chance_below_zero(shapes: Floats, factors: Floats) -> float:
    """Returns the chance that the sum of factors x independent gamma variables of these shapes is at most 0."""
    scaled = factors / (float(np.abs(factors).max()) or 1.0)
    factors = np.where(np.abs(scaled) < 1e-12, 0.0, scaled)  # so little changes nothing, and would overflow below
    least, most = float(factors.min()), float(factors.max())
    if most <= 0 or least >= 0:
        return 1.0 if most <= 0 else 0.0
    s = _saddlepoint(shapes, factors, 1 / least, 1 / most)
    tilted = factors / (1 - s * factors)
    second = float(shapes @ tilted**2)
    w = float(np.copysign(np.sqrt(max(0.0, 2 * float(shapes @ np.log1p(-s * factors)))), s))
    if abs(w) < NEAR:
        return 0.5 + float(shapes @ tilted**3) / (3 * float(np.sqrt(2 * np.pi * second)) * second)
    density = float(np.exp(-w * w / 2) / np.sqrt(2 * np.pi))
    found = float(special.ndtr(w)) + density * (1 / w - 1 / (s * float(np.sqrt(second))))
    return min(1.0, max(0.0, found))


def _saddlepoint(shapes: Floats, factors: Floats, left: float, right: float) -> float:
    """Returns where the first derivative of the cumulants' function is 0, between its poles: by Newton, kept inside."""
    s = 0.0
    for _ in range(200):
        tilted = factors / (1 - s * factors)
        slope, curve = float(shapes @ tilted), float(shapes @ tilted**2)
        left, right = (left, s) if slope > 0 else (s, right)
        step = s - slope / curve
        step = step if left < step < right else (left + right) / 2
        if abs(step - s) <= 1e-10 * (abs(s) + 1e-12):
            return step
        s = step
    return s
