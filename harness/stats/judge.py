"""Means that were judged by a fallible judge, corrected with human labels.

Angelopoulos et al. 2023 (arXiv 2301.09633) and 2311.01453 (tuned lambda); Rogan and Gladen 1978, with the variance of
Lee et al. 2025 (arXiv 2511.21140). Both hold only if the labelled samples are a uniform random draw of all samples.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import special

from harness.stats.arrays import as_values, check_confidence
from harness.values import Estimate


def ppi_mean(
    human: Sequence[float],
    judge: Sequence[float],
    judge_only: Sequence[float],
    weight: float | None = None,
    confidence: float = 0.95,
) -> Estimate:
    """Returns the mean human score, by prediction-powered inference.

    `human` and `judge` are both scores of the labelled samples, shape (n,); `judge_only` the judge's of all others,
    shape (N,). `weight` (lambda) says how far the judge is used: None tunes it for the smallest variance (in [0, 1]),
    1 is plain PPI, 0 is the human mean alone. The interval is normal: from about 30 labels on.
    """
    check_confidence(confidence)
    y, f, rest = as_values(human, "human"), as_values(judge, "judge"), as_values(judge_only, "judge_only")
    if y.size != f.size:
        raise ValueError(f"{y.size} human scores and {f.size} of the judge for the same samples")
    n, spread = y.size, float(np.var(np.concatenate([f, rest])))
    if weight is None:
        slope = float(((y - y.mean()) * (f - f.mean())).mean()) / ((1 + n / rest.size) * spread) if spread > 0 else 0.0
        weight = min(1.0, max(0.0, slope))
    value = float(weight * rest.mean() + (y - weight * f).mean())
    method = f"ppi (lambda={weight:.2f}, {n} labels)"
    if n == 1:
        return Estimate(value, n=n + rest.size, method=method, reason="one label has no standard error")
    variance = float(np.var(y - weight * f)) / n + weight**2 * float(np.var(rest)) / rest.size
    if variance <= 1e-18:
        return Estimate(value, n=n + rest.size, method=method, reason="judge and labels agree wholly: no spread to use")
    return _normal(value, variance, n + rest.size, method, confidence)


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
    if variance == 0:
        return Estimate(value, n=n, method="rogan-gladen", reason="no outcome varies: no spread to use")
    return _normal(value, variance / power**2, n, "rogan-gladen", confidence)


def _normal(value: float, variance: float, n: int, method: str, confidence: float) -> Estimate:
    error = float(np.sqrt(variance))
    half = float(special.ndtri((1 + confidence) / 2)) * error
    return Estimate(value, value - half, value + half, error, n, method)
