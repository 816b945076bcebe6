"""Python beside a task file judges its answers; nothing else brings code that runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

import harness
from harness.api import score as finish
from harness.config.base import validate
from harness.config.run import RunConfig, TaskUse
from harness.errors import TaskError
from harness.runs.plan import make_plan
from harness.scoring.scorers import own_python
from harness.store.rows import read_json
from harness.tasks.load import load_task
from harness.tasks.self_test import self_test

CODE = """
def close(expected, answer, row):
    return float(abs(int(expected) - int(answer)) <= row["slack"]), {"same": float(expected == answer)}

def same(expected, answer):
    return expected == answer

def seven(expected, answer):
    return 7
"""
ROWS = [{"q": f"{i}", "a": f"{i}", "slack": 1} for i in range(0, 30, 3)]


def make(folder: Path, score: Any = None, code: str = CODE, name: str = "mine", **changes: Any) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    (folder / f"{name}.py").write_text(code)
    task = {"task": "t", "data": {"file": "t.jsonl"}, "kind": "generate", "prompt": "{q}", "answer": "a"}
    task |= {"score": score or {"python": "mine:close"}} | changes
    (folder / "t.yaml").write_text(yaml.safe_dump(task))
    return folder / "t.yaml"


def config(path: Path, **changes: Any) -> RunConfig:
    models = [{"name": "m", "backend": "fake", "script": [{"prompt": "^3$", "text": "4"}, {"text": "12"}]}]
    return validate(RunConfig, {"run": "r", "tasks": [str(path)], "models": models} | changes, "test")


def test_a_function_beside_the_task_judges_its_answers(tmp_path: Path):
    path = make(tmp_path)
    assert self_test(load_task(TaskUse(task=str(path)))).passed
    result = harness.run(config(path), out=tmp_path / "out")
    values = dict(zip(result.records()["expected"], result.records()["value"]))
    assert (values["3"], values["12"], values["9"]) == (1.0, 1.0, 0.0)
    assert result.records()["metrics"][1] == {"same": 0.0}


def test_a_function_may_leave_the_row_out_and_stand_among_others(tmp_path: Path):
    task = load_task(TaskUse(task=str(make(tmp_path, score=["exact_match", {"python": "mine:same"}]))))
    assert self_test(task).passed
    ((function, digest),) = own_python.functions(task.config.score)
    assert function == "mine:same" and len(digest) == 64


def test_a_changed_file_is_another_plan(tmp_path: Path):
    path = make(tmp_path)
    before = make_plan(config(path)).digest
    assert make_plan(config(path)).digest == before
    make(tmp_path, code=CODE + "\n# changed\n")
    assert make_plan(config(path)).digest != before


def test_a_value_that_is_none_is_a_failure_of_the_scorer(tmp_path: Path):
    none = config(make(tmp_path, score={"python": "mine:seven"}), despite_self_test=True)
    result = harness.run(none, out=tmp_path / "out")
    assert result.summary.rows[0].asked.failures == {"scorer_error": len(ROWS)}


def test_a_run_folder_brings_no_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = make(tmp_path)
    result = harness.run(config(path), out=tmp_path / "out")
    before = (result.folder / "records.jsonl").read_text()
    monkeypatch.setattr(own_python, "_ADMITTED", {})  # as in a new process
    with pytest.raises(TaskError, match=r"answers to t are judged by Python of its own \(mine:close\)") as caught:
        finish(result.folder)
    assert "harness run CONFIG --out RUN" in caught.value.fix
    harness.run(config(path), out=tmp_path / "out")
    assert (result.folder / "records.jsonl").read_text() == before
    assert "sha256" in json.dumps(read_json(result.folder / "plan.json")["identity"]["tasks"])


@pytest.mark.parametrize(
    ("score", "what", "fix"),
    [
        ({"python": "mien:close"}, "no mien.py beside the task file", "did you mean 'mine'?"),
        ({"python": "mine:clsoe"}, "mine.py has no function 'clsoe'", "did you mean 'close'?"),
        ({"python": "mine"}, "names no function of a file", "my_file:my_function"),
        ({"python": "../mine:close"}, "names no function of a file", "my_file:my_function"),
        ({"python": "os.path:join"}, "names no function of a file", "my_file:my_function"),
        ({"python": "os:system"}, "no os.py beside the task file", ""),
        ({"python": {"function": "mine:close", "sha256": "0" * 64}}, "mine.py has changed", "restore the file"),
        ({"python": {"function": "mine:close", "file": "x.py"}}, "has no option 'file'", ""),
        ({"python": 7}, "option 'function' cannot be 7", ""),
    ],
)
def test_what_names_no_function_beside_the_task_is_refused(tmp_path: Path, score: Any, what: str, fix: str):
    path = make(tmp_path, score=score)
    with pytest.raises(TaskError) as caught:
        load_task(TaskUse(task=str(path)))
    assert what in caught.value.what and fix in caught.value.fix and "t.yaml" in caught.value.where


@pytest.mark.parametrize(
    ("code", "what"),
    [
        ("import nothing_of_this_name", "mine.py cannot be loaded: ModuleNotFoundError"),
        ("def close(:", "mine.py cannot be loaded: SyntaxError"),
        ("\0", "mine.py cannot be loaded"),
        ("close = 1", "has no function 'close'"),
        ("x = '" + "a" * own_python.MAX_BYTES + "'", "larger than 1000000 bytes"),
    ],
)
def test_a_file_that_cannot_be_loaded_says_why(tmp_path: Path, code: str, what: str):
    with pytest.raises(TaskError) as caught:
        load_task(TaskUse(task=str(make(tmp_path, code=code))))
    assert what in caught.value.what


def test_code_outside_the_folder_of_a_bundled_task_or_of_hub_data_is_refused(tmp_path: Path, monkeypatch):
    path = make(tmp_path / "task")
    (tmp_path / "elsewhere.py").write_text(CODE)
    (tmp_path / "task" / "link.py").symlink_to(tmp_path / "elsewhere.py")
    make(tmp_path / "task", score={"python": "link:close"})
    with pytest.raises(TaskError, match=r"link\.py leads out of the task's folder"):
        load_task(TaskUse(task=str(path)))
    make(tmp_path / "task", data={"hub": "a/b", "split": "test"})
    with pytest.raises(TaskError, match="may not bring its own Python"):
        load_task(TaskUse(task=str(path)))
    make(tmp_path / "task")
    monkeypatch.setattr("harness.tasks.load.bundled", lambda kind: tmp_path / "task")
    with pytest.raises(TaskError, match="may not bring its own Python"):
        load_task(TaskUse(task=str(path)))
