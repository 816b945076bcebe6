"""How well each part of a task is answered: samples grouped by a column, and the worst part, corrected for looking."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from harness.stats import accuracy, holm
from harness.store.schema import Slice
from harness.values import Record, Sample

EMPTY = "(empty)"
Values = NDArray[np.float64]
Chosen = NDArray[np.bool_]


def value_of(sample: Sample, column: str) -> str:
    """Returns which slice of a column a sample is in."""
    value = sample.row.get(column)
    return EMPTY if value is None or value == "" else str(value)


def by_slice(
    records: Sequence[Record],
    clusters: Sequence[Hashable] | None,
    samples: Mapping[tuple[str, str], Sample],
    columns: Sequence[str],
) -> tuple[Slice, ...]:
    """Returns for each slice its accuracy with interval and its difference to the rest, worst first in each column.

    `p` is of "this slice is no different from all other samples"; `p_holm` is corrected for all slices of all
    columns, since the worst of many always looks bad. None where it is undefined: a slice that is everything, one
    sample, or no spread. `records` all have a value; `clusters` (one for each) are samples that are not independent.
    """
    values = np.array([record.value for record in records], dtype=float)
    found: list[Slice] = []
    for column in columns:
        names = np.array([value_of(samples[record.task, record.sample_id], column) for record in records])
        parts = [_slice(column, name, values, names == name, clusters) for name in sorted(set(names.tolist()))]
        found += sorted(parts, key=lambda part: part.accuracy.value or 0.0)
    known = {i: part.p for i, part in enumerate(found) if part.p is not None}
    adjusted = dict(zip(known, holm(list(known.values())))) if known else {}
    return tuple(replace(part, p_holm=adjusted.get(i), compared=len(known)) for i, part in enumerate(found))


def _slice(column: str, name: str, values: Values, inside: Chosen, clusters: Sequence[Hashable] | None) -> Slice:
    """Returns one slice, its p value not yet corrected."""
    own = None if clusters is None else [cluster for cluster, here in zip(clusters, inside) if here]
    return Slice(
        column=column,
        value=name,
        n=int(inside.sum()),
        accuracy=accuracy(values[inside].tolist(), own),
        rest=float(values[~inside].mean()) if not inside.all() else None,
        p=difference_p(values, inside, clusters),
        p_holm=None,
        compared=0,
    )


def worst(slices: Sequence[Slice], level: float = 0.05) -> Slice | None:
    """Returns the lowest slice that is below the rest beyond chance after Holm's correction, None if there is none."""
    lower = [
        (part.accuracy.value, i)
        for i, part in enumerate(slices)
        if part.p_holm is not None
        and part.p_holm < level
        and part.accuracy.value is not None
        and part.rest is not None
        and part.accuracy.value < part.rest
    ]
    return slices[min(lower)[1]] if lower else None


def difference_p(values: Values, inside: Chosen, clusters: Sequence[Hashable] | None) -> float | None:
    """Returns the two-sided p value of "mean inside = mean outside"; None where it is undefined.

    Scores of 0 and 1 without clusters: Fisher's exact test. Else t = difference / its cluster-robust error (CR1; each
    sample a cluster of its own where none are given), with one degree of freedom less than there are clusters.
    """
    from scipy import special, stats

    n_in, n_out = int(inside.sum()), int((~inside).sum())
    if n_in == 0 or n_out == 0:
        return None
    codes = np.arange(values.size)
    if clusters is not None:
        codes = np.unique([str(cluster) for cluster in clusters], return_inverse=True)[1]
    units = int(codes.max()) + 1
    if units == values.size and set(values.tolist()) <= {0.0, 1.0}:
        right_in, right_out = int(values[inside].sum()), int(values[~inside].sum())
        table = np.array([[right_in, n_in - right_in], [right_out, n_out - right_out]])
        return float(stats.fisher_exact(table).pvalue)
    if units < 3:
        return None
    means = np.where(inside, values[inside].mean(), values[~inside].mean())
    parts = (values - means) * np.where(inside, 1 / n_in, -1 / n_out)
    error = np.sqrt(units / (units - 1) * np.square(np.bincount(codes, weights=parts)).sum())
    if error == 0:
        return None
    t = abs(values[inside].mean() - values[~inside].mean()) / error
    return float(2 * special.stdtr(units - 1, -t))
