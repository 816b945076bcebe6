"""From how many requests a month a machine of one's own is cheaper than an API, and what that depends on.

    V* = H·N·730 / (c_API − c_var)        requests a month, valid only where N replicas can serve them
    u* = c_local(100 %) / c_API           the share of its hours the machine must be busy

Replicas are whole, have head room for the peak and never fall below what redundancy asks. Months have 730 hours.
Source: reference/latency_and_cost.md §3.3 and §3.4.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

HOURS_A_MONTH = 730.0


@dataclass(frozen=True, slots=True)
class Service:
    """A model served by replicas of one machine, and the traffic it meets."""

    usd_per_hour: float  # one replica
    requests_per_s: float  # what one replica serves within its bounds (goodput capacity), or saturated if none are set
    usd_per_request: float = 0.0  # what each request costs beyond the machine's hours (c_var)
    peak_to_mean: float = 1.0  # of the traffic
    headroom: float = 0.0  # spare share above the peak
    redundancy: int = 1  # the fewest replicas that are ever run


@dataclass(frozen=True, slots=True)
class BreakEven:
    """Where the machine begins to win. `requests_per_month` None: never, and `reason` says why."""

    requests_per_month: float | None
    utilisation: float | None  # share of capacity in use at that volume
    replicas: int  # the fewest that may be run
    capacity_per_month: float  # what those serve, peaks allowed for
    usd_api_per_request: float
    usd_local_per_request: float  # with the machine always busy
    reason: str | None = None


def replicas(service: Service, requests_per_month: float) -> int:
    """Returns N = max(⌈peak·(1 + headroom)/μ⌉, redundancy)."""
    peak = requests_per_month / (HOURS_A_MONTH * 3600.0) * service.peak_to_mean
    needed = peak * (1.0 + service.headroom) / service.requests_per_s
    return max(math.ceil(needed - 1e-9), service.redundancy, 1)


def capacity_per_month(service: Service, count: int) -> float:
    """Returns the requests a month that `count` replicas serve with the traffic's own peaks and head room."""
    per_replica = service.requests_per_s * HOURS_A_MONTH * 3600.0
    return count * per_replica / (service.peak_to_mean * (1.0 + service.headroom))


def usd_per_month(service: Service, requests_per_month: float) -> float:
    """Returns the bill of a month: whole replicas, whole months, and what each request costs besides."""
    machines = service.usd_per_hour * replicas(service, requests_per_month) * HOURS_A_MONTH
    return machines + service.usd_per_request * requests_per_month


def utilisation(service: Service, requests_per_month: float) -> float:
    """Returns the share of the paid capacity that the volume uses (u_load)."""
    paid = replicas(service, requests_per_month) * service.requests_per_s * HOURS_A_MONTH * 3600.0
    return requests_per_month / paid


def break_even(service: Service, usd_api_per_request: float) -> BreakEven:
    """Returns the smallest volume at which the machine costs no more than the API.

    Both the price and the capacity grow with the number of replicas, so if one replica at its limit does not pay, none
    do; and if it does, the fewest that may be run break even first. Just beyond a full set of replicas the next one
    is not yet busy, and the API may be cheaper again for a while: `usd_per_month` has the steps.
    """
    count = max(service.redundancy, 1)
    busy = service.usd_per_hour / 3600.0 / service.requests_per_s + service.usd_per_request
    saved = usd_api_per_request - service.usd_per_request
    limit = capacity_per_month(service, count)
    found = BreakEven(None, None, count, limit, usd_api_per_request, busy)
    if saved <= 0:
        return replace(found, reason="a request to the API costs no more than what each costs beside the machine")
    volume = service.usd_per_hour * count * HOURS_A_MONTH / saved
    if volume > limit * (1 + 1e-12):
        return replace(
            found, reason=f"it would take {volume:,.0f} requests a month, and the machine serves {limit:,.0f}"
        )
    return replace(found, requests_per_month=volume, utilisation=utilisation(service, volume))


@dataclass(frozen=True, slots=True)
class Workload:
    """What the cost of a correct answer depends on."""

    usd_per_hour: float
    gpu_s_per_input_token: float
    gpu_s_per_output_token: float
    input_tokens: float
    output_tokens: float
    utilisation: float
    accuracy: float
    throughput: float = 1.0  # speed against the measured one

    def usd_per_correct(self) -> float:
        reading = self.gpu_s_per_input_token * self.input_tokens
        seconds = (reading + self.gpu_s_per_output_token * self.output_tokens) / self.throughput
        return seconds * self.usd_per_hour / 3600.0 / self.utilisation / self.accuracy


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar of a tornado: the cost with the input lowered and raised. A share is never raised above 1."""

    name: str
    low_input: float
    high_input: float
    usd_at_low: float
    usd_at_high: float

    @property
    def span(self) -> float:
        return abs(self.usd_at_high - self.usd_at_low)


SHARES = frozenset({"utilisation", "accuracy"})
SWUNG = ("utilisation", "throughput", "usd_per_hour", "output_tokens", "accuracy")


def tornado(workload: Workload, swing: float = 0.5) -> tuple[Bar, ...]:
    """Returns the cost of a correct answer with each input moved by ±`swing` alone, the widest bar first."""
    bars = []
    for name in SWUNG:
        value = getattr(workload, name)
        low, high = value * (1.0 - swing), value * (1.0 + swing)
        if name in SHARES:
            high = min(high, 1.0)
        at: Mapping[float, float] = {x: replace(workload, **{name: x}).usd_per_correct() for x in (low, high)}
        bars.append(Bar(name, low, high, at[low], at[high]))
    return tuple(sorted(bars, key=lambda bar: -bar.span))
