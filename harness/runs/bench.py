"""`harness bench`: loads on models, from a run file to a folder of timed requests, a table and figures.

    plan.json             what was asked: configuration, models, workloads, this computer
    measurements.jsonl    one line a request (kind request), a scenario (load) and a model (model)
    summary.json          one row a scenario, and what follows from them

It is a run like any other: the same loop, folder, budget and events; its phase is that of the loads. A workload is a
task's own prompts, asked as text, or made-up ones of stated lengths.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from harness.backends import Load, about, load
from harness.config.machine import read_machine
from harness.config.model import ModelConfig, RemoteModel
from harness.config.run import RunConfig
from harness.config.task import TaskConfig
from harness.engine.text.stop_strings import cut
from harness.engine.text.thinking import Markers, split_text
from harness.engine.text.token_counts import counter_of
from harness.errors import ConfigError
from harness.measure.load.prompts import MARK, Unlike, synthetic_requests
from harness.measure.load.series import series_of
from harness.runs.events import Event
from harness.runs.host import git_state, host
from harness.runs.house_rules import identity_of
from harness.runs.loads import Loads, Subject, Workload, subject_of
from harness.runs.loop import loop
from harness.runs.phase import Stage
from harness.runs.plan import make_plan
from harness.runs.planned_model import PlannedModel, described, find_model, limits_of, versions
from harness.runs.requests import Cell
from harness.security.egress import server
from harness.security.seal import Seal
from harness.store.folder import RunFolder
from harness.store.lines import plan_content
from harness.store.schema import ModelLine, PlanFile, PlannedLoad, PolicyKept
from harness.tasks.rows import digest
from harness.tasks.score_answer import judge
from harness.values import GenerateRequest, Request, Response

DISTINCT = 256  # made-up prompts that are told apart before their numbers are


@dataclass(frozen=True, slots=True)
class Bench:
    """What a benchmark will do. `digest` is that of all that is asked and how."""

    config: RunConfig
    workloads: tuple[Workload, ...]
    identity: Mapping[str, Any]
    digest: str
    tasks: tuple[TaskConfig, ...] = ()  # whose prompts are sent; none of made-up ones
    policy: PolicyKept | None = None  # a house's, once it is known that the benchmark keeps it

    @property
    def asked(self) -> tuple[tuple[PlannedModel, tuple[TaskConfig, ...]], ...]:
        """Returns each model with the tasks that it sees."""
        models = {work.model.config.name: work.model for work in self.workloads}
        return tuple((model, self.tasks) for model in models.values())


def make_bench(config: RunConfig) -> Bench:
    """Returns what will be measured. Reads data and model files, loads no weights, asks nothing.

    Raises a HarnessError for whatever would fail later.
    """
    tasks: tuple[TaskConfig, ...] = ()
    for model in config.models:
        _refuse_untimed(model, config)
    if config.bench.lengths:
        read_machine(config.machine)
        made = [(find_model(model), lengths) for model in config.models for lengths in config.bench.lengths]
        workloads = tuple(_made_up(model, config, lengths.input, lengths.output) for model, lengths in made)
    else:
        as_text = tuple(use.model_copy(update={"asked_as": "generate"}) for use in config.tasks)
        plan = make_plan(config.model_copy(update={"tasks": as_text, "responses_only": True, "formats": 0}))
        if scored := [cell.task.name for cell in plan.cells if cell.mode == "loglikelihood"]:
            raise ConfigError(
                f"task '{scored[0]}' is scored by log-probability: no text is written that could be timed",
                where=f"run {config.run}",
                fix="leave it out of the benchmark, or give `lengths`",
            )
        if talks := [cell.task.name for cell in plan.cells if cell.task.config.several_turns]:
            raise ConfigError(
                f"task '{talks[0]}' is a conversation: what its later turns ask follows from answers",
                where=f"run {config.run}",
                fix="leave it out of the benchmark, or give `lengths`",
            )
        if empty := [cell.task.name for cell in plan.cells if not cell.requests]:
            what = f"task '{empty[0]}' has nothing to send"
            raise ConfigError(what, where=f"run {config.run}", fix="give a task with samples, or `lengths`")
        workloads = tuple(_of_task(cell, config) for cell in plan.cells)
        tasks = tuple(task.config for task in plan.tasks)
    identity = {
        "bench": config.bench.model_dump(mode="json"),
        "seed": config.seed,
        "models": {work.model.config.name: work.model.key for work in workloads},
        "workloads": [
            [w.model.config.name, w.name, digest([w.requests[i].key for i in range(w.n)])] for w in workloads
        ],
        "versions": versions(),
        **identity_of(config),
    }
    return Bench(config, workloads, identity, digest(identity), tasks)


def _refuse_untimed(model: ModelConfig, config: RunConfig) -> None:
    """Raises ConfigError for a model that cannot be put under load, or asks for what no load does."""
    where = f"model {model.name}"
    if not about(model).capabilities(model).load:
        raise ConfigError(
            f"backend '{model.backend}' cannot be put under load",
            where=where,
            fix="use `backend: openai` with the address of its OpenAI-compatible interface in `base_url`",
        )
    if not isinstance(model, RemoteModel):
        return
    if model.batch:
        raise ConfigError("the answers of a batch have no moments to time", where=where, fix="set `batch: false`")
    if not model.stream:
        what = "an answer in one piece has no first token to time"
        raise ConfigError(what, where=where, fix="leave `stream: false` out")
    limits_of(find_model(model), config)


def _of_task(cell: Cell, config: RunConfig) -> Workload:
    task = cell.task.config
    samples = {sample.id: sample for sample in cell.samples}

    def value(request: Request, text: str) -> float | None:
        if not isinstance(request, GenerateRequest):
            return None
        markers = request.writing.markers
        said, _, _ = split_text(text, None if markers is None else Markers(*markers))  # a server may not tell it apart
        answer = Response(key=request.key, prompt=None, text=cut(said, request.stop)[0])
        found = judge(task, samples[request.sample_id], answer)
        return 0.0 if found.value is None and found.failure in task.wrong else found.value

    if config.bench.prefix_cache == "defeat":
        return Workload(cell.model, cell.task.name, Unlike(cell.requests, _nonce()), None, len(cell.requests))
    judged = None if task.judged_by is not None else value  # a judge model does not sit beside a load
    return Workload(cell.model, cell.task.name, cell.requests, judged, len(cell.requests))


def _made_up(model: PlannedModel, config: RunConfig, input_tokens: int, output_tokens: int) -> Workload:
    """Returns prompts that no cache has seen: each has words of its own and a number before them."""
    count = counter_of(model.config.tokenizer) or (lambda text: len(text.split()))
    n = min(DISTINCT, config.bench.requests)
    mark = count(MARK)
    length = max(1, input_tokens - mark)
    name = f"{input_tokens} in, {output_tokens} out"
    made = synthetic_requests(length, output_tokens, n, count=count, seed=f"{config.seed}/{name}")
    return Workload(model, name, Unlike(made, _nonce()), None, n, output_tokens)


def _nonce() -> str:
    """Returns a seed that was never used before: a server may still hold the prompts of an earlier benchmark."""
    return os.urandom(8).hex()


def carry_out(made: Bench, path: Path, load: Load = load, *, sealed: Seal | None = None) -> Iterator[Event]:
    """Yields what happens in a benchmark; what an event tells is on disk. Only the loads still owed are measured."""
    with RunFolder.create_or_resume(path, plan_content(_plan_file(made))) as folder:
        yield from loop(stages(made, folder, load, None if sealed is None else str(sealed)))


def stages(made: Bench, folder: RunFolder, load: Load, sealed: str | None) -> Iterator[Stage[Subject]]:
    """Yields the models at work one after the other, each with its workloads."""
    idle: dict[str, float | None] = {}
    series = series_of(made.config.bench, made.config.seed)
    for config in made.config.models:
        works = [work for work in made.workloads if work.model.config.name == config.name]
        if works:
            model = works[0].model
            get = partial(subject_of, price=model.price, load=load)
            phases = [Loads(work, series, folder, idle) for work in works]
            yield Stage(model, phases, get, made.config, folder, sealed, _noted(model.config))


def _noted(config: ModelConfig) -> Callable[[ModelLine], ModelLine]:
    """Returns what adds to the line of a model where its load runs: a server was there before."""
    if isinstance(config, RemoteModel):
        url = server(config).url
        return lambda line: replace(line, in_process=False, url=url, load_s=None)
    return lambda line: replace(line, in_process=True)


def _plan_file(made: Bench) -> PlanFile:
    """Returns what `plan.json` says of a benchmark."""
    return PlanFile(
        kind="bench",
        digest=made.digest,
        identity=made.identity,
        run=made.config.run,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        config=made.config,
        models={work.model.config.name: described(work.model) for work in made.workloads},
        workloads=tuple(PlannedLoad(work.model.config.name, work.name, work.n) for work in made.workloads),
        machine=read_machine(made.config.machine),
        host=host(),
        git=git_state(),
        policy=made.policy,
    )
