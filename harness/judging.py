"""What a judge model says of the answers of a run: asked after all models, kept beside their responses.

    responses.jsonl → what to ask → judge → verdicts.jsonl │ heard() → records

`verdicts.jsonl` is chained like `responses.jsonl`, so that a run is scored again, and verified, without the judge. A
text that people judged is put before the judge too: how far it agrees with them is of its own verdicts on that text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from harness.config.model import ModelConfig
from harness.config.task import TaskConfig
from harness.execute import Step, at_work, keep, load, restored, sitting
from harness.plan import Cell, Plan, PlannedModel, by_messages, judge_of
from harness.store.files import RESPONSES, VERDICTS
from harness.store.folder import RunFolder
from harness.store.log import read_attempts, read_responses
from harness.tasks.prompts import answer_text
from harness.tasks.records import place
from harness.tasks.rubric import NOTHING, Judge, Told, ask, texts_of
from harness.tasks.score_answer import ByTurn, Place, answer_to_judge, text_to_judge, turn_of
from harness.values import Request, Response, Sample

Samples = Mapping[tuple[str, str], Sample]  # by task and sample id
Lines = Sequence[tuple[Mapping[str, Any], Response]]  # of responses.jsonl


def carry_out(
    plan: Plan, folder: RunFolder, load: Callable[[ModelConfig], Any] = load, sealed: str | None = None
) -> Iterator[Step]:
    """Yields each verdict as it is given and on disk; stopping at any point leaves a run that can be resumed."""
    cells = [cell for cell in cells_of(plan, folder) if cell.requests] if plan.judge is not None else []
    if not cells:
        return
    as_itself = lambda config: load(config.model_copy(update={"name": plan.judge.config.name}))
    with at_work(cells[0].model.config, plan, folder, as_itself, sealed) as backend:
        for cell in cells:
            asked = {request.key: request for request in cell.requests}
            with sitting(cell, folder.verdicts(), asked, folder) as kept:
                yield from keep(cell, "verdicts", backend.generate(cell.requests), kept, asked)


def cells_of(plan: Plan, folder: RunFolder) -> tuple[Cell, ...]:
    """Returns, for each task with a rubric, what the judge is still to be asked about the answers that are there.

    In what is written down its name is that of a judge: it may be one of the models too.
    """
    tasks = {task.name: task for task in plan.tasks if task.config.rubric is not None}
    if not tasks:
        return ()
    judge = judge_of(plan)
    configs = {name: task.config for name, task in tasks.items()}
    samples = {(name, sample.id): sample for name, task in tasks.items() for sample in plan.samples(task)}
    baseline = plan.config.baseline or plan.config.models[0].name
    wanted = _wanted(configs, samples, _lines(folder, configs), judge, baseline)
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
        if (rubric := task.config.rubric) is None:
            continue
        written = None if said is None else "x" * (said * task.config.max_tokens)
        samples = plan.samples(task)
        answers = tuple(r for sample in samples for r in _foreseen(task.config, sample, judge, written))
        asked = [cell for cell in plan.cells if cell.task is task]
        judged = [cell for cell in asked if rubric.against is None or cell.model.config.name != baseline]
        labelled = tuple(r for requests in _labelled(task.config, samples, judge).values() for r in requests)
        for requests, times in ((answers, len(judged) * task.config.epochs), (labelled, 1)):
            if requests:
                yield Cell(_named(plan), task, "generate", judge.chat, samples, requests), times


def _foreseen(task: TaskConfig, sample: Sample, judge: Judge, written: str | None) -> Iterator[Request]:
    standing = STANDING if written is None else written
    rival = RIVAL if written is None else written
    for turn in sample.scored or (1,):
        config, one = task, sample
        if sample.scored:
            before = [Response(key="", prompt=None, text=standing)] * turn
            config, one = turn_of(task, sample, turn, before)
        answer = answer_text(config, one) if written is None and one.expected is not None else standing
        yield from ask(config, one, answer, judge, None if task.rubric.against is None else rival)


STANDING, RIVAL = "(the model's answer)", "(the baseline's answer)"


def _named(plan: Plan) -> PlannedModel | None:
    """Returns the judge with the name under which it is written down; None where the run names none."""
    if plan.judge is None:
        return None
    return replace(plan.judge, config=plan.judge.config.model_copy(update={"name": name_of(plan.judge.config.name)}))


def name_of(judge: str) -> str:
    """Returns what a judge is called among the models of a run. No model can have such a name."""
    return f"judge {judge}"


# --- after the run: files only ---------------------------------------------------------------------------------------


def attempts(path: Path) -> Iterator[dict[str, Any]]:
    """Yields every line of a run's verdicts; none for a run without a judge. Raises StoreError."""
    if (path / VERDICTS).exists():
        yield from read_attempts(path / VERDICTS)


@dataclass(frozen=True, slots=True)
class Heard:
    """All that the judge of a run said."""

    told: Mapping[Place, ByTurn] = field(default_factory=dict)  # of each answer
    labelled: Mapping[str, Mapping[str, Told]] = field(default_factory=dict)  # task -> sample -> of what people judged
    replies: tuple[Response, ...] = ()  # each once
    sent: Mapping[Place, int] = field(default_factory=dict)  # bytes that left this machine for it, of each answer


NOTHING_HEARD = Heard()


