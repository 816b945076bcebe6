"""First loop: a plan to responses. Everything that needs a model ends here, in the files of the run folder.

Order: for each model, for each task, the answers still owed, then some of the same requests one at a time for latency.
A model whose next request could exceed a spend limit stops there, and what it owes stays owed.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, replace
from itertools import chain, cycle, islice
from pathlib import Path
from typing import Any, Literal

from harness.backends import BACKENDS
from harness.backends.base import Backend
from harness.config.bench import LatencyConfig
from harness.config.model import ModelConfig
from harness.errors import LimitReached
from harness.measure.energy import Counter, Meter, find_counters, idle_watts
from harness.measure.other_work import between, reading
from harness.plan import Cell, Plan, limits_of
from harness.security.egress import PROVIDERS, egress, server
from harness.security.secrets import redact, redacted, without_own
from harness.stats.totals import total
from harness.store.files import RESPONSES, VERDICTS, append_jsonl
from harness.store.folder import RunFolder
from harness.store.log import Paced, ResponseLog, read_attempts, read_responses
from harness.store.paths import portable
from harness.tasks.prompts import continued, replied
from harness.values import Request, Response

Load = Callable[[ModelConfig], Backend]
Phase = Literal["answers", "latency", "verdicts"]
FEWEST_CYCLED = 5  # prompts; fewer, sent again and again, would say little of the task


@dataclass(frozen=True, slots=True)
class Step:
    """One thing done: an answer recorded, a request timed alone, or a verdict of the judge recorded."""

    cell: Cell
    phase: Phase
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
    idle: dict[str, float | None] = {}
    for model in plan.models:
        cells = [cell for cell in plan.cells if cell.model is model]
        if not any(owed(cell, folder) or untimed(cell, plan, folder) for cell in cells):
            continue
        with at_work(model.config, plan, folder, load, sealed) as backend:
            for cell in cells:
                yield from _answers(cell, backend, folder, idle)
                if untimed(cell, plan, folder):
                    yield from _latency(cell, plan, backend, folder)


@contextmanager
def at_work(config: ModelConfig, plan: Plan, folder: RunFolder, load: Load, sealed: str | None) -> Iterator[Backend]:
    """Gives a model with what is left to spend, and writes down what it is. A limit that is reached ends its work."""
    started = time.perf_counter()
    with closing(load(_limited(config, plan, folder.path))) as backend:
        described = {"load_s": time.perf_counter() - started, "sealed": sealed, **backend.describe()}
        measure(folder, {"kind": "model", "model": config.name, **described})
        try:
            yield backend
        except LimitReached as reached:
            measure(folder, {"kind": "stopped", "model": config.name, "reason": reached.what})
            logging.getLogger("harness").warning(f"{config.name}: {reached.what}")


def _limited(config: ModelConfig, plan: Plan, path: Path) -> ModelConfig:
    """Returns a model's settings with what is left to spend in a run folder, of its own limit and the run's, as limit.

    Counted is what this run paid so far, in every sitting; what is unknown as the most it can be. Only requests that
    were under way when a sitting was killed left no trace, and are not counted.
    """
    limits = limits_of(config, plan.config)
    if limits == (None, None):
        return config
    spent = _spent(path)
    so_far = (spent.get(config.name, 0.0), sum(spent.values()))
    left = [limit - used for limit, used in zip(limits, so_far) if limit is not None]
    return config.model_copy(update={"limits": config.limits.model_copy(update={"max_cost": max(0.0, min(left))})})


def _spent(path: Path) -> dict[str, float]:
    """Returns by model the most USD that the answers and timed requests in a run folder can have cost."""
    spent: dict[str, float] = {}
    logs = [file for name in (RESPONSES, VERDICTS) if (file := path / name).exists()]
    answers = [(line["model"], line["details"]) for file in logs for line in read_attempts(file)]
    timed = [(line["model"], line) for line in measurements(path) if line["kind"] == "charge"]
    for model, bill in (*((model, bill) for model, bill in answers if "attempts" in bill), *timed):
        spent[model] = spent.get(model, 0.0) + (bill.get("most_usd") or bill.get("usd") or 0.0)
    return spent


def owed(cell: Cell, folder: RunFolder) -> tuple[Request, ...]:
    """Returns the requests of a cell that have no response yet, and those that failed and may succeed now."""
    done = folder.responses().keys()
    return tuple(request for request in cell.requests if request.key not in done)


def untimed(cell: Cell, plan: Plan, folder: RunFolder) -> bool:
    """Returns whether the latency of a cell is still to be measured; of another format of a prompt it is not."""
    named = (cell.model.config.name, cell.task.name)
    timed = (line for line in measurements(folder.path) if line["kind"] == "latency")
    wanted = plan.config.latency.requests > 0 and not cell.task.format_of
    return wanted and all((line["model"], line["task"]) != named for line in timed)


def measure(folder: RunFolder, line: Mapping[str, Any]) -> None:
    """Adds a line to `measurements.jsonl`."""
    append_jsonl(folder.path / "measurements.jsonl", redacted(portable(line)))


def measurements(path: Path) -> list[dict[str, Any]]:
    """Returns the lines of `measurements.jsonl` of a run folder; a torn last line is left out."""
    file = path / "measurements.jsonl"
    if not file.exists():
        return []
    whole = (line for line in file.read_text(encoding="utf-8").split("\n")[:-1] if line)
    return [json.loads(line) for line in whole]


def _answers(cell: Cell, backend: Backend, folder: RunFolder, idle: dict[str, float | None]) -> Iterator[Step]:
    if not owed(cell, folder):
        return
    asked: dict[str, Request] = {}
    said = _said(cell, folder)
    ask = backend.score if cell.mode == "score" else backend.generate
    rest = at_rest(backend, idle)
    counters, reason = counters_of(backend)
    meter = Meter(counters, reason=reason)
    try:
        with sitting(cell, folder.responses(), asked, folder) as kept, meter:
            for turn in _turns(cell):
                asked |= _whole(cell, turn, asked, said)
                done = folder.responses().keys()
                due = [request for request in turn if request.key not in done]
                now = [asked[request.key] for request in due if request.key in asked]
                unasked = [_unasked(request, said) for request in due if request.key not in asked]
                for step in keep(cell, "answers", chain(unasked, ask(now) if now else ()), kept, asked):
                    said[step.response.key] = step.response
                    yield step
    finally:
        if kept.done:
            measure(folder, {**_named(cell, "energy"), **asdict(meter.energy(rest))})
            if (took := _engine(cell, backend)) is not None:
                measure(folder, {**_named(cell, "engine"), **took})


@contextmanager
def sitting(cell: Cell, log: ResponseLog, asked: Mapping[str, Request], folder: RunFolder) -> Iterator[Paced]:
    """Gives what keeps the responses of a cell in a log; at the end, however it comes, writes down what they took.

    `asked` are the requests as they are sent, by key: whoever sends them may add to it meanwhile.
    """
    served = cell.model.config.backend in PROVIDERS  # what a server answered may have cost money: stored at once
    kept = Paced(log, at_once=served)
    started = time.perf_counter()
    cut_off = True  # from outside, with requests under way
    try:
        yield kept
        cut_off = False
    except LimitReached:
        cut_off = False
        raise
    finally:
        kept.flush()
        if kept.done:
            took = _pass(cell, asked, kept.done, time.perf_counter() - started)
            measure(folder, {**took, "cut_off": cut_off})


def keep(
    cell: Cell, phase: Phase, responses: Iterable[Response], kept: Paced, asked: Mapping[str, Request]
) -> Iterator[Step]:
    """Yields each response as a step of `phase` once it is on disk; at the end all of them are."""
    requests = {request.key: request for request in cell.requests}
    for response in responses:
        kept.add(response, _stored(cell, requests[response.key], response, asked))
        yield from (Step(cell, phase, one) for one in kept.new())
    kept.flush()
    yield from (Step(cell, phase, one) for one in kept.new())


def _turns(cell: Cell) -> list[list[Request]]:
    """Returns the requests of the first turns, of the second, and so on; there is one turn but in conversations."""
    turns: dict[int, list[Request]] = {}
    for request in cell.requests:
        turns.setdefault(request.turn, []).append(request)
    return [turns[n] for n in sorted(turns)]


def _said(cell: Cell, folder: RunFolder) -> dict[str, Response]:
    """Returns the stored answers, by key, that a later turn of a conversation follows."""
    wanted = {request.follows for request in cell.requests if request.follows}
    if not wanted:
        return {}
    folder.responses()  # cuts off a torn last line
    lines = (line for line in read_responses(folder.path / RESPONSES) if line["key"] in wanted)
    return {line["key"]: restored(line) for line in lines}


def _whole(
    cell: Cell, turn: Iterable[Request], asked: Mapping[str, Request], said: Mapping[str, Response]
) -> dict[str, Request]:
    """Returns the requests of a turn, by key, with all that was said before; not those that follow no answer."""
    found = {}
    for request in turn:
        if not request.follows:
            found[request.key] = request
        elif request.follows in asked and said[request.follows].error is None:
            text = replied(cell.task.config, said[request.follows].text or "", cell.chat)
            found[request.key] = replace(request, prompt=continued(asked[request.follows].prompt, text, request.prompt))
    return found


def _unasked(request: Request, said: Mapping[str, Response]) -> Response:
    """Returns the error of a turn that follows no answer; it is asked when the turn before is, and answered."""
    error = f"not asked: turn {request.turn - 1} has no answer"
    before = said[request.follows].details if request.follows in said else {}
    details = {"attempts": [], "usd": 0.0, "most_usd": 0.0, "transient": bool(before.get("transient"))}
    return Response(request.key, None, finish_reason="error", error=error, details=details)


def _engine(cell: Cell, backend: Backend) -> Mapping[str, Any] | None:
    """Returns what the scoring engine says it computed and what a server without sharing would bill, if it knows."""
    statistics = getattr(backend, "statistics", None)
    return statistics() if cell.mode == "score" and statistics is not None else None


def counters_of(backend: Backend) -> tuple[tuple[Counter, ...], str | None]:
    """Returns what counts the joules of the device a model runs on, and the reason where nothing does."""
    device = backend.describe().get("device")
    if device is None:
        return (), "the model does not run on a device of this machine"
    return find_counters(str(device), os.environ.get("CUDA_VISIBLE_DEVICES"))


def served_here(config: ModelConfig) -> bool:
    """Returns whether a model is a server on this computer, whose work is no bystander's."""
    return config.backend in PROVIDERS and server(config).local


