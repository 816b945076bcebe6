"""Local copies of the bundled tasks' data: llm-foundry's layout, the hub's folders, parts of MMLU and BBH."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import harness
from harness.config.assemble import Additions, assemble
from harness.config.base import validate
from harness.config.run import RunConfig, TaskUse
from harness.errors import ConfigError, TaskError
from harness.tasks.data.foundry import foundry
from harness.tasks.data.prepare import PREPARE
from harness.tasks.load import load_task, load_tasks
from harness.tasks.self_test import self_test
from tests.support.public_rows import bbh_rows
from tests.support.rows import said

LISTED = "Context: Ann left.\nQuestion: Why?\nChoices:\nA. to rest\nB. to eat\nAnswer:"
# a row as llm-foundry has it; where its right answer then stands in the prepared row, and what else the prompt shows
FOUNDRY: dict[str, tuple[dict[str, Any], str, dict[str, object]]] = {
    "arc-easy": (
        {"query": "Question: What is hot?\nAnswer:", "choices": ["ice", "fire"], "gold": 1},
        "fire",
        {"question": "What is hot?"},
    ),
    "arc-challenge": ({"query": "What is hot?", "choices": ["ice", "fire"], "gold": 1}, "fire", {}),
    "piqa": (
        {"query": "Question: To open a jar,\n", "choices": ["turn it", "kick it"], "gold": 0},
        "turn it",
        {"goal": "To open a jar,"},
    ),
    "openbookqa": ({"query": "Predators eat", "choices": ["rock", "bunnies"], "gold": 1}, "bunnies", {}),
    "hellaswag": (
        {"query": "Roof: A man is sitting. He", "choices": ["flies", "works", "is", "eats"], "gold": 1},
        "works",
        {"query": "Roof: A man is sitting. He"},
    ),
    "commonsense-qa": (
        {
            "query": "Question: Where is ice?\nChoices:\nA. a fire\nB. a freezer\nC. a hat\nD. a car\nAnswer:",
            "choices": ["A", "B", "C", "D"],
            "gold": 1,
        },
        "a freezer",
        {"question": "Where is ice?"},
    ),
    "social-iqa": (
        {"query": LISTED, "choices": ["A", "B"], "gold": 1},
        "to eat",
        {"context": "Ann left.", "question": "Why?"},
    ),
    "boolq": (
        {"query": "Passage: The sun set.\nQuestion: did it set?", "choices": ["no", "yes"], "gold": 1},
        "yes",
        {"passage": "The sun set.", "question": "did it set"},
    ),
    "winogrande": (
        {
            "context_options": ["Sara is better than Maria so Sara", "Sara is better than Maria so Maria"],
            "continuation": "got the hard cases.",
            "gold": 0,
        },
        "Sara",
        {"before": "Sara is better than Maria so ", "after": "got the hard cases."},
    ),
    "copa": (
        {"query": "He slept, because", "choices": ["He was tired.", "He ran."], "gold": 0},
        "he was tired.",
        {},
    ),
}


def lines(path: Path, *rows: dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize("name", FOUNDRY)
def test_the_layout_of_llm_foundry_is_read(tmp_path: Path, name: str):
    row, right, shown = FOUNDRY[name]
    (sample,) = load_task(TaskUse(task=name, data=str(lines(tmp_path / "rows.jsonl", row)))).samples
    assert sample.choices[sample.gold or 0] == right
    assert {key: sample.row[key] for key in shown} == shown


def test_mmlu_of_llm_foundry_takes_its_choices_from_the_question(tmp_path: Path):
    row = {"query": "Two and two?\nA. 3\nB. 4\nAnswer:", "choices": ["A", "B"], "gold": 1, "category": "high_school"}
    found = PREPARE["mmlu"](row)
    assert (found["question"], found["choices"], found["answer"]) == ("Two and two?", ["3", "4"], 1)
    assert found["subject"] == "high school"


def test_letters_that_the_question_does_not_explain_are_no_choices():
    with pytest.raises(ValueError, match="the question does not list them"):
        foundry({"query": "Which one?", "choices": ["A", "B"], "gold": 0})


@pytest.mark.parametrize("name", ["gsm8k", "gsm8k-cot"])
def test_gsm8k_of_llm_foundry_is_the_same_question(tmp_path: Path, name: str):
    row = {"context": "How many eggs?", "chain_of_thought": "3 + 4 = 7.", "answer": "7"}
    lines(tmp_path / "train.jsonl", *[row] * 9)
    lines(tmp_path / "test.jsonl", row)
    task = load_task(TaskUse(task=name, data=str(tmp_path)))
    assert task.samples[0].row["question"] == "How many eggs?" and self_test(task).passed


def test_triviaqa_of_llm_foundry_has_all_that_is_accepted():
    row = {"context": "Question: Who sat on the mat?\nAnswer:", "answer": "The cat", "aliases": ["The cat", "Cat"]}
    found = PREPARE["triviaqa"](row)
    assert (found["question"], found["aliases"], found["first"]) == (
        "Who sat on the mat",
        ["The cat", "Cat"],
        "The cat",
    )


def mmlu_csv(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"What is {i}?,a,b,c,d,B\n" for i in range(6)))


@pytest.mark.parametrize("place", ["test/philosophy_test.csv", "philosophy_test.csv"])
def test_one_subject_of_mmlu_is_a_file_with_its_examples_beside_it(tmp_path: Path, place: str):
    mmlu_csv(tmp_path / place)
    mmlu_csv(tmp_path / place.replace("test", "dev"))
    task = load_task(TaskUse(task="mmlu", data=str(tmp_path / place)))
    assert task.samples[0].id == "philosophy/0" and task.samples[0].row["subject"] == "philosophy"
    assert len(task.samples) == 6 and len(task.pool) == 6


def test_subjects_of_mmlu_in_folders_of_their_own_are_read_together(tmp_path: Path):
    for subject in ("anatomy", "virology"):
        rows = [{"question": f"{i}?", "subject": subject, "choices": list("abcd"), "answer": i % 4} for i in range(6)]
        for split in ("test", "dev"):
            lines(tmp_path / subject / f"{split}.jsonl", *rows)
    task = load_task(TaskUse(task="mmlu", data=str(tmp_path)))
    assert [sample.row["subject"] for sample in task.samples] == ["anatomy"] * 6 + ["virology"] * 6


def test_some_of_the_parts_of_bbh_are_read_and_counted(tmp_path: Path):
    rows = bbh_rows()
    for name in ("word_sorting", "navigate"):
        lines(tmp_path / f"{name}.jsonl", *rows[name])
    (task,) = load_tasks(TaskUse(task="bbh", data=str(tmp_path)))
    assert {sample.id for sample in task.samples} == {"word_sorting/0", "navigate/0"}
    assert task.data_origin.endswith("and 1 more: 2 of 27 sets of rows")
    given = {"run": "r", "tasks": [{"task": "bbh", "data": str(tmp_path)}], "latency": {"requests": 0}}
    given["models"] = [{"name": "m", "backend": "scripted"}]
    notes = said(harness.run(validate(RunConfig, given, "test"), out=tmp_path / "out").summary)
    assert "bbh: 2 of the 27 sets of rows that it is made of, not all." in notes
    (one,) = load_tasks(TaskUse(task="bbh", data=str(tmp_path / "navigate.jsonl")))
    assert [sample.id for sample in one.samples] == ["navigate/0"] and "1 of 27" in one.data_origin
    other = lines(tmp_path / "else" / "mine.jsonl", {"input": "?", "target": "!"})
    with pytest.raises(TaskError, match="none of them by its name"):
        load_tasks(TaskUse(task="bbh", data=str(other)))


def test_a_run_file_names_local_copies_as_the_command_line_does(tmp_path: Path):
    (tmp_path / "run.yaml").write_text(
        "run: r\ntasks: [arc-easy, {task: piqa, data: own.jsonl}]\nmodels: [demo-2m]\n"
        "data: {arc-easy: arc.jsonl, piqa: other.jsonl}\n"
    )
    run = assemble(tmp_path / "run.yaml")
    assert {use.task: use.data for use in run.tasks} == {"arc-easy": "arc.jsonl", "piqa": "own.jsonl"}
    over = assemble(tmp_path / "run.yaml", Additions(data={"arc-easy": "new.jsonl"}))
    assert over.tasks[0].data == "new.jsonl"
    (tmp_path / "bad.yaml").write_text("run: r\ntasks: [arc-easy]\nmodels: [demo-2m]\ndata: {arc-esay: a.jsonl}\n")
    with pytest.raises(ConfigError, match=r"arc-esay(.|\n)*did you mean 'arc-easy'"):
        assemble(tmp_path / "bad.yaml")
