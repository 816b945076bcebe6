"""A run's configuration to what will be asked: cells of requests, and a digest of all that could change an answer."""

from __future__ import annotations

import hashlib
import heapq
import os
import platform
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from harness.backends import BACKENDS, can_score, takes_messages
from harness.backends.servers.dispatch import price_of, unpriced
from harness.config.machine import read_machine
from harness.config.model import ModelConfig
from harness.config.run import RunConfig, TaskUse
from harness.cost.prices import Price, frozen
from harness.cost.projection import served
from harness.errors import ConfigError, ModelError, TaskError, nearest
from harness.models import openness
from harness.models.find import resolve_model
from harness.models.info import ModelInfo, digest_model, inspect_model
from harness.models.safety import check_safe
from harness.scoring.scorers.code import needs_sandbox
from harness.security.egress import PROVIDERS, egress, server, where
from harness.security.policy import refuse_egress
from harness.security.secrets import redacted
from harness.store.paths import portable
from harness.tasks import prompts
from harness.tasks.choices_as_text import twin
from harness.tasks.load import load_tasks
from harness.tasks.prompt_layouts import formats
from harness.tasks.rows import digest
from harness.tasks.rubric import Judge, with_prompt
from harness.tasks.shots import shots_for
from harness.tasks.task import Task
from harness.values import Message, Mode, Request, Sample, Sampling, Writing
from harness.writing import check_writing, generation_defaults, sampling_of, writing_of

SCRIPTED = ("fake", "recorded")  # all of such a model is a file: a mistake in it is found before anything is asked
SEMANTICS = 1  # raised when the same configuration would be asked or judged differently


@dataclass(frozen=True, slots=True)
class PlannedModel:
    """A model of the plan, found and checked but not loaded."""

    config: ModelConfig  # `path` is the folder found
    digest: str  # of the weights, tokenizer and chat template; or of the script
    info: ModelInfo | None  # None: not a model folder
    files: Mapping[str, str]  # sha256 by file name

    @property
    def key(self) -> str:
        """Returns the digest of all of the model that could change an answer."""
        return digest([self.config.name, self.digest, _settings(self.config)])


@dataclass(frozen=True, slots=True)
class Cell:
    """One model on one task."""

    model: PlannedModel
    task: Task
    mode: Mode
    chat: bool  # prompts are messages, rendered with the model's chat template
    samples: tuple[Sample, ...]
    requests: tuple[Request, ...]  # one for each sample, epoch and turn, in the order of the samples

    @property
    def n(self) -> int:
        """Returns how many answers are judged: a conversation is one, however many turns it has."""
        return sum(request.turn == 1 for request in self.requests)

    def scripts(self, answer: str = "") -> tuple[Request, ...]:
        """Returns the last request of each sample and epoch with all that is said before it.

        `answer` stands for each of the model's earlier answers, which nobody knows yet.
        """
        if self.n == len(self.requests):
            return self.requests
        whole: dict[str, Request] = {}
        for request in self.requests:
            before = whole.pop(request.follows, None)
            said = request.prompt if before is None else prompts.continued(before.prompt, answer, request.prompt)
            whole[request.key] = replace(request, prompt=said)
        return tuple(whole.values())


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run will do. `identity` is all that could change an answer; `digest` is its digest."""

    config: RunConfig
    cells: tuple[Cell, ...]
    identity: Mapping[str, Any]
    digest: str
    judge: PlannedModel | None = None  # scores the tasks that have a rubric

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


def make_plan(config: RunConfig) -> Plan:
    """Returns the plan of a run. Reads data and model files, loads no weights, asks nothing.

    Raises a HarnessError for whatever would fail later: task, data, model folder, chat template.
    """
    if not config.tasks:
        raise ConfigError("no tasks to run", where=f"run {config.run}", fix="add `tasks: [NAME, ...]`")
    read_machine(config.machine)
    models = [find_model(model) for model in config.models]
    for model in config.models:
        limits_of(model, config)
    tasks: list[Task] = []
    for use in config.tasks:
        for task in load_tasks(use):
            prompts.check_columns(task.config, task.samples, task.where)
            if task.pool:
                prompts.check_columns(task.config, task.pool, task.where, prompts.SHOWN)
            task = with_prompt(task)
            for one in (task, *formats(task, config.formats, config.seed)):
                tasks += _ways(one, use, models)
    _refuse_two_of_a_name(tasks)
    if not config.responses_only:
        _refuse_code(tasks)
    judge = _judge(config, tasks)
    refuse_egress(config.models, [task.config for task in tasks], config.allow_egress)
    if judge is not None:
        judged = [task.config for task in tasks if task.config.rubric is not None]
        refuse_egress([judge.config], judged, config.allow_egress, "judge")
    chosen = {task.name: choose(task, config) for task in tasks}
    cells = tuple(
        _cell(model, task, chosen[task.name], config.seed)
        for model in models
        for task in tasks
        if task.config.writes or can_score(model.config, rolling=task.config.kind == "perplexity")
    )
    identity = _identity(config, models, tasks, chosen, judge)
    return Plan(config, cells, identity, digest(identity), judge)


def _judge(config: RunConfig, tasks: Sequence[Task]) -> PlannedModel | None:
    """Returns the run's judge, found and checked. Raises ConfigError for one that has nothing to judge."""
    if config.judge is None:
        return None
    if all(task.config.rubric is None for task in tasks):
        what = f"judge '{config.judge.name}' has nothing to judge: no task of this run has a `rubric`"
        raise ConfigError(what, where=f"run {config.run}", fix="leave the judge out, or add `rubric:` to a task file")
    return find_model(config.judge)


