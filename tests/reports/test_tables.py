"""A summary becomes tables that are safe to open anywhere and say "unknown" where nothing is known."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import harness
from harness.reports.formats import FORMATS, csv_text, latex, markdown, terminal
from harness.reports.tables import quality, speed, tables
from harness.store.schema import Cost, Row, Throughput
from harness.values import Estimate
from tests.support.rows import ROW, difference, summary
from tests.support.rows import row as made

ESTIMATE = Estimate(0.86, 0.816, 0.895, method="wilson", n=300)
TIMED = replace(ROW.latency, e2e_p50=Estimate(0.0181), n=20)
FAST = Throughput(input_tokens_per_s=12345.6)


def row(model: str = "m", **changes: Any) -> Row:
    return made(model, **{"latency": TIMED, "throughput": FAST, **changes})


def cells(table: Any, group: int = 0) -> list[tuple[str, ...]]:
    return list(table.groups[group][1])


def test_accuracy_stands_with_its_interval_and_references_below():
    found = cells(quality(summary(row(), row("other", difference=difference(None)))))
    assert found[0][:4] == ("m", "300", "86.0 [81.6, 89.5]", "")
    assert found[2][:3] == ("(chance)", "300", "1.3")


def test_a_single_model_is_compared_with_nothing_not_even_itself():
    alone, two = summary(row()), summary(row(), row("other", difference=difference(0.1, 0.0, 0.2)))
    assert "vs m" not in quality(alone).columns and "vs m" in quality(two).columns
    assert "paired difference" not in terminal(alone) and "paired difference" in terminal(two)


def test_the_names_of_further_columns_are_explained_where_they_stand():
    text = terminal(summary(row(metrics={"accuracy_norm": ESTIMATE})), width=1000)
    assert "norm.: by log-probability per character" in text and "all right:" not in text


@pytest.mark.parametrize("width", [80, 100])
def test_a_narrow_terminal_breaks_no_word_and_no_line(width: int):
    costs = Cost(*[0.000291] * 9)
    lower = row("demo-2m", cost=costs, difference=difference(-0.1, -0.15, -0.05))
    text = terminal(summary(row("demo-0.1m", cost=costs), lower), width=width)
    lines = text.splitlines()
    assert max(map(len, lines)) <= width
    assert {"$/correct", "failures", "0.000291"} <= {word for line in lines for word in line.split()}


def test_a_difference_is_marked_where_its_interval_excludes_nothing():
    clear = difference(-0.1, -0.15, -0.05)
    unclear = difference(0.02, -0.01, 0.05)
    found = cells(quality(summary(row(difference=clear), row(difference=unclear))))
    assert found[0][3] == "-10.0 [-15.0, -5.0]*"
    assert found[1][3] == "+2.0 [-1.0, +5.0]"


def test_unknown_is_a_dash_and_never_a_zero():
    found = cells(speed(summary(row())))[0]
    assert found == ("m", "–", "–", "18.1", "12,346", "–", "–", "–", "–", "–")
    assert cells(quality(summary(row(accuracy=Estimate(None, reason="no answer")))))[0][2] == "–"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (1234.5, "1,234"),
        (12.345, "12.3"),
        (1.2345, "1.23"),
        (0.0123, "0.0123"),
        (3.6e-6, "3.6e-06"),
        (999, "999"),
    ],
)
def test_numbers_have_three_significant_digits(value: float, text: str):
    assert cells(speed(summary(row(throughput=Throughput(input_tokens_per_s=value)))))[0][4] == text


def test_scored_and_generated_never_share_a_group():
    found = quality(summary(row(), row("n", mode="generate")))
    assert [title for title, _ in found.groups] == [
        "t · version 2 · choices scored",
        "t · version 2 · text generated",
    ]


def test_a_share_is_written_one_way_in_all_of_the_package():
    sources = [path for path in Path(harness.__file__).parent.rglob("*.py") if "demo" not in path.parts]
    assert len(sources) > 100
    assert [path.name for path in sources if re.search(r":\.\d%\}", path.read_text(encoding="utf-8"))] == []


def test_failures_are_counted_by_kind():
    found = cells(quality(summary(row(asked=replace(ROW.asked, failures={"no_answer": 3, "backend_error": 1})))))
    assert found[0][3] == "1 backend_error, 3 no_answer"


@pytest.mark.parametrize(
    "name", ["=cmd|' /C calc'!A0", "+1", "-1", "@sum", "\tx", "a|b", "<script>", "x\x1b[31m", "a\u202eb"]
)
@pytest.mark.parametrize("form", sorted(FORMATS))
def test_a_hostile_name_does_nothing_in_any_format(form: str, name: str):
    text = FORMATS[form](summary(row(name)))
    assert "\x1b" not in text and "\u202e" not in text
    if form == "csv":
        first = next(csv.DictReader(io.StringIO(text)))["model"]
        assert first.startswith("'") == (name[0] in "=+-@")
    if form == "markdown":
        line = next(line for line in text.splitlines() if "86.0" in line)
        assert line.replace("\\|", "").count("|") == text.splitlines()[4].count("|")
        assert "<script>" not in text


def test_the_terminal_table_fits_100_columns():
    rows = [row("a-model-with-a-rather-long-name-for-a-table", difference=difference(-0.1, -0.15, -0.05))]
    assert max(map(len, terminal(summary(*rows)).splitlines())) <= 100


def test_csv_has_every_number_at_full_precision():
    found = next(csv.DictReader(io.StringIO(csv_text(summary(row())))))
    assert float(found["accuracy_low"]) == 0.816
    assert float(found["latency_e2e_p50_s"]) == 0.0181
    assert found["cost_usd_per_correct"] == ""


def test_markdown_and_latex_hold_both_tables_and_the_notes():
    for text in (markdown(summary(row())), latex(summary(row()))):
        assert "86.0 [81.6, 89.5]" in text and "18.1" in text and "Measured on a processor, 2 cores." in text


def test_a_column_in_which_nothing_is_known_is_left_out_of_the_table():
    one = summary(row(latency=ROW.latency, throughput=Throughput()))
    assert [table.title for table in tables(one)] == ["How well"] and "TTFT" not in terminal(one)
    timed = tables(summary(row(throughput=Throughput()), row("other", latency=ROW.latency, throughput=Throughput())))[1]
    assert timed.columns == ("model", "answer ms")
    assert cells(timed) == [("m", "18.1"), ("other", "–")]  # where one row has it, unknown is a dash