def at_rest(backend: Backend, known: dict[str, float | None]) -> float | None:
    """Returns the watts of the device a loaded model runs on while nothing is asked of it; None if nothing counts them.

    Measured once for each device (`IDLE_S` seconds, where there are counters) and kept in `known`.
    """
    device = str(backend.describe().get("device"))
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
    ask = backend.score if cell.mode == "score" else backend.generate
    timed = []
    before = reading()
    for i, request in enumerate(timed_requests(tuple(asked.values()), wanted)):
        for response in ask([request]):
            _charge(cell, asked, response, folder)
            if i >= wanted.warmup:
                timed.append(_times(response))
                yield Step(cell, "latency", response)
    beside = asdict(between(before, reading(), served_here=served_here(cell.model.config)))
    line = {"warmup": wanted.warmup, "bystanders": beside, "responses": timed}
    measure(folder, {**_named(cell, "latency"), **line})


def _charge(cell: Cell, asked: Mapping[str, Request], response: Response, folder: RunFolder) -> None:
    """Writes down what a request beside the answers cost and sent, where a provider was asked."""
    if "attempts" in response.details:
        bill = {name: response.details.get(name) for name in ("usd", "most_usd")}
        line = {"phase": "latency", **bill, "sent_bytes": _sent(cell, asked, [response])}
        measure(folder, {**_named(cell, "charge"), **line})


