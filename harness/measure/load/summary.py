"""What a load did to the people waiting: percentiles, throughput, goodput. Reads timed requests, sends nothing.

Speeds of a user (1/TPOT) and of the system (tokens a second of all users) have different names and never meet.
"""

from __future__ import annotations

import sys
from array import array
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from harness.measure.latency import TAIL, percentile
from harness.measure.load.timed import Timed, Usage

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from harness.measure.load.drive import LoadRun
    from harness.measure.load.scenario import Scenario

    Numbers = NDArray[np.float64]
    Rows = NDArray[np.bool_]  # which requests
    Columns = Mapping[str, Numbers]

QUANTILES = (0.50, 0.90, 0.95, 0.99)
KEPT = 0.9  # share of a rate that must be answered for the server to keep up with it
SURE = 0.01  # chance at most that responses of a steady server rise as much


@dataclass(frozen=True, slots=True)
class Quantiles:
    """The distribution of a time, in seconds. A percentile of too few values is None (unknown)."""

    p50: float | None
    p90: float | None
    p95: float | None
    p99: float | None
    n: int
    mean: float | None
    max: float | None
    intervals: Mapping[str, tuple[float | None, float | None]] = field(default_factory=dict)  # of known ones, 95 %


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadSummary:
    """One scenario. Seconds; None is unknown.

    Warm-up and cool-down are left out of every number but the system's speed, which counts the cool-down's tokens and
    its time. Speeds of a user and of the system have different names.
    """

    scenario: str
    kind: str  # concurrency | rate | offline
    level: float  # how many at a time, or a second
    measured: tuple[int, int]  # the first request that counts, and the next after the last
    n: int
    failed: Mapping[str, int]  # by kind of failure
    empty: int  # answers without a token
    at_once: int  # answers of several tokens at one moment: without a TPOT
    unsent: int
    stopped: str | None  # why it was ended early
    saturated: bool | None
    ttft_s: Quantiles
    ttft_answer_s: Quantiles
    tpot_s: Quantiles
    service_s: Quantiles  # from sending to the end
    response_s: Quantiles  # from when it was due to the end
    late_s: Quantiles  # from when it was due to sending
    gap_s: Quantiles  # gaps of one answer are not independent: no interval
    user_tokens_per_s_p50: float | None
    window_s: float | None  # from the first request sent to the last one ended
    requests_per_s: float | None  # of the whole system, as the two that follow
    system_output_tokens_per_s: float | None
    system_input_tokens_per_s: float | None
    attainment: float | None  # share of requests that met every bound
    goodput_per_s: float | None  # requests a second that did
    quality_goodput_per_s: float | None  # and those that were right as well
    usage_missing: int  # answers of which the server did not count the tokens
    usage_differs: int  # answers on whose tokens the server and we disagree
    input_tokens: int | None
    output_tokens: int | None
    cached_tokens: int | None  # part of the input
    reasoning_tokens: int | None  # part of the output
    counted_output_tokens: int | None  # by our own count
    round_trip_p50_s: float | None
    first_request_s: float | None = None  # of the request before all others; only the first scenario has it
    left_out: Mapping[str, str] = field(default_factory=dict)  # parameters that the server refuses -> in its words


