"""Which loads a target sustained: what follows from the summaries of a series. Sends nothing."""

from __future__ import annotations

from collections.abc import Sequence

from harness.measure.load.summary import LoadSummary
from harness.measure.load.timed import Slo


def slo_capacity(summaries: Sequence[LoadSummary], slo: Slo) -> float | None:
    """Returns the highest goodput (requests a second) of a rate at which enough requests met the bounds; None: none."""
    good = [
        min(s.goodput_per_s, s.level)  # a short burst can run ahead of its rate
        for s in summaries
        if s.kind == "rate" and s.goodput_per_s is not None and meets_slo(s, slo)
    ]
    return max(good, default=None)


def meets_slo(summary: LoadSummary, slo: Slo) -> bool:
    """Returns whether the target kept up to the scenario's end and enough of its requests met the bounds."""
    return not too_much(summary) and (summary.attainment or 0.0) >= slo.attainment


def knee(summaries: Sequence[LoadSummary]) -> int | None:
    """Returns the position of the scenario with the most throughput for its response time (Kleinrock's power).

    Of those that ran to their end and were kept up with: the times of the others say how long they lasted.
    """
    power = [
        (s.requests_per_s / s.response_s.mean, i)
        for i, s in enumerate(summaries)
        if s.requests_per_s and s.response_s.mean and not too_much(s)
    ]
    return max(power)[1] if power else None


def too_much(summary: LoadSummary) -> bool:
    """Returns whether a scenario was ended early, or asked for more than was served."""
    return summary.stopped is not None or bool(summary.saturated)
