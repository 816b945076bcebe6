"""The README is part of the product: its two commands are there, its table is the committed one, its task runs.

Its other commands, files, links and Python are tried with those of the pages of docs/: tests/docs/test_pages.py.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import harness
from harness.config.base import validate
from harness.config.run import RunConfig
from tests.docs.test_pages import blocks

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"


def test_every_make_target_exists():
    targets = set(re.findall(r"^make (\w+)", "\n".join(blocks(README, "bash")), flags=re.MULTILINE))
    made = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    assert targets == {"quickstart", "test"} and targets <= made


def test_the_example_task_runs_as_it_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (task,) = (block for block in blocks(README, "yaml") if block.startswith("task: tickets"))
    (tmp_path / "tickets.yaml").write_text(task)
    (tmp_path / "tickets.csv").write_text("ticket,team\nMy card was charged twice,billing\nIt is broken,returns\n")
    models = [{"name": "scripted", "backend": "scripted"}]
    config = validate(RunConfig, {"run": "readme", "tasks": ["tickets.yaml"], "models": models}, "test")
    assert harness.run(config).complete


@pytest.mark.slow
def test_the_table_is_the_one_of_the_committed_run():
    text = README.read_text(encoding="utf-8")
    shown = text.split("<!-- quickstart table: begin -->")[1].split("<!-- quickstart table: end -->")[0]
    printed = harness.open_run(ROOT / "results" / "quickstart").table()
    assert shown.strip().removeprefix("```text\n").removesuffix("\n```") == printed.strip()
