"""A benchmark of load, from its folder to its limits and to what a reader must know of it. Reads files only.

plan.json             what was asked: configuration, models, workloads, the computer that sent
measurements.jsonl    one line a request (kind request), a scenario (load) and a model (model, memory)
summary.json          one row a scenario, and what follows from them
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from harness.analysis.bench_notes import notes
from harness.analysis.judged_by import judged_by
from harness.config.bench import BenchConfig
from harness.config.machine import MachineConfig
from harness.cost.capacity import MIN_SHAPES, Shape, fit
from harness.errors import ConfigError, StoreError
from harness.measure.load.series import loads_owed, series_of
from harness.measure.load.sustained import knee, meets_slo, slo_capacity
from harness.measure.load.timed import Slo
from harness.store.files import SUMMARY, write_json_atomic
from harness.store.lines import read_measurements, read_plan
from harness.store.manifest import write_manifest
from harness.store.rows import read_object
from harness.store.schema import (
    BENCHES,
    BenchedModel,
    BenchRow,
    BenchSummary,
    BenchWorkload,
    HeldMemory,
    LoadLine,
    MemoryLine,
    ModelLine,
    NoTokenSeconds,
    OwedLoads,
    PlanFile,
    RequestLine,
    StoppedLine,
    TokenSeconds,
    by_workload,
)
from harness.values import CellName


def finish(path: Path) -> BenchSummary:
    """Returns the summary of a benchmark, and writes it."""
    found = replace(summarised(path), judged_by=judged_by())
    write_json_atomic(path / SUMMARY, BENCHES.write(found))
    write_manifest(path)
    return found


def read_bench(path: Path) -> BenchSummary:
    """Returns the summary of a benchmark's folder; one of an earlier version is made anew. Raises StoreError."""
    content = read_object(path / SUMMARY)
    if content.get("kind") != "bench":
        fix = "give the folder that `harness bench` named"
        raise StoreError(f"{path} holds no benchmark of load", where="--bench", fix=fix)
    return BENCHES.read(content, str(path / SUMMARY)) if "schema" in content else summarised(path)


def summarised(path: Path) -> BenchSummary:
    """Returns what follows from the plan and the measurements of a benchmark."""
    plan, lines = read_plan(path), list(read_measurements(path, {"model", "load", "memory", "stopped"}))
    rows = tuple(line.row for line in lines if isinstance(line, LoadLine))
    held = {line.model: line for line in lines if isinstance(line, MemoryLine)}
    models = {line.model: _model(line, held.get(line.model)) for line in lines if isinstance(line, ModelLine)}
    stops = {line.model: line.reason for line in lines if isinstance(line, StoppedLine)}
    wanted, owed = plan.config.bench, tuple(_owed(plan, rows, stops))
    slo = None if wanted.slo is None else Slo(**wanted.slo.model_dump())
    found = BenchSummary(
        run=plan.run,
        slo=slo,
        prefix_cache=wanted.prefix_cache,
        models=models,
        rows=rows,
        workloads=tuple(_workload(name, group, plan, slo, owed) for name, group in by_workload(rows).items()),
        owed=owed,
        fits=_fits(rows, plan.machine),
    )
    return replace(found, notes=tuple(notes(found, plan.host)))


def requests(path: Path) -> Iterator[RequestLine]:
    """Yields every timed request of a benchmark, but those of loads that were cut off."""
    loads = (line for line in read_measurements(path, {"load"}) if isinstance(line, LoadLine))
    whole = {(*line.row.workload, line.row.scenario): line.sitting for line in loads}
    for line in read_measurements(path, {"request"}):
        if isinstance(line, RequestLine) and whole.get((line.model, line.task, line.scenario)) == line.sitting:
            yield line


def _model(line: ModelLine, held: MemoryLine | None) -> BenchedModel:
    memory = None
    if held is not None and line.in_process:
        memory = HeldMemory(held.rss_bytes, held.peak_rss_bytes, held.peak_allocated_bytes)
    return BenchedModel(
        backend=line.backend,
        load_s=line.load_s,
        in_process=bool(line.in_process),
        device=line.device,
        device_name=line.device_name,
        sealed=line.sealed,
        memory=memory,
    )


def _owed(plan: PlanFile, rows: Sequence[BenchRow], stops: Mapping[str, str]) -> Iterator[OwedLoads]:
    """Yields what is still to be measured of each workload."""
    series, measured = series_of(plan.config.bench, plan.config.seed), by_workload(rows)
    for work in plan.workloads:
        done = {row.scenario: row for row in measured.get((work.model, work.task), ())}
        if loads := loads_owed(series, done):
            yield OwedLoads(work.model, work.task, tuple(load.name for load in loads), stops.get(work.model))


def _workload(
    name: CellName, rows: Sequence[BenchRow], plan: PlanFile, slo: Slo | None, owed: Sequence[OwedLoads]
) -> BenchWorkload:
    """Returns what follows from all scenarios of a model on a workload: its limits."""
    later = {load for work in owed if (work.model, work.task) == name for load in work.loads}
    at = knee(rows)
    rates = [row for row in rows if row.kind == "rate"]
    return BenchWorkload(
        model=name[0],
        task=name[1],
        not_measured=tuple(load for load in not_measured(rows, plan.config.bench) if load not in later),
        first_request_s=next((row.first_request_s for row in rows if row.first_request_s is not None), None),
        most_requests_per_s=max((row.requests_per_s for row in rows if row.requests_per_s), default=None),
        knee=None if at is None else rows[at].scenario,
        slo_requests_per_s=None if slo is None else slo_capacity(rows, slo),
        all_rates_in_slo=slo is not None and all(meets_slo(row, slo) for row in rates),
    )


def not_measured(rows: Sequence[BenchRow], config: BenchConfig) -> tuple[str, ...]:
    """Returns the loads that were asked for and left out, as the ones before them had shown all there is to see."""
    names = {row.scenario for row in rows} | {"concurrency 1"}  # one at a time is called single
    asked = [*(f"concurrency {level}" for level in config.concurrency), *(f"rate {level:g}" for level in config.rate)]
    return tuple(name for name in asked if name not in names)


def _fits(rows: Sequence[BenchRow], machine: MachineConfig | None) -> dict[str, TokenSeconds | NoTokenSeconds]:
    """Returns, by model, the seconds a token takes on a busy server, fitted where enough shapes were measured."""
    gpus = 1 if machine is None else machine.gpus
    fits: dict[str, TokenSeconds | NoTokenSeconds] = {}
    for model in dict.fromkeys(row.model for row in rows):
        busy = [row for row in rows if row.model == model and row.kind == "offline" and row.stopped is None]
        shapes = tuple(shape for shape in (shape_of(row, gpus) for row in busy) if shape is not None)
        if len(shapes) < MIN_SHAPES:
            continue
        try:
            fits[model] = TokenSeconds(**asdict(fit(shapes)), shapes=shapes)
        except ConfigError as error:
            fits[model] = NoTokenSeconds(error.what)
    return fits


def shape_of(row: BenchRow, gpus: int = 1) -> Shape | None:
    """Returns the shape of a saturated scenario, uncached input; None if its tokens are unknown."""
    read, written, rate = row.input_tokens, row.output_tokens, row.requests_per_s
    if read is None or written is None or not rate or not row.answered:
        return None
    uncached = read - (row.cached_tokens or 0)
    return Shape(uncached / row.answered, written / row.answered, gpus / rate)