def check_judge(plan: Plan) -> None:
    """Raises ConfigError or BackendError for what would stop the judging, before anything is written or paid."""
    judged = [task for task in plan.tasks if task.config.rubric is not None]
    if not judged:
        return
    judge_of(plan)
    limits_of(plan.judge.config, plan.config)
    pair = next((task for task in judged if task.config.rubric.against is not None), None)
    if pair is not None and len(plan.models) < 2:
        what = f"task '{pair.name}' compares answers with the baseline's, and the run has one model"
        raise ConfigError(what, where=f"run {plan.config.run}", fix="add the model to compare with: --model PATH")


def judge_of(plan: Plan) -> Judge:
    """Returns what the requests to the plan's judge depend on. Raises ConfigError where the run names none."""
    if plan.judge is None:
        task = next(task for task in plan.tasks if task.config.rubric is not None)
        what = f"task '{task.name}' is scored by a judge model, and the run names none"
        raise ConfigError(
            what, where=f"run {plan.config.run}", fix="add `judge: MODEL` to the run file, or --judge MODEL"
        )
    return Judge(plan.judge.key, by_messages(plan.judge), plan.config.seed)


def _ways(task: Task, use: TaskUse, models: Sequence[PlannedModel]) -> tuple[Task, ...]:
    """Returns the task as it is asked: scored, as text, or both.

    Where one of the models does not score, the twin is asked of all, so that they can be compared; those that score do
    that too. Raises TaskError for a task that such a model cannot be asked in any way.
    """
    if task.config.kind == "choice" and use.asked_as == "generate":
        return (twin(task),)
    rolling = task.config.kind == "perplexity"
    silent = [model.config for model in models if not can_score(model.config, rolling=rolling)]
    if task.config.writes or not silent:
        return (task,)
    if task.config.kind != "choice":
        raise TaskError(
            f"task '{task.name}' needs the log-probability of given text, which {silent[0].name} does not tell",
            where=task.where,
            fix="leave the task or the model out of this run",
        )
    return (twin(task),) if len(silent) == len(models) else (task, twin(task))


def choose(task: Task, config: RunConfig) -> tuple[Sample, ...]:
    """Returns the samples a run asks about, in the order of the data.

    `limit` takes those whose seeded digest is smallest: the same for every model, and 100 lie inside 200.
    """
    if config.first is not None:
        return task.samples[: config.first]
    if config.limit is None or config.limit >= len(task.samples):
        return tuple(task.samples)

    def rank(sample: Sample) -> str:
        return hashlib.sha256(f"{config.seed}|{task.family}|{sample.id}".encode()).hexdigest()

    kept = heapq.nsmallest(config.limit, enumerate(task.samples), key=lambda placed: rank(placed[1]))
    return tuple(sample for _, sample in sorted(kept, key=lambda placed: placed[0]))


def find_model(config: ModelConfig) -> PlannedModel:
    """Returns a model found and checked, its files digested. Raises ConfigError or ModelError."""
    if config.backend not in BACKENDS:
        raise ConfigError(
            f"no backend '{config.backend}'", where=f"model {config.name}", fix=nearest(config.backend, BACKENDS)
        )
    if config.backend != "transformers":
        files = _answers_digest(config)
        if config.backend in SCRIPTED:
            BACKENDS[config.backend](config).close()
        return PlannedModel(config, digest([_settings(config), files]), None, files)
    if config.path is None:
        raise ConfigError("no `path`", where=f"model {config.name}", fix="add `path:` with a model folder or hub id")
    folder = resolve_model(config.path, revision=config.revision, trust_remote_code=config.trust_remote_code)
    check_safe(folder, trust_remote_code=config.trust_remote_code)
    files = digest_model(folder)
    # the card, the licence and the list of what was released change no answer
    about = (".md", ".txt", ".yml")
    deciding = {name: sha for name, sha in files.items() if not name.endswith(about) or name == "merges.txt"}
    found = config.model_copy(update={"path": str(folder)})
    return PlannedModel(found, digest(deciding), inspect_model(folder), files)


