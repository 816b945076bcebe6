"""What data mean in another writing: places from 1, the same choice twice, repeated questions, rows of no cluster."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.config.run import TaskUse
from harness.errors import TaskError
from harness.tasks.kinds.base import preferring
from harness.tasks.load import load_task
from harness.tasks.score_answer import judge
from harness.tasks.shots import shots_for
from harness.tasks.task import Task, never_first

TREES = ["ash", "birch", "cedar"]


def task_of(folder: Path, rows: list[dict[str, Any]], keys: str) -> Task:
    (folder / "d.jsonl").write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    (folder / "t.yaml").write_text(f'task: t\ndata: {{file: d.jsonl}}\nprompt: "{{q}}"\n{keys}', encoding="utf-8")
    return load_task(TaskUse(task=str(folder / "t.yaml")))


CHOICE = "kind: choice\nchoices: opts\nanswer: gold\n"


@pytest.mark.parametrize(
    ("golds", "keys", "read", "noted"),
    [
        ([0, 1, 2], "", [0, 1, 2], False),
        ([1, 2], "", [1, 2], True),
        ([1, 2], "answer_is: index_from_1\n", [0, 1], False),
        ([1, 2], "answer_is: index\n", [1, 2], False),
        ([1, 2, 3], "", [0, 1, 2], True),
        ([0.0, 1.0], "", [0, 1], False),
        (["0", "2"], "", [0, 2], False),
        (["1", "2"], "", [1, 2], True),
        (["birch", "ASH"], "", [1, 0], False),
        (["B", "A"], "", [1, 0], False),
    ],
)
def test_how_places_are_counted_is_told(
    tmp_path: Path, golds: list[Any], keys: str, read: list[int], noted: bool
) -> None:
    rows = [{"q": f"Pick {i}", "opts": TREES, "gold": gold} for i, gold in enumerate(golds)]
    task = task_of(tmp_path, rows, CHOICE + keys)
    assert [sample.gold for sample in task.samples] == read
    assert never_first(task.config, task.samples) == (len(golds) if noted else 0)


@pytest.mark.parametrize("twice", ["red", "red ", "re\u200bd", "r\u00e9d"])
def test_the_same_choice_twice_is_right_at_both_places(tmp_path: Path, twice: str) -> None:
    first = twice if twice == "r\u00e9d" else "red"
    again = "re\u0301d" if twice == "r\u00e9d" else twice
    task = task_of(tmp_path, [{"q": "Colour?", "opts": [first, "blue", again], "gold": 2}], CHOICE)
    sample = task.samples[0]
    assert [judge(task.config, sample, preferring(sample, i)).value for i in range(3)] == [1, 0, 1]


def test_no_shot_asks_the_question_itself(tmp_path: Path) -> None:
    rows = [{"q": q, "a": "x"} for q in ("one?", "ONE ?", "o\u200bne?", "two?", "three?")]
    for pick in ("first", "random"):
        task = task_of(tmp_path, rows, f"kind: generate\nanswer: a\nscore: text\nshots: {{n: 2, pick: {pick}}}\n")
        shown = {shot.row["q"] for shot in shots_for(task, task.samples[0], 0)}
        assert shown == {"two?", "three?"}


def test_too_few_other_questions_are_an_error(tmp_path: Path) -> None:
    rows = [{"q": "one?", "a": "x"}, {"q": "one?", "a": "x"}, {"q": "two?", "a": "y"}]
    task = task_of(tmp_path, rows, "kind: generate\nanswer: a\nscore: text\nshots: {n: 2}\n")
    with pytest.raises(TaskError, match="only 1 of its data ask another question"):
        shots_for(task, task.samples[0], 0)


@pytest.mark.parametrize("empty", [None, "", "  "])
def test_a_row_of_no_cluster_stands_for_itself(tmp_path: Path, empty: str | None) -> None:
    rows = [{"q": f"{i}?", "a": "x", "c": c} for i, c in enumerate(["k", empty, empty, "k"])]
    task = task_of(tmp_path, rows, "kind: generate\nanswer: a\nscore: text\ncluster: c\n")
    assert [sample.cluster for sample in task.samples] == ["k", "(row 1)", "(row 2)", "k"]
