"""What one row says about money: a machine at several utilisations, against an API, and what it hangs on.

Reads a row and its records, runs nothing. Each figure has its label: measured, assumed (a price nobody quoted, a stated
utilisation) or list price with its day.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Literal

from harness.config.machine import MachineConfig
from harness.cost.attribution import CostBreakdown, Pass, attribute
from harness.cost.breakeven import (
    Bar,
    BreakEven,
    Service,
    Workload,
    break_even,
    replicas,
    tornado,
    usd_per_month,
    utilisation,
)
from harness.cost.capacity import Capacity, Shape
from harness.cost.machines import HourlyCost, hourly
from harness.cost.prices import Packaged, Price, Processing, TokenCount, price_age, price_request
from harness.stats.bootstrap import ratio_of_sums
from harness.store.schema import Throughput
from harness.values import Estimate, Record

UTILISATIONS = (1.0, 0.5, 0.3, 0.1)  # production is said to lie between 0.3 and 0.6
Way = Literal["input", "output"]


@dataclass(frozen=True, slots=True)
class PricedMachine:
    """A machine and what an hour of it costs, with the source and the day of its price."""

    name: str
    source: str
    date: str
    hour: HourlyCost


@dataclass(frozen=True, slots=True)
class CostAt:
    """What a pass cost with the machine busy for a share of its paid hours."""

    utilisation: float
    cost: CostBreakdown


@dataclass(frozen=True, slots=True)
class Month:
    """A month of so many requests: the machines that serve it, how busy they are, and their bill in USD."""

    requests: float
    replicas: int
    utilisation: float
    usd: float


@dataclass(frozen=True, slots=True)
class ApiCost:
    """What the same requests cost at an API, each priced on its own. USD; None: unknown, and `reason` says why."""

    price: Price | Packaged
    processing: Processing
    label: str
    usd_per_request: float | None
    usd_per_1k_samples: float | None
    usd_per_correct_at_this_accuracy: float | None
    reason: str | None
    usd_month: float | None = None  # of the volume asked about; None: none was, or it is unknown


@dataclass(frozen=True, slots=True)
class MachineCost:
    """What a row costs on a machine. None is unknown, or not asked about."""

    machine: PricedMachine
    by_utilisation: Mapping[float, CostBreakdown]
    stated: CostAt  # at the utilisation that the machine's file states
    usd_per_correct: Estimate | None  # there, with its interval over samples
    at_capacity: CostAt | None  # within the bounds of the service, if that is known better than from this pass
    service: Service | None
    month: Month | None
    api: ApiCost | None
    break_even: BreakEven | None
    tornado: tuple[Bar, ...] | None


@dataclass(frozen=True, slots=True)
class FittedCost:
    """What a row's requests cost by the seconds that tokens take on a busy server, each at its own lengths."""

    label: str
    shapes: int  # that the seconds were fitted on
    error_mean: float | None  # by which a shape left out was missed, relative
    error_max: float | None
    input_tokens: float  # of a request, on average
    output_tokens: float
    requests_per_s: float | None  # of the whole machine
    by_utilisation: Mapping[float, CostBreakdown]  # the parts sum to the bill of all requests
    usd_per_correct: Estimate  # at the stated utilisation
    beyond: tuple[Way, ...] = ()  # which mean lengths lie outside those of the shapes


@dataclass(frozen=True, slots=True)
class NoFit:
    """Why no cost follows from the seconds of a token."""

    reason: str


@dataclass(frozen=True, slots=True)
class Question:
    """What a row is asked: a volume, and an API to compare with at the tokens of this model's own tokenizer."""

    requests_per_month: float | None = None
    price: Price | Packaged | None = None
    processing: Processing = "standard"