class Tally:
    """The numbers of timed requests, in any order, without the requests: 140 bytes each, and 8 for each gap."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.columns = {name: array("d") for name in _NUMBERS}
        self.gaps, self.gap_counts = array("d"), array("q")
        self.in_time, self.at_once = bytearray(), bytearray()
        self.errors: list[str | None] = []

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
    "input_tokens": lambda t: _part(t.usage, "input_tokens", whole=True),
    "output_tokens": lambda t: _part(t.usage, "output_tokens", whole=True),
    "cached_tokens": lambda t: _part(t.usage, "cached_tokens"),
    "reasoning_tokens": lambda t: _part(t.usage, "reasoning_tokens"),
}


def _part(usage: Usage | None, name: str, *, whole: bool = False) -> int | None:
    """Returns a count of a usage; None where there is none, or a part contradicts the whole that it is of."""
    if usage is None or (usage.contradicts_itself and not whole):
        return None
    count: int | None = getattr(usage, name)
    return count


@dataclass(frozen=True, slots=True)
class _Masked:
    """The numbers of all requests, and which requests a figure is of."""

    column: Columns
    in_time: Rows
    at_once: Rows
    ran: Rows  # all but the warm-up
    measured: Rows  # nor of the cool-down
    good: Rows  # and answered
    well: Rows  # answered, of those that ran
    errors: Sequence[str | None]

    def known(self, name: str, rows: Rows) -> Numbers:
        """Returns the numbers of a column that are known."""
        import numpy as np

        values: Numbers = self.column[name][rows]
        return values[~np.isnan(values)]

    def total(self, name: str, rows: Rows) -> float | None:
        """Returns the sum of a column; None for none, or where one is unknown."""
        values = self.column[name][rows]
        total = float(values.sum())
        return None if not len(values) or total != total else total

    def count(self, name: str, rows: Rows) -> int | None:
        """Returns the sum of a column of whole numbers; None for none, or where one is unknown."""
        total = self.total(name, rows)
        return None if total is None else int(total)


def _masked(run: LoadRun, tally: Tally) -> _Masked:
    import numpy as np

    column = {name: np.frombuffer(numbers) if numbers else np.zeros(0) for name, numbers in tally.columns.items()}
    failed = np.array([error is not None for error in tally.errors], dtype=bool)
    in_time, at_once = (
        np.frombuffer(flags, dtype=bool) if flags else failed for flags in (tally.in_time, tally.at_once)
    )
    ran = column["index"] >= run.scenario.warmup
    measured = ran & (column["index"] < run.measured.stop)
    return _Masked(column, in_time, at_once, ran, measured, measured & ~failed, ran & ~failed, tally.errors)


def load_summary(run: LoadRun, tally: Tally | None = None) -> LoadSummary:
    """Returns what a scenario did. `tally`: of the requests a sink took, if one did."""
    import numpy as np

    scenario = run.scenario
    if tally is None:
        tally = Tally(scenario)
        for timed in run.timed:
            tally.add(timed)
    of = _masked(run, tally)
    good, told = of.good, of.good & ~np.isnan(of.column["output_tokens"])
    gaps = np.frombuffer(tally.gaps) if run.streams and tally.gaps else np.zeros(0)
    gaps = gaps[np.repeat(good, tally.gap_counts)] if len(gaps) else gaps
    tpot, window = _quantiles(of.known("tpot_s", good)), _window(of.column, of.ran)
    speed, goodput = _speed(of, window), _goodput(of, window, scenario)
    return LoadSummary(
        scenario=scenario.name,
        kind=scenario.kind,
        level=scenario.level,
        measured=(run.measured.start, run.measured.stop),
        n=int(of.measured.sum()),
        failed=dict(Counter(error for error, here in zip(of.errors, of.measured) if here and error is not None)),
        empty=int(np.isnan(of.column["ttft_s"][good]).sum()),
        at_once=int(of.at_once[good].sum()),
        unsent=run.issued - len(of.ran),
        stopped=run.stopped,
        saturated=_saturated(of, scenario),
        ttft_s=_quantiles(of.known("ttft_s", good)),
        ttft_answer_s=_quantiles(of.known("ttft_answer_s", good)),
        tpot_s=tpot,
        service_s=_quantiles(of.known("service_s", good)),
        response_s=_quantiles(of.known("response_s", good)),
        late_s=_quantiles(of.known("late_s", of.measured)),
        gap_s=_quantiles(gaps, intervals=False),
        user_tokens_per_s_p50=1.0 / tpot.p50 if tpot.p50 else None,
        window_s=speed.window_s,
        requests_per_s=speed.requests_per_s,
        system_output_tokens_per_s=speed.output_tokens_per_s,
        system_input_tokens_per_s=speed.input_tokens_per_s,
        attainment=goodput.attainment,
        goodput_per_s=goodput.per_s,
        quality_goodput_per_s=goodput.right_per_s,
        usage_missing=int((good & ~told).sum()),
        usage_differs=int(of.column["usage_differs"][good].sum()),
        input_tokens=of.count("input_tokens", good),
        output_tokens=of.count("output_tokens", good),
        cached_tokens=of.count("cached_tokens", told),
        reasoning_tokens=of.count("reasoning_tokens", told),
        counted_output_tokens=of.count("counted", good),
        round_trip_p50_s=_median(run.round_trips_s),
    )


def _saturated(of: _Masked, scenario: Scenario) -> bool | None:
    """Returns whether a rate was more than the target could keep up with; None for other loads, or too few answers.

    Answers then come at the target's own speed, more slowly than the requests, and each takes longer than the one
    before: how long depends on how long the load lasted. The speed is that of the answers between the first and the
    last tenth, so that one long answer at the end does not move it.
    """
    import numpy as np
    from scipy.stats import kendalltau

    column, good = of.column, of.good
    if scenario.kind != "rate" or good.sum() < 2 * TAIL:
        return None
    first, last = np.quantile(column["t_end"][good], (0.1, 0.9))
    slow = 0.8 * good.sum() < KEPT * scenario.level * (last - first)
    rising = kendalltau(column["index"][good], column["response_s"][good], alternative="greater").pvalue < SURE
    return bool(slow and rising)


def _median(values: Sequence[float]) -> float | None:
    return sorted(values)[len(values) // 2] if values else None


def _quantiles(values: Numbers, *, intervals: bool = True) -> Quantiles:
    """Returns p50, p90, p95 and p99 where n allows, their intervals, n, the mean and the largest."""
    values.sort()
    found = {f"p{q * 100:g}": percentile(values, q) for q in QUANTILES}
    return Quantiles(
        **{name: estimate.value for name, estimate in found.items()},
        n=len(values),
        mean=float(values.mean()) if len(values) else None,
        max=float(values[-1]) if len(values) else None,
        intervals={k: (e.low, e.high) for k, e in found.items() if e.value is not None} if intervals else {},
    )


@dataclass(frozen=True, slots=True)
class _Speed:
    """What the whole system did a second, over the seconds of `window_s`."""

    window_s: float | None = None
    requests_per_s: float | None = None
    output_tokens_per_s: float | None = None
    input_tokens_per_s: float | None = None


@dataclass(frozen=True, slots=True)
class _Goodput:
    """Requests that met every bound: their share, how many a second, and of those the right ones."""

    attainment: float | None = None
    per_s: float | None = None
    right_per_s: float | None = None


def _window(column: Columns, rows: Rows) -> float | None:
    """Returns the seconds from the first request sent to the last one ended."""
    import numpy as np

    ends = column["t_end"][rows]
    return float(np.nanmax(ends) - column["t_send"][rows].min()) if not np.isnan(ends).all() else None


def _speed(of: _Masked, window: float | None) -> _Speed:
    """Returns the speed of the whole system. Tokens are unknown if those of any answer are."""
    if not window or not of.well.any():
        return _Speed()
    written, read = of.total("streamed", of.well), of.total("input_tokens", of.well)
    return _Speed(
        window_s=window,
        requests_per_s=int(of.well.sum()) / window,
        output_tokens_per_s=None if written is None else written / window,
        input_tokens_per_s=None if read is None else read / window,
    )


def _goodput(of: _Masked, window: float | None, scenario: Scenario) -> _Goodput:
    """Returns requests a second that met every bound, and those that were right as well. A failure meets none.

    Over the same time as the system's speed. The quality goodput is unknown if any answer in time was not judged.
    """
    if scenario.slo is None or not window or not of.measured.any():
        return _Goodput()
    values = of.column["correct"][of.ran & of.in_time]
    judged = bool((values == values).all())
    return _Goodput(
        attainment=int((of.measured & of.in_time).sum()) / int(of.measured.sum()),
        per_s=len(values) / window,
        right_per_s=int((values == 1.0).sum()) / window if judged else None,
    )
