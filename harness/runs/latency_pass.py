"""Some requests of a cell once more, one after the other, alone: for latency."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from itertools import cycle, islice

from harness.backends.base import Backend
from harness.config.bench import LatencyConfig
from harness.measure.energy import Counter, find_counters, idle_watts
from harness.measure.other_work import between, reading
from harness.runs.conversation import _said, _turns, _whole
from harness.runs.plan import Plan
from harness.runs.requests import Cell
from harness.runs.steps import Step, _sent, _times, measure
from harness.store.folder import RunFolder
from harness.store.lines import read_measurements
from harness.store.schema import ChargeLine, LatencyLine
from harness.values import Request, Response

FEWEST_CYCLED = 5  # prompts; fewer, sent again and again, would say little of the task


def untimed(cell: Cell, plan: Plan, folder: RunFolder) -> bool:
    """Returns whether the latency of a cell is still to be measured; of another format of a prompt it is not."""
    named = (cell.model.config.name, cell.task.name)
    timed = (line for line in read_measurements(folder.path) if isinstance(line, LatencyLine))
    wanted = plan.config.latency.requests > 0 and not cell.task.format_of
    return wanted and all((line.model, line.task) != named for line in timed)


def counters_of(backend: Backend) -> tuple[tuple[Counter, ...], str | None]:
    """Returns what counts the joules of the device a model runs on, and the reason where nothing does."""
    device = backend.describe().device
    if device is None:
        return (), "the model does not run on a device of this machine"
    return find_counters(str(device), os.environ.get("CUDA_VISIBLE_DEVICES"))


def at_rest(backend: Backend, known: dict[str, float | None]) -> float | None:
    """Returns the watts of the device a loaded model runs on while nothing is asked of it; None if nothing counts them.

    Measured once for each device (`IDLE_S` seconds, where there are counters) and kept in `known`.
    """
    device = str(backend.describe().device)
    if device not in known:
        known[device] = idle_watts(counters_of(backend)[0])
    return known[device]


def timed_alone(requests: Sequence[Request], n: int) -> tuple[Request, ...]:
    """Returns the `n` requests to time: spread over the task, and again from its first where it has fewer.

    A median of ten times two prompts is no median of the task: below `FEWEST_CYCLED` each is sent once.
    """
    every = tuple(requests[:: max(1, len(requests) // n)][:n])
    return tuple(islice(cycle(every), n)) if len(every) >= FEWEST_CYCLED else every


def timed_requests(requests: Sequence[Request], wanted: LatencyConfig) -> tuple[Request, ...]:
    """Returns all that is sent one at a time: the warm-up, then what is timed; nothing if none is wanted."""
    alone = timed_alone(requests, wanted.requests) if wanted.requests else ()
    return (*islice(cycle(alone), wanted.warmup), *alone)


def _latency(cell: Cell, plan: Plan, backend: Backend, folder: RunFolder) -> Iterator[Step]:
    wanted = plan.config.latency
    asked: dict[str, Request] = {}
    said = _said(cell, folder)
    for turn in _turns(cell):
        asked |= _whole(cell, turn, asked, said)
    timed = []
    before = reading()
    for i, request in enumerate(timed_requests(tuple(asked.values()), wanted)):
        for response in backend.answer([request]):
            _charge(cell, asked, response, folder)
            if i >= wanted.warmup:
                timed.append(_times(response))
                yield Step(cell, "latency", response)
    beside = between(before, reading(), served_here=cell.model.place.served_here)
    name = cell.model.config.name
    line = LatencyLine(
        model=name,
        task=cell.task.name,
        mode=cell.mode,
        warmup=wanted.warmup,
        bystanders=beside,
        responses=tuple(timed),
    )
    measure(folder, line)


def _charge(cell: Cell, asked: Mapping[str, Request], response: Response, folder: RunFolder) -> None:
    """Writes down what a request beside the answers cost and sent, where a provider was asked."""
    if response.billing is not None and response.attempts:
        line = ChargeLine(
            model=cell.model.config.name,
            task=cell.task.name,
            mode=cell.mode,
            phase="latency",
            usd=response.billing.usd,
            most_usd=response.billing.most_usd,
            sent_bytes=_sent(cell, asked, [response]),
        )
        measure(folder, line)
