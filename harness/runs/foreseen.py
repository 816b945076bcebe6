"""What a judge may be asked, told before there are answers: for a check, and for what it may cost."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from harness.config.task import Judging
from harness.runs.plan import Plan, judge_of
from harness.runs.planned_model import by_messages
from harness.runs.requests import Cell
from harness.runs.verdicts import as_judge
from harness.tasks.judge_requests import _labelled
from harness.tasks.kinds.conversation import ConversationTask, turn_of
from harness.tasks.prompts import answer_text
from harness.tasks.rubric import Judge, ask, rubric_of
from harness.tasks.task import Task
from harness.values import Request, Response, Sample

STANDING, RIVAL = "(the model's answer)", "(the baseline's answer)"


@dataclass(frozen=True, slots=True)
class Foreseen:
    """What a judge may be asked about the answers to one task: each request for so many answers to its sample."""

    task: Task
    requests: tuple[Request, ...]
    times: int


def foreseen(plan: Plan, said: int | None = None) -> Iterator[Foreseen]:
    """Yields what a judge may be asked before there are answers, and how many answers will be judged so.

    The right answer stands in the model's place, or one that is as long as allowed at `said` characters a token. Of a
    plan without a judge too.
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
                yield Foreseen(task, requests, times)


def cells(plan: Plan) -> Iterator[Cell]:
    """Yields what is foreseen as cells of the plan's judge; nothing where it has none."""
    if plan.judge is not None and any(task.config.judged_by is not None for task in plan.tasks):
        named, chat = as_judge(plan.judge), judge_of(plan).chat
        for one in foreseen(plan):
            yield Cell(named, one.task, "generate", chat, plan.samples(one.task), one.requests)


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
