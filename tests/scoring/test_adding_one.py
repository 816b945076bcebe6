"""A scorer is one function, and one line in `SCORERS`: here one of another package, whose name nothing else knows."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.config.run import TaskUse
from harness.errors import TaskError
from harness.scoring import scorers
from harness.tasks.load import load_task
from harness.tasks.score_answer import judge
from harness.tasks.self_test import self_test
from harness.values import Response

FILE = '''
"""Answers by their length."""


def same_length(expected, answer, *, slack: int = 0) -> float:
    """Returns whether an answer is as long as it should be, give or take `slack` characters."""
    return float(abs(len(str(expected)) - len(str(answer))) <= slack)
'''


@pytest.fixture(autouse=True)
def _added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "lengths.py").write_text(FILE)
    monkeypatch.syspath_prepend(str(tmp_path))
    from lengths import same_length

    monkeypatch.setattr(scorers, "SCORERS", {**scorers.SCORERS, "same_length": same_length})
    yield
    sys.modules.pop("lengths")


def task_of(folder: Path, score: Any) -> Any:
    (folder / "t.jsonl").write_text("".join(json.dumps({"q": "?", "a": "x" * n}) + "\n" for n in (3, 9)))
    task = {
        "task": "t",
        "data": {"file": "t.jsonl"},
        "kind": "generate",
        "prompt": "{q}",
        "answer": "a",
        "score": score,
    }
    (folder / "t.yaml").write_text(yaml.safe_dump(task))
    return load_task(TaskUse(task=str(folder / "t.yaml")))


def test_it_is_named_in_a_task_file_with_its_options(tmp_path: Path):
    task = task_of(tmp_path, {"same_length": {"slack": 1}})
    values = [judge(task.config, task.samples[0], Response("k", None, text=text)).value for text in ("ab", "a", "abcd")]
    assert values == [1.0, 0.0, 1.0]
    assert self_test(task).passed


@pytest.mark.parametrize(
    ("score", "what"),
    [
        ({"same_length": {"slak": 1}}, "scorer 'same_length' has no option 'slak'"),
        ({"same_length": {"slack": "one"}}, "option 'slack' cannot be 'one'"),
        ("same_lenght", "unknown scorer 'same_lenght'"),
    ],
)
def test_its_options_are_checked_as_those_of_any_other(tmp_path: Path, score: Any, what: str):
    with pytest.raises(TaskError, match=what):
        task_of(tmp_path, score)
