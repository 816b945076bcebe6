"""What a load did to the people waiting: percentiles, throughput, goodput. Reads timed requests, sends nothing.

Speeds of a user (1/TPOT) and of the system (tokens a second of all users) have different names and never meet.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from harness.measure.latency import percentile
from harness.measure.load import LoadRun, Scenario, Slo, Timed

QUANTILES = (0.50, 0.90, 0.95, 0.99)


def load_summary(run: LoadRun, timed: Iterable[Timed] | None = None) -> dict[str, Any]:
    """Returns one scenario as a mapping of JSON values. Seconds; unknown is None.

    `timed`: the requests a sink took, if one did. Warm-up and cool-down are left out of every number but the system's
    speed, which counts the cool-down's tokens and its time.
    """
    scenario = run.scenario
    ordered = sorted(timed if timed is not None else run.timed, key=lambda t: t.index)
    ran = [t for t in ordered if t.index >= scenario.warmup]
    measured = [t for t in ran if t.index < run.issued - scenario.cooldown]
    good = [t for t in measured if t.error is None]
    gaps = [gap for t in good for gap in t.gaps_s] if run.streams else []
    values = {
        "ttft_s": [t.ttft_s for t in good],
        "ttft_answer_s": [None if t.t_first_answer is None else t.t_first_answer - t.t_send for t in good],
        "tpot_s": [t.tpot_s for t in good],
        "service_s": [t.service_s for t in good],
        "response_s": [t.response_s for t in good],
        "late_s": [t.t_send - t.t_sched for t in measured],  # sent after it was due: the generator's own fault
    }
    tpot = percentile(_known(values["tpot_s"]), 0.5).value
    return {
        "scenario": scenario.name,
        "kind": scenario.kind,
        "level": scenario.level,
        "n": len(measured),
        "failed": dict(Counter(t.error for t in measured if t.error)),
        "empty": sum(t.t_first is None for t in good),
        "unsent": run.issued - len(ordered),
        "stopped": run.stopped,
        **{name: _quantiles(_known(found)) for name, found in values.items()},
        "gap_s": _quantiles(gaps, intervals=False),  # gaps of one answer are not independent: no interval
        "user_tokens_per_s_p50": 1.0 / tpot if tpot else None,
        **_system(ran),
        **_goodput(measured, scenario),
        **_tokens(good),
        "round_trip_p50_s": _median(run.round_trips_s),
    }


def _known(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def _median(values: Sequence[float]) -> float | None:
    return sorted(values)[len(values) // 2] if values else None


def _quantiles(values: Sequence[float], *, intervals: bool = True) -> dict[str, Any]:
    """Returns p50, p90, p95 and p99 where n allows, their intervals, n, the mean and the largest."""
    found = {f"p{q * 100:g}": percentile(values, q) for q in QUANTILES}
    return {
        **{name: estimate.value for name, estimate in found.items()},
        "n": len(values),
        "mean": sum(values) / len(values) if values else None,
        "max": max(values, default=None),
        **({"intervals": {k: [e.low, e.high] for k, e in found.items() if e.value is not None}} if intervals else {}),
    }


def _window(timed: Sequence[Timed]) -> float | None:
    """Returns the seconds from the first request sent to the last one ended."""
    ends = _known(t.t_end for t in timed)
    return max(ends) - min(t.t_send for t in timed) if ends else None


def _system(ran: Sequence[Timed]) -> dict[str, float | None]:
    """Returns what the whole system did a second. Tokens are unknown if those of any answer are."""
    good = [t for t in ran if t.error is None]
    window = _window(ran)
    if not window or not good:
        names = ("window_s", "requests_per_s", "system_output_tokens_per_s", "system_input_tokens_per_s")
        return dict.fromkeys(names)
    written = [t.streamed for t in good]
    read = [t.usage.input_tokens if t.usage else None for t in good]
    return {
        "window_s": window,
        "requests_per_s": len(good) / window,
        "system_output_tokens_per_s": None if None in written else sum(written) / window,
        "system_input_tokens_per_s": None if None in read else sum(read) / window,
    }


def _goodput(measured: Sequence[Timed], scenario: Scenario) -> dict[str, float | None]:
    """Returns requests a second that met every bound, and those that were right as well. A failure meets none.

    The quality goodput is unknown if any answer in time was not judged.
    """
    slo: Slo | None = scenario.slo
    window = _window(measured)
    if slo is None or not window:
        return {"attainment": None, "goodput_per_s": None, "quality_goodput_per_s": None}
    in_time = [t for t in measured if t.meets(slo)]
    judged = all(t.correct is not None for t in in_time)
    right = sum(t.correct == 1.0 for t in in_time)
    return {
        "attainment": len(in_time) / len(measured),
        "goodput_per_s": len(in_time) / window,
        "quality_goodput_per_s": right / window if judged else None,
    }


def _tokens(good: Sequence[Timed]) -> dict[str, Any]:
    """Returns tokens as the server counts them, as we do, and how many answers the two disagree on."""

    def total(numbers: Iterable[int | None]) -> int | None:
        found = list(numbers)
        return None if None in found or not found else sum(found)

    usages = [t.usage for t in good]
    known = [usage for usage in usages if usage is not None]
    return {
        "usage_missing": len(usages) - len(known),
        "usage_differs": sum(t.usage_differs for t in good),
        "input_tokens": total(u.input_tokens for u in known) if len(known) == len(good) else None,
        "output_tokens": total(u.output_tokens for u in known) if len(known) == len(good) else None,
        "cached_tokens": total(u.cached_tokens for u in known),
        "reasoning_tokens": total(u.reasoning_tokens for u in known),
        "counted_output_tokens": total(t.counted for t in good),
    }
