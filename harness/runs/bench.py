"""`harness bench`: loads on models, from a run file to a folder of timed requests, a table and figures.

    plan.json             what was asked: configuration, models, workloads, this computer
    measurements.jsonl    one line a request (kind request), a scenario (load) and a model (model)
    summary.json          one row a scenario, and what follows from them

A workload is a task's own prompts, asked as text, or made-up ones of stated lengths.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness.backends import Load, about, load
from harness.config.bench import BenchConfig
from harness.config.machine import read_machine
from harness.config.model import ModelConfig, RemoteModel
from harness.config.run import RunConfig
from harness.engine.text.stop_strings import cut
from harness.engine.text.thinking import Markers, split_text
from harness.engine.text.token_counts import counter_of
from harness.errors import ConfigError, StoreError
from harness.measure.device_memory import reset_peaks, used_memory
from harness.measure.energy import Counter, Meter, energy_shares
from harness.measure.load.openai_stream import OpenAIStream
from harness.measure.load.series import MARK, Series, Unlike, bench, synthetic_requests
from harness.measure.load.target import InProcess, Target
from harness.measure.load.timed import Slo, Timed
from harness.measure.other_work import between, reading
from harness.runs.device import at_rest, counters_of
from harness.runs.host import git_state, host
from harness.runs.plan import make_plan
from harness.runs.planned_model import PlannedModel, described, find_model, limits_of, versions
from harness.runs.requests import Cell
from harness.security.secrets import redacted
from harness.store.files import append_rows
from harness.store.folder import RunFolder
from harness.store.lines import plan_content
from harness.store.paths import portable
from harness.store.schema import BenchRow, LoadEnergy, PlanFile, PlannedLoad, bench_row
from harness.tasks.rows import digest
from harness.tasks.score_answer import judge
from harness.values import Request, Response

DISTINCT = 256  # made-up prompts that are told apart before their numbers are
EVERY_S = 10.0  # between lines of progress
TOGETHER = 32  # requests written at a time
Judge = Callable[[Request, str], float | None]


@dataclass(frozen=True, slots=True)
class Workload:
    """What one model is asked. `judge` None: there is no right answer, or the prompts were changed."""

    model: PlannedModel
    name: str
    requests: Sequence[Request]
    judge: Judge | None
    n: int  # distinct prompts
    output_tokens: int | None = None  # of made-up prompts: what each answer should have


@dataclass(frozen=True, slots=True)
class Bench:
    """What a benchmark will do. `digest` is that of all that is asked and how."""

    config: RunConfig
    workloads: tuple[Workload, ...]
    identity: Mapping[str, Any]
    digest: str


def make_bench(config: RunConfig) -> Bench:
    """Returns what will be measured. Reads data and model files, loads no weights, asks nothing.

    Raises a HarnessError for whatever would fail later.
    """
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
        workloads = tuple(_of_task(cell, config) for cell in plan.cells)
    identity = {
        "bench": config.bench.model_dump(mode="json"),
        "seed": config.seed,
        "models": {work.model.config.name: work.model.key for work in workloads},
        "workloads": [
            [w.model.config.name, w.name, digest([w.requests[i].key for i in range(w.n)])] for w in workloads
        ],
        "versions": versions(),
    }
    return Bench(config, workloads, identity, digest(identity))


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
    if any(limit is not None for limit in limits_of(find_model(model), config)):
        what = "a load keeps no spend limit: it sends what it says, whatever that costs"
        raise ConfigError(what, where=where, fix="leave `max_cost` out, and ask for few `requests`")


def _of_task(cell: Cell, config: RunConfig) -> Workload:
    task = cell.task.config
    samples = {sample.id: sample for sample in cell.samples}

    def value(request: Request, text: str) -> float | None:
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


def folder_for(made: Bench, out: str | Path | None, root: Path = Path("results")) -> Path:
    """Returns the folder of a benchmark: as asked, else a new one."""
    if out is not None:
        return Path(out)
    return root / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{made.config.run}-bench-{made.digest[:8]}"


def carry_out(made: Bench, path: Path, load: Load = load, *, sealed: str | None = None) -> Iterator[BenchRow]:
    """Yields the row of each scenario as it ends; its requests and it are on disk then.

    Raises StoreError for a folder that holds a benchmark already: loads are measured anew, never resumed.
    """
    with RunFolder.create_or_resume(path, plan_content(_plan_file(made))) as folder:
        if folder.resumed:
            raise StoreError("the folder holds a benchmark already", where=str(path), fix="name a new one: --out DIR")
        lines = path / "measurements.jsonl"
        for config in made.config.models:
            works = [work for work in made.workloads if work.model.config.name == config.name]
            if not works:
                continue
            with ExitStack() as stack:
                subject = _subject(works[0].model.config, load, stack)
                noted = {"kind": "model", "model": config.name, "sealed": sealed, **subject.about}
                append_rows(lines, [redacted(portable(noted))])
                for work in works:
                    yield from _measured(made, work, subject, lines)
                held = used_memory(str(noted.get("device") or "cpu")) if noted["in_process"] else {}
                append_rows(lines, [{"kind": "memory", "model": config.name, **held}])


@dataclass(frozen=True, slots=True)
class Subject:
    """What requests go to, what is known of it, and what counts its joules (`reason` says why nothing does)."""

    target: Target
    about: Mapping[str, Any]
    counters: tuple[Counter, ...] = ()
    reason: str | None = "the model does not run in this process"
    idle_watts: float | None = None


def _subject(config: ModelConfig, load: Load, stack: ExitStack) -> Subject:
    """Returns what is measured. A model in this process is loaded here."""
    if isinstance(config, RemoteModel):
        target = OpenAIStream(config)
        return Subject(target, {"in_process": False, "url": target.url, "load_s": None})
    reset_peaks()
    began = time.perf_counter()
    backend = stack.enter_context(closing(load(config)))
    loaded = time.perf_counter() - began

    def ask(request: Request) -> Response:
        (response,) = backend.answer([request])
        return response

    known = {"in_process": True, **asdict(backend.describe()), "load_s": loaded}
    return Subject(InProcess(ask), known, *counters_of(backend), at_rest(backend, {}))


def _measured(made: Bench, work: Workload, subject: Subject, lines: Path) -> Iterator[BenchRow]:
    target = subject.target
    named = {"model": work.model.config.name, "task": work.name}
    series = _series(made.config.bench, made.config.seed)
    own = counter_of(work.model.config.tokenizer) if isinstance(target, OpenAIStream) else None
    kept: list[dict[str, Any]] = []
    progress = _Progress(f"{named['model']} · {named['task']}")

    def value(request: Request, text: str) -> float | None:
        progress.tick()
        return work.judge(request, text) if work.judge is not None else None

    def keep(scenario: str, timed: Timed) -> None:
        kept.append({"kind": "request", **named, "scenario": scenario, **asdict(timed)})
        work_done["samples"] += 1
        work_done["output_tokens"] += timed.usage.output_tokens if timed.usage else 0
        work_done["correct"] += timed.correct or 0.0
        if len(kept) >= TOGETHER:  # a load must neither wait for a disk nor fill the memory
            append_rows(lines, kept, sync=False)
            kept.clear()

    scenarios = bench(target, work.requests, series, count=own, judge=value, keep=keep)
    while True:
        work_done = {"samples": 0, "output_tokens": 0, "correct": 0.0}  # of all requests: all took energy
        before = reading()
        with Meter(subject.counters, reason=subject.reason) as meter:
            found = next(scenarios, None)
        if found is None:
            return
        energy = meter.energy(subject.idle_watts)
        shared = LoadEnergy(**asdict(energy), **energy_shares(energy, **work_done))
        beside = between(before, reading(), served_here=work.model.place.served_here)
        row = bench_row(found, (work.model.config.name, work.name), work.output_tokens, shared, beside)
        append_rows(lines, [*kept, {"kind": "load", "row": asdict(row)}])
        kept.clear()
        progress.end(row)
        yield row


def _series(config: BenchConfig, seed: int) -> Series:
    """Returns the series a run file asks for."""
    wanted = config.model_dump(exclude={"slo", "lengths", "prefix_cache"})
    slo = None if config.slo is None else Slo(**config.slo.model_dump())
    return Series(**wanted, slo=slo, seed=seed)


class _Progress:
    """A line on stderr now and then, and one for each scenario."""

    def __init__(self, name: str) -> None:
        self._name, self._done, self._said = name, 0, time.monotonic()

    def tick(self) -> None:
        self._done += 1
        if time.monotonic() - self._said > EVERY_S:
            self._say(f"{self._done} answers so far")

    def end(self, row: BenchRow) -> None:
        ended = f"; ended early, {row.stopped}" if row.stopped else "; saturated" if row.saturated else ""
        speed = "–" if row.requests_per_s is None else f"{row.requests_per_s:.3g}"
        self._say(f"{row.scenario}: {row.n} requests, {speed}/s{ended}")
        self._done = 0

    def _say(self, text: str) -> None:
        self._said = time.monotonic()
        print(f"{self._name} · {text}", file=sys.stderr, flush=True)


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
    )
