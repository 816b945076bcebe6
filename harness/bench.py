"""`harness bench`: loads on models, from a run file to a folder of timed requests, a table and figures.

    plan.json             what was asked: configuration, models, workloads, this computer
    measurements.jsonl    one line a request (kind request), a scenario (load) and a model (model)
    summary.json          one row a scenario, and what follows from them

A workload is a task's own prompts, asked as text, or made-up ones of stated lengths.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness.backends import BACKENDS
from harness.config.bench import BenchConfig
from harness.config.machine import read_machine
from harness.config.model import ModelConfig
from harness.config.run import RunConfig
from harness.cost.capacity import MIN_SHAPES, fit, shape_of
from harness.engine.text.stop_strings import cut
from harness.engine.text.thinking import Markers, split_text
from harness.engine.text.token_counts import counter_of
from harness.errors import ConfigError, StoreError
from harness.execute import Load, at_rest, counters_of, load, served_here
from harness.measure.device_memory import reset_peaks, used_memory
from harness.measure.energy import Counter, Meter, energy_shares
from harness.measure.load.drive import Slo, Timed
from harness.measure.load.openai_stream import OpenAIStream
from harness.measure.load.series import (
    MARK,
    Series,
    Unlike,
    bench,
    knee,
    meets_slo,
    slo_capacity,
    synthetic_requests,
)
from harness.measure.load.target import InProcess, Target
from harness.measure.other_work import between, reading, warning
from harness.plan import Cell, PlannedModel, described, find_model, git_state, host, limits_of, make_plan, versions
from harness.security.egress import PROVIDERS, server
from harness.security.secrets import redacted
from harness.store.files import append_rows, write_json_atomic
from harness.store.folder import RunFolder
from harness.store.paths import portable
from harness.tables import Table, number, set_text
from harness.tasks.rows import digest
from harness.tasks.score_answer import judge
from harness.values import Request, Response

DISTINCT = 256  # made-up prompts that are told apart before their numbers are
EVERY_S = 10.0  # between lines of progress
TOGETHER = 32  # requests written at a time
LATE_S = 0.01  # by which a request may be sent late before it is told: response times hold that wait
SHORT = 0.9  # share of the asked answer length below which a speed says so

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
        if scored := [cell.task.name for cell in plan.cells if cell.mode == "score"]:
            raise ConfigError(
                f"task '{scored[0]}' is scored by log-probability: no text is written that could be timed",
                where=f"run {config.run}",
                fix="leave it out of the benchmark, or give `lengths`",
            )
        if talks := [cell.task.name for cell in plan.cells if cell.task.config.kind == "conversation"]:
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
    if model.backend in BACKENDS and model.backend not in {"fake", "transformers", "openai"}:
        raise ConfigError(
            f"backend '{model.backend}' cannot be put under load",
            where=where,
            fix="use `backend: openai` with the address of its OpenAI-compatible interface in `base_url`",
        )
    if model.backend not in PROVIDERS:
        return
    for key in ("proxy", "ca_file", "api_key_command"):
        if getattr(model, key) is not None:
            what = f"a load goes straight to the server, and `{key}` is for runs only"
            raise ConfigError(what, where=where, fix="leave it out, and name the key's variable")
    if model.batch:
        raise ConfigError("the answers of a batch have no moments to time", where=where, fix="set `batch: false`")
    if not model.stream:
        what = "an answer in one piece has no first token to time"
        raise ConfigError(what, where=where, fix="leave `stream: false` out")
    if any(limit is not None for limit in limits_of(model, config)):
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
    judged = None if task.rubric is not None else value  # a judge model does not sit beside a load
    return Workload(cell.model, cell.task.name, cell.requests, judged, len(cell.requests))


def _made_up(model: PlannedModel, config: RunConfig, input_tokens: int, output_tokens: int) -> Workload:
    """Returns prompts that no cache has seen: each has words of its own and a number before them."""
    count = counter_of(model.config.path) or (lambda text: len(text.split()))
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


def carry_out(made: Bench, path: Path, load: Load = load, *, sealed: str | None = None) -> Iterator[dict[str, Any]]:
    """Yields the row of each scenario as it ends; its requests and it are on disk then.

    Raises StoreError for a folder that holds a benchmark already: loads are measured anew, never resumed.
    """
    with RunFolder.create_or_resume(path, _stored(made)) as folder:
        if folder.resumed:
            raise StoreError("the folder holds a benchmark already", where=str(path), fix="name a new one: --out DIR")
        lines = path / "measurements.jsonl"
        for config in made.config.models:
            works = [work for work in made.workloads if work.model.config.name == config.name]
            if not works:
                continue
            with ExitStack() as stack:
                subject = _subject(works[0].model.config, load, stack)
                about = {"kind": "model", "model": config.name, "sealed": sealed, **subject.about}
                append_rows(lines, [redacted(portable(about))])
                for work in works:
                    yield from _measured(made, work, subject, lines)
                held = used_memory(str(about.get("device") or "cpu")) if about["in_process"] else {}
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
    if config.backend in PROVIDERS:
        place = server(config)
        place.key()  # raises if it is needed and not set
        target = OpenAIStream(
            place.url,
            config.model or config.name,
            api=config.api,
            own=place.own,
            key_env=place.key_env,
            timeout_s=config.limits.sample_s,
            extra=config.extra,
        )
        return Subject(target, {"in_process": False, "url": place.url, "load_s": None})
    reset_peaks()
    began = time.perf_counter()
    backend = stack.enter_context(closing(load(config)))
    loaded = time.perf_counter() - began

    def ask(request: Request) -> Response:
        (response,) = backend.generate([request])
        return response

    about = {"in_process": True, **backend.describe(), "load_s": loaded}
    return Subject(InProcess(ask), about, *counters_of(backend), at_rest(backend, {}))


def _measured(made: Bench, work: Workload, subject: Subject, lines: Path) -> Iterator[dict[str, Any]]:
    target = subject.target
    named = {"model": work.model.config.name, "task": work.name}
    series = _series(made.config.bench, made.config.seed)
    own = counter_of(work.model.config.path) if isinstance(target, OpenAIStream) else None
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
        shares = energy_shares(energy, **work_done)
        beside = asdict(between(before, reading(), served_here=served_here(work.model.config)))
        measured = {"energy": {**asdict(energy), **shares}, "bystanders": beside}
        row = {**named, "asked_output_tokens": work.output_tokens, **found, **measured}
        append_rows(lines, [*kept, {"kind": "load", "row": row}])
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

    def end(self, row: Mapping[str, Any]) -> None:
        ended = f"; ended early, {row['stopped']}" if row["stopped"] else "; saturated" if row["saturated"] else ""
        self._say(f"{row['scenario']}: {row['n']} requests, {number(row['requests_per_s'])}/s{ended}")
        self._done = 0

    def _say(self, text: str) -> None:
        self._said = time.monotonic()
        print(f"{self._name} · {text}", file=sys.stderr, flush=True)


def _stored(made: Bench) -> dict[str, Any]:
    """Returns the content of `plan.json`."""
    machine = read_machine(made.config.machine)
    return redacted(
        portable(
            {
                "kind": "bench",
                "digest": made.digest,
                "identity": made.identity,
                "run": made.config.run,
                "created": datetime.now(UTC).isoformat(timespec="seconds"),
                "config": made.config.model_dump(mode="json", by_alias=True),
                "models": {work.model.config.name: described(work.model) for work in made.workloads},
                "workloads": [{"model": w.model.config.name, "task": w.name, "n": w.n} for w in made.workloads],
                "machine": None if machine is None else machine.model_dump(mode="json"),
                "host": host(),
                "git": git_state(),
            }
        )
    )


# --- what it says ----------------------------------------------------------------------------------------------------


def finish(path: Path, config: RunConfig) -> dict[str, Any]:
    """Returns the summary of a benchmark, and writes it; reads files only."""
    lines = list(_lines(path, "model", "load", "memory"))
    rows = [line["row"] for line in lines if line["kind"] == "load"]
    models = {
        line["model"]: {
            key: line.get(key) for key in ("backend", "load_s", "in_process", "device", "device_name", "sealed")
        }
        for line in lines
        if line["kind"] == "model"
    }
    for line in lines:
        if line["kind"] == "memory":
            held = {key: value for key, value in line.items() if key not in {"kind", "model"}}
            models[line["model"]]["memory"] = held or None
    summary = {
        "kind": "bench",
        "run": config.run,
        "slo": None if config.bench.slo is None else config.bench.slo.model_dump(mode="json"),
        "prefix_cache": config.bench.prefix_cache,
        "models": models,
        "rows": rows,
        "workloads": [_workload(name, group, config.bench) for name, group in _groups(rows)],
        "fits": _fits(rows, config),
    }
    summary["notes"] = list(_notes(summary, host()))
    write_json_atomic(path / "summary.json", summary)
    return summary


def _lines(path: Path, *kinds: str) -> Iterator[dict[str, Any]]:
    """Yields the lines of `measurements.jsonl` of these kinds; a torn last line is left out."""
    heads = tuple(f'{{"kind":"{kind}"'.encode() for kind in kinds)
    with (path / "measurements.jsonl").open("rb") as file:
        yield from (json.loads(line) for line in file if line.startswith(heads) and line.endswith(b"\n"))


def _groups(rows: Sequence[Mapping[str, Any]]) -> list[tuple[tuple[str, str], list[Mapping[str, Any]]]]:
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["model"], row["task"]), []).append(row)
    return list(groups.items())


def _workload(name: tuple[str, str], rows: Sequence[Any], config: BenchConfig) -> dict[str, Any]:
    """Returns what follows from all scenarios of a model on a workload: its limits."""
    at = knee(rows)
    speeds = [row["requests_per_s"] for row in rows if row["requests_per_s"]]
    slo = None if config.slo is None else Slo(**config.slo.model_dump())
    return {
        "model": name[0],
        "task": name[1],
        "not_measured": _not_measured(rows, config),
        "first_request_s": next((row["first_request_s"] for row in rows if "first_request_s" in row), None),
        "most_requests_per_s": max(speeds, default=None),
        "knee": None if at is None else rows[at]["scenario"],
        "slo_requests_per_s": None if slo is None else slo_capacity(rows, slo),
        "all_rates_in_slo": slo is not None and all(meets_slo(row, slo) for row in rows if row["kind"] == "rate"),
    }


def _not_measured(rows: Sequence[Mapping[str, Any]], config: BenchConfig) -> list[str]:
    """Returns the loads that were asked for and left out, as the ones before them had shown all there is to see."""
    names = {row["scenario"] for row in rows} | {"concurrency 1"}  # one at a time is called single
    asked = [*(f"concurrency {level}" for level in config.concurrency), *(f"rate {level:g}" for level in config.rate)]
    return [name for name in asked if name not in names]


def _fits(rows: Sequence[Mapping[str, Any]], config: RunConfig) -> dict[str, Any]:
    """Returns, by model, the seconds a token takes on a busy server, fitted where enough shapes were measured.

    Of shapes that allow no fit only `reason` says why.
    """
    machine = read_machine(config.machine)
    gpus = 1 if machine is None else machine.gpus
    fits: dict[str, Any] = {}
    for model in dict.fromkeys(row["model"] for row in rows):
        busy = [row for row in rows if row["model"] == model and row["kind"] == "offline" and row["stopped"] is None]
        shapes = [shape for shape in (shape_of(row, gpus) for row in busy) if shape is not None]
        if len(shapes) < MIN_SHAPES:
            continue
        try:
            fits[model] = {"reason": None, **asdict(fit(shapes)), "shapes": [asdict(shape) for shape in shapes]}
        except ConfigError as error:
            fits[model] = {"reason": error.what}
    return fits


def text(summary: Mapping[str, Any], width: int = 100) -> str:
    """Returns both tables and the notes."""
    wire = (ROUND_TRIP,) if _on_a_wire(summary) else ()
    return set_text((_users(summary), _system(summary)), (*LEGEND, *wire, *summary["notes"]), width)


LEGEND = (
    "A percentile stands only where ten values lie beyond it: p50 needs 20 requests, p95 needs 200.",
    "TTFT: from sending to the first token. response: from when a request was due, so waiting counts.",
    "single and concurrency c: c at a time, no arrival rate. right: the whole answer, not a part of it.",
)
ROUND_TRIP = "round trip: the network alone, a TCP handshake about once a second, median; it is part of every TTFT."


def _on_a_wire(summary: Mapping[str, Any]) -> bool:
    return any(row["round_trip_p50_s"] is not None for row in summary["rows"])


def _ms(quantiles: Mapping[str, Any], name: str) -> str:
    return number(quantiles[name], 1000)


def _users(summary: Mapping[str, Any]) -> Table:
    """Returns what one user sees."""
    wire = _on_a_wire(summary)
    columns = ("load", "n", "TTFT p50 ms", "TTFT p95 ms", "TPOT p50 ms", "response p50 ms", "response p95 ms")
    columns += ("user tok/s", *(("round trip ms",) if wire else ()))

    def cells(row: Mapping[str, Any]) -> tuple[str, ...]:
        times = [_ms(row[key], q) for key, q in (("ttft_s", "p50"), ("ttft_s", "p95"), ("tpot_s", "p50"))]
        whole = [_ms(row["response_s"], q) for q in ("p50", "p95")]
        last = (number(row["user_tokens_per_s_p50"]), *((number(row["round_trip_p50_s"], 1000),) if wire else ()))
        return (row["scenario"], str(row["n"]), *times, *whole, *last)

    return Table("What a user sees", columns, _titled(summary, cells))


def _system(summary: Mapping[str, Any]) -> Table:
    """Returns what all users together get."""
    columns = ("load", "requests/s", "tok/s in", "tok/s out", "in SLO %", "goodput /s", "right, in SLO /s", "cached %")
    joules = any(row["energy"]["joules"] is not None for row in summary["rows"])
    columns += ("failed", "remark", *(("J / token out", "J / request") if joules else ()))

    def cells(row: Mapping[str, Any]) -> tuple[str, ...]:
        names = ("requests_per_s", "system_input_tokens_per_s", "system_output_tokens_per_s")
        speeds = [number(row[name]) for name in names]
        good = [number(row["attainment"], 100), number(row["goodput_per_s"]), number(row["quality_goodput_per_s"])]
        failed = ", ".join(f"{n} {kind}" for kind, n in sorted(row["failed"].items())) or "0"
        remark = row["stopped"] or ("saturated" if row["saturated"] else "")
        power = [number(row["energy"][name]) for name in ("j_per_output_token", "j_per_sample")] if joules else []
        return (row["scenario"], *speeds, *good, number(_cached(row), 100), failed, remark.partition(":")[0], *power)

    return Table("What the system does", columns, _titled(summary, cells))


def _titled(summary: Mapping[str, Any], cells: Callable[[Any], tuple[str, ...]]) -> Any:
    return tuple((f"{model} · {task}", tuple(map(cells, rows))) for (model, task), rows in _groups(summary["rows"]))


def _cached(row: Mapping[str, Any]) -> float | None:
    """Returns the share of the input that the server read from a cache; None where it does not say."""
    if row["cached_tokens"] is None or not row["input_tokens"]:
        return None
    return row["cached_tokens"] / row["input_tokens"]


def _notes(summary: Mapping[str, Any], computer: Mapping[str, Any]) -> Iterator[str]:
    yield f"Sent from {computer['processor'] or computer['system']}, {computer['cores']} cores."
    rows = summary["rows"]
    if said := warning({f"{r['model']} · {r['task']}, {r['scenario']}": r.get("bystanders") for r in rows}):
        yield said
    first = next((name for name, about in summary["models"].items() if about["in_process"]), None)
    for work in summary["workloads"]:
        where = f"{work['model']} · {work['task']}"
        loaded = summary["models"][work["model"]]["load_s"]
        libraries = " with its libraries" if work["model"] == first else ""
        parts = [] if loaded is None else [f"loaded in {number(loaded)} s{libraries}"]
        parts.append(f"its first request took {number(work['first_request_s'], 1000)} ms")
        yield f"{where}: {', '.join(parts)} (in no figure above)."
        if work["not_measured"]:
            left_out = ", ".join(work["not_measured"])
            yield f"{where}: {left_out} left out: the load before brought no more throughput, or was too much already."
        if work["slo_requests_per_s"] is not None:
            upto = "at all rates measured, so at least" if work["all_rates_in_slo"] else "up to"
            yield f"{where}: keeps the SLO {upto} {number(work['slo_requests_per_s'])} good requests/s."
        if summary["models"][work["model"]]["backend"] == "fake":
            yield f"{work['model']}: a script; its times to a token are told, not waited for; responses are real."
    yield from _resource_notes(summary)
    yield from _cache_note(summary)
    for row in summary["rows"]:
        where = f"{row['model']} · {row['task']}, {row['scenario']}"
        if row["usage_differs"]:
            yield f"{where}: the server's count of tokens and ours differ in {row['usage_differs']} answers."
        if row["stopped"]:
            left = "" if "unfinished" not in row["failed"] else "; its times are of the answers that came until then"
            yield f"{where}: ended early, {row['stopped']}{left}."
        elif row["saturated"]:
            yield f"{where}: saturated: requests came faster than answers, and waited the longer the longer it lasted."
        if row["at_once"]:
            yield f"{where}: {row['at_once']} answers came in one piece: how long a token took (TPOT) is unknown."
        if no_tpot := _beyond_tpot(row, summary["slo"]):
            yield f"{where}: {no_tpot} answers have no TPOT, and so cannot miss its bound in the SLO."
        late = row["late_s"]["p99"] or row["late_s"]["max"]
        if row["kind"] == "rate" and late is not None and late > LATE_S:
            yield f"{where}: this computer was too busy and sent requests up to {number(late, 1000)} ms late."
        asked, written = row["asked_output_tokens"], row["output_tokens"]
        good = row["n"] - sum(row["failed"].values())
        if asked and written is not None and good and written / good < SHORT * asked:
            yield f"{where}: answers had {written / good:.0f} tokens, {asked} were asked for."
    for model, found in summary["fits"].items():
        if found["reason"] is not None:
            yield f"{model}: no seconds of a token: {found['reason']}."
            continue
        terms = f"{found['a']:.3g}·I + {found['b']:.3g}·O + {found['c']:.3g}·(I·O + O²/2)"
        missed = f"{100 * found['error_mean']:.0f} % on average, {100 * found['error_max']:.0f} % at most"
        yield f"{model}: busy seconds of a request = {terms}; a shape left out is missed by {missed}."


def _beyond_tpot(row: Mapping[str, Any], slo: Mapping[str, Any] | None) -> int:
    """Returns how many answers with tokens a bound on TPOT says nothing of: of one token, one piece, or uncounted."""
    if slo is None or slo["tpot_s"] is None or row["kind"] == "offline":
        return 0
    return row["ttft_s"]["n"] - row["tpot_s"]["n"]


def _resource_notes(summary: Mapping[str, Any]) -> Iterator[str]:
    """Yields memory and energy of the models in this process."""
    for name, about in summary["models"].items():
        if not about["in_process"]:
            continue
        held = about["memory"] or {}
        if (bytes_ := held.get("peak_allocated_bytes") or held.get("peak_rss_bytes")) is not None:
            what = (
                "GPU memory" if held.get("peak_allocated_bytes") else "main memory in this process, libraries and all"
            )
            yield f"{name}: at most {number(bytes_, 1e-6)} MB of {what}."
        energy = next((row["energy"] for row in summary["rows"] if row["model"] == name), None)
        if energy is not None and energy["joules"] is None:
            yield f"{name}: energy unknown: {energy['reason']}."
        elif energy is not None:
            rest = "" if energy["idle_watts"] is None else f"; at rest it draws {number(energy['idle_watts'])} W"
            yield f"{name}: energy by {energy['method']}, of the whole device, warm-up included{rest}."


def _cache_note(summary: Mapping[str, Any]) -> Iterator[str]:
    """Yields how far a prefix cache may have helped."""
    if summary["prefix_cache"] == "defeat" or any(row["asked_output_tokens"] for row in summary["rows"]):
        yield "Every prompt began with a number of its own: no prefix cache could help, and no answer was judged."
        return
    for name, about in summary["models"].items():
        mine = [row for row in summary["rows"] if row["model"] == name]
        if about["in_process"]:
            yield f"{name}: in this process, one request at a time: others wait, which is in TTFT; no prefix is kept."
        elif mine and all(row["cached_tokens"] is None for row in mine):
            yield f"{name}: prompts repeat, and the server tells no cached tokens; see `prefix_cache: defeat`."


def plots(path: Path, summary: Mapping[str, Any]) -> list[Path]:
    """Draws latency against load and the distribution of response times of each workload; returns the files."""
    from harness.reports.plots import distributions, latency_against_load

    counted = {(row["model"], row["task"], row["scenario"]): range(*row["measured"]) for row in summary["rows"]}
    times: dict[tuple[str, str], dict[str, list[float]]] = {}
    for line in _lines(path, "request"):
        named = (line["model"], line["task"], line["scenario"])
        if line["error"] is None and line["index"] in counted.get(named, ()):
            mine = times.setdefault((line["model"], line["task"]), {})
            mine.setdefault(line["scenario"], []).append(line["t_end"] - line["t_sched"])
    drawn: list[Path] = []
    for name, rows in _groups(summary["rows"]):
        stem = "-".join(name).replace(" ", "").replace(",", "-").replace("/", "-")
        drawn += latency_against_load(rows, path / f"load-{stem}")
        drawn += distributions(times[name], path / f"response-{stem}", "response time, s") if name in times else ()
    return drawn
