"""Rows of a public data set come to one shape, whichever copy they are from."""

from __future__ import annotations

from harness.prepare import arc, banking77, hellaswag, mmlu


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
