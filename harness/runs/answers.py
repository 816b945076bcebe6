"""The phase of the answers: all requests of a cell, a turn of its conversations after the other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from itertools import chain

from harness.backends.base import Backend
from harness.measure.energy import Meter
from harness.runs.device import at_rest, counters_of
from harness.runs.events import Answered, PhaseName
from harness.runs.recording import Recording, recorded
from harness.runs.requests import Cell
from harness.runs.turns import said_before, turns, unasked, whole
from harness.store.folder import RunFolder
from harness.store.lines import add_measurement
from harness.store.schema import EnergyLine, EngineLine
from harness.values import CellName, Request, Response


@dataclass(frozen=True, slots=True)
class Answers:
    """The answers of one model to one task."""

    of: Cell
    folder: RunFolder
    idle: dict[str, float | None]  # watts at rest by device, of those measured in this sitting
    name: PhaseName = field(default="answers", init=False)

    @property
    def cell(self) -> CellName:
        """Returns the model and the task."""
        return self.of.name

    def owed(self) -> int:
        """Returns how many requests have no response yet, or one that failed and may succeed now."""
        done = self.folder.responses().keys()
        return sum(request.key not in done for request in self.of.requests)

    @contextmanager
    def begun(self, model: Backend) -> Iterator[_Asking]:
        """Gives the cell to ask; what it took and drew is written down at the end, however that comes."""
        watts = at_rest(model, self.idle)
        counters, reason = counters_of(model)
        meter, recording = Meter(counters, reason=reason), None
        try:
            with recorded(self.of, self.folder.responses(), self.folder) as recording, meter:
                yield _Asking(self.of, self.folder, model, recording)
        finally:
            if recording is not None and recording.done:
                name, task, mode = *self.cell, self.of.mode
                joules = asdict(meter.energy(watts))
                add_measurement(self.folder.path, EnergyLine(model=name, task=task, mode=mode, **joules))
                took = model.computed() if mode == "loglikelihood" else None
                if took is not None:
                    add_measurement(self.folder.path, EngineLine(model=name, task=task, mode=mode, **asdict(took)))


class _Asking:
    """A cell while it is asked."""

    def __init__(self, cell: Cell, folder: RunFolder, model: Backend, recording: Recording) -> None:
        self._cell, self._folder, self._model, self._recording = cell, folder, model, recording
        self._said = said_before(cell, folder)

    def batches(self) -> Iterator[Sequence[Request]]:
        """Yields what is owed of the first turns, of the second, and so on."""
        done, asked = self._folder.responses().keys(), self._recording.asked
        for turn in turns(self._cell):
            asked |= whole(self._cell, turn, asked, self._said)
            yield [request for request in turn if request.key not in done]

    def answers(self, batch: Sequence[Request]) -> Iterator[Response]:
        """Yields the answers; of a turn that follows no answer, why it is not asked."""
        asked = self._recording.asked
        now = [asked[request.key] for request in batch if request.key in asked]
        failed = [unasked(request, self._said) for request in batch if request.key not in asked]
        return chain(failed, self._model.answer(now) if now else ())

    def append(self, answer: Response) -> Iterable[Answered]:
        """Writes an answer down."""
        self._said[answer.key] = answer
        return [Answered(self._cell.name, line) for line in self._recording.append(answer)]

    def rest(self) -> Iterable[Answered]:
        """Writes down what was held back."""
        return [Answered(self._cell.name, line) for line in self._recording.rest()]
