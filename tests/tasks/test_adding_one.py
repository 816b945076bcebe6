"""A task is one YAML file: it is listed, loaded and judged by its name, without a line of Python."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.config.files import bundled
from harness.config.run import TaskUse
from harness.tasks import load
from harness.tasks.self_test import self_test

TASK = """task: capitals
asks: the capital of a country
data: {file: capitals.jsonl}
kind: choice
prompt: "What is the capital of {country}?"
choices: [Paris, Rome]
answer: capital
"""


def test_a_file_beside_the_others_is_a_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for one in bundled("tasks").iterdir():
        (tmp_path / one.name).symlink_to(one)
    (tmp_path / "capitals.jsonl").write_text(
        '{"country": "France", "capital": "Paris"}\n{"country": "Italy", "capital": "Rome"}\n'
    )
    (tmp_path / "capitals.yaml").write_text(TASK)
    before = load.task_names()
    monkeypatch.setattr("harness.config.files.bundled", lambda _: tmp_path)
    monkeypatch.setattr(load, "bundled", lambda _: tmp_path)

    assert load.task_names() == sorted([*before, "capitals"])
    task = load.load_task(TaskUse(task="capitals"))
    assert [sample.expected for sample in task.samples] == ["Paris", "Rome"]
    assert self_test(task).passed
