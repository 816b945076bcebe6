"""A run's configuration to what will be asked: cells of requests, and a digest of all that could change an answer."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any

from harness.config.machine import read_machine
from harness.config.objects import is_object
from harness.config.run import RunConfig, TaskUse
from harness.config.task import TaskConfig
from harness.errors import ConfigError, TaskError
from harness.runs.given import NOTHING, Given
from harness.runs.host import git_state, host
from harness.runs.house_rules import identity_of
from harness.runs.planned_model import PlannedModel, by_messages, described, find_model, limits_of, versions
from harness.runs.requests import Cell, _cell
from harness.scoring.scorers.code import needs_sandbox
from harness.security.policy import refuse_egress
from harness.store.schema import DataUsed, JudgeEntry, ModelEntry, PlanFile, PlannedCell, PolicyKept
from harness.tasks import prompts
from harness.tasks.kinds import check_prompts_differ, kind_of
from harness.tasks.kinds.base import SEMANTICS
from harness.tasks.load import load_tasks
from harness.tasks.prompt_layouts import formats
from harness.tasks.rows import digest
from harness.tasks.rubric import Judge, rubric_of, with_prompt
from harness.tasks.task import Task, never_first, respelled
from harness.values import GenerateRequest, Sample


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run will do. `identity` is all that could change an answer; `digest` is its digest."""

    config: RunConfig
    cells: tuple[Cell, ...]
    identity: Mapping[str, Any]
    digest: str
    judge: PlannedModel | None = None  # scores the tasks that have a rubric
    policy: PolicyKept | None = None  # a house's, once it is known that the run keeps it

    @property
    def asked(self) -> tuple[tuple[PlannedModel, tuple[TaskConfig, ...]], ...]:
        """Returns each model with the tasks that it sees; of the judge, those that it scores."""
        tasks = tuple(task.config for task in self.tasks)
        judged = tuple(task for task in tasks if task.judged_by is not None)
        return (*((model, tasks) for model in self.models), *([] if self.judge is None else [(self.judge, judged)]))

    @property
    def models(self) -> tuple[PlannedModel, ...]:
        """Returns the models in the order of the run file."""
        return tuple({cell.model.config.name: cell.model for cell in self.cells}.values())

    @property
    def tasks(self) -> tuple[Task, ...]:
        """Returns the tasks in the order of the run file."""
        return tuple({cell.task.name: cell.task for cell in self.cells}.values())

    def samples(self, task: Task) -> tuple[Sample, ...]:
        """Returns the samples of one task: the same for every model."""
        return next(cell.samples for cell in self.cells if cell.task is task)


def make_plan(config: RunConfig, given: Given = NOTHING) -> Plan:
    """Returns the plan of a run. Reads data and model files, loads no weights, asks nothing.

    `given` are the objects that the configuration names. Raises a HarnessError for whatever would fail later: task,
    data, model folder, chat template.
    """
    if not config.tasks:
        raise ConfigError("no tasks to run", where=f"run {config.run}", fix="add `tasks: [NAME, ...]`")
    read_machine(config.machine)
    models = [find_model(model, given) for model in config.models]
    for model in models:
        limits_of(model, config)
    tasks: list[Task] = []
    for use in config.tasks:
        for task in (given.task(use.task),) if is_object(use.task) else load_tasks(use):
            prompts.check_columns(task.config, task.samples, task.where)
            check_prompts_differ(task.config, task.samples, task.where)
            if task.pool:
                prompts.check_columns(task.config, task.pool, task.where, prompts.SHOWN)
            task = with_prompt(task)
            for one in (task, *formats(task, config.formats, config.seed)):
                tasks += _ways(one, use, models)
    _refuse_two_of_a_name(tasks)
    if not config.responses_only:
        _refuse_code(tasks)
    judge = _judge(config, tasks, given)
    places = {model.config.name: model.place for model in models}
    refuse_egress(places, [task.config for task in tasks], config.allow_egress)
    if judge is not None:
        judged = [task.config for task in tasks if task.config.judged_by is not None]
        refuse_egress({judge.config.name: judge.place}, judged, config.allow_egress, "judge")
    chosen = {task.name: choose(task, config) for task in tasks}
    cells = tuple(
        _cell(model, task, chosen[task.name], config.seed)
        for model in models
        for task in tasks
        if task.config.writes or _tells(model, task)
    )
    identity = _identity(config, models, tasks, chosen, judge)
    return Plan(config, cells, identity, digest(identity), judge)