def _answers_digest(config: ModelConfig) -> dict[str, str]:
    """Returns the digest of the file that a script is, or names."""
    file = _script_file(config)
    if file is None:
        return {}
    try:
        return {"script": hashlib.sha256(Path(file).read_bytes()).hexdigest()}
    except OSError:
        raise ConfigError(f"no script {file}", where=f"model {config.name}", fix="check the path") from None


def _script_file(config: ModelConfig) -> str | None:
    script = config.script or (config.path if config.backend == "recorded" else None)
    held = script.get("file") if isinstance(script, Mapping) else script
    return held if isinstance(held, str) else None


def stored(plan: Plan) -> dict[str, Any]:
    """Returns the content of `plan.json`."""
    machine = read_machine(plan.config.machine)
    content = {
        "digest": plan.digest,
        "identity": plan.identity,
        "run": plan.config.run,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "config": plan.config.model_dump(mode="json"),
        "tasks": {task.name: task.config.model_dump(mode="json", by_alias=True) for task in plan.tasks},
        "data": {task.name: {"digest": task.data_digest, "origin": task.data_origin} for task in plan.tasks},
        "models": {model.config.name: described(model) for model in plan.models},
        "formats": {task.name: task.format_of for task in plan.tasks if task.format_of},
        **({} if plan.judge is None else {"judge": _described_judge(plan)}),
        "machine": None if machine is None else machine.model_dump(mode="json"),
        "cells": [
            {
                "model": cell.model.config.name,
                "task": cell.task.name,
                "mode": cell.mode,
                "chat": cell.chat,
                "n": cell.n,
                "requests": len(cell.requests),
                "sampling": asdict(cell.requests[0].sampling) if cell.mode == "generate" and cell.requests else None,
            }
            for cell in plan.cells
        ],
        "host": host(),
        "git": git_state(),
    }
    return redacted(portable(content))


