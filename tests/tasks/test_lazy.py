"""A file too large to hold gives the same rows, samples, reports and plans as one that is held."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.config.base import validate
from harness.config.run import RunConfig, TaskUse
from harness.errors import DataError, TaskError
from harness.runs.plan import make_plan
from harness.tasks import authoring
from harness.tasks.data.files import JsonLines
from harness.tasks.data.formats import DataSource
from harness.tasks.data.lazy import Lazy, Made, Picked, in_parts, made, picked
from harness.tasks.data.read import load_rows
from harness.tasks.load import load_task
from harness.tasks.shots import shots_for

ROWS = [
    {"id": f"r{i}", "q": f"What é is {i * 7 % 50}?", "team": "ab"[i % 2], "split": "train" if i % 4 == 0 else "test"}
    | {"choices": ["x", "y", "z"], "right": i % 3}
    for i in range(60)
]
TASK = {"task": "t", "data": {"file": "t.jsonl", "split": "test", "id": "id"}, "prompt": "{q}", "answer": "right"}
TASK |= {"kind": "choice", "choices": "choices", "shots": {"n": 2, "from": "train"}, "slices": ["team"]}


def write(folder: Path, rows: list[dict[str, Any]] = ROWS, **changes: Any) -> Path:
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    (folder / "t.jsonl").write_text("\ufeff" + "\n\n \n".join(lines) + "\n", encoding="utf-8")
    (folder / "t.yaml").write_text(yaml.safe_dump(TASK | changes))
    return folder / "t.yaml"


@pytest.fixture
def unheld(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.tasks.data.files.HELD", 0)


def rows_of(folder: Path, **source: Any) -> Any:
    return load_rows(DataSource(file="t.jsonl", **source), base=folder)


def test_rows_are_read_again_whenever_they_are_asked_for(tmp_path: Path, unheld: None):
    write(tmp_path)
    found = rows_of(tmp_path)
    assert isinstance(found.rows, JsonLines) and len(found.rows) == 60
    assert list(found.rows) == list(found.rows) == ROWS
    assert found.rows[7] == ROWS[7] and found.rows[-1] == ROWS[-1] and found.rows[50:] == tuple(ROWS[50:])
    with pytest.raises(IndexError):
        found.rows[60]
    test = rows_of(tmp_path, split="test").rows
    assert isinstance(test, Lazy) and list(test) == [row for row in ROWS if row["split"] == "test"]
    assert test[3] == ROWS[5] and len(test) == 45


def test_a_task_has_the_same_samples_and_a_run_the_same_plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    task = write(tmp_path)
    models = [{"name": "m", "backend": "fake"}]
    config = validate(RunConfig, {"run": "r", "tasks": [str(task)], "models": models, "limit": 7}, "test")

    def seen() -> Any:
        loaded = load_task(TaskUse(task=str(task)))
        plan = make_plan(config)
        shots = [shots_for(loaded, sample, 0) for sample in loaded.samples[:5]]
        return list(loaded.samples), shots, loaded.data_digest, plan.digest, plan.cells[0].requests

    held = seen()
    monkeypatch.setattr("harness.tasks.data.files.HELD", 0)
    assert isinstance(load_task(TaskUse(task=str(task))).samples, Lazy)
    assert seen() == held


def test_init_finds_the_same_and_writes_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    rows = [{**row, "q": row["q"] + " mail a@b.org" * (i == 9)} for i, row in enumerate(ROWS)]
    train = [{**row, "q": row["q"].upper()} for row in rows if row["split"] == "train"]
    for folder in ("held", "unheld"):
        (tmp_path / folder).mkdir()
        write(tmp_path / folder, rows)
        write(tmp_path / folder, [{k: v for k, v in row.items() if k != "split"} for row in train])
        (tmp_path / folder / "t.jsonl").rename(tmp_path / folder / "u_train.jsonl")
        write(tmp_path / folder, [{k: v for k, v in row.items() if k != "split"} for row in rows])
        (tmp_path / folder / "t.jsonl").rename(tmp_path / folder / "u_test.jsonl")
        write(tmp_path / folder, rows)
    texts = []
    for folder in ("held", "unheld"):
        monkeypatch.setattr("harness.tasks.data.files.HELD", 0 if folder == "unheld" else 10**9)
        for name in ("t.jsonl", "u_test.jsonl"):
            for given in ({}, {"answer": "team", "input": "q"}):
                found = authoring.look(tmp_path / folder / name, **given)
                out = authoring.write(found, tmp_path / folder / f"{name}{len(given)}.yaml").task
                texts.append((found.text(), out.read_text().replace(str(tmp_path / folder), "")))
    assert texts[:4] == texts[4:]
    assert "also in u_train.jsonl" in texts[2][0] and "e-mail" in texts[0][0] and "duplicate" in texts[1][0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"right": None}, "no answer in column 'right'"),
        ({"right": 9}, "answer '9' is none of the choices"),
        ({"id": "r2"}, "rows 2 and 30 have the same id 'r2'"),
        ({"choices": ["x"]}, "1 choices: a row needs two or more"),
    ],
)
def test_a_wrong_row_is_named_before_anything_runs(tmp_path: Path, unheld: None, change: dict[str, Any], message: str):
    rows = [{**row, **(change if i == 39 else {})} for i, row in enumerate(ROWS)]
    with pytest.raises((TaskError, DataError), match=message):
        load_task(TaskUse(task=str(write(tmp_path, rows))))


def test_a_broken_line_is_named_with_its_number(tmp_path: Path, unheld: None):
    write(tmp_path)
    with (tmp_path / "t.jsonl").open("a") as handle:
        handle.write('{"id": \n')
    with pytest.raises(DataError, match=r"not JSON(.|\n)*line 179"):
        rows_of(tmp_path)


def test_a_file_that_changes_meanwhile_is_refused(tmp_path: Path, unheld: None):
    write(tmp_path)
    rows = rows_of(tmp_path).rows
    os.utime(tmp_path / "t.jsonl", (1, 1))
    for use in (lambda: rows[0], lambda: list(rows)):
        with pytest.raises(DataError, match="the file was changed while it was in use"):
            use()


def test_what_is_made_of_something_lazy_is_lazy_and_of_a_tuple_a_tuple():
    calls: list[int] = []
    doubled = lambda i, one: calls.append(i) or 2 * one
    assert made((1, 2), doubled) == (2, 4) and calls == [0, 1]
    lazy = made(Made((1, 2, 3), lambda _, one: one), doubled)
    assert calls == [0, 1] and lazy[1] == 4 and calls == [0, 1, 1]
    assert list(picked(lazy, lambda one: one > 2)) == [4, 6] and picked((1, 2), lambda one: one > 1) == (2,)
    assert list(Picked((5, 6, 7), [])) == [] and list(Picked((5, 6, 7), [0, 2])) == [5, 7]
    assert list(in_parts(lazy, 2)) == [[2, 4], [6]]
