"""A series of loads on one target: which of those that a benchmark file asks for comes next. Sends nothing.

A series ends early where going on would teach nothing: more concurrency that brings no more throughput, a higher rate
after one that was saturated or hopeless.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from harness.config.bench import BenchConfig
from harness.measure.load.scenario import Scenario
from harness.measure.load.summary import LoadSummary
from harness.measure.load.timed import Slo

GAIN = 1.05  # throughput that the next level of concurrency must bring to be worth another
FULL = 0.95  # share of the saturated rate up to which a sweep goes: at the rate itself a queue grows without end
SWEEP = 5  # rates of a sweep
PATIENCE_S = 30.0  # of arrivals that may be out at a rate before it is saturated


@dataclass(frozen=True, slots=True)
class Series:
    """What to measure. Every scenario has the same number of requests, bounds and seed."""

    single: bool = True
    concurrency: tuple[int, ...] = ()
    rate: tuple[float, ...] = ()
    offline: bool = False
    sweep: bool = False  # single, then all at once, then rates between the two
    requests: int = 100
    seconds: float = 0.0
    max_seconds: float = 600.0
    warmup: int = 5
    slo: Slo | None = None
    seed: int = 0


def series_of(config: BenchConfig, seed: int) -> Series:
    """Returns the series a run file asks for; `seed` is of the arrivals."""
    wanted = config.model_dump(exclude={"slo", "lengths", "prefix_cache"})
    slo = None if config.slo is None else Slo(**config.slo.model_dump())
    return Series(**wanted, slo=slo, seed=seed)


def loads_owed(series: Series, done: Mapping[str, LoadSummary]) -> tuple[Scenario, ...]:
    """Returns the loads that are not measured yet, the next one first; none: those `done`, by name, have shown it all.

    What the next one shows may make others after it needless. The rates of a sweep are known once those before it are.
    """
    return tuple(_owed(series, done))


def most_owed(series: Series, done: Mapping[str, LoadSummary]) -> int:
    """Returns how many loads are still to be measured at most."""
    swept = series.sweep and _FLOOD not in done
    return len({scenario.name for scenario in loads_owed(series, done)}) + (SWEEP if swept else 0)


def _owed(series: Series, done: Mapping[str, LoadSummary]) -> Iterator[Scenario]:
    base = Scenario(
        "concurrency",
        requests=series.requests,
        seconds=series.seconds,
        max_seconds=series.max_seconds,
        warmup=series.warmup,
        slo=series.slo,
        seed=series.seed,
    )
    single = done.get(base.name)
    if (series.single or series.sweep) and single is None:
        yield base
    best = 0.0
    for level in sorted(series.concurrency):
        scenario = replace(base, level=level, warmup=max(base.warmup, level), cooldown=level)
        found = done.get(scenario.name)
        if found is None:
            yield scenario
            continue
        speed = found.requests_per_s or 0.0
        if _over(found) or speed < best * GAIN:
            break
        best = speed
    rates = list(series.rate)
    if series.offline or series.sweep:
        flood = done.get(_FLOOD)
        if flood is None:
            # warm already if anything ran before; a warm-up among requests sent at once would be no warm-up
            yield replace(base, kind="offline", warmup=0, slo=None)
        elif series.sweep and single is not None and single.requests_per_s and flood.requests_per_s:
            rates += sweep_rates(single.requests_per_s, flood.requests_per_s)
    for rate in sorted(rates):
        scenario = replace(base, kind="rate", level=rate, max_out=max(base.max_out, int(rate * PATIENCE_S)))
        found = done.get(scenario.name)
        if found is None:
            yield scenario
        elif _over(found):
            break


_FLOOD = "offline"  # the load that is all requests at once


def _over(found: LoadSummary) -> bool:
    """Returns whether the target could not keep up, or the scenario was ended for more than its time."""
    return bool(found.saturated) or (found.stopped is not None and not found.stopped.startswith("time:"))


def sweep_rates(single_per_s: float, saturated_per_s: float, n: int = SWEEP) -> list[float]:
    """Returns `n` rates, evenly spaced, up to just below saturation; half the single stream's rate is the lowest."""
    low, high = single_per_s / 2.0, max(saturated_per_s, single_per_s) * FULL
    return [float(f"{low + (high - low) * i / (n - 1):.3g}") for i in range(n)]
