"""Means that were judged by a fallible judge, corrected with human labels.

Angelopoulos et al. 2023 (arXiv 2301.09633) and 2311.01453 (tuned lambda); Rogan and Gladen 1978, with the variance of
Lee et al. 2025 (arXiv 2511.21140). Both hold only if the labelled samples are a uniform random draw of all samples.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from harness.stats.arrays import Floats, as_values, check_confidence
from harness.stats.bounded import SHARE, Ends, mean_bounds
from harness.values import Estimate

ENOUGH = 30  # labels of people
DRAWN = 20_000  # the ends of a melded interval then move by about 1 % of its width from seed to seed


def ppi_mean(
    human: Sequence[float],
    judge: Sequence[float],
    judge_only: Sequence[float],
    weight: float | None = None,
    confidence: float = 0.95,
) -> Estimate:
    """Returns the mean human score in [0, 1], by prediction-powered inference.

    `human` and `judge` are both scores of the labelled samples, shape (n,); `judge_only` the judge's of all others,
    shape (N,). `weight` (lambda) says how far the judge is used: None tunes it for the smallest variance (in [0, 1]),
    1 is plain PPI, 0 is the human mean alone. The interval joins Gaffke's of what the labels correct and of the
    judge's mean (MOVER: Zou and Donner 2008, Stat Med 27:1693). Below 30 labels it is refused: the tuned weight is
    then itself a guess. Raises ValueError for a score outside [0, 1].
    """
    check_confidence(confidence)
    y, f, rest = as_values(human, "human"), as_values(judge, "judge"), as_values(judge_only, "judge_only")
    if y.size != f.size:
        raise ValueError(f"{y.size} human scores and {f.size} of the judge for the same samples")
    if min(y.min(), f.min(), rest.min()) < 0 or max(y.max(), f.max(), rest.max()) > 1:
        raise ValueError("a score lies outside 0 to 1")
    n, spread = y.size, float(np.var(np.concatenate([f, rest])))
    if weight is None:
        slope = float(((y - y.mean()) * (f - f.mean())).mean()) / ((1 + n / rest.size) * spread) if spread > 0 else 0.0
        weight = min(1.0, max(0.0, slope))
    gaps, judged = y - weight * f, float(rest.mean())
    gap, method = float(gaps.mean()), f"ppi (lambda={weight:.2f}, {n} labels)"
    value = min(1.0, max(0.0, weight * judged + gap))
    error = float(np.sqrt(float(np.var(gaps)) / n + weight**2 * float(np.var(rest)) / rest.size))
    stderr = error if n > 1 and error > 1e-9 else None
    if n < ENOUGH:
        reason = f"{n} labels of people are too few for an interval: {ENOUGH} are the fewest that it holds for"
        return Estimate(value, stderr=stderr, n=n + rest.size, method=method, reason=reason)
    of_gap = mean_bounds(gaps, Ends(-weight, 1.0), None, confidence)
    of_judge = mean_bounds(rest, SHARE, None, confidence)
    low = value - float(np.hypot(gap - of_gap[0], weight * (judged - of_judge[0])))
    high = value + float(np.hypot(of_gap[1] - gap, weight * (of_judge[1] - judged)))
    return Estimate(value, max(0.0, low), min(1.0, high), stderr, n + rest.size, method)


def rogan_gladen(
    passed: int,
    n: int,
    true_positives: int,
    positives: int,
    true_negatives: int,
    negatives: int,
    confidence: float = 0.95,
) -> Estimate:
    """Returns the true pass rate, given that a judge passed `passed` of n and how it does on labelled samples.

    Of `positives` samples that truly pass it passed `true_positives` (sensitivity), of `negatives` that truly fail it
    failed `true_negatives` (specificity). A judge no better than a coin corrects nothing: then there is no value.
    The interval is melded from those of the three shares (Fay, Proschan and Brittain 2015, Biometrics 71:146; Bayer,
    Fay and Graubard 2023, Stat Med 42:1822), from fixed draws; it holds for few labels too, and is then wide.
    """
    check_confidence(confidence)
    for part, whole in ((passed, n), (true_positives, positives), (true_negatives, negatives)):
        if whole < 1 or not 0 <= part <= whole:
            raise ValueError(f"{part} of {whole} is no share")
    p, q1, q0 = passed / n, true_positives / positives, true_negatives / negatives
    power = q0 + q1 - 1
    if power <= 0:
        return Estimate(None, n=n, method="rogan-gladen", reason="the judge is no better than chance on the labels")
    value = min(1.0, max(0.0, (p + q0 - 1) / power))
    variance = p * (1 - p) / n + (1 - value) ** 2 * q0 * (1 - q0) / negatives + value**2 * q1 * (1 - q1) / positives
    low, high = _melded((passed, n), (true_positives, positives), (true_negatives, negatives), confidence)
    stderr = float(np.sqrt(variance)) / power if variance > 0 else None
    reason = None if stderr is not None else "no outcome varies: there is no spread to compute a standard error from"
    return Estimate(value, min(low, value), max(high, value), stderr, n, "rogan-gladen", reason)


Count = tuple[int, int]  # how many, and of how many


def _melded(passed: Count, right: Count, refused: Count, confidence: float) -> tuple[float, float]:
    """Returns the ends of the corrected rate: each share is drawn from where its exact interval has its end."""
    rng, ends = np.random.default_rng(0), []
    for up in (False, True):
        p, q0 = (_ends_of(rng, share, up) for share in (passed, refused))
        q1 = _ends_of(rng, right, not up)  # the more it finds of what passes, the lower is the corrected rate
        power = q0 + q1 - 1
        rate = np.divide(p + q0 - 1, power, out=np.full(DRAWN, float(up)), where=power > 0)
        ends.append(float(np.quantile(np.clip(rate, 0.0, 1.0), (1 + confidence) / 2 if up else (1 - confidence) / 2)))
    return ends[0], ends[1]


def _ends_of(rng: np.random.Generator, share: Count, up: bool) -> Floats:
    """Returns draws of the upper or the lower end of Clopper and Pearson's interval at a random confidence."""
    part, whole = share
    if part == (whole if up else 0):
        return np.full(DRAWN, float(up))
    return rng.beta(part + up, whole - part + (not up), size=DRAWN)