def _stored(cell: Cell, request: Request, response: Response, asked: Mapping[str, Request]) -> dict[str, Any]:
    """Returns the line of `responses.jsonl` for one response; `asked` are the requests as they were sent, by key."""
    return {
        "model": cell.model.config.name,
        "task": cell.task.name,
        "sample_id": request.sample_id,
        "epoch": request.epoch,
        "turn": request.turn,
        "mode": request.mode,
        **asdict(response),
        "text": None if response.text is None else without_own(response.text),
        "error": None if response.error is None else redact(response.error),
        "details": redacted(response.details),
        "input_characters": characters(asked[request.key]) if request.key in asked else 0,
        "sent_bytes": _sent(cell, asked, [response]),
        "provisional": response.error is not None and bool(response.details.get("transient")),
    }


def characters(request: Request) -> int:
    """Returns the characters a request gives to read, as its input tokens are counted: once, with the longest pair."""
    said = [request.prompt] if isinstance(request.prompt, str) else [turn.content for turn in request.prompt]
    return sum(map(len, said)) + max((len(given + text) for given, text in request.pairs), default=0)


def restored(line: Mapping[str, Any]) -> Response:
    """Returns the response of a line of `responses.jsonl`."""
    names = Response.__dataclass_fields__
    values = {name: tuple(v) if isinstance(v := line[name], list) else v for name in names if name in line}
    return Response(**values)


