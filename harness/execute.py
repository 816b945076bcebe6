"""First loop: a plan to responses. Everything that needs a model ends here, in the files of the run folder.

Order: for each model, for each task, the answers still owed, then some of the same requests one at a time for latency.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Any, Literal

from harness.backends import BACKENDS
from harness.backends.base import Backend
from harness.backends.remote import egress
from harness.config import ModelConfig
from harness.measure.energy import Meter, find_counters
from harness.plan import Cell, Plan
from harness.secrets import redact, redacted, without_own
from harness.store import RunFolder, append_jsonl
from harness.values import Request, Response

Load = Callable[[ModelConfig], Backend]
FEWEST_CYCLED = 5  # prompts; fewer, sent again and again, would say little of the task


@dataclass(frozen=True, slots=True)
class Step:
    """One thing done: an answer recorded, or a request timed alone."""

    cell: Cell
    phase: Literal["answers", "latency"]
    response: Response


def load(config: ModelConfig) -> Backend:
    """Returns the backend a model asks for, its weights in memory."""
    return BACKENDS[config.backend](config)


def execute(plan: Plan, folder: RunFolder, load: Load = load, sealed: str | None = None) -> Iterator[Step]:
    """Yields each step as it is done and on disk. Stopping at any point leaves a run that can be resumed.

    `sealed` is what kept data on this machine meanwhile; it is written down for each model.
    """
    if folder.responses().note:
        logging.getLogger("harness").info(folder.responses().note)
    for model in plan.models:
        cells = [cell for cell in plan.cells if cell.model is model]
        if not any(owed(cell, folder) or untimed(cell, plan, folder) for cell in cells):
            continue
        started = time.perf_counter()
        with closing(load(model.config)) as backend:
            described = {"load_s": time.perf_counter() - started, "sealed": sealed, **backend.describe()}
            measure(folder, {"kind": "model", "model": model.config.name, **described})
            for cell in cells:
                yield from _answers(cell, backend, folder)
                if untimed(cell, plan, folder):
                    yield from _latency(cell, plan, backend, folder)


def owed(cell: Cell, folder: RunFolder) -> tuple[Request, ...]:
    """Returns the requests of a cell that have no response yet."""
    done = folder.responses().keys()
    return tuple(request for request in cell.requests if request.key not in done)


def untimed(cell: Cell, plan: Plan, folder: RunFolder) -> bool:
    """Returns whether the latency of a cell is still to be measured."""
    named = (cell.model.config.name, cell.task.name)
    timed = (line for line in measurements(folder.path) if line["kind"] == "latency")
    return plan.config.latency.requests > 0 and all((line["model"], line["task"]) != named for line in timed)


def measure(folder: RunFolder, line: Mapping[str, Any]) -> None:
    """Adds a line to `measurements.jsonl`."""
    append_jsonl(folder.path / "measurements.jsonl", redacted(line))


def measurements(path: Path) -> list[dict[str, Any]]:
    """Returns the lines of `measurements.jsonl` of a run folder; a torn last line is left out."""
    file = path / "measurements.jsonl"
    if not file.exists():
        return []
    whole = (line for line in file.read_text(encoding="utf-8").split("\n")[:-1] if line)
    return [json.loads(line) for line in whole]


def _answers(cell: Cell, backend: Backend, folder: RunFolder) -> Iterator[Step]:
    requests = owed(cell, folder)
    if not requests:
        return
    by_key = {request.key: request for request in requests}
    ask = backend.score if cell.mode == "score" else backend.generate
    answered: list[Response] = []
    started = time.perf_counter()
    meter = _meter(backend)
    try:
        with meter:
            for response in ask(requests):
                folder.responses().append(stored(cell, by_key[response.key], response))
                answered.append(response)
                yield Step(cell, "answers", response)
    finally:
        if answered:
            measure(folder, _pass(cell, answered, time.perf_counter() - started))
            measure(folder, {**_named(cell, "energy"), **asdict(meter.energy())})
            if (took := _engine(cell, backend)) is not None:
                measure(folder, {**_named(cell, "engine"), **took})


def _engine(cell: Cell, backend: Backend) -> Mapping[str, Any] | None:
    """Returns what the scoring engine says it computed and what a server without sharing would bill, if it knows."""
    statistics = getattr(backend, "statistics", None)
    return statistics() if cell.mode == "score" and statistics is not None else None


def _meter(backend: Backend) -> Meter:
    """Returns what counts the joules of the device a model runs on, if anything does."""
    device = backend.describe().get("device")
    if device is None:
        return Meter((), reason="the model does not run on a device of this machine")
    counters, reason = find_counters(str(device), os.environ.get("CUDA_VISIBLE_DEVICES"))
    return Meter(counters, reason=reason)


def timed_alone(cell: Cell, n: int) -> tuple[Request, ...]:
    """Returns the `n` requests to time: spread over the task, and again from its first where it has fewer.

    A median of ten times two prompts is no median of the task: below `FEWEST_CYCLED` each is sent once.
    """
    every = cell.requests[:: max(1, len(cell.requests) // n)][:n]
    return tuple(islice(cycle(every), n)) if len(every) >= FEWEST_CYCLED else every


def _latency(cell: Cell, plan: Plan, backend: Backend, folder: RunFolder) -> Iterator[Step]:
    wanted = plan.config.latency
    requests = timed_alone(cell, wanted.requests)
    ask = backend.score if cell.mode == "score" else backend.generate
    for i in range(wanted.warmup):
        for _ in ask([requests[i % len(requests)]]):
            pass
    timed = []
    for request in requests:
        for response in ask([request]):
            timed.append(response)
            yield Step(cell, "latency", response)
    times = [_times(response) for response in timed]
    sent = _sent(cell, [*timed, *(timed[i % len(timed)] for i in range(wanted.warmup))])
    line = {"warmup": wanted.warmup, "sent_bytes": sent, "responses": times}
    measure(folder, {**_named(cell, "latency"), **line})


def stored(cell: Cell, request: Request, response: Response) -> dict[str, Any]:
    """Returns the line of `responses.jsonl` for one response."""
    return {
        "model": cell.model.config.name,
        "task": cell.task.name,
        "sample_id": request.sample_id,
        "epoch": request.epoch,
        "mode": request.mode,
        **asdict(response),
        "text": None if response.text is None else without_own(response.text),
        "error": None if response.error is None else redact(response.error),
        "details": redacted(response.details),
    }


def restored(line: Mapping[str, Any]) -> Response:
    """Returns the response of a line of `responses.jsonl`."""
    names = Response.__dataclass_fields__
    values = {name: tuple(v) if isinstance(v := line[name], list) else v for name in names if name in line}
    return Response(**values)


def _named(cell: Cell, kind: str) -> dict[str, Any]:
    return {"kind": kind, "model": cell.model.config.name, "task": cell.task.name, "mode": cell.mode}


def _pass(cell: Cell, responses: list[Response], wall_s: float) -> dict[str, Any]:
    """Returns the line of `measurements.jsonl` for the answers of one sitting: real tokens, machine seconds."""
    good = [response for response in responses if response.error is None]
    split = all(r.prefill_s is not None and r.decode_s is not None for r in good)
    return {
        **_named(cell, "pass"),
        "wall_s": wall_s,
        "samples": len(responses),
        "sent_bytes": _sent(cell, responses),
        "failed": len(responses) - len(good),
        "input_tokens": sum(r.input_tokens for r in good),
        "output_tokens": sum(r.output_tokens for r in good),
        "prefill_s": sum(r.prefill_s or 0.0 for r in good) if split else None,
        "decode_s": sum(r.decode_s or 0.0 for r in good) if split else None,
        "usd": _billed(responses),
    }


def _billed(responses: Sequence[Response]) -> float | None:
    """Returns what a provider charges for these responses, failed attempts included; None if that is not known."""
    charges = [response.details.get("usd") for response in responses]
    return None if None in charges else sum(charges)


def _sent(cell: Cell, responses: Sequence[Response]) -> int:
    """Returns the bytes of text that left this machine for these responses, in all their attempts."""
    if egress(cell.model.config) is None:
        return 0
    by_key = {request.key: request for request in cell.requests}
    attempts = (len(response.details.get("attempts", ())) or 1 for response in responses)
    return sum(tries * _bytes(by_key[response.key]) for tries, response in zip(attempts, responses))


def _bytes(request: Request) -> int:
    """Returns the bytes of a request's text. Each continuation is scored after the prompt, and sent with it."""
    turns = [request.prompt] if isinstance(request.prompt, str) else [turn.content for turn in request.prompt]
    prompt = "".join(turns).encode("utf-8", "replace")
    ends = "".join(request.continuations).encode("utf-8", "replace")
    return len(prompt) * max(1, len(request.continuations)) + len(ends)


def _times(response: Response) -> dict[str, Any]:
    names = ("key", "input_tokens", "output_tokens", "ttft_s", "last_token_s", "e2e_s", "error")
    return {name: getattr(response, name) for name in names}
