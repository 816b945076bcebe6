"""Checks and groupings shared by every statistic. What is refused here is a caller's bug, so it raises ValueError."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]
Codes: TypeAlias = npt.NDArray[np.intp]  # places, or the cluster of each value, from 0
Values: TypeAlias = Sequence[float] | Floats
Clusters: TypeAlias = Sequence[Hashable] | Codes


def as_values(values: Values, name: str = "values") -> Floats:
    """Returns a float array of shape (n,). Raises ValueError when it is empty, not flat, or holds no finite number."""
    array = np.asarray(values, dtype=float)
    if array.ndim != 1:
        raise ValueError(f"{name} must be one row of numbers, not of shape {array.shape}")
    if array.size == 0:
        raise ValueError(f"{name} is empty")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} holds a value that is not a finite number")
    return array


def as_codes(clusters: Clusters, n: int) -> tuple[Codes, int]:
    """Returns the cluster of each of n values as 0 .. C-1 in order of first appearance, shape (n,), and C.

    Raises ValueError when the lengths differ or a value has no cluster (None).
    """
    if len(clusters) != n:
        raise ValueError(f"{len(clusters)} clusters for {n} values")
    index: dict[Hashable, int] = {}
    codes = np.array([index.setdefault(cluster, len(index)) for cluster in clusters])
    if None in index:
        raise ValueError("some values have no cluster; give every value one, or none")
    return codes, len(index)


def check_confidence(confidence: float) -> None:
    """Raises ValueError unless 0 < confidence < 1."""
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence}, not between 0 and 1")


def is_binary(*arrays: Floats) -> bool:
    """Returns whether all values are 0 or 1."""
    return all(bool(np.isin(array, (0.0, 1.0)).all()) for array in arrays)


def crossing(falling: Callable[[float], float], low: float, high: float, steps: int = 60) -> float:
    """Returns where a falling function crosses 0 between low and high, by bisection; the end it leans to if never."""
    for _ in range(steps):
        middle = (low + high) / 2
        if falling(middle) > 0:
            low = middle
        else:
            high = middle
    return (low + high) / 2
