"""A run of a task that judges a known answer wrongly stops before anything is asked, unless told to go on."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import harness
from harness.config.run import TaskUse
from harness.errors import TaskError
from harness.tasks.kinds.choice import as_text
from harness.tasks.load import load_task
from harness.tasks.self_test import dressed, refuse_failing, self_test

MODEL: dict[str, Any] = {"name": "m", "backend": "fake", "script": [{"text": "4"}]}


def made(folder: Path, golds: tuple[Any, ...] = ("Rome", "Paris", "Oslo"), **more: Any) -> str:
    rows = "".join(json.dumps({"q": f"Question {i}?", "a": gold}) + "\n" for i, gold in enumerate(golds))
    (folder / "t.jsonl").write_text(rows)
    task = {"task": "t", "data": {"file": "t.jsonl"}, "kind": "generate", "prompt": "{q}", "answer": "a"}
    (folder / "t.yaml").write_text(json.dumps(task | more))
    return str(folder / "t.yaml")


def python(folder: Path, body: str) -> dict[str, Any]:
    (folder / "mine.py").write_text(f"def score(expected, answer):\n    return {body}\n")
    return {"score": {"python": "mine:score"}}


@pytest.mark.parametrize("body", ["0.0", "0.5", "float(expected == answer.lower())"])
def test_a_scorer_that_cannot_be_right_stops_a_run(tmp_path: Path, body: str):
    task = made(tmp_path, **python(tmp_path, body))
    with pytest.raises(TaskError, match="gold answer scores 1: FAILS for 3") as raised:
        harness.run(tasks=[task], models=[MODEL], out=tmp_path / "out")
    assert len(str(raised.value).splitlines()) == 3 and "--despite-self-test" in str(raised.value)
    assert not (tmp_path / "out").exists()


def test_told_to_go_on_a_run_says_so_in_its_table(tmp_path: Path):
    task = made(tmp_path, **python(tmp_path, "0.0"))
    run = harness.run(tasks=[task], models=[MODEL], out=tmp_path / "out", despite_self_test=True)
    assert "despite the self-test" in run.table()
    other = made(tmp_path)
    run = harness.run(tasks=[other], models=[MODEL], out=tmp_path / "other")
    assert "despite the self-test" not in run.table()


def test_an_extraction_that_finds_no_right_answer_stops_a_run(tmp_path: Path):
    with pytest.raises(TaskError, match="gold answer scores 1: FAILS for 3"):
        refuse_failing(load_task(TaskUse(task=made(tmp_path, extract="number"))))


@pytest.mark.parametrize(
    ("golds", "more"),
    [
        (("art", "the art of war"), {"score": "contains"}),
        ((100, 101), {"score": {"number": {"relative": 0.05}}}),
        (("Yes", "yes."), {"score": "text"}),
    ],
)
def test_another_rows_answer_that_may_be_right_too_stops_nothing(tmp_path: Path, golds: tuple[Any, ...], more: Any):
    task = load_task(TaskUse(task=made(tmp_path, golds, **more)))
    found = self_test(task)
    assert found.passed and found.may_pass and any("warning" in line for line in found.lines())
    refuse_failing(task)


def test_python_that_finds_all_right_is_warned_of(tmp_path: Path):
    task = load_task(TaskUse(task=made(tmp_path, **python(tmp_path, "1.0"))))
    refuse_failing(task)
    assert self_test(task).may_pass == ("0", "1", "2")


@pytest.mark.parametrize("labels", [("Rome", "Paris", "Oslo", "Bern"), ("urgent", "not urgent", "Urgent?", "later")])
def test_labels_are_judged_as_themselves(tmp_path: Path, labels: tuple[str, ...]):
    choice = {"kind": "choice", "choices": list(labels), "prompt": "{q}\nCity:"}
    task = load_task(TaskUse(task=made(tmp_path, labels[:2], **choice)))
    refuse_failing(task)
    twin = as_text(task.config, task)
    assert twin is not None
    refuse_failing(twin)
    broken = replace(twin, config=twin.config.model_copy(update={"extract": {"regex": f"({labels[0]}|{labels[1]})"}}))
    assert set(self_test(broken).labels_fail) >= {labels[3]}
    with pytest.raises(TaskError, match="each label is judged as itself: FAILS"):
        refuse_failing(broken)


def test_a_number_and_a_truth_are_tried_as_another_type():
    assert dict(dressed("4"))["as another type"] == "4.0" and dict(dressed("4.0"))["as another type"] == "4"
    assert dict(dressed("True"))["as another type"] == "true" and "as another type" not in dict(dressed("Rome"))
