"""Rows as lines of a CSV: every number at full precision under one name a column; unknown is empty.

The names of columns are those of the first version: spreadsheets look for them.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass

from harness.reports.layout import View
from harness.reports.notes import why_incomplete, why_warned
from harness.reports.plain import csv_cell
from harness.store.schema import Difference, ExpectedLoss, Judged, Latency, Row, Summary
from harness.values import Estimate

Cell = str | float | int | bool | None
ESTIMATE = ("value", "low", "high", "stderr", "method", "reason")
WORDS = {"loglikelihood": "score"}  # of the column `mode`


def csv_text(summary: Summary, view: View = "run") -> str:
    """Returns one line a row (or a slice, or a label).

    A text that a spreadsheet would run as a formula is given a leading apostrophe.
    """
    lines = [dict(_of_view(row, view, part)) for row in summary.rows for part in _parts(row, view)]
    apart = set() if any(row.judged is not None for row in summary.rows) else {"judged"}
    columns = [key for key in dict.fromkeys(key for line in lines for key in line) if key not in apart]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(map(csv_cell, columns))
    writer.writerows([_safe(line.get(key)) for key in columns] for line in lines)
    return out.getvalue()


def _parts(row: Row, view: View) -> Iterable[object]:
    if view == "slices":
        return row.slices
    if view == "labels":
        return () if row.labels is None else row.labels.labels
    return (row,)


def _of_view(row: Row, view: View, part: object) -> Iterator[tuple[str, Cell]]:
    if view == "run":
        yield from _row(row)
        return
    mode = WORDS.get(row.mode, row.mode)
    yield from (("model", row.model), ("task", row.task), ("task_version", row.task_version), ("mode", mode))
    yield from _fields(part)


def _row(row: Row) -> Iterator[tuple[str, Cell]]:
    asked = row.asked
    yield from (("model", row.model), ("task", row.task), ("task_version", row.task_version))
    yield from (("format_of", row.layout_of), ("mode", WORDS.get(row.mode, row.mode)), ("kind", row.kind))
    yield from (("n", asked.n), ("responses", asked.responses), ("expected", asked.expected))
    if row.metric is not None:
        yield "metric", row.metric
    yield from _estimate("accuracy", row.accuracy)
    yield from _loss(row.expected_loss)
    for name, metric in row.metrics.items():
        yield from _estimate(f"metrics_{name}", metric)
    yield from _difference(row.difference)
    yield from ((f"failures_{kind}", count) for kind, count in asked.failures.items())
    yield "truncated_prompts", asked.truncated_prompts
    yield from _latency(row.latency)
    yield from _fields(row.throughput, "throughput_")
    yield from _fields(row.tokens, "tokens_")
    yield from ((f"cost_{name}", value) for name, value in _cost(row))
    reading = row.prompt_tokens
    yield from (
        ("reading_computed_tokens", reading.computed),
        ("reading_usd_per_1m_computed", reading.usd_per_1m_computed),
    )
    yield from (("reading_billed_tokens", reading.billed), ("reading_usd_per_1m_billed", reading.usd_per_1m_billed))
    yield from _fields(row.energy, "energy_")
    yield "where", row.place.name
    left = row.left_machine
    yield "leaves_machine_hosts", str(list(left.hosts))
    yield from (("leaves_machine_share_of_samples", left.share_of_samples), ("leaves_machine_bytes", left.bytes))
    yield from (("errors", asked.errors), ("missing", asked.missing), ("transient", asked.transient))
    yield "incomplete", None if row.incomplete is None else why_incomplete(row.incomplete)
    if row.over_layouts is None:
        yield "formats", None
    else:
        yield from _fields(row.over_layouts, "formats_")
    yield from _judged(row.judged)
    yield from ((name, value) for name, value in (("run", row.run), ("mark", row.mark)) if value)


def _estimate(name: str, estimate: Estimate | None) -> Iterator[tuple[str, Cell]]:
    if estimate is None:
        yield name, None
        return
    for key in ESTIMATE:
        value = getattr(estimate, key)
        yield f"{name}_{key}", None if value == "" else value


def _loss(loss: ExpectedLoss | None) -> Iterator[tuple[str, Cell]]:
    if loss is None:
        yield "expected_loss", None
        return
    for key in ("value", "low", "high", "stderr", "n", "method", "reason"):
        yield f"expected_loss_{key}", getattr(loss.estimate, key)
    yield "expected_loss_always_answer", loss.always_answer
    yield "expected_loss_always_value", loss.always_value


def _difference(difference: Difference | None) -> Iterator[tuple[str, Cell]]:
    if difference is None:
        yield "difference", None
        return
    found = difference.estimate
    yield from ((f"difference_{key}", getattr(found, key)) for key in ("value", "low", "high", "method"))
    yield from ((f"difference_{key}", getattr(difference, key)) for key in ("p", "test", "wins", "losses", "ties"))
    yield "difference_n", found.n


def _latency(latency: Latency) -> Iterator[tuple[str, Cell]]:
    for name in ("ttft_p50", "ttft_p95", "tpot_p50", "e2e_p50", "e2e_p95"):
        yield f"latency_{name}_s", getattr(latency, name).value
    yield from ((f"latency_{name}", getattr(latency, name)) for name in ("n", "failed", "warmup"))
    yield from _fields(latency.bystanders, "latency_bystanders_")


def _cost(row: Row) -> Iterator[tuple[str, Cell]]:
    cost = row.cost
    yield "usd", cost.usd
    if cost.known_usd is not None:
        yield "known_usd", cost.known_usd
    for name in ("1m_input", "1m_output", "1k_samples", "correct", "1m_characters"):
        yield f"usd_per_{name}", getattr(cost, f"usd_per_{name}")


def _judged(judged: Judged | None) -> Iterator[tuple[str, Cell]]:
    if judged is None:
        yield "judged", None
        return
    yield from ((f"judged_{name}", getattr(judged, name)) for name in ("judge", "verdicts", "owed", "failed"))
    yield from _part("judged_unreadable", judged.unreadable)
    yield from _part("judged_agreement", judged.agreement)
    yield from _part("judged_corrected", judged.corrected)
    yield from _part("judged_position", judged.both_orders)
    yield "judged_warning", None if judged.warning is None else why_warned(judged.warning)


def _part(name: str, value: object) -> Iterator[tuple[str, Cell]]:
    if value is None:
        yield name, None
    else:
        yield from _fields(value, f"{name}_")


def _fields(value: object, prefix: str = "") -> Iterator[tuple[str, Cell]]:
    """Yields the fields of a value, those of its parts behind their names."""
    assert is_dataclass(value)
    for field in fields(value):
        part, name = getattr(value, field.name), f"{prefix}{field.name}"
        if isinstance(part, Estimate) and field.name == "estimate":
            yield from _fields(part, prefix)
        elif is_dataclass(part):
            yield from _fields(part, f"{name}_")
        elif isinstance(part, Mapping):
            yield from ((f"{name}_{key}", one) for key, one in part.items())
        else:
            yield name, part


def _safe(value: Cell) -> Cell:
    return csv_cell(value) if isinstance(value, str) else value
