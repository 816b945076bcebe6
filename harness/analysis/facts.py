"""What a summary is made from: the files of a run, read, and what lies beside each cell of its plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from harness.analysis.usage import CellUsage
from harness.analysis.verdicts import NOTHING_HEARD, Heard
from harness.store.schema import Measurement, PassLine, PlanFile
from harness.values import CellName, Record, Sample

Samples = Mapping[tuple[str, str], Sample]  # by task and sample id
Line = TypeVar("Line")


@dataclass(frozen=True, slots=True)
class RunFacts:
    """The files of a run: its plan and samples, the records that follow, and what was measured and said meanwhile."""

    plan: PlanFile
    samples: Samples
    records: Mapping[CellName, Sequence[Record]]  # of each cell that has any
    measurements: Sequence[Measurement]
    usage: Mapping[CellName, CellUsage]  # what the logs tell of each cell, a judge's too
    heard: Heard = field(default=NOTHING_HEARD)

    def lines(self, kind: type[Line], cell: CellName) -> list[Line]:
        """Returns the measurements of one kind of one cell, in the order they were made."""
        return [line for line in self.measurements if isinstance(line, kind) and _cell_of(line) == cell]

    def every(self, kind: type[Line]) -> list[Line]:
        """Returns the measurements of one kind, in the order they were made."""
        return [line for line in self.measurements if isinstance(line, kind)]

    def cut_off(self, cell: CellName) -> bool:
        """Returns whether a sitting was killed or interrupted with requests under way, of which nothing is known."""
        passes = self.lines(PassLine, cell)
        return self.usage[cell].lines > sum(line.responses for line in passes) or any(line.cut_off for line in passes)


def _cell_of(line: object) -> CellName:
    return getattr(line, "model", ""), getattr(line, "task", "")


def by_cell(records: Sequence[Record]) -> dict[CellName, list[Record]]:
    """Returns the records of each model on each task."""
    cells: dict[CellName, list[Record]] = {}
    for record in records:
        cells.setdefault((record.model, record.task), []).append(record)
    return cells