def cost_report(
    done: Throughput,
    records: Sequence[Record],
    machine: MachineConfig,
    asked: Question = Question(),
    *,
    service: Service | None = None,
    measured_watts: float | None = None,
) -> MachineCost:
    """Returns the costs of one row: of a pass that took so much, and gave these `records`.

    `service`: replicas, peaks and capacity, if known better than from this pass; its price and speed are then used.
    """
    hour = hourly(machine, measured_watts)
    passed = _passed(done, records)
    correct = sum(record.value or 0.0 for record in records)
    speed = passed.samples / passed.wall_s if passed.wall_s and passed.samples else None

    def at(share: float) -> CostBreakdown:
        return attribute(passed, usd_per_hour=hour.total, utilisation=share)

    capacity = None
    if service is not None and speed is not None:
        share = service.requests_per_s / speed  # how much of this pass's speed is left within the bounds (u_SLO)
        capacity = CostAt(share, at(share))
    if service is None and speed is not None and hour.total is not None:
        service = service_of(machine, hour.total, speed)
    api = None if asked.price is None else _api(records, asked, correct)
    each = None if api is None else api.usd_per_request
    work = _workload(passed, machine.utilisation, hour.total, len(records), correct)
    return MachineCost(
        machine=PricedMachine(machine.name, machine.source, machine.date, hour),
        by_utilisation={share: at(share) for share in UTILISATIONS},
        stated=CostAt(machine.utilisation, at(machine.utilisation)),
        usd_per_correct=_interval(passed, records, machine.utilisation, hour.total),
        at_capacity=capacity,
        service=service,
        month=None if service is None else _month(service, asked.requests_per_month),
        api=api,
        break_even=None if service is None or each is None else break_even(service, each),
        tornado=None if work is None else tornado(work),
    )


def _passed(done: Throughput, records: Sequence[Record]) -> Pass:
    """Returns what a row's pass took. Of a pass that holds part of the answers, the same share was right."""
    samples = done.samples or 0
    correct = sum(record.value or 0.0 for record in records)
    return Pass(
        wall_s=done.wall_s,
        prefill_s=done.prefill_s,
        decode_s=done.decode_s,
        input_tokens=done.input_tokens or 0,
        output_tokens=done.output_tokens or 0,
        samples=samples,
        correct=correct * samples / len(records) if records else 0.0,
    )


def _month(service: Service, requests: float | None) -> Month | None:
    if requests is None:
        return None
    busy, usd = utilisation(service, requests), usd_per_month(service, requests)
    return Month(requests, replicas(service, requests), busy, usd)


def fitted_report(
    capacity: Capacity,
    records: Sequence[Record],
    machine: MachineConfig,
    measured_watts: float | None = None,
) -> FittedCost | NoFit:
    """Returns what the requests behind these records cost by the seconds that tokens take on a busy server.

    Each request at its own lengths, as if nothing of it was cached. Where no cost follows from the fit, why.
    """
    hour, n, counts = hourly(machine, measured_watts), len(records), _counted(records)
    if has_turns(records):
        return NoFit("the turns of a conversation have no length of their own")
    if not n or counts is None:
        return NoFit("the tokens of some answers are not known")
    if hour.total is None:
        return NoFit(hour.reason or "the price of an hour is not known")
    usd_per_s = hour.total / machine.gpus / 3600.0
    reading_s = capacity.a * sum(count.input for count in counts)
    seconds = [capacity.gpu_s(count.input, count.output) for count in counts]
    writing_s = max(0.0, sum(seconds) - reading_s)
    read, written = sum(count.input for count in counts), sum(count.output for count in counts)
    correct = [record.value or 0.0 for record in records]

    def cost(share: float) -> CostBreakdown:
        reading, writing = reading_s * usd_per_s / share, writing_s * usd_per_s / share
        bill = reading + writing
        return CostBreakdown(
            usd=bill,
            parts={"input": reading, "output": writing},
            usd_per_1m_input=reading / read * 1e6 if read else None,
            usd_per_1m_output=writing / written * 1e6 if written else None,
            usd_per_1k_samples=bill / n * 1e3,
            usd_per_correct=bill / sum(correct) if sum(correct) else None,
        )

    stated = [each * usd_per_s / machine.utilisation for each in seconds]
    return FittedCost(
        label=capacity.label,
        shapes=capacity.n,
        error_mean=capacity.error_mean,
        error_max=capacity.error_max,
        input_tokens=read / n,
        output_tokens=written / n,
        requests_per_s=machine.gpus * n / sum(seconds) if sum(seconds) else None,
        by_utilisation={u: cost(u) for u in sorted({*UTILISATIONS, machine.utilisation}, reverse=True)},
        usd_per_correct=ratio_of_sums(stated, correct, _clusters(records)),
    )


