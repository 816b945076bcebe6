"""Judging labels: F1, precision and recall of each label, and which label is taken for which.

No answer (None) is an abstention: it misses the expected label and claims no other. F1 = 2 tp / (2 tp + fp + fn).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from harness.stats.arrays import Clusters, Floats, as_codes
from harness.stats.bootstrap import drawn_sums
from harness.stats.bounded import SHARE, ratio_bounds
from harness.stats.mean import ALIKE, ONE_CLUSTER, accuracy
from harness.values import Estimate

EACH = 10  # samples a label, on average: with fewer the macro mean has no interval
SMOOTHED = "smoothed bayesian bootstrap"


@dataclass(frozen=True, slots=True)
class LabelScore:
    """One label. A share is None where its denominator is 0: never answered (precision), never expected (recall)."""

    label: str
    precision: float | None
    recall: float | None
    f1: float | None  # None: neither expected nor answered; then it is left out of the macro mean
    support: int  # samples that expect it
    f1_low: float | None = None  # 95 % interval of f1; None: there is none
    f1_high: float | None = None


@dataclass(frozen=True, slots=True)
class Classification:
    """How a model does on labels. `confusion[i][j]`: samples of labels[i] answered labels[j]; the last column, nothing.

    `confusion` is None for multi-label tasks, where one label is not taken for another.
    """

    macro_f1: Estimate  # the mean over labels: rare labels count as much as common ones
    micro_f1: Estimate  # over all decisions; equals accuracy where every sample has one label and an answer
    labels: tuple[LabelScore, ...]
    abstentions: int
    confusion: tuple[tuple[int, ...], ...] | None


def single_label(
    expected: Sequence[str],
    answers: Sequence[str | None],
    labels: Sequence[str] | None = None,
    clusters: Clusters | None = None,
    confidence: float = 0.95,
    seed: int = 0,
) -> Classification:
    """Returns the scores of single labels, with intervals over samples (or their clusters).

    `labels` sets their order and adds those that the data lack; without it they are all that occur, sorted.
    Raises ValueError for empty input, differing lengths, and a label that is none of `labels`.
    """
    truth = [{label} for label in expected]
    found = [None if answer is None else {answer} for answer in answers]
    names, report = _report(truth, found, labels, clusters, confidence, seed)
    index = {name: i for i, name in enumerate(names)}
    confusion = np.zeros((len(names), len(names) + 1), dtype=int)
    for label, answer in zip(expected, answers):
        confusion[index[label], len(names) if answer is None else index[answer]] += 1
    return replace(report, confusion=tuple(map(tuple, confusion.tolist())))


def multi_label(
    expected: Sequence[Collection[str]],
    answers: Sequence[Collection[str] | None],
    labels: Sequence[str] | None = None,
    clusters: Clusters | None = None,
    confidence: float = 0.95,
    seed: int = 0,
) -> Classification:
    """Returns the scores of sets of labels, as `single_label` does; an empty set is an answer, None is none."""
    truth = [set(labels_of) for labels_of in expected]
    found = [None if answer is None else set(answer) for answer in answers]
    return _report(truth, found, labels, clusters, confidence, seed)[1]


def _report(
    truth: list[set[str]],
    found: list[set[str] | None],
    labels: Sequence[str] | None,
    clusters: Clusters | None,
    confidence: float,
    seed: int,
) -> tuple[list[str], Classification]:
    if len(truth) != len(found) or not truth:
        raise ValueError(f"{len(truth)} expected labels and {len(found)} answers")
    claimed = [answer or set() for answer in found]
    seen = set().union(*truth, *claimed)
    names = sorted(seen) if labels is None else list(labels)
    if unknown := sorted(seen - set(names)):
        raise ValueError(f"{unknown[0]!r} is none of the labels")
    if not names:
        raise ValueError("no label is expected and none was answered")
    index = {name: i for i, name in enumerate(names)}
    wanted, given = _indicators(truth, index), _indicators(claimed, index)
    hits = wanted * given
    # tp, fp + fn: all that F1 needs, (n, 2L)
    table = np.concatenate([hits, wanted + given - 2 * hits], axis=1)
    macro, micro = _macro(table, clusters, confidence, seed), _micro(table, clusters, confidence)
    scores = tuple(
        LabelScore(name, _share(tp, g), _share(tp, w), _share(2 * tp, g + w), int(w), *ends)
        for name, tp, w, g, ends in zip(
            names,
            hits.sum(axis=0),
            wanted.sum(axis=0),
            given.sum(axis=0),
            (_f1_ends(hits[:, i], (wanted + given)[:, i] > 0, clusters, confidence) for i in range(len(names))),
        )
    )
    return names, Classification(macro, micro, scores, sum(answer is None for answer in found), None)


def _macro(table: Floats, clusters: Clusters | None, confidence: float, seed: int) -> Estimate:
    """Returns the macro mean with the interval of a smoothed Bayesian bootstrap, one sample more at the worst.

    Each label gets one decision more, right as often as all of them are: a label that was always right so far need
    not stay so. What the draws lie beside the value on average is taken off, since F1 of few samples is biased. It is
    refused below ten samples a label, where simulations (`tests/benchmarks/coverage.py`) show it too narrow.
    """
    n, k = len(table), table.shape[1] // 2
    total = table.sum(axis=0)
    value, seen = float(_macro_f1(total[None])[0]), total[:k] + total[k:] > 0
    if n < EACH * seen.sum():
        reason = f"{n} samples of {int(seen.sum())} labels are too few for an interval: it takes {EACH} a label"
        return Estimate(value, n=n, method=SMOOTHED, reason=reason)
    if clusters is not None and as_codes(clusters, n)[1] == 1:
        return Estimate(value, n=n, method=SMOOTHED, reason=ONE_CLUSTER)
    drawn, rng = drawn_sums(table, clusters, seed), np.random.default_rng(seed + 1)
    plain = _macro_f1(drawn.sums)
    right = (total[:k].sum() + 0.5) / (total.sum() + 1)
    more = rng.standard_gamma(np.repeat([right, 1 - right], k), size=drawn.sums.shape) * np.tile(seen, 2)
    smoothed = drawn.sums + more
    each = seen / seen.sum()
    wrong, hit = np.concatenate([0 * each, 2 * each]), np.concatenate([each, 0 * each])
    bias, tail = float(np.nanmean(plain)) - value, (1 - confidence) / 2
    low = float(np.nanquantile(_macro_f1(smoothed + drawn.more * wrong), tail)) - bias
    high = float(np.nanquantile(_macro_f1(smoothed + drawn.more * hit), 1 - tail)) - bias
    known = np.ptp(plain) > 1e-12
    error = float(plain.std()) if known else None
    low, high = min(value, max(0.0, low)), max(value, min(1.0, high))
    return Estimate(value, low, high, error, n, SMOOTHED, None if known else ALIKE)


def _micro(table: Floats, clusters: Clusters | None, confidence: float) -> Estimate:
    """Returns F1 over all decisions, as the ratio of sums over samples (or clusters) that it is."""
    n, k, method = len(table), table.shape[1] // 2, "gaffke of a ratio"
    codes, count = (np.arange(n), n) if clusters is None else as_codes(clusters, n)
    tops, wrongs = 2 * table[:, :k].sum(axis=1), table[:, k:].sum(axis=1)
    top = np.asarray(np.bincount(codes, weights=tops, minlength=count), dtype=float)
    bottom = top + np.asarray(np.bincount(codes, weights=wrongs, minlength=count), dtype=float)
    if not bottom.sum():
        return Estimate(None, n=n, method=method, reason="the statistic is not defined for these values")
    value = float(top.sum() / bottom.sum())
    if count == 1 < n:
        return Estimate(value, n=n, method=method, reason=ONE_CLUSTER)
    low, high = ratio_bounds(top, bottom, SHARE, confidence)
    gaps = (top - value * bottom) / bottom.sum()
    error = float(np.sqrt(np.square(gaps).sum() * count / max(1, count - 1)))
    known = error > 1e-12
    return Estimate(value, low, high, error if known else None, n, method, None if known else ALIKE)


def _f1_ends(
    hits: Floats, named: npt.NDArray[np.bool_], clusters: Clusters | None, confidence: float
) -> tuple[float | None, float | None]:
    """Returns the ends of one label's F1 = 2 J / (1 + J), J being the share of hits where it is expected or answered.

    Given those samples J is a share like any other, with Wilson's interval (Korn and Graubard's over clusters).
    """
    if not named.any():
        return None, None
    own = None if clusters is None else [cluster for cluster, here in zip(clusters, named) if here]
    found = accuracy(hits[named], own, confidence)
    low, high = (None if end is None else 2 * end / (1 + end) for end in (found.low, found.high))
    return low, high


def _indicators(sets: list[set[str]], index: dict[str, int]) -> Floats:
    array = np.zeros((len(sets), len(index)))
    for row, labels in enumerate(sets):
        for label in labels:
            array[row, index[label]] = 1
    return array


def _macro_f1(sums: Floats) -> Floats:
    """Returns the mean F1 over the labels that occur, shape (r,), from sums of shape (r, 2L)."""
    tp, wrong = np.split(sums, 2, axis=1)
    below = 2 * tp + wrong
    f1 = np.divide(2 * tp, below, out=np.zeros_like(tp), where=below > 0)
    occurring = (below > 0).sum(axis=1)
    mean = np.full(len(sums), np.nan)
    np.divide(f1.sum(axis=1), occurring, out=mean, where=occurring > 0)
    return mean


def _share(part: float, whole: float) -> float | None:
    return float(part / whole) if whole > 0 else None
