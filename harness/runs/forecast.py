"""How long a run will take and how much memory a model needs, told before it starts, and from what it is projected.

The time is projected from an earlier run of the same model on the same task and machine (`earlier`), or from a few
requests asked now (`probe`). Where neither is there it is unknown.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.backends import Load, load
from harness.config.machine import MachineConfig
from harness.cost.machines import hourly
from harness.errors import StoreError
from harness.runs.host import host
from harness.runs.plan import Plan
from harness.runs.planned_model import PlannedModel
from harness.runs.requests import Cell
from harness.store.lines import read_measurements, read_plan
from harness.store.schema import PassLine, PlanFile

MOST_RUNS = 50  # of the newest run folders that are looked through


@dataclass(frozen=True, slots=True)
class Forecast:
    """How long one model will take for one task, without loading it."""

    model: str
    task: str
    answers: int
    seconds: float | None  # None: unknown
    basis: str  # what the time is projected from; where it is unknown, why
    usd: float | None = None  # of the machine the run names, at its stated utilisation

    def line(self) -> str:
        """Returns what to tell a person."""
        what = f"time for {self.model} on {self.task}"
        if self.seconds is None:
            return f"{what}: unknown ({self.basis})"
        cost = "" if self.usd is None else f", ${self.usd:.3g} of the machine"
        return f"{what}: about {spoken(self.seconds)}{cost} for {self.answers:,} answers (projected from {self.basis})"


def spoken(seconds: float) -> str:
    """Returns a time in the unit a person would use."""
    for size, unit in ((86_400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.2g} s"


def forecasts(
    plan: Plan, machine: MachineConfig | None, *, requests: int = 0, results: Path = Path("results"), load: Load = load
) -> tuple[Forecast, ...]:
    """Returns the time of each model of this machine on each task. With `requests`, models are loaded and asked these.

    A model elsewhere is asked nothing: its time is unknown without an earlier run.
    """
    found = list(earlier(plan, results))
    if requests:
        probed = {(one.model, one.task): one for one in probe(plan, requests, load)}
        found = [probed.get((one.model, one.task), one) for one in found]
    price = None if machine is None else hourly(machine).total
    if machine is None or price is None:
        return tuple(found)
    here = {model.config.name for model in plan.models if model.place.egress is None}
    return tuple(
        one
        if one.seconds is None or one.model not in here
        else replace(one, usd=one.seconds / 3600 * price / machine.utilisation)
        for one in found
    )


def earlier(plan: Plan, results: Path) -> Iterator[Forecast]:
    """Yields what earlier runs tell: the newest on this machine with the same model and version of the task."""
    folders = sorted((file.parent for file in results.glob("*/plan.json")), reverse=True)[:MOST_RUNS]
    runs = [(folder, known) for folder in folders if (known := _plan(folder)) and known.host == host()]
    for cell in plan.cells:
        name, task, n = cell.model.config.name, cell.task.name, _answers(cell)
        for folder, known in runs:
            passed = _passes(folder, cell) if _same(known, cell) else []
            answered = sum(line.samples for line in passed)
            if answered:
                seconds = sum(line.wall_s for line in passed) / answered * n
                yield Forecast(name, task, n, seconds, f"{answered:,} answers measured in {folder}")
                break
        else:
            why = "no earlier run of it here; `harness check --probe 8` measures a few requests"
            yield Forecast(name, task, n, None, why if cell.model.info is not None else "no earlier run of it here")


def probe(plan: Plan, requests: int, load: Load) -> Iterator[Forecast]:
    """Yields what a few requests of each task, spread over it, tell; each model folder of the plan is loaded once.

    A run of many requests batches better than a few do: the time is rather too long than too short.
    """
    for model in plan.models:
        if model.info is not None:
            with closing(load(model.config)) as backend:
                for cell in (cell for cell in plan.cells if cell.model is model):
                    yield _probed(cell, backend, requests)


def _probed(cell: Cell, backend: Any, requests: int) -> Forecast:
    name, task, n = cell.model.config.name, cell.task.name, _answers(cell)
    if cell.task.config.several_turns:
        return Forecast(name, task, n, None, "the turns of a conversation wait for each other: run a few samples")
    asked = cell.requests[:: max(1, len(cell.requests) // requests)][:requests]
    for _ in backend.answer(asked[:1]):
        pass  # the first request of a process is slower than all others
    started = time.perf_counter()
    failed = next((response.error for response in backend.answer(asked) if response.error is not None), None)
    seconds = time.perf_counter() - started
    if failed is not None:
        return Forecast(name, task, n, None, f"the probe failed: {failed}")
    return Forecast(name, task, n, seconds / len(asked) * n, f"a probe of {len(asked)}: {seconds:.2g} s measured")


def _answers(cell: Cell) -> int:
    return len({(request.sample_id, request.epoch) for request in cell.requests})


def _plan(folder: Path) -> PlanFile | None:
    """Returns the plan of a run folder; None for a benchmark's, and for one that cannot be read."""
    try:
        found = read_plan(folder)
    except (OSError, StoreError):
        return None
    return None if found.kind == "bench" else found


def _same(known: PlanFile, cell: Cell) -> bool:
    model, task = known.models.get(cell.model.config.name), known.tasks.get(cell.task.name)
    if model is None or task is None:
        return False
    return model.digest == cell.model.digest and task.version == cell.task.config.version


def _passes(folder: Path, cell: Cell) -> list[PassLine]:
    named = (cell.model.config.name, cell.task.name, cell.mode)
    try:
        passes = [line for line in read_measurements(folder, {"pass"}) if isinstance(line, PassLine)]
    except StoreError:  # somebody changed it: nothing is foretold from it
        return []
    return [line for line in passes if (line.model, line.task, line.mode) == named]


def memory_line(model: PlannedModel, weight_bytes: float, cache_bytes: float | None, free: tuple[int, str]) -> str:
    """Returns what a model of this machine takes with one answer to its longest prompt, and what is free."""
    cache = "an unknown cache" if cache_bytes is None else f"{_size(cache_bytes)} of cache for its longest prompt"
    bytes_free, place = free
    need = weight_bytes + (cache_bytes or 0.0)
    fits = "" if need <= bytes_free else ": IT DOES NOT FIT"
    said = f"{_size(weight_bytes)} of weights and {cache} (projected); {_size(bytes_free)} free in {place}{fits}"
    return f"memory for {model.config.name}: {said}"


def _size(count: float) -> str:
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:.3g} MB"
