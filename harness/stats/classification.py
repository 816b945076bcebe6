"""Judging labels: F1, precision and recall of each label, and which label is taken for which.

No answer (None) is an abstention: it misses the expected label and claims no other. F1 = 2 tp / (2 tp + fp + fn).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np

from harness.stats.arrays import Clusters, Floats
from harness.stats.bootstrap import bootstrap_sums
from harness.values import Estimate


@dataclass(frozen=True, slots=True)
class LabelScore:
    """One label. A share is None where its denominator is 0: never answered (precision), never expected (recall)."""

    label: str
    precision: float | None
    recall: float | None
    f1: float | None  # None: neither expected nor answered; then it is left out of the macro mean
    support: int  # samples that expect it


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
    """Returns the scores of single labels, intervals by bootstrap over samples (or their clusters).

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
    macro = bootstrap_sums(table, _macro_f1, clusters, confidence=confidence, seed=seed)
    micro = bootstrap_sums(table, _micro_f1, clusters, confidence=confidence, seed=seed)
    scores = tuple(
        LabelScore(name, _share(tp, g), _share(tp, w), _share(2 * tp, g + w), int(w))
        for name, tp, w, g in zip(names, hits.sum(axis=0), wanted.sum(axis=0), given.sum(axis=0))
    )
    return names, Classification(macro, micro, scores, sum(answer is None for answer in found), None)


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


def _micro_f1(sums: Floats) -> Floats:
    tp, wrong = (half.sum(axis=1) for half in np.split(sums, 2, axis=1))
    below = 2 * tp + wrong
    f1 = np.full(len(sums), np.nan)
    np.divide(2 * tp, below, out=f1, where=below > 0)
    return f1


def _share(part: float, whole: float) -> float | None:
    return float(part / whole) if whole > 0 else None
