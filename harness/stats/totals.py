"""Sums in which one unknown makes the whole unknown."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

Number = TypeVar("Number", int, float)


def total(values: Iterable[Number | None]) -> Number | None:
    """Returns the sum; None if any part is unknown."""
    whole: Number = 0
    for value in values:
        if value is None:
            return None
        whole += value
    return whole
