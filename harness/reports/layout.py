"""Cells of tables: how a figure is written, and what is written where it is not known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from harness.values import Estimate

UNKNOWN = "–"


@dataclass(frozen=True, slots=True)
class Table:
    """Cells as text, ready to be set: rows under the title of their group. The first column is words."""

    title: str
    columns: tuple[str, ...]
    groups: tuple[tuple[str, tuple[tuple[str, ...], ...]], ...]


View = Literal["run", "slices", "labels"]  # all of a run; each value of the tasks' `slices`; each label


def interval(estimate: Estimate | None) -> str:
    """Returns a share in per cent with its interval."""
    if estimate is None or estimate.value is None:
        return UNKNOWN
    value = f"{100 * estimate.value:.1f}"
    if estimate.low is None or estimate.high is None:
        return value
    return f"{value} [{100 * estimate.low:.1f}, {100 * estimate.high:.1f}]"


def bounded(estimate: Estimate | None) -> str:
    """Returns a number with its interval, such as a mean cost in the unit of the task's table of costs."""
    if estimate is None or estimate.value is None:
        return ""
    known = estimate.low is not None and estimate.high is not None
    return f"{estimate.value:.2f}" + (f" [{estimate.low:.2f}, {estimate.high:.2f}]" if known else "")


def percent(estimate: Estimate | None) -> str:
    """Returns a share in per cent."""
    return UNKNOWN if estimate is None or estimate.value is None else f"{100 * estimate.value:.1f}"


def number(value: float | None, scale: float = 1.0) -> str:
    """Returns three significant digits, without an exponent where it stays short."""
    if value is None:
        return UNKNOWN
    value *= scale
    if value == 0:
        return "0"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    if abs(value) < 0.0001:
        return f"{value:.1e}"
    digits = max(0, 2 - _exponent(value))
    return f"{value:.{digits}f}"


def _exponent(value: float) -> int:
    return int(f"{value:e}".partition("e")[2])
