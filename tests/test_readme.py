"""The README is part of the product: its commands exist, its examples run, its table is the committed one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

import harness
from harness.cli import app
from harness.config.base import validate
from harness.config.run import RunConfig

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def commands() -> list[list[str]]:
    lines = [line.split("#")[0].split() for block in blocks("bash") for line in block.splitlines()]
    return [words[1:] for words in lines if words and words[0] == "harness"]


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_every_command_and_option_exists(words: list[str]):
    known = get_command(app.app).commands[words[0]]
    options = {name for parameter in known.params for name in parameter.opts}
    assert {word.split("=")[0] for word in words if word.startswith("--")} <= options


def test_every_make_target_exists():
    targets = set(re.findall(r"^make (\w+)", "\n".join(blocks("bash")), flags=re.MULTILINE))
    made = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    assert targets == {"quickstart", "test"} and targets <= made


def test_every_file_it_names_is_there():
    for name in re.findall(r"`((?:tasks|configs|harness)/[\w./-]+)`", README):
        assert (ROOT / name).exists(), name


def test_the_example_task_runs_as_it_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    task = next(block for block in blocks("yaml") if block.startswith("task: tickets"))
    (tmp_path / "tickets.yaml").write_text(task)
    (tmp_path / "tickets.csv").write_text("ticket,team\nMy card was charged twice,billing\nIt is broken,returns\n")
    models = [{"name": "fake", "backend": "fake"}]
    config = validate(RunConfig, {"run": "readme", "tasks": ["tickets.yaml"], "models": models}, "test")
    assert harness.run(config).complete


def test_the_table_is_the_one_of_the_committed_run():
    shown = README.split("<!-- quickstart table: begin -->")[1].split("<!-- quickstart table: end -->")[0]
    printed = harness.open_run(ROOT / "results" / "quickstart").table()
    assert shown.strip().removeprefix("```text\n").removesuffix("\n```") == printed.strip()


def test_the_python_runs_as_it_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (code,) = blocks("python")
    names: dict[str, Any] = {}
    exec(compile(code, "README.md", "exec"), names)
    assert names["run"].complete and len(names["done"]) >= 4 and len(names["frame"]) == 4
    assert "one-word" in names["run"].table()
