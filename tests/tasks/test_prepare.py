"""Rows of a public data set come to one shape, whichever copy they are from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.tasks.data.prepare import (
    arc,
    banking77,
    bbq,
    boolq,
    copa,
    drop,
    gpqa,
    gsm8k_cot,
    hellaswag,
    keyed_choices,
    lambada,
    mmlu,
    mmlu_pro,
    truthfulqa,
    winogrande,
    wnut17,
)
from tests.support.public_rows import BBQ


def test_mmlu_from_the_hub_and_from_the_original_files():
    hub = mmlu({"question": " Why? ", "subject": "college_physics", "choices": ["a", "b", "c", "d"], "answer": 1})
    own = {"question": "Why?", "A": "a", "B": "b", "C": "c", "D": "d", "answer": "B", "_file": "college_physics_test"}
    for row in (hub, mmlu(own)):
        assert (row["question"], row["choices"], row["subject"]) == ("Why?", ["a", "b", "c", "d"], "college physics")


def test_arc_from_the_hub_and_from_llm_foundry():
    choices = {"text": ["x", "y", "z"], "label": ["1", "2", "3"]}
    hub = arc({"question": "Why?", "choices": choices, "answerKey": "3"})
    foundry = arc({"query": "Question: Why?", "choices": ["x", "y", "z"], "gold": 2})
    for row in (hub, foundry):
        assert (row["question"], row["choices"], row["answer"]) == ("Why?", ["x", "y", "z"], 2)


def test_hellaswag_loses_its_markers():
    row = {
        "activity_label": "Baking",
        "ctx_a": "A man [step] bakes.",
        "ctx_b": "then he",
        "endings": ["[x] ate [title] it"],
    }
    found = hellaswag(row)
    assert found["query"] == "Baking: A man bakes. Then he"
    assert found["endings"] == [" ate. it"]


def test_banking77_from_the_hub_and_from_the_original_file():
    assert banking77({"text": "x", "label": 3, "label_text": "atm_support"})["label"] == "atm_support"
    assert banking77({"text": "x", "category": "atm_support"})["label"] == "atm_support"


KEYED = {"text": ["x", "y"], "label": ["A", "B"]}


@pytest.mark.parametrize(
    "row",
    [
        {"question": "Why?", "choices": KEYED, "answerKey": "B"},
        {"question_stem": "Why?", "choices": KEYED, "answerKey": " B"},
        {
            "question": {"stem": "Why?", "choices": [{"text": "x", "label": "A"}, {"text": "y", "label": "B"}]},
            "answerKey": "B",
        },
    ],
)
def test_keyed_choices_from_the_hub_and_from_the_original_files(row: dict):
    found = keyed_choices(row)
    assert (found["question"], found["choices"], found["answer"]) == ("Why?", ["x", "y"], 1)


def test_winogrande_is_cut_at_its_gap():
    found = winogrande({"sentence": "A b _ c d.", "answer": "2"})
    assert (found["before"], found["after"], found["answer"]) == ("A b ", "c d.", 1)


def test_boolq_from_superglue_and_from_the_original_file():
    assert boolq({"label": 1})["answer"] == boolq({"answer": True})["answer"] == 1
    assert boolq({"label": 0})["answer"] == boolq({"answer": False})["answer"] == 0


def test_copa_from_superglue_and_from_llm_foundry():
    choices = {"choice1": "It rained.", "choice2": "It snowed.", "label": 1}
    hub = copa({"premise": "It was cold. ", "question": "effect", **choices})
    foundry = copa({"query": "It was cold, therefore", "choices": ["it rained.", "it snowed."], "gold": 1})
    for row in (hub, foundry):
        assert (row["query"], row["choices"], row["answer"]) == (
            "It was cold therefore",
            ["it rained.", "it snowed."],
            1,
        )


def test_truthfulqa_from_the_hub_and_from_the_original_file():
    mc1 = {"choices": ["t", "f", "g"], "labels": [1, 0, 0]}
    mc2 = {"choices": ["t", "u", "f", "g"], "labels": [1, 1, 0, 0]}
    hub = truthfulqa({"question": "Q?", "mc1_targets": mc1, "mc2_targets": mc2})
    own = truthfulqa({"Question": "Q?", "Best Answer": "t", "Correct Answers": "t; u", "Incorrect Answers": "f; g; f"})
    for row in (hub, own):
        assert (row["question"], row["mc1"], row["mc1_answer"]) == ("Q?", ["t", "f", "g"], 0)
        assert (row["mc2"], row["mc2_flags"]) == (["t", "u", "f", "g"], [1, 1, 0, 0])


def test_lambada_from_the_hub_and_from_llm_foundry():
    hub, foundry = lambada({"text": "a b c"}), lambada({"context": "a b", "continuation": " c"})
    assert [(row["context"], row["word"]) for row in (hub, foundry)] == [("a b", "c")] * 2


def test_wnut17_from_the_hub_and_from_the_original_tags():
    tokens = ["Ana", "Lima", "in", "Oslo", "Rome"]
    hub = wnut17({"tokens": tokens, "ner_tags": [9, 10, 0, 7, 7]})
    own = wnut17({"tokens": tokens, "tags": ["B-person", "I-person", "O", "B-location", "B-location"]})
    for row in (hub, own):
        assert row["text"] == "Ana Lima in Oslo Rome"
        assert [tuple(one.values()) for one in row["entities"]] == [
            ("person", "Ana Lima"),
            ("location", "Oslo"),
            ("location", "Rome"),
        ]


@pytest.mark.shared
def test_the_tags_of_wnut17_give_the_entities_that_its_file_names(shared: Path):
    rows = [json.loads(line) for line in (shared / "data/wnut17_dev.jsonl").read_text().splitlines()]
    for row in rows:
        assert wnut17(row)["entities"] == [{"type": one["type"], "text": one["text"]} for one in row["entities"]]


NO_DATE = {"day": "", "month": "", "year": ""}


def test_drop_accepts_what_any_annotator_gave():
    answer = {"number": "", "spans": ["a b", "c"], "date": NO_DATE}
    others = {
        "number": ["3", "", ""],
        "spans": [[], ["a b", "c"], []],
        "date": [NO_DATE, NO_DATE, {**NO_DATE, "year": "1900"}],
    }
    hub = drop({"answer": answer, "validated_answers": others})
    listed = [{key: others[key][i] for key in others} for i in range(3)]
    own = drop({"answer": answer, "validated_answers": listed})
    for row in (hub, own):
        assert row["answers"] == [["a b", "c"], ["3"], ["1900"]]
        assert row["first"] == "a b, c"


def test_a_worked_solution_is_parted_from_its_answer():
    found = gsm8k_cot({"answer": "2+3=<<2+3=5>>5\n#### 1,005"})
    assert (found["reasoning"], found["answer"]) == ("2+3=<<2+3=5>>5", "1,005")


def test_mmlu_pro_writes_the_reasoning_where_there_is_one():
    row = {"options": ["x ", "y"], "answer": "B", "cot_content": ""}
    assert mmlu_pro(row)["lettered"] == "A. x\nB. y"
    assert mmlu_pro(row)["written"] == "The answer is (B)."
    shown = mmlu_pro({**row, "cot_content": "A: Let's think step by step. So y. The answer is (B)."})
    assert shown["written"] == "So y. The answer is (B)."


def test_gpqa_puts_the_right_answer_where_the_question_says():
    row = {"Correct Answer": "r", "Incorrect Answer 1": "x", "Incorrect Answer 2": "y", "Incorrect Answer 3": "z"}
    found = [gpqa({**row, "Question": f"{n}?"}) for n in range(40)]
    assert all(one["choices"][one["answer"]] == "r" and sorted(one["choices"]) == ["r", "x", "y", "z"] for one in found)
    assert {one["answer"] for one in found} == {0, 1, 2, 3}
    assert gpqa({**row, "Question": "7?"}) == found[7]


def test_questions_from_one_template_are_one_group():
    row = {**BBQ[0], "category": "Age"}
    groups = [bbq({**row, "example_id": n})["group"] for n in range(8)]
    assert groups == ["Age 0"] * 4 + ["Age 1"] * 4