def host() -> dict[str, Any]:
    """Returns what this computer is: system, processor, cores this process may use, memory in bytes."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    try:
        memory: int | None = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        memory = None
    return {"system": platform.platform(), "processor": _processor(), "cores": cores, "memory_bytes": memory}


def git_state() -> dict[str, Any] | None:
    """Returns commit and cleanliness of the working folder, or None outside a repository. Never a remote."""
    try:
        commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5, check=True)
        dirty = subprocess.run(["git", "status", "--porcelain"], capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return {"commit": commit.stdout.strip(), "clean": not dirty.stdout.strip()}


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
            return next(names, platform.processor())
    except OSError:
        return platform.processor()


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
        if needs_sandbox(task.config.score):
            raise TaskError(
                f"answers to '{task.name}' are code, judged by running it, and there is no sandbox to do that in yet",
                where=str(task.path),
                fix="add --responses-only (in a run file: responses_only: true) to write the answers down unjudged",
            )


def _cell(model: PlannedModel, task: Task, samples: tuple[Sample, ...], seed: int) -> Cell:
    chat = _uses_chat(model, task)
    mode: Mode = "generate" if task.config.writes else "score"
    if mode == "generate":
        check_writing(task, model.config, model.info)
    requests = tuple(r for sample in samples for r in _requests(model, task, sample, mode, chat, seed))
    return Cell(model, task, mode, chat, samples, requests)


def _uses_chat(model: PlannedModel, task: Task) -> bool:
    wanted = model.config.chat_template if model.config.chat_template != "auto" else task.config.chat
    available = _has_template(model)
    if wanted == "on" and model.info is not None and not available:
        raise ModelError(
            "the chat template is switched on, but the model has none",
            where=f"model {model.config.name}, task {task.name}",
            fix="set `chat_template: off` for the model",
        )
    if task.config.kind in {"perplexity", "pairs"}:
        return False
    return wanted == "on" or (wanted == "auto" and task.config.writes and available)


def by_messages(judge: PlannedModel) -> bool:
    """Returns whether a judge is asked by messages: wherever it can be, but where the run file says not to."""
    return judge.config.chat_template != "off" and _has_template(judge)


def _has_template(model: PlannedModel) -> bool:
    return takes_messages(model.config) or (model.info is not None and model.info.has_chat_template)


def _requests(model: PlannedModel, task: Task, sample: Sample, mode: Mode, chat: bool, seed: int) -> Iterator[Request]:
    """Yields what is asked about one sample: once, or for each epoch of a generated task, each turn."""
    config = task.config
    scores, writes = mode == "score", mode == "generate"
    prompt = prompts.render(config, sample, shots_for(task, sample, seed), chat)
    more = prompts.later(config, sample, chat)
    stop = (*config.stop, *prompts.ends_turn(config, chat))
    scored = prompts.continuations(config, sample, chat) if scores else ()
    given = prompts.given(config, sample) if scores else ()
    sampling = sampling_of(config, model.config, model.info, seed) if writes else Sampling()
    writing = writing_of(config, sample) if writes else Writing()
    rolling = config.kind == "perplexity"
    asked = {
        "semantics": SEMANTICS,
        "model": model.key,
        "task": [config.task, config.version],
        "sample": sample.id,
        "mode": mode,
        "continuations": scored,
        "given": given,
        "rolling": rolling,
        "max_tokens": config.max_tokens if writes else None,
        "stop": stop if writes else None,
        "sampling": asdict(sampling) if writes else None,
        "writing": asdict(writing) if writes else None,
    }
    limits = {"max_tokens": config.max_tokens, "stop": stop}
    base = Request("", sample.id, mode, prompt, scored, given, rolling, **limits, sampling=sampling, writing=writing)
    for epoch in range(config.epochs if writes else 1):
        follows = ""
        for turn, added in enumerate((prompt, *more), 1):
            before = {"follows": follows} if follows else {}
            key = digest({**asked, "prompt": _as_json(added), "epoch": epoch, **before})
            yield replace(base, key=key, prompt=added, epoch=epoch, turn=turn, follows=follows)
            follows = key


def _as_json(prompt: str | tuple[Message, ...]) -> Any:
    return prompt if isinstance(prompt, str) else [asdict(turn) for turn in prompt]


_NO_ANSWER = {"name", "path", "threads", "price", "limits", "api_key_env", "api_key_command", "proxy", "ca_file"}


def _settings(config: ModelConfig) -> dict[str, Any]:
    """Returns the settings that could change an answer: not where the files are, what it costs, or how fast it goes."""
    found = config.model_dump(mode="json", exclude=_NO_ANSWER)
    if _script_file(config) is not None:  # its content counts, which is digested, and not its path
        found["script"] = {**config.script, "file": None} if isinstance(config.script, Mapping) else None
    return found


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
        judged = {"judge": _settings(judge.config) | {"digest": judge.digest}, "baseline": rival}
    return {
        "semantics": SEMANTICS,
        "seed": config.seed,
        "limit": config.limit,
        "first": config.first,
        "models": {model.config.name: _settings(model.config) | {"digest": model.digest} for model in models},
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
    }


def versions() -> dict[str, str | None]:
    """Returns the versions of the libraries that decide numbers."""
    return {name: _version(name) for name in ("openweights-harness", "torch", "transformers", "tokenizers")}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def listed_price(config: ModelConfig) -> Price | None:
    """Returns the price list entry of a model behind a server; None for one that is not listed or runs here."""
    if config.backend not in PROVIDERS:
        return None
    return price_of(config, config.backend if server(config).own else None)


def limits_of(config: ModelConfig, run: RunConfig) -> tuple[float | None, float | None]:
    """Returns the spend limits that bind a model, its own and the run's. Raises BackendError without a price.

    A server on this machine that has no price is paid nothing.
    """
    priced = listed_price(config) is not None
    found = (config.limits.max_cost, run.max_cost if priced or egress(config) is not None else None)
    if not priced and config.backend in PROVIDERS and found != (None, None):
        raise unpriced(config)
    return found


def _described_judge(plan: Plan) -> dict[str, Any]:
    return {"name": plan.judge.config.name, **asdict(judge_of(plan)), **described(plan.judge)}


def described(model: PlannedModel) -> dict[str, Any]:
    """Returns what `plan.json` says of a model."""
    known = asdict(model.info) if model.info is not None else {}
    place = {"backend": model.config.backend, "where": where(model.config)}
    if model.info is not None:
        folder = Path(str(model.config.path))
        known["openness"] = asdict(openness.describe(folder))
        known["served"] = asdict(served(folder, model.info, model.config.dtype, model.config.quantization))
    own = generation_defaults(model.config, model.info)
    price = listed_price(model.config)
    return {
        "digest": model.digest,
        **place,
        "files": model.files,
        **known,
        "generation_config": own,
        "price": None if price is None else frozen(price),
    }
