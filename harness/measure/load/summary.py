"""What a load did to the people waiting: percentiles, throughput, goodput. Reads timed requests, sends nothing.

Speeds of a user (1/TPOT) and of the system (tokens a second of all users) have different names and never meet.
"""

from __future__ import annotations

import sys
from array import array
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from harness.measure.latency import TAIL, percentile
from harness.measure.load.drive import LoadRun, Scenario
from harness.measure.load.timed import Timed, Usage

if TYPE_CHECKING:
    import numpy as np

QUANTILES = (0.50, 0.90, 0.95, 0.99)
KEPT = 0.9  # share of a rate that must be answered for the server to keep up with it
SURE = 0.01  # chance at most that responses of a steady server rise as much
TIMES = ("ttft_s", "ttft_answer_s", "tpot_s", "service_s", "response_s", "late_s")


class Tally:
    """The numbers of timed requests, in any order, without the requests: 140 bytes each, and 8 for each gap."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.columns = {name: array("d") for name in _NUMBERS}
        self.gaps, self.gap_counts = array("d"), array("q")
        self.in_time, self.at_once, self.errors = bytearray(), bytearray(), []

    def add(self, timed: Timed) -> None:
        """Adds one request."""
        for name, number in _NUMBERS.items():
            value = number(timed)
            self.columns[name].append(_NAN if value is None else value)
        self.gaps.extend(timed.gaps_s)
        self.gap_counts.append(len(timed.gaps_s))
        self.in_time.append(self.scenario.slo is not None and timed.meets(self.scenario.slo))
        self.at_once.append(timed.at_once)
        self.errors.append(timed.error and sys.intern(timed.error))


_NAN = float("nan")  # in a column: unknown
_NUMBERS: dict[str, Callable[[Timed], float | None]] = {
    "index": lambda t: t.index,
    "t_send": lambda t: t.t_send,
    "t_end": lambda t: t.t_end,
    "ttft_s": lambda t: t.ttft_s,
    "ttft_answer_s": lambda t: None if t.t_first_answer is None else t.t_first_answer - t.t_send,
    "tpot_s": lambda t: t.tpot_s,
    "service_s": lambda t: t.service_s,
    "response_s": lambda t: t.response_s,
    "late_s": lambda t: t.t_send - t.t_sched,  # sent after it was due: the generator's own fault
    "streamed": lambda t: t.streamed,
    "counted": lambda t: t.counted,
    "correct": lambda t: t.correct,
    "usage_differs": lambda t: t.usage_differs,
    "input_tokens": lambda t: t.usage and t.usage.input_tokens,
    "output_tokens": lambda t: t.usage and t.usage.output_tokens,
    "cached_tokens": lambda t: _part(t.usage, "cached_tokens"),
    "reasoning_tokens": lambda t: _part(t.usage, "reasoning_tokens"),
}


def _part(usage: Usage | None, name: str) -> int | None:
    return None if usage is None or usage.contradicts_itself else getattr(usage, name)


def load_summary(run: LoadRun, tally: Tally | None = None) -> dict[str, Any]:
    """Returns one scenario as a mapping of JSON values. Seconds; unknown is None.

    `tally`: of the requests a sink took, if one did. Warm-up and cool-down are left out of every number but the
    system's speed, which counts the cool-down's tokens and its time.
    """
    import numpy as np

    scenario = run.scenario
    if tally is None:
        tally = Tally(scenario)
        for timed in run.timed:
            tally.add(timed)
    column = {name: np.frombuffer(numbers) if numbers else np.zeros(0) for name, numbers in tally.columns.items()}
    failed = np.array([error is not None for error in tally.errors], dtype=bool)
    in_time, at_once = (
        np.frombuffer(flags, dtype=bool) if flags else failed for flags in (tally.in_time, tally.at_once)
    )
    ran = column["index"] >= scenario.warmup
    measured = ran & (column["index"] < run.measured.stop)
    good = measured & ~failed
    gaps = np.frombuffer(tally.gaps) if run.streams and tally.gaps else np.zeros(0)
    gaps = gaps[np.repeat(good, tally.gap_counts)] if len(gaps) else gaps

    def known(name: str, rows: np.ndarray) -> np.ndarray:
        values = column[name][rows]
        return values[~np.isnan(values)]

    times = {name: known(name, measured if name == "late_s" else good) for name in TIMES}
    tpot = percentile(times["tpot_s"], 0.5).value
    return {
        "scenario": scenario.name,
        "kind": scenario.kind,
        "level": scenario.level,
        "measured": [run.measured.start, run.measured.stop],  # the first index that counts, and the next after the last
        "n": int(measured.sum()),
        "failed": dict(Counter(error for error, here in zip(tally.errors, measured) if here and error is not None)),
        "empty": int(np.isnan(column["ttft_s"][good]).sum()),
        "at_once": int(at_once[good].sum()),  # answers of several tokens at one moment: without a TPOT
        "unsent": run.issued - len(ran),
        "stopped": run.stopped,
        "saturated": _saturated(column, good, scenario),
        **{name: _quantiles(values) for name, values in times.items()},
        "gap_s": _quantiles(gaps, intervals=False),  # gaps of one answer are not independent: no interval
        "user_tokens_per_s_p50": 1.0 / tpot if tpot else None,
        **_system(column, ran, ran & ~failed),
        **_goodput(column, ran, measured, in_time, scenario),
        **_tokens(column, good),
        "round_trip_p50_s": _median(run.round_trips_s),
    }


def _saturated(column: dict[str, np.ndarray], good: np.ndarray, scenario: Scenario) -> bool | None:
    """Returns whether a rate was more than the target could keep up with; None for other loads, or too few answers.

    Answers then come at the target's own speed, more slowly than the requests, and each takes longer than the one
    before: how long depends on how long the load lasted. The speed is that of the answers between the first and the
    last tenth, so that one long answer at the end does not move it.
    """
    import numpy as np
    from scipy.stats import kendalltau

    if scenario.kind != "rate" or good.sum() < 2 * TAIL:
        return None
    first, last = np.quantile(column["t_end"][good], (0.1, 0.9))
    slow = 0.8 * good.sum() < KEPT * scenario.level * (last - first)
    rising = kendalltau(column["index"][good], column["response_s"][good], alternative="greater").pvalue < SURE
    return bool(slow and rising)


def _median(values: Sequence[float]) -> float | None:
    return sorted(values)[len(values) // 2] if values else None


def _quantiles(values: np.ndarray, *, intervals: bool = True) -> dict[str, Any]:
    """Returns p50, p90, p95 and p99 where n allows, their intervals, n, the mean and the largest."""
    values.sort()
    found = {f"p{q * 100:g}": percentile(values, q) for q in QUANTILES}
    return {
        **{name: estimate.value for name, estimate in found.items()},
        "n": len(values),
        "mean": float(values.mean()) if len(values) else None,
        "max": float(values[-1]) if len(values) else None,
        **({"intervals": {k: [e.low, e.high] for k, e in found.items() if e.value is not None}} if intervals else {}),
    }


def _total(values: np.ndarray) -> float | None:
    """Returns the sum; None for none, or where one is unknown."""
    total = float(values.sum())
    return None if not len(values) or total != total else total


def _window(column: dict[str, np.ndarray], rows: np.ndarray) -> float | None:
    """Returns the seconds from the first request sent to the last one ended."""
    import numpy as np

    ends = column["t_end"][rows]
    return float(np.nanmax(ends) - column["t_send"][rows].min()) if not np.isnan(ends).all() else None


def _system(column: dict[str, np.ndarray], ran: np.ndarray, good: np.ndarray) -> dict[str, float | None]:
    """Returns what the whole system did a second. Tokens are unknown if those of any answer are."""
    window = _window(column, ran)
    if not window or not good.any():
        names = ("window_s", "requests_per_s", "system_output_tokens_per_s", "system_input_tokens_per_s")
        return dict.fromkeys(names)
    written, read = (_total(column[name][good]) for name in ("streamed", "input_tokens"))
    return {
        "window_s": window,
        "requests_per_s": int(good.sum()) / window,
        "system_output_tokens_per_s": None if written is None else written / window,
        "system_input_tokens_per_s": None if read is None else read / window,
    }


def _goodput(
    column: dict[str, np.ndarray], ran: np.ndarray, measured: np.ndarray, in_time: np.ndarray, scenario: Scenario
) -> dict[str, float | None]:
    """Returns requests a second that met every bound, and those that were right as well. A failure meets none.

    Over the same time as the system's speed. The quality goodput is unknown if any answer in time was not judged.
    """
    window = _window(column, ran)
    if scenario.slo is None or not window or not measured.any():
        return {"attainment": None, "goodput_per_s": None, "quality_goodput_per_s": None}
    values = column["correct"][ran & in_time]
    judged = bool((values == values).all())
    return {
        "attainment": int((measured & in_time).sum()) / int(measured.sum()),
        "goodput_per_s": len(values) / window,
        "quality_goodput_per_s": int((values == 1.0).sum()) / window if judged else None,
    }


def _tokens(column: dict[str, np.ndarray], good: np.ndarray) -> dict[str, Any]:
    """Returns tokens as the server counts them, as we do, and how many answers the two disagree on."""
    import numpy as np

    def total(name: str, rows: np.ndarray) -> int | None:
        found = _total(column[name][rows])
        return None if found is None else int(found)

    told = good & ~np.isnan(column["output_tokens"])
    return {
        "usage_missing": int((good & ~told).sum()),
        "usage_differs": int(column["usage_differs"][good].sum()),
        "input_tokens": total("input_tokens", good),
        "output_tokens": total("output_tokens", good),
        "cached_tokens": total("cached_tokens", told),
        "reasoning_tokens": total("reasoning_tokens", told),
        "counted_output_tokens": total("counted", good),
    }
