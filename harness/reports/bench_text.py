"""`harness bench`: loads on models, from a run file to a folder of timed requests, a table and figures.

    plan.json             what was asked: configuration, models, workloads, this computer
    measurements.jsonl    one line a request (kind request), a scenario (load) and a model (model)
    summary.json          one row a scenario, and what follows from them

A workload is a task's own prompts, asked as text, or made-up ones of stated lengths.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from harness.analysis.bench import ROUND_TRIP, _cached, _groups, _lines, _on_a_wire
from harness.reports.formats import set_text
from harness.reports.layout import Table, number


def text(summary: Mapping[str, Any], width: int = 100) -> str:
    """Returns both tables and the notes."""
    wire = (ROUND_TRIP,) if _on_a_wire(summary) else ()
    return set_text((_users(summary), _system(summary)), (*LEGEND, *wire, *summary["notes"]), width)


LEGEND = (
    "A percentile stands only where ten values lie beyond it: p50 needs 20 requests, p95 needs 200.",
    "TTFT: from sending to the first token. response: from when a request was due, so waiting counts.",
    "single and concurrency c: c at a time, no arrival rate. right: the whole answer, not a part of it.",
)


def _ms(quantiles: Mapping[str, Any], name: str) -> str:
    return number(quantiles[name], 1000)


def _users(summary: Mapping[str, Any]) -> Table:
    """Returns what one user sees."""
    wire = _on_a_wire(summary)
    columns = ("load", "n", "TTFT p50 ms", "TTFT p95 ms", "TPOT p50 ms", "response p50 ms", "response p95 ms")
    columns += ("user tok/s", *(("round trip ms",) if wire else ()))

    def cells(row: Mapping[str, Any]) -> tuple[str, ...]:
        times = [_ms(row[key], q) for key, q in (("ttft_s", "p50"), ("ttft_s", "p95"), ("tpot_s", "p50"))]
        whole = [_ms(row["response_s"], q) for q in ("p50", "p95")]
        last = (number(row["user_tokens_per_s_p50"]), *((number(row["round_trip_p50_s"], 1000),) if wire else ()))
        return (row["scenario"], str(row["n"]), *times, *whole, *last)

    return Table("What a user sees", columns, _titled(summary, cells))


def _system(summary: Mapping[str, Any]) -> Table:
    """Returns what all users together get."""
    columns = ("load", "requests/s", "tok/s in", "tok/s out", "in SLO %", "goodput /s", "right, in SLO /s", "cached %")
    joules = any(row["energy"]["joules"] is not None for row in summary["rows"])
    columns += ("failed", "remark", *(("J / token out", "J / request") if joules else ()))

    def cells(row: Mapping[str, Any]) -> tuple[str, ...]:
        names = ("requests_per_s", "system_input_tokens_per_s", "system_output_tokens_per_s")
        speeds = [number(row[name]) for name in names]
        good = [number(row["attainment"], 100), number(row["goodput_per_s"]), number(row["quality_goodput_per_s"])]
        failed = ", ".join(f"{n} {kind}" for kind, n in sorted(row["failed"].items())) or "0"
        remark = row["stopped"] or ("saturated" if row["saturated"] else "")
        power = [number(row["energy"][name]) for name in ("j_per_output_token", "j_per_sample")] if joules else []
        return (row["scenario"], *speeds, *good, number(_cached(row), 100), failed, remark.partition(":")[0], *power)

    return Table("What the system does", columns, _titled(summary, cells))


def _titled(summary: Mapping[str, Any], cells: Callable[[Any], tuple[str, ...]]) -> Any:
    return tuple((f"{model} · {task}", tuple(map(cells, rows))) for (model, task), rows in _groups(summary["rows"]))


def plots(path: Path, summary: Mapping[str, Any]) -> list[Path]:
    """Draws latency against load and the distribution of response times of each workload; returns the files."""
    from harness.reports.plots import distributions, latency_against_load

    counted = {(row["model"], row["task"], row["scenario"]): range(*row["measured"]) for row in summary["rows"]}
    times: dict[tuple[str, str], dict[str, list[float]]] = {}
    for line in _lines(path, "request"):
        named = (line["model"], line["task"], line["scenario"])
        if line["error"] is None and line["index"] in counted.get(named, ()):
            mine = times.setdefault((line["model"], line["task"]), {})
            mine.setdefault(line["scenario"], []).append(line["t_end"] - line["t_sched"])
    drawn: list[Path] = []
    for name, rows in _groups(summary["rows"]):
        stem = "-".join(name).replace(" ", "").replace(",", "-").replace("/", "-")
        drawn += latency_against_load(rows, path / f"load-{stem}")
        drawn += distributions(times[name], path / f"response-{stem}", "response time, s") if name in times else ()
    return drawn