def heard(
    path: Path,
    plan: Mapping[str, Any],
    tasks: Mapping[str, TaskConfig],
    samples: Samples,
    lines: Iterable[Mapping[str, Any]],
) -> Heard:
    """Returns what the judge said in a run folder, whose plan.json and responses are given. Raises StoreError."""
    judge = judge_in(plan)
    if judge is None:
        return NOTHING_HEARD
    lines_of: dict[str, list[dict[str, Any]]] = {}
    for line in attempts(path):
        lines_of.setdefault(line["key"], []).append(line)
    replies = {key: restored(every[-1]) for key, every in lines_of.items()}
    judged = {name: task for name, task in tasks.items() if task.rubric is not None}
    mine = [(line, restored(line)) for line in lines if line["task"] in judged]
    baseline = plan["config"]["baseline"] or plan["config"]["models"][0]["name"]
    told: dict[Place, dict[int, Told]] = {}
    sent: dict[Place, int] = {}
    for where, by_turn in _asked(judged, samples, mine, judge, baseline).items():
        told[where] = {turn: _told(requests, replies) for turn, requests in by_turn.items()}
        keys = [request.key for requests in by_turn.values() for request in requests or ()]
        sent[where] = sum(line["sent_bytes"] for key in keys for line in lines_of.get(key, ()))
    labelled = {
        name: {id: _told(asked, replies) for id, asked in _labelled(task, _of_task(samples, name), judge).items()}
        for name, task in judged.items()
    }
    return Heard(told, labelled, tuple(replies.values()), sent)


def _told(requests: Sequence[Request] | None, replies: Mapping[str, Response]) -> Told:
    return Told(tuple(replies.get(request.key) for request in requests or ()), itself=requests is None)


def judge_in(plan: Mapping[str, Any]) -> Judge | None:
    """Returns the judge of a run from its plan.json; None if it had none."""
    known = plan.get("judge")
    return None if known is None else Judge(known["key"], known["chat"], known["seed"])


# --- what is asked ---------------------------------------------------------------------------------------------------


def _wanted(
    tasks: Mapping[str, TaskConfig], samples: Samples, lines: Lines, judge: Judge, baseline: str
) -> dict[str, dict[str, Request]]:
    """Returns all that the judge is to be asked, by task and key."""
    found: dict[str, dict[str, Request]] = {name: {} for name in tasks}
    for (_, name, _, _), by_turn in _asked(tasks, samples, lines, judge, baseline).items():
        found[name] |= {request.key: request for requests in by_turn.values() for request in requests or ()}
    for name, task in tasks.items():
        labelled = _labelled(task, _of_task(samples, name), judge)
        found[name] |= {request.key: request for requests in labelled.values() for request in requests}
    return found


def _asked(
    tasks: Mapping[str, TaskConfig], samples: Samples, lines: Lines, judge: Judge, baseline: str
) -> dict[Place, dict[int, tuple[Request, ...] | None]]:
    """Returns what is asked about each answer, or each scored turn of a conversation, by turn from 1.

    None: the baseline's own answer, where answers are compared with those. There is no request about an answer that
    is not there, nor about a pair whose other answer failed for a reason that the task does not count as wrong.
    """
    rivals = {place(line)[1:]: response for line, response in lines if line["model"] == baseline}
    said: dict[Place, list[Response]] = {}
    found: dict[Place, dict[int, tuple[Request, ...] | None]] = {}
    for line, response in lines:
        where = place(line)
        task, sample = tasks[where[1]], samples[where[1], where[2]]
        before = said.setdefault(where, [])  # the log has the turns of a conversation in their order
        before.append(response)
        if sample.scored and len(before) not in sample.scored:
            continue
        if sample.scored:
            task, sample = turn_of(task, sample, len(before), before)
        answer = answer_to_judge(task, sample, response)
        by_turn = found.setdefault(where, {})
        if task.rubric.against is None:
            by_turn[len(before)] = () if answer is None else ask(task, sample, answer, judge)
        elif where[0] == baseline:
            by_turn[1] = None
        else:
            rival = _rival(task, sample, rivals.get(where[1:]))
            by_turn[1] = () if answer is None or rival is None else ask(task, sample, answer, judge, rival)
    return found


def _rival(task: TaskConfig, sample: Sample, response: Response | None) -> str | None:
    """Returns the baseline's answer; that it gave none is an answer too, unless it was never really asked."""
    if response is None or response.error is not None:
        return None
    return answer_to_judge(task, sample, response) or NOTHING


def _labelled(task: TaskConfig, samples: Sequence[Sample], judge: Judge) -> dict[str, tuple[Request, ...]]:
    """Returns what is asked about each text, or pair of texts, that people judged, by sample id."""
    rubric, found = task.rubric, {}
    for sample in samples if rubric.human is not None else ():
        cells = [sample.row.get(column) for column in texts_of(rubric)]
        if sample.row.get(rubric.human) in (None, "") or not all(cells):
            continue
        texts = [text_to_judge(task, sample, str(cell)) for cell in cells]
        if None not in texts:
            found[sample.id] = ask(task, sample, texts[0], judge, *texts[1:])
    return found


def _of_task(samples: Samples, name: str) -> list[Sample]:
    return [sample for (task, _), sample in samples.items() if task == name]


def _lines(folder: RunFolder, tasks: Mapping[str, Any]) -> Lines:
    folder.responses()  # cuts off a torn last line
    return [(line, restored(line)) for line in read_responses(folder.path / RESPONSES) if line["task"] in tasks]