def _judge(config: RunConfig, tasks: Sequence[Task], given: Given) -> PlannedModel | None:
    """Returns the run's judge, found and checked. Raises ConfigError for one that has nothing to judge."""
    if config.judge is None:
        return None
    if all(task.config.judged_by is None for task in tasks):
        what = f"judge '{config.judge.name}' has nothing to judge: no task of this run has a `rubric`"
        raise ConfigError(what, where=f"run {config.run}", fix="leave the judge out, or add `rubric:` to a task file")
    return find_model(config.judge, given)


def check_judge(plan: Plan) -> None:
    """Raises ConfigError or BackendError for what would stop the judging, before anything is written or paid."""
    judged = [task for task in plan.tasks if task.config.judged_by is not None]
    if not judged:
        return
    judge_of(plan)
    if plan.judge is not None:
        limits_of(plan.judge, plan.config)
    pair = next((task for task in judged if rubric_of(task.config).against is not None), None)
    if pair is not None and len(plan.models) < 2:
        what = f"task '{pair.name}' compares answers with the baseline's, and the run has one model"
        raise ConfigError(what, where=f"run {plan.config.run}", fix="add the model to compare with: --model PATH")


def judge_of(plan: Plan) -> Judge:
    """Returns what the requests to the plan's judge depend on. Raises ConfigError where the run names none."""
    if plan.judge is None:
        task = next(task for task in plan.tasks if task.config.judged_by is not None)
        what = f"task '{task.name}' is scored by a judge model, and the run names none"
        raise ConfigError(
            what, where=f"run {plan.config.run}", fix="add `judge: MODEL` to the run file, or --judge MODEL"
        )
    return Judge(plan.judge.key, by_messages(plan.judge), plan.config.seed)


def _ways(task: Task, use: TaskUse, models: Sequence[PlannedModel]) -> tuple[Task, ...]:
    """Returns the task as it is asked: scored, as text, or both.

    Where one of the models tells no log-probabilities, the form as text is asked of all, so that they can be compared;
    the others are asked for them too. Raises TaskError for a task that such a model cannot be asked in any way.
    """
    if task.config.writes:
        return (task,)
    silent = [model.config for model in models if not _tells(model, task)]
    if not silent and use.asked_as != "generate":
        return (task,)
    as_text = kind_of(task.config).as_text(task.config, task)
    if as_text is not None and (use.asked_as == "generate" or len(silent) == len(models)):
        return (as_text,)
    if not silent:
        return (task,)
    if as_text is None:
        raise TaskError(
            f"task '{task.name}' needs the log-probability of given text, which {silent[0].name} does not tell",
            where=task.where,
            fix="leave the task or the model out of this run",
        )
    return (task, as_text)


def _tells(model: PlannedModel, task: Task) -> bool:
    """Returns whether a model tells the log-probability of what the task gives it to read."""
    return model.capabilities.rolling if task.config.rolling else model.capabilities.loglikelihood


