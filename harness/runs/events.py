"""What happens in a run, told as it happens: what progress bars, notebooks and workers listen to.

    for event in prepared.events(): ...          or          harness.run(..., on_event=listen)

What an event tells is on disk by then. While a listener works nothing is asked: a load waits for it too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from harness.store.schema import BenchRow
from harness.values import CellName, Response, ResponseLine

PhaseName = Literal["answers", "latency", "load", "verdicts"]


@dataclass(frozen=True, slots=True)
class Started:
    """A phase of a cell begins, and so much of it is owed: answers, verdicts, timed requests, or loads at most."""

    cell: CellName
    phase: PhaseName
    owed: int


@dataclass(frozen=True, slots=True)
class Answered:
    """A model answered, or failed to."""

    cell: CellName
    response: ResponseLine


@dataclass(frozen=True, slots=True)
class Timed:
    """A request was timed alone. It is written down with the others of its cell, once all are there."""

    cell: CellName
    response: Response


@dataclass(frozen=True, slots=True)
class Judged:
    """A judge gave its verdict, or failed to. The cell is the judge's."""

    cell: CellName
    response: ResponseLine


@dataclass(frozen=True, slots=True)
class UnderLoad:
    """A load goes on, and so many of its requests have ended. Comes now and then; not all of them are on disk."""

    cell: CellName
    requests: int


@dataclass(frozen=True, slots=True)
class Loaded:
    """A load has ended."""

    cell: CellName
    row: BenchRow


@dataclass(frozen=True, slots=True)
class Stopped:
    """A spend limit ended a model's work: what it owes stays owed."""

    model: str
    reason: str


@dataclass(frozen=True, slots=True)
class Finished:
    """A phase of a cell is done: nothing of it is owed."""

    cell: CellName
    phase: PhaseName


Event: TypeAlias = Started | Answered | Timed | Judged | UnderLoad | Loaded | Stopped | Finished
