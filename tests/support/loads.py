"""Summaries of loads for tests: what a test does not say of one is unknown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from harness.measure.load.drive import run_load
from harness.measure.load.greeting import greet, no_answer
from harness.measure.load.series import Series, loads_owed
from harness.measure.load.summary import LoadSummary, Quantiles, load_summary
from harness.measure.load.target import RequestFailed, Target
from harness.store.schema import BenchRow, LoadEnergy
from harness.values import Request

UNKNOWN = Quantiles(p50=None, p90=None, p95=None, p99=None, n=0, mean=None, max=None)
TIMES = ("ttft_s", "ttft_answer_s", "tpot_s", "service_s", "response_s", "late_s", "gap_s")
COUNTS = ("n", "empty", "at_once", "unsent", "usage_missing", "usage_differs")


def times(**known: Any) -> Quantiles:
    """Returns the distribution of a time of which these are known."""
    names = ("p50", "p90", "p95", "p99", "mean", "max")
    return Quantiles(**{**dict.fromkeys(names), "n": 0, **known})


def load_fields(**known: Any) -> dict[str, Any]:
    """Returns the fields of the summary of a load of which these are known."""
    fields: dict[str, Any] = dict.fromkeys(LoadSummary.__dataclass_fields__)
    fields |= dict.fromkeys(TIMES, UNKNOWN) | dict.fromkeys(COUNTS, 0)
    fields |= {"scenario": "single", "kind": "concurrency", "level": 1.0, "measured": (0, 0), "failed": {}}
    return fields | known


def load(**known: Any) -> LoadSummary:
    """Returns the summary of a load of which these are known."""
    return LoadSummary(**load_fields(**known))


def bench_row(**known: Any) -> BenchRow:
    """Returns the row of a load on model m with task t of which these are known."""
    energy = LoadEnergy(method="none", joules=None, window_s=1.0, reason="no counter")
    return BenchRow(
        **load_fields(**{"model": "m", "task": "t", "asked_output_tokens": None, "energy": energy, **known})
    )


def measured(target: Target, requests: Sequence[Request], series: Series) -> Iterator[LoadSummary]:
    """Yields what each load of a series shows, as a benchmark measures them."""
    try:
        greet(target, requests[0])
    except RequestFailed as failed:
        raise no_answer(target, failed) from failed
    done: dict[str, LoadSummary] = {}
    while owed := loads_owed(series, done):
        done[owed[0].name] = load_summary(run_load(target, requests, owed[0]))
        yield done[owed[0].name]
