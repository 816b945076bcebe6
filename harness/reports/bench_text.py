"""A benchmark of load in tables, notes and figures for people: what a user sees, and what the system does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from harness.analysis.bench import requests
from harness.reports.bench_sentences import sentence
from harness.reports.formats import set_text
from harness.reports.layout import Table, number
from harness.store.schema import BenchRow, BenchSummary, by_workload

LEGEND = (
    "A percentile stands only where ten values lie beyond it: p50 needs 20 requests, p95 needs 200.",
    "TTFT: from sending to the first token. response: from when a request was due, so waiting counts.",
    "single and concurrency c: c at a time, no arrival rate. right: the whole answer, not a part of it.",
)
ROUND_TRIP = "round trip: the network alone, a TCP handshake about once a second, median; it is part of every TTFT."


def text(summary: BenchSummary, width: int = 100) -> str:
    """Returns both tables and the notes."""
    network = (ROUND_TRIP,) if summary.on_a_network else ()
    notes = (*LEGEND, *network, *map(sentence, summary.notes))
    return set_text((_users(summary), _system(summary)), notes, width)


def _users(summary: BenchSummary) -> Table:
    """Returns what one user sees."""
    network = summary.on_a_network
    columns = ("load", "n", "TTFT p50 ms", "TTFT p95 ms", "TPOT p50 ms", "response p50 ms", "response p95 ms")
    columns += ("user tok/s", *(("round trip ms",) if network else ()))

    def cells(row: BenchRow) -> tuple[str, ...]:
        times = (row.ttft_s.p50, row.ttft_s.p95, row.tpot_s.p50, row.response_s.p50, row.response_s.p95)
        last = (number(row.user_tokens_per_s_p50), *((number(row.round_trip_p50_s, 1000),) if network else ()))
        return (row.scenario, str(row.n), *(number(time, 1000) for time in times), *last)

    return Table("What a user sees", columns, _titled(summary.rows, cells))


def _system(summary: BenchSummary) -> Table:
    """Returns what all users together get."""
    columns = ("load", "requests/s", "tok/s in", "tok/s out", "in SLO %", "goodput /s", "right, in SLO /s", "cached %")
    joules = any(row.energy.joules is not None for row in summary.rows)
    columns += ("failed", "remark", *(("J / token out", "J / request") if joules else ()))

    def cells(row: BenchRow) -> tuple[str, ...]:
        speeds = (row.requests_per_s, row.system_input_tokens_per_s, row.system_output_tokens_per_s)
        good = (number(row.attainment, 100), number(row.goodput_per_s), number(row.quality_goodput_per_s))
        failed = ", ".join(f"{n} {kind}" for kind, n in sorted(row.failed.items())) or "0"
        remark = row.stopped or ("saturated" if row.saturated else "")
        power = (row.energy.j_per_output_token, row.energy.j_per_sample) if joules else ()
        shown = (*map(number, speeds), *good, number(row.cached_share, 100), failed, remark.partition(":")[0])
        return (row.scenario, *shown, *map(number, power))

    return Table("What the system does", columns, _titled(summary.rows, cells))


Groups = tuple[tuple[str, tuple[tuple[str, ...], ...]], ...]


def _titled(rows: Sequence[BenchRow], cells: Callable[[BenchRow], tuple[str, ...]]) -> Groups:
    return tuple((f"{model} · {task}", tuple(map(cells, mine))) for (model, task), mine in by_workload(rows).items())


def plots(path: Path, summary: BenchSummary) -> list[Path]:
    """Draws latency against load and the distribution of response times of each workload; returns the files."""
    from harness.reports.plots import distributions, latency_against_load

    counted = {(*row.workload, row.scenario): range(*row.measured) for row in summary.rows}
    times: dict[tuple[str, str], dict[str, list[float]]] = {}
    for line in requests(path):
        named = (line.model, line.task, line.scenario)
        if line.error is None and line.response_s is not None and line.index in counted.get(named, ()):
            mine = times.setdefault((line.model, line.task), {})
            mine.setdefault(line.scenario, []).append(line.response_s)
    drawn: list[Path] = []
    for name, rows in by_workload(summary.rows).items():
        stem = "-".join(name).replace(" ", "").replace(",", "-").replace("/", "-")
        drawn += latency_against_load(rows, path / f"load-{stem}")
        drawn += distributions(times[name], path / f"response-{stem}", "response time, s") if name in times else ()
    return drawn