def beyond(found: FittedCost, shapes: Sequence[Shape]) -> FittedCost:
    """Returns the costs with those mean lengths named that lie outside the lengths of the shapes."""
    read, written = [shape.input_tokens for shape in shapes], [shape.output_tokens for shape in shapes]
    lengths: tuple[tuple[Way, float, list[float]], ...] = (
        ("input", found.input_tokens, read),
        ("output", found.output_tokens, written),
    )
    return replace(found, beyond=tuple(way for way, mean, seen in lengths if not min(seen) <= mean <= max(seen)))


def has_turns(records: Sequence[Record]) -> bool:
    """Returns whether the records are of conversations."""
    return any(record.turns for record in records)


def service_of(machine: MachineConfig, usd_per_hour: float, requests_per_s: float) -> Service:
    """Returns replicas of a machine for the traffic that its file tells."""
    return Service(
        usd_per_hour=usd_per_hour,
        requests_per_s=requests_per_s,
        peak_to_mean=machine.peak_to_mean,
        headroom=machine.headroom,
        redundancy=machine.redundancy,
    )


def _rates(done: Pass) -> tuple[float, float] | None:
    """Returns the machine seconds an input and an output token took, idle time shared out; None if not split."""
    if done.prefill_s is None or done.decode_s is None or not done.wall_s or not done.input_tokens:
        return None
    busy = done.prefill_s + done.decode_s
    if not busy:
        return None
    scale = done.wall_s / busy
    writing = done.decode_s * scale / done.output_tokens if done.output_tokens else 0.0
    return done.prefill_s * scale / done.input_tokens, writing


def _interval(done: Pass, records: Sequence[Record], share: float, usd_per_hour: float | None) -> Estimate | None:
    """Returns the bootstrap interval of USD for a correct answer over samples, each costed by its own tokens."""
    rates, counts = _rates(done), _counted(records)
    if rates is None or usd_per_hour is None or not counts:
        return None
    usd_per_s = usd_per_hour / 3600.0 / share
    each = [(count.input * rates[0] + count.output * rates[1]) * usd_per_s for count in counts]
    return ratio_of_sums(each, [record.value or 0.0 for record in records], _clusters(records))


def _clusters(records: Sequence[Record]) -> list[str] | None:
    named = [record.cluster for record in records if record.cluster is not None]
    return named if len(named) == len(records) else None


def _counted(records: Sequence[Record]) -> list[TokenCount] | None:
    """Returns the tokens of each answer; None where those of any are unknown."""
    counts = [
        TokenCount(record.input_tokens, record.output_tokens)
        for record in records
        if record.input_tokens is not None and record.output_tokens is not None
    ]
    return counts if len(counts) == len(records) else None


def _api(records: Sequence[Record], asked: Question, correct: float) -> ApiCost:
    """Returns what the same requests cost at an API, each priced on its own."""
    assert asked.price is not None
    price, counts = asked.price, _counted(records)
    costs = [price_request(price, count, asked.processing) for count in counts or ()]
    known = [cost.usd for cost in costs if cost.usd is not None]
    reason = next((cost.reason for cost in costs if cost.usd is None), None)
    reason = "the tokens of some answers are not known" if counts is None else reason
    total = None if reason or not costs else sum(known)
    each = None if total is None else total / len(costs)
    month = None if each is None or asked.requests_per_month is None else each * asked.requests_per_month
    return ApiCost(
        price=price,
        processing=asked.processing,
        label=f"list {price_age(price, date.today())}; at this model's own token counts",
        usd_per_request=each,
        usd_per_1k_samples=None if each is None else each * 1e3,
        usd_per_correct_at_this_accuracy=total / correct if total is not None and correct else None,
        reason=reason,
        usd_month=month,
    )


def _workload(done: Pass, share: float, usd_per_hour: float | None, n: int, correct: float) -> Workload | None:
    rates = _rates(done)
    if rates is None or not n or not correct or usd_per_hour is None:
        return None
    return Workload(
        usd_per_hour=usd_per_hour,
        gpu_s_per_input_token=rates[0],
        gpu_s_per_output_token=rates[1],
        input_tokens=done.input_tokens / done.samples,
        output_tokens=done.output_tokens / done.samples,
        utilisation=share,
        accuracy=correct / n,
    )
