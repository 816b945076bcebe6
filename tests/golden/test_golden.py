"""Four recorded runs show what they always showed: tables and CSV to the letter, every figure of their summaries.

`make.py` made them, and says when to make them anew. How the figures are compared is in `outer.py`.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

import harness
from tests.golden.outer import (
    RUNS,
    bench_again,
    command,
    copied,
    cost,
    expected,
    from_json,
    missing,
    said,
    views,
    without_computer,
)


def check_shown(name: str, folder: Path) -> None:
    for file, arguments in views(name).items():
        assert said("table", folder, *arguments) == (expected(name) / file).read_text(), file
    check_figures(name, json.loads(said("table", folder, "--format", "json")))


def check_figures(name: str, summary: dict[str, Any], file: str = "figures.json") -> None:
    assert missing(from_json((expected(name) / file).read_text()), summary) == {}


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_a_run_judged_when_it_was_recorded_opens_as_it_was(name: str, tmp_path: Path):
    check_shown(name, copied(name, tmp_path))


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_a_run_judged_again_shows_the_same(name: str, tmp_path: Path):
    folder = copied(name, tmp_path)
    assert said("score", folder) == (expected(name) / "table.txt").read_text()
    check_shown(name, folder)
    for file in ("table.md", "table.csv"):
        assert (folder / file).read_text().rstrip("\n") == (expected(name) / file).read_text().rstrip("\n")
    assert said("verify", folder).startswith("ok: ")


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_a_run_without_its_summary_is_judged_when_it_is_opened_and_not_written_to(name: str, tmp_path: Path):
    folder = copied(name, tmp_path)
    (folder / "summary.json").unlink()
    result = harness.open_run(folder)
    assert not (folder / "summary.json").exists() and len(result.records())
    assert result.table(width=100).rstrip("\n") == (expected(name) / "table.txt").read_text().rstrip("\n")
    check_figures(name, result.as_json())


def test_a_benchmark_read_again_shows_the_same(tmp_path: Path):
    folder = copied("bench", tmp_path)
    recorded = json.loads((folder / "summary.json").read_text())
    check_figures("bench", recorded)
    summary, text = bench_again(folder)
    assert without_computer(text) == (expected("bench") / "table.txt").read_text()
    check_figures("bench", summary)


def test_what_a_run_costs_at_the_capacity_of_a_benchmark_is_the_same(tmp_path: Path):
    found = cost(tmp_path, copied("served", tmp_path), copied("bench", tmp_path))
    check_figures("served", found, "cost.json")


def test_a_benchmark_is_no_run(tmp_path: Path):
    assert command("table", copied("bench", tmp_path))[0] == 2


def test_a_figure_that_is_renamed_is_found_and_one_that_is_changed_is_missed(tmp_path: Path):
    """The comparison itself: whatever a figure is called, under its model and task it must stand."""
    due = from_json((expected("served") / "figures.json").read_text())
    summary = json.loads(said("table", copied("served", tmp_path), "--format", "json"))
    row = summary["rows"][0]
    pair = (row["model"], row["task"])
    renamed = copy.deepcopy(summary)
    renamed["results"] = renamed.pop("rows")
    renamed["results"][0]["quality"] = {"score": {"estimate": renamed["results"][0].pop("accuracy")}}
    assert missing(due, renamed) == {}
    value = row["accuracy"]["value"]
    row["accuracy"]["value"] = value * (1 + 1e-9)
    assert missing(due, summary).keys() == {pair}
    row["accuracy"]["value"] = None
    summary["rows"][1]["accuracy"]["elsewhere"] = value  # under another model or task it does not count
    assert missing(due, summary).keys() == {pair}