def _named(cell: Cell, kind: str) -> dict[str, Any]:
    return {"kind": kind, "model": cell.model.config.name, "task": cell.task.name, "mode": cell.mode}


def _pass(cell: Cell, asked: Mapping[str, Request], responses: list[Response], wall_s: float) -> dict[str, Any]:
    """Returns the line of `measurements.jsonl` for the answers of one sitting: real tokens, machine seconds.

    A conversation is a sample of the sitting in which it ended.
    """
    followed = {request.follows for request in cell.requests}
    good = [response for response in responses if response.error is None]
    split = all(r.prefill_s is not None and r.decode_s is not None for r in good)
    return {
        **_named(cell, "pass"),
        "wall_s": wall_s,
        "samples": sum(response.key not in followed for response in responses),
        "responses": len(responses),
        "sent_bytes": _sent(cell, asked, responses),
        "failed": len(responses) - len(good),
        "input_tokens": total(r.input_tokens for r in good),
        "output_tokens": total(r.output_tokens for r in good),
        "prefill_s": sum(r.prefill_s or 0.0 for r in good) if split else None,
        "decode_s": sum(r.decode_s or 0.0 for r in good) if split else None,
        "usd": total(response.details.get("usd") for response in responses),
    }


def _sent(cell: Cell, asked: Mapping[str, Request], responses: Sequence[Response]) -> int:
    """Returns the bytes of text that left this machine for these responses, in all their attempts."""
    if egress(cell.model.config) is None:
        return 0
    sent = [response for response in responses if response.key in asked]
    attempts = (len(response.details.get("attempts", ())) or 1 for response in sent)
    return sum(tries * _bytes(asked[response.key]) for tries, response in zip(attempts, sent))


def _bytes(request: Request) -> int:
    """Returns the bytes of a request's text. Each continuation is scored after the prompt, and sent with it."""
    turns = [request.prompt] if isinstance(request.prompt, str) else [turn.content for turn in request.prompt]
    prompt = "".join(turns).encode("utf-8", "replace")
    ends = "".join(request.continuations).encode("utf-8", "replace")
    return len(prompt) * max(1, len(request.continuations)) + len(ends)


def _times(response: Response) -> dict[str, Any]:
    names = ("key", "input_tokens", "output_tokens", "ttft_s", "last_token_s", "e2e_s", "error")
    return {name: getattr(response, name) for name in names}
