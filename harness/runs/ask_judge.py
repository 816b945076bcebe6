"""Asks a judge model about the answers of a run, after all models; its replies stand beside theirs in verdicts.jsonl.

`verdicts.jsonl` is chained like `responses.jsonl`, so that a run is scored again, and verified, without the judge. A
text that people judged is put before the judge too: how far it agrees with them is of its own verdicts on that text.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator
from dataclasses import replace
from typing import Any

from harness.backends import load
from harness.config.model import ModelConfig
from harness.config.task import Judging
from harness.runs.execute import at_work, keep, sitting
from harness.runs.plan import Plan, judge_of
from harness.runs.planned_model import PlannedModel, by_messages
from harness.runs.requests import Cell
from harness.runs.steps import Step
from harness.store.files import RESPONSES
from harness.store.folder import RunFolder
from harness.store.lines import read_response_lines
from harness.tasks.judge_requests import _labelled, _wanted, name_of
from harness.tasks.kinds.conversation import ConversationTask, turn_of
from harness.tasks.prompts import answer_text
from harness.tasks.rubric import Judge, ask, rubric_of
from harness.values import Request, Response, ResponseLine, Sample


def carry_out(
    plan: Plan, folder: RunFolder, load: Callable[[ModelConfig], Any] = load, sealed: str | None = None
) -> Iterator[Step]:
    """Yields each verdict as it is given and on disk; stopping at any point leaves a run that can be resumed."""
    cells = [cell for cell in cells_of(plan, folder) if cell.requests] if plan.judge is not None else []
    if not cells:
        return
    as_itself = lambda config: load(config.model_copy(update={"name": plan.judge.config.name}))
    with at_work(cells[0].model, plan, folder, as_itself, sealed) as backend:
        for cell in cells:
            asked = {request.key: request for request in cell.requests}
            with sitting(cell, folder.verdicts(), asked, folder) as kept:
                yield from keep(cell, "verdicts", backend.answer(cell.requests), kept, asked)


def cells_of(plan: Plan, folder: RunFolder) -> tuple[Cell, ...]:
    """Returns, for each task with a rubric, what the judge is still to be asked about the answers that are there.

    In what is written down its name is that of a judge: it may be one of the models too.
    """
    tasks = {task.name: task for task in plan.tasks if task.config.judged_by is not None}
    if not tasks:
        return ()
    judge = judge_of(plan)
    configs = {name: task.config for name, task in tasks.items() if isinstance(task.config, Judging)}
    samples = {(name, sample.id): sample for name, task in tasks.items() for sample in plan.samples(task)}
    baseline = plan.config.baseline or plan.config.models[0].name
    wanted = _wanted(configs, samples, _answers(folder, configs), judge, baseline)
    done = folder.verdicts().keys()
    found = []
    for name, task in tasks.items():
        requests = tuple(r for key, r in wanted[name].items() if key not in done)
        found.append(Cell(_named(plan), task, "generate", judge.chat, plan.samples(task), requests))
    return tuple(found)


def foreseen(plan: Plan, said: int | None = None) -> Iterator[tuple[Cell, int]]:
    """Yields what a judge may be asked before there are answers, and how many answers will be judged so.

    The right answer stands in the model's place, or one that is as long as allowed at `said` characters a token.
    """
    baseline = plan.config.baseline or plan.config.models[0].name
    judge = Judge("", plan.judge is not None and by_messages(plan.judge), plan.config.seed)
    for task in plan.tasks:
        config = task.config
        if not isinstance(config, Judging) or (rubric := config.rubric) is None:
            continue
        written = None if said is None else "x" * (said * config.max_tokens)
        samples = plan.samples(task)
        answers = tuple(r for sample in samples for r in _foreseen(config, sample, judge, written))
        asked = [cell for cell in plan.cells if cell.task is task]
        judged = [cell for cell in asked if rubric.against is None or cell.model.config.name != baseline]
        labelled = tuple(r for requests in _labelled(config, samples, judge).values() for r in requests)
        for requests, times in ((answers, len(judged) * config.epochs), (labelled, 1)):
            if requests:
                yield Cell(_named(plan), task, "generate", judge.chat, samples, requests), times


def _foreseen(task: Judging, sample: Sample, judge: Judge, written: str | None) -> Iterator[Request]:
    standing = STANDING if written is None else written
    rival = RIVAL if written is None else written
    for turn in sample.scored or (1,):
        config, one = task, sample
        if isinstance(task, ConversationTask):
            before = [Response(key="", prompt=None, text=standing)] * turn
            config, one = turn_of(task, sample, turn, before)
        answer = answer_text(config, one) if written is None and one.expected is not None else standing
        yield from ask(config, one, answer, judge, None if rubric_of(task).against is None else rival)


STANDING, RIVAL = "(the model's answer)", "(the baseline's answer)"


def _named(plan: Plan) -> PlannedModel | None:
    """Returns the judge with the name under which it is written down; None where the run names none."""
    if plan.judge is None:
        return None
    return replace(plan.judge, config=plan.judge.config.model_copy(update={"name": name_of(plan.judge.config.name)}))


def _answers(folder: RunFolder, tasks: Container[str]) -> list[ResponseLine]:
    folder.responses()  # cuts off a torn last line
    return [line for line in read_response_lines(folder.path / RESPONSES) if line.task in tasks]
