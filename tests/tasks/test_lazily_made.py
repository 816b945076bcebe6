"""A plan for one sample makes one, however many rows the data have; every row is checked all the same."""

from __future__ import annotations

import gc
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.config.base import validate
from harness.config.run import RunConfig
from harness.errors import TaskError
from harness.runs.plan import make_plan
from harness.values import Sample

ROWS = [
    {"q": f"What is {i}?", "a": str(i), "options": ["x", "y"], "right": "y", "turns": ["Hi.", f"And {i}?"]}
    for i in range(300)
]
KINDS: dict[str, dict[str, Any]] = {
    "generate": {"prompt": "{q}", "answer": "a"},
    "choice": {"prompt": "{q}", "choices": "options", "answer": "right"},
    "cloze": {"prompt": "{q}", "answer": "a"},
    "conversation": {"turns": "turns", "scored": {2: {"answer": "a"}}},
    "perplexity": {"answer": "q"},
}


def config(folder: Path, kind: str, rows: list[dict[str, Any]], **use: Any) -> RunConfig:
    (folder / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "t.yaml").write_text(
        yaml.safe_dump({"task": "t", "data": {"file": "t.jsonl"}, "kind": kind, **KINDS[kind]})
    )
    given = {"run": "r", "tasks": [{"task": str(folder / "t.yaml"), **use}], "first": 1}
    return validate(RunConfig, given | {"models": [{"name": "m", "backend": "scripted", "script": []}]}, "test")


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("use", [{}, {"as": "generate"}], ids=["as it is", "as text"])
def test_a_plan_for_one_sample_makes_one(tmp_path: Path, kind: str, use: dict[str, Any]):
    gc.collect()
    before = {id(one) for one in gc.get_objects() if isinstance(one, Sample)}
    plan = make_plan(config(tmp_path, kind, ROWS, **use))
    made = [one for one in gc.get_objects() if isinstance(one, Sample) and id(one) not in before]
    assert len(plan.cells[0].samples) == 1 and len(plan.tasks[0].samples) == 300
    assert len(made) <= 4  # as text, it is made of the one that is scored; and one more tells that questions differ


@pytest.mark.parametrize(
    ("kind", "broken"), [("choice", {"right": "z"}), ("generate", {"a": ""}), ("conversation", {"turns": []})]
)
def test_a_row_that_is_not_asked_about_is_checked_too(tmp_path: Path, kind: str, broken: dict[str, Any]):
    with pytest.raises(TaskError) as caught:
        make_plan(config(tmp_path, kind, [*ROWS[:299], ROWS[299] | broken]))
    assert "row 300" in str(caught.value)