def choose(task: Task, config: RunConfig) -> tuple[Sample, ...]:
    """Returns the samples a run asks about, in the order of the data.

    `limit` takes those whose seeded digest is smallest: the same for every model, and 100 lie inside 200.
    """
    if config.first is not None:
        return tuple(task.samples[: config.first])
    if config.limit is None or config.limit >= len(task.samples):
        return tuple(task.samples)

    def rank(sample: Sample) -> str:
        return hashlib.sha256(f"{config.seed}|{task.family}|{sample.id}".encode()).hexdigest()

    kept = heapq.nsmallest(config.limit, enumerate(task.samples), key=lambda placed: rank(placed[1]))
    return tuple(sample for _, sample in sorted(kept, key=lambda placed: placed[0]))


def plan_file(plan: Plan) -> PlanFile:
    """Returns what `plan.json` says of a plan."""
    return PlanFile(
        digest=plan.digest,
        identity=plan.identity,
        run=plan.config.run,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        config=plan.config,
        tasks={task.name: task.config for task in plan.tasks},
        data={task.name: _data_used(task, plan.samples(task)) for task in plan.tasks},
        models={model.config.name: described(model) for model in plan.models},
        formats={task.name: task.format_of for task in plan.tasks if task.format_of},
        judge=None if plan.judge is None else _described_judge(plan, plan.judge),
        machine=read_machine(plan.config.machine),
        cells=tuple(map(_planned_cell, plan.cells)),
        host=host(),
        git=git_state(),
        policy=plan.policy,
    )


def _data_used(task: Task, samples: Sequence[Sample]) -> DataUsed:
    told = {"left_out": task.left_out, "sets": task.sets, "respelled": respelled(task.config, samples)}
    told["never_first"] = never_first(task.config, samples)
    return DataUsed(task.data_digest, task.data_origin, **told)


def _planned_cell(cell: Cell) -> PlannedCell:
    first = cell.requests[0] if cell.requests else None
    return PlannedCell(
        model=cell.model.config.name,
        task=cell.task.name,
        mode=cell.mode,
        chat=cell.chat,
        n=cell.n,
        requests=len(cell.requests),
        sampling=first.sampling if isinstance(first, GenerateRequest) else None,
    )


def _refuse_two_of_a_name(tasks: Sequence[Task]) -> None:
    seen: dict[str, Task] = {}
    for task in tasks:
        if task.name in seen:
            raise ConfigError(
                f"task '{task.name}' stands twice in the run", where=str(task.path), fix="name each task once"
            )
        seen[task.name] = task


def _refuse_code(tasks: Sequence[Task]) -> None:
    for task in tasks:
        if any(map(needs_sandbox, task.config.scores)):
            raise TaskError(
                f"answers to '{task.name}' are code, judged by running it, and there is no sandbox to do that in yet",
                where=str(task.path),
                fix="add --responses-only (in a run file: responses_only: true) to write the answers down unjudged",
            )


def _identity(
    config: RunConfig,
    models: Sequence[PlannedModel],
    tasks: Sequence[Task],
    chosen: Mapping[str, tuple[Sample, ...]],
    judge: PlannedModel | None,
) -> dict[str, Any]:
    judged = {}
    if judge is not None:
        rival = config.baseline or config.models[0].name  # whom pairs are compared with
        judged = {"judge": judge.config.settings() | {"digest": judge.digest}, "baseline": rival}
    return {
        "semantics": SEMANTICS,
        "seed": config.seed,
        "limit": config.limit,
        "first": config.first,
        "models": {model.config.name: model.config.settings() | {"digest": model.digest} for model in models},
        "tasks": {
            task.name: {
                **task.config.model_dump(mode="json", by_alias=True),
                "data_digest": task.data_digest,
                "samples": digest([sample.id for sample in chosen[task.name]]),
            }
            for task in tasks
        },
        "versions": versions(),
        **judged,
        **identity_of(config),
    }


def _described_judge(plan: Plan, model: PlannedModel) -> JudgeEntry:
    known, judge = described(model), judge_of(plan)
    entry = {field.name: getattr(known, field.name) for field in fields(ModelEntry)}
    return JudgeEntry(name=model.config.name, key=judge.key, chat=judge.chat, seed=judge.seed, **entry)
