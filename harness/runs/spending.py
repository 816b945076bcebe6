"""What a run may cost at providers, told before anything is sent.

Likely is a range: a token taken as `CHARACTERS` characters of prompt, and answers from one token to `max_tokens`. Sure
is only the most: a token is at least one byte.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace

from harness.backends.servers.dispatch import most_usd
from harness.cost.prices import Price, Processing, TokenCount, price_request
from harness.runs.foreseen import foreseen
from harness.runs.latency import timed_requests
from harness.runs.plan import Plan
from harness.runs.planned_model import limits_of
from harness.runs.requests import Cell
from harness.runs.sizes import characters
from harness.tasks.judge_requests import name_of
from harness.values import GenerateRequest, Request

CHARACTERS = 4  # a token: about right for English, high for most other languages


@dataclass(frozen=True, slots=True)
class Spending:
    """What one model may cost, in USD. None is unknown."""

    model: str
    requests: int  # answers that are owed, and requests timed alone
    low_usd: float | None
    high_usd: float | None
    most_usd: float | None
    limits: tuple[float, ...]  # that bind it: its own, the run's

    def line(self) -> str:
        """Returns what to tell a person."""
        if self.most_usd is None or self.low_usd is None or self.high_usd is None:
            return f"cost of {self.model}: unknown, no price is known for it"
        likely = f"${self.low_usd:.4f} to ${self.high_usd:.4f} for {self.requests:,} requests"
        how = f"a token taken as {CHARACTERS} characters, answers of one token to as many as allowed"
        said = f"cost of {self.model}: {likely} ({how}), at most ${self.most_usd:.4f}"
        if self.limits and min(self.limits) < self.most_usd:
            return f"{said}; it stops before ${min(self.limits):g} is passed"
        return said


def estimate(plan: Plan, done: Collection[str] = ()) -> tuple[Spending, ...]:
    """Returns what each model elsewhere, or with a price, may cost; `done` are the keys of requests answered."""
    found = []
    for model in plan.models:
        price = model.price
        if price is None and model.place.egress is None:
            continue
        cells = [cell for cell in plan.cells if cell.model is model]
        limits = tuple(limit for limit in limits_of(model, plan.config) if limit is not None)
        low, high, most = (
            None if price is None else _sum(*(_cell_usd(price, cell, plan, done, usd, said) for cell in cells))
            for usd, said in ((_low, 0), (_high, CHARACTERS), (_most, 1))
        )
        requests = sum(map(len, (part for cell in cells for part in _sent(cell, plan, done, 0))))
        found.append(Spending(model.config.name, requests, low, high, most, limits))
    return (*found, *_of_judge(plan))


def _of_judge(plan: Plan) -> Iterator[Spending]:
    """Yields what a judge elsewhere, or with a price, may cost; verdicts that are there already are not taken off."""
    if plan.judge is None:
        return
    price = plan.judge.price
    if price is None and plan.judge.place.egress is None:
        return
    limits = tuple(limit for limit in limits_of(plan.judge, plan.config) if limit is not None)
    low, high, most = (
        None
        if price is None
        else _sum(*(_times(one.times, usd(price, one.requests, "standard")) for one in foreseen(plan, said)))
        for usd, said in ((_low, 0), (_high, CHARACTERS), (_most, 1))
    )
    requests = sum(one.times * len(one.requests) for one in foreseen(plan))
    yield Spending(name_of(plan.judge.config.name), requests, low, high, most, limits)


def _times(times: int, usd: float | None) -> float | None:
    return None if usd is None else times * usd


def _cell_usd(price: Price, cell: Cell, plan: Plan, done: Collection[str], usd: Usd, said: int) -> float | None:
    answers, timed = _sent(cell, plan, done, said)
    usual: Processing = "batch" if cell.model.config.in_batches and len(answers) > 1 else "standard"
    return _sum(usd(price, answers, usual), usd(price, timed, "standard"))


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


Usd = Callable[[Price, Sequence[Request], Processing], "float | None"]


def _low(price: Price, requests: Sequence[Request], processing: Processing) -> float | None:
    return _likely(price, requests, processing, 1)


def _high(price: Price, requests: Sequence[Request], processing: Processing) -> float | None:
    return _likely(price, requests, processing, None)


def _likely(price: Price, requests: Sequence[Request], processing: Processing, written: int | None) -> float | None:
    """Returns the price of requests whose answers have so many tokens (None: as many as they may)."""
    counts = [
        TokenCount(math.ceil(characters(one) / CHARACTERS), written or one.max_tokens)
        if isinstance(one, GenerateRequest)
        else TokenCount(math.ceil(characters(one) * max(1, len(one.continuations)) / CHARACTERS), 1)
        for one in requests
    ]
    return _sum(*(price_request(price, count, processing).usd for count in counts))


def _most(price: Price, requests: Sequence[Request], processing: Processing) -> float:
    return sum(most_usd(request, price, processing) for request in requests)


def _sum(*parts: float | None) -> float | None:
    known = [part for part in parts if part is not None]
    return sum(known) if len(known) == len(parts) else None
