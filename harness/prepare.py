"""Named functions that bring the rows of a public data set to one shape, whichever copy they come from.

A task file names one in `prepare:`. Each takes a row and returns a new one; to add another, write the function and one
line in `PREPARE`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from harness.reading import as_text
from harness.scorers.assertions import ASSERTIONS

Row = Mapping[str, Any]


def mmlu(row: Row) -> dict[str, Any]:
    """Returns question, choices, answer and subject (in words), from the hub's copy or the original CSV files."""
    choices = row["choices"] if "choices" in row else [row[letter] for letter in "ABCD"]
    subject = row["subject"] if "subject" in row else re.sub(r"_(test|dev|val)$", "", row["_file"])
    return {**row, "question": row["question"].strip(), "choices": choices, "subject": subject.replace("_", " ")}


def arc(row: Row) -> dict[str, Any]:
    """Returns question, choices (texts) and answer (index), from the hub's copy or llm-foundry's."""
    if "query" in row:
        question = row["query"].removeprefix("Question: ")
        return {**row, "question": question, "answer": row["gold"]}
    texts, labels = row["choices"]["text"], [str(label) for label in row["choices"]["label"]]
    return {**row, "choices": list(texts), "answer": labels.index(str(row["answerKey"]))}


def hellaswag(row: Row) -> dict[str, Any]:
    """Returns query, endings and label with the markers of the how-to pages removed."""
    ctx = row["ctx"] if "ctx_a" not in row else f"{row['ctx_a']} {str(row['ctx_b']).capitalize()}"
    query = _without_markers(f"{row['activity_label']}: {ctx}")
    return {**row, "query": query, "endings": [_without_markers(ending) for ending in row["endings"]]}


def _without_markers(text: str) -> str:
    text = re.sub(r"\[.*?\]", "", text.strip().replace(" [title]", ". "))
    return text.replace("  ", " ")


def banking77(row: Row) -> dict[str, Any]:
    """Returns text and label (its name), from the hub's copy or the original CSV files."""
    return {**row, "label": row["category"] if "category" in row else row["label_text"]}


UNKNOWN = re.compile(
    r"(?:not-)?[a-z]+(?:-[a-z]+)+(?:\([\d.]+\))?|fn|eval|grade|javascript|python|file|similar(?:\([\d.]+\))?"
)


def promptfoo(row: Row) -> dict[str, Any]:
    """Returns `expected` and `assertion` (how it is judged) from `__expected`; without a prefix it is `equals`."""
    text = as_text(row["__expected"] if "__expected" in row else row["__expected1"]) or ""
    kind, colon, rest = text.partition(":")
    kind = kind.strip()
    if colon and kind in ASSERTIONS:
        return {**row, "expected": rest.strip(), "assertion": kind}
    if UNKNOWN.fullmatch(kind) and colon:
        raise ValueError(f"the assertion '{kind}' is none of {', '.join(ASSERTIONS)}")
    return {**row, "expected": text, "assertion": "equals"}


PREPARE: dict[str, Callable[[Row], dict[str, Any]]] = {
    "arc": arc,
    "banking77": banking77,
    "hellaswag": hellaswag,
    "mmlu": mmlu,
    "promptfoo": promptfoo,
}
