"""The phase of the verdicts: what a judge model says of the answers of a run, kept beside their responses.

    responses.jsonl → what to ask → judge → verdicts.jsonl │ heard() → records

`verdicts.jsonl` is chained like `responses.jsonl`, so that a run is scored again, and verified, without the judge. A
text that people judged is put before the judge too: how far it agrees with them is of its own verdicts on that text.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from harness.backends import Backend, Load
from harness.config.task import Judging
from harness.runs.events import Judged, PhaseName
from harness.runs.phase import Stage
from harness.runs.plan import Plan, judge_of
from harness.runs.planned_model import PlannedModel
from harness.runs.recording import Recording, recorded
from harness.runs.requests import Cell
from harness.store.files import RESPONSES
from harness.store.folder import RunFolder
from harness.store.lines import read_response_lines
from harness.tasks.judge_requests import _wanted, name_of
from harness.values import CellName, Request, Response, ResponseLine


def judging(plan: Plan, folder: RunFolder, load: Load, sealed: str | None) -> Iterator[Stage[Backend]]:
    """Yields the judge at work on the answers that are there, if it is still owed any verdict: one phase a task."""
    cells = [cell for cell in cells_of(plan, folder) if cell.requests]
    if plan.judge is not None and cells:
        own = plan.judge.config.name
        as_itself: Load = lambda config: load(config.model_copy(update={"name": own}))
        yield Stage(cells[0].model, [Verdicts(cell, folder) for cell in cells], as_itself, plan.config, folder, sealed)


def cells_of(plan: Plan, folder: RunFolder) -> tuple[Cell, ...]:
    """Returns, for each task with a rubric, what the judge is still to be asked about the answers that are there.

    In what is written down its name is that of a judge: it may be one of the models too.
    """
    tasks = {task.name: task for task in plan.tasks if task.config.judged_by is not None}
    if not tasks or plan.judge is None:
        return ()
    judge, named = judge_of(plan), as_judge(plan.judge)
    configs = {name: task.config for name, task in tasks.items() if isinstance(task.config, Judging)}
    samples = {(name, sample.id): sample for name, task in tasks.items() for sample in plan.samples(task)}
    baseline = plan.config.baseline or plan.config.models[0].name
    wanted = _wanted(configs, samples, _answers(folder, configs), judge, baseline)
    done = folder.verdicts().keys()
    found = []
    for name, task in tasks.items():
        requests = tuple(request for key, request in wanted[name].items() if key not in done)
        found.append(Cell(named, task, "generate", judge.chat, plan.samples(task), requests))
    return tuple(found)


def as_judge(model: PlannedModel) -> PlannedModel:
    """Returns a judge with the name under which it is written down."""
    return replace(model, config=model.config.model_copy(update={"name": name_of(model.config.name)}))


def _answers(folder: RunFolder, tasks: Container[str]) -> list[ResponseLine]:
    folder.responses()  # cuts off a torn last line
    return [line for line in read_response_lines(folder.path / RESPONSES) if line.task in tasks]


@dataclass(frozen=True, slots=True)
class Verdicts:
    """The verdicts of a judge on the answers to one task."""

    of: Cell
    folder: RunFolder
    name: PhaseName = field(default="verdicts", init=False)

    @property
    def cell(self) -> CellName:
        """Returns the judge and the task."""
        return self.of.name

    def owed(self) -> int:
        """Returns how many requests have no verdict yet, or one that failed and may succeed now."""
        done = self.folder.verdicts().keys()
        return sum(request.key not in done for request in self.of.requests)

    @contextmanager
    def begun(self, model: Backend) -> Iterator[_Judging]:
        """Gives what to ask; what it took is written down at the end, however that comes."""
        with recorded(self.of, self.folder.verdicts(), self.folder) as recording:
            yield _Judging(self.of, model, recording)


class _Judging:
    """A cell while its judge is asked."""

    def __init__(self, cell: Cell, model: Backend, recording: Recording) -> None:
        self._cell, self._model, self._recording = cell, model, recording
        recording.asked |= {request.key: request for request in cell.requests}

    def batches(self) -> Iterator[Sequence[Request]]:
        """Yields all that is owed, at once: no verdict waits for another."""
        yield self._cell.requests

    def answers(self, batch: Sequence[Request]) -> Iterator[Response]:
        """Yields the verdicts."""
        return self._model.answer(batch)

    def append(self, answer: Response) -> Iterable[Judged]:
        """Writes a verdict down."""
        return [Judged(self._cell.name, line) for line in self._recording.append(answer)]

    def rest(self) -> Iterable[Judged]:
        """Writes down what was held back."""
        return [Judged(self._cell.name, line) for line in self._recording.rest()]
