"""First loop: a plan to responses. Everything that needs a model ends here, in the files of the run folder.

Order: for each model, for each task, the answers still owed, then some of the same requests one at a time for latency.
A model whose next request could exceed a spend limit stops there, and what it owes stays owed.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict, replace
from itertools import chain
from pathlib import Path
from typing import Any

from harness.backends import load
from harness.backends.base import Backend, ModelCard
from harness.config.model import ModelConfig, RemoteModel
from harness.errors import LimitReached
from harness.measure.energy import Meter
from harness.runs.conversation import _said, _turns, _unasked, _whole
from harness.runs.latency_pass import _latency, at_rest, counters_of, untimed
from harness.runs.plan import Plan
from harness.runs.planned_model import PlannedModel, limits_of
from harness.runs.requests import Cell
from harness.runs.steps import Phase, Step, _sent, characters, measure
from harness.stats.totals import total
from harness.store.files import RESPONSES, VERDICTS
from harness.store.folder import RunFolder
from harness.store.lines import payload, read_attempt_lines, read_measurements
from harness.store.log import Paced, ResponseLog
from harness.store.schema import ChargeLine, EnergyLine, EngineLine, PassLine, StoppedLine, model_line
from harness.values import Request, Response, ResponseLine, placed

Load = Callable[[ModelConfig], Backend]


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
        with at_work(model, plan, folder, load, sealed) as backend:
            for cell in cells:
                yield from _answers(cell, backend, folder, idle)
                if untimed(cell, plan, folder):
                    yield from _latency(cell, plan, backend, folder)


@contextmanager
def at_work(model: PlannedModel, plan: Plan, folder: RunFolder, load: Load, sealed: str | None) -> Iterator[Backend]:
    """Gives a model with what is left to spend, and writes down what it is. A limit that is reached ends its work."""
    started = time.perf_counter()
    with closing(load(_limited(model, plan, folder.path))) as backend:
        seconds = time.perf_counter() - started
        measure(folder, model_line(model.config.name, seconds, sealed, _known(backend.describe())))
        try:
            yield backend
        except LimitReached as reached:
            measure(folder, StoppedLine(model=model.config.name, reason=reached.what))
            logging.getLogger("harness").warning(f"{model.config.name}: {reached.what}")


def _known(card: ModelCard) -> dict[str, Any]:
    """Returns what a model says of itself, without what does not apply; under the name its server has for it too."""
    return {"model": card.model} | {name: value for name, value in asdict(card).items() if value is not None}


def _limited(model: PlannedModel, plan: Plan, path: Path) -> ModelConfig:
    """Returns a model's settings with what is left to spend in a run folder, of its own limit and the run's, as limit.

    Counted is what this run paid so far, in every sitting; what is unknown as the most it can be. Only requests that
    were under way when a sitting was killed left no trace, and are not counted.
    """
    limits, config = limits_of(model, plan.config), model.config
    if limits == (None, None) or not isinstance(config, RemoteModel):
        return config
    spent = _spent(path)
    so_far = (spent.get(config.name, 0.0), sum(spent.values()))
    left = [limit - used for limit, used in zip(limits, so_far) if limit is not None]
    return config.model_copy(update={"limits": config.limits.model_copy(update={"max_cost": max(0.0, min(left))})})


def _spent(path: Path) -> dict[str, float]:
    """Returns by model the most USD that the answers and timed requests in a run folder can have cost."""
    spent: dict[str, float] = {}
    logs = [file for name in (RESPONSES, VERDICTS) if (file := path / name).exists()]
    answers = ((line.model, line.billing) for file in logs for line in read_attempt_lines(file) if line.attempts)
    timed = ((line.model, line) for line in read_measurements(path) if isinstance(line, ChargeLine))
    for model, bill in chain(answers, timed):
        if bill is not None:
            spent[model] = spent.get(model, 0.0) + (bill.most_usd or bill.usd or 0.0)
    return spent


def owed(cell: Cell, folder: RunFolder) -> tuple[Request, ...]:
    """Returns the requests of a cell that have no response yet, and those that failed and may succeed now."""
    done = folder.responses().keys()
    return tuple(request for request in cell.requests if request.key not in done)


def _answers(cell: Cell, backend: Backend, folder: RunFolder, idle: dict[str, float | None]) -> Iterator[Step]:
    if not owed(cell, folder):
        return
    asked: dict[str, Request] = {}
    said = _said(cell, folder)
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
                for step in keep(cell, "answers", chain(unasked, backend.answer(now) if now else ()), kept, asked):
                    said[step.response.key] = step.response
                    yield step
    finally:
        if kept.done:
            named = {"model": cell.model.config.name, "task": cell.task.name, "mode": cell.mode}
            measure(folder, EnergyLine(**named, **asdict(meter.energy(rest))))
            if (took := _engine(cell, backend)) is not None:
                measure(folder, EngineLine(**named, **took))


@contextmanager
def sitting(cell: Cell, log: ResponseLog, asked: Mapping[str, Request], folder: RunFolder) -> Iterator[Paced]:
    """Gives what keeps the responses of a cell in a log; at the end, however it comes, writes down what they took.

    `asked` are the requests as they are sent, by key: whoever sends them may add to it meanwhile.
    """
    served = cell.model.place.asked is not None  # what a server answered may have cost money: stored at once
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
            measure(folder, replace(took, cut_off=cut_off))


def keep(
    cell: Cell, phase: Phase, responses: Iterable[Response], kept: Paced, asked: Mapping[str, Request]
) -> Iterator[Step]:
    """Yields each response as a step of `phase` once it is on disk; at the end all of them are."""
    requests = {request.key: request for request in cell.requests}
    for response in responses:
        kept.add(response, payload(_stored(cell, requests[response.key], response, asked)))
        yield from (Step(cell, phase, one) for one in kept.new())
    kept.flush()
    yield from (Step(cell, phase, one) for one in kept.new())


def _engine(cell: Cell, backend: Backend) -> Mapping[str, Any] | None:
    """Returns what the scoring engine says it computed and what a server without sharing would bill, if it knows."""
    return backend.computed() if cell.mode == "loglikelihood" else None


def _stored(cell: Cell, request: Request, response: Response, asked: Mapping[str, Request]) -> ResponseLine:
    """Returns the line of `responses.jsonl` for one response; `asked` are the requests as they were sent, by key."""
    return placed(
        response,
        (cell.model.config.name, cell.task.name, request.sample_id, request.epoch),
        turn=request.turn,
        mode=request.mode,
        input_characters=characters(asked[request.key]) if request.key in asked else 0,
        sent_bytes=_sent(cell, asked, [response]),
    )


def _pass(cell: Cell, asked: Mapping[str, Request], responses: list[Response], wall_s: float) -> PassLine:
    """Returns what is noted of the answers of one sitting: real tokens, machine seconds.

    A conversation is a sample of the sitting in which it ended.
    """
    followed = {request.follows for request in cell.requests}
    good = [response for response in responses if response.error is None]
    split = all(r.prefill_s is not None and r.decode_s is not None for r in good)
    return PassLine(
        model=cell.model.config.name,
        task=cell.task.name,
        mode=cell.mode,
        wall_s=wall_s,
        samples=sum(response.key not in followed for response in responses),
        responses=len(responses),
        sent_bytes=_sent(cell, asked, responses),
        failed=len(responses) - len(good),
        input_tokens=total(r.input_tokens for r in good),
        output_tokens=total(r.output_tokens for r in good),
        prefill_s=sum(r.prefill_s or 0.0 for r in good) if split else None,
        decode_s=sum(r.decode_s or 0.0 for r in good) if split else None,
        usd=total(response.usd for response in responses),
    )
