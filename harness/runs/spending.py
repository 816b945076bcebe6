"""What a run or a benchmark may cost at providers, told before anything is sent.

Likely is a range: a token taken as `CHARACTERS` characters of prompt, and answers from one token to as many as the body
that is sent allows. Sure is only the most: a token is at least one byte.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date

from harness.backends.servers.tariff import Tariff, planned
from harness.config.model import RemoteModel
from harness.cost.prices import price_age
from harness.measure.load.series import SWEEP, loads_owed, series_of
from harness.runs.bench import Bench
from harness.runs.foreseen import foreseen
from harness.runs.latency import timed_requests
from harness.runs.plan import Plan
from harness.runs.planned_model import PlannedModel, limits_of
from harness.runs.requests import Cell
from harness.stats.totals import total
from harness.tasks.judge_requests import name_of
from harness.values import GenerateRequest, Request

CHARACTERS = 4  # a token: about right for English, high for most other languages


@dataclass(frozen=True, slots=True)
class Usd:
    """What requests may cost, in USD. None is unknown."""

    low: float | None
    high: float | None
    most: float | None

    def times(self, n: float) -> Usd:
        """Returns what so many of them cost."""
        return Usd(*(None if usd is None else n * usd for usd in (self.low, self.high, self.most)))


@dataclass(frozen=True, slots=True)
class Spending:
    """What one model may cost, in USD. None is unknown."""

    model: str
    requests: int  # answers that are owed, and requests timed alone; of a benchmark all requests of its loads
    low_usd: float | None
    high_usd: float | None
    most_usd: float | None
    limits: tuple[float, ...]  # that bind it: its own, the run's
    price: str | None = None  # where it is from, and how old it is; None: no price is known

    def line(self) -> str:
        """Returns what to tell a person."""
        if self.price is None:
            return f"cost of {self.model}: unknown, no price is known for it"
        if self.low_usd is None or self.high_usd is None:
            return f"cost of {self.model}: unknown, what its settings ask for has no listed price or no bound"
        likely = f"${self.low_usd:.4f} to ${self.high_usd:.4f} for {self.requests:,} requests"
        how = f"a token taken as {CHARACTERS} characters, answers of one token to as many as allowed"
        most = "without a bound" if self.most_usd is None else f"at most ${self.most_usd:.4f}"
        said = f"cost of {self.model}: {likely} ({how}), {most}; {self.price}"
        if self.limits and (self.most_usd is None or min(self.limits) < self.most_usd):
            return f"{said}; it stops before ${min(self.limits):g} is passed"
        return said


def estimate(plan: Plan, done: Collection[str] = ()) -> tuple[Spending, ...]:
    """Returns what each model elsewhere, or with a price, may cost; `done` are the keys of requests answered."""
    found = []
    for model in filter(_paid, plan.models):
        cells = [cell for cell in plan.cells if cell.model is model]
        parts = [_cell_usd(cell, plan, done) for cell in cells]
        requests = sum(map(len, (part for cell in cells for part in _sent(cell, plan, done, 0))))
        found.append(_spending(model.config.name, model, requests, _sum(parts), limits_of(model, plan.config)))
    return (*found, *_of_judge(plan))


def estimate_loads(made: Bench) -> tuple[Spending, ...]:
    """Returns what the loads of a benchmark may cost, all of them, for each model elsewhere or with a price."""
    series = series_of(made.config.bench, made.config.seed)
    loads = loads_owed(series, {})
    counts = [load.warmup + load.cooldown + max(load.requests, int(load.level * load.seconds)) for load in loads]
    sent = 1 + sum(counts) + SWEEP * (series.requests + series.warmup) * series.sweep  # the first sees who is there
    again = sum(count for load, count in zip(loads, counts) if load.kind == "rate")  # while those that count are out
    found = []
    for name in dict.fromkeys(work.model.config.name for work in made.workloads):
        works = [work for work in made.workloads if work.model.config.name == name]
        model, parts = works[0].model, []
        if not _paid(model):
            continue
        for work in works:
            n = min(work.n, len(work.requests))
            each = _usd(_tariff(model), [work.requests[i] for i in range(n)])
            most = None if series.seconds or series.sweep else each.times((sent + again) / n).most
            parts.append(replace(each.times(sent / n), most=most))
        limits = limits_of(model, made.config)
        found.append(_spending(name, model, sent * len(works), _sum(parts), limits))
    return tuple(found)


def _paid(model: PlannedModel) -> bool:
    return model.price is not None or model.place.egress is not None


def _spending(name: str, model: PlannedModel, requests: int, usd: Usd, limits: Iterable[float | None]) -> Spending:
    bound = tuple(limit for limit in limits if limit is not None)
    aged = None if model.price is None else price_age(model.price, date.today())
    return Spending(name, requests, usd.low, usd.high, usd.most, bound, aged)


def _of_judge(plan: Plan) -> Iterator[Spending]:
    """Yields what a judge elsewhere, or with a price, may cost; verdicts that are there already are not taken off."""
    if plan.judge is None or not _paid(plan.judge):
        return
    tariff, parts = _tariff(plan.judge), []
    for said in (0, CHARACTERS, 1):
        parts.append(_sum([_usd(tariff, one.requests).times(one.times) for one in foreseen(plan, said)]))
    usd = Usd(parts[0].low, parts[1].high, parts[2].most)
    requests = sum(one.times * len(one.requests) for one in foreseen(plan))
    yield _spending(name_of(plan.judge.config.name), plan.judge, requests, usd, limits_of(plan.judge, plan.config))


def _tariff(model: PlannedModel) -> Tariff | None:
    return planned(model.config, model.price) if isinstance(model.config, RemoteModel) else None


def _cell_usd(cell: Cell, plan: Plan, done: Collection[str]) -> Usd:
    """Returns what a cell may cost: of a conversation by how long its answers are taken to be."""
    tariff, parts = _tariff(cell.model), []
    for said in (0, CHARACTERS, 1):
        answers, timed = _sent(cell, plan, done, said)
        batch = cell.model.config.in_batches and len(answers) > 1
        parts.append(_sum([_usd(tariff, answers, batch=batch), _usd(tariff, timed)]))
    return Usd(parts[0].low, parts[1].high, parts[2].most)


def _sent(cell: Cell, plan: Plan, done: Collection[str], said: int) -> tuple[list[Request], tuple[Request, ...]]:
    """Returns the requests for answers that are owed, and those timed alone, as they will be sent.

    In a conversation each of the model's answers is taken to be as long as allowed, at `said` characters a token.
    """
    whole: dict[str, Request] = {}
    for request in cell.requests:
        if isinstance(before := whole.get(request.follows), GenerateRequest):
            answer = "x" * (said * before.max_tokens)
            request = replace(request, prompt=before.prompt.answered(answer, request.prompt))
        whole[request.key] = request
    owed = [request for key, request in whole.items() if key not in done]
    timed = () if cell.task.format_of else timed_requests(tuple(whole.values()), plan.config.latency)
    return owed, timed


def _usd(tariff: Tariff | None, requests: Sequence[Request], *, batch: bool = False) -> Usd:
    """Returns what requests may cost: with the shortest answers, with the longest, and at most."""
    if tariff is None:
        return Usd(None, None, None) if requests else Usd(0.0, 0.0, 0.0)
    low, high = (
        total(tariff.likely_usd(one, CHARACTERS, longest=longest, batch=batch) for one in requests)
        for longest in (False, True)
    )
    return Usd(low, high, total(tariff.most_usd(one, "batch" if batch else None) for one in requests))


def _sum(parts: Sequence[Usd]) -> Usd:
    return Usd(total(one.low for one in parts), total(one.high for one in parts), total(one.most for one in parts))
