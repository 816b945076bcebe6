"""The common layout of llm-foundry's data sets: `query`, `choices` and `gold`, the index of the right one."""

from __future__ import annotations

import re

from harness.scoring.cells import Row, text, texts, whole

_LISTED = re.compile(r"\n(?:Choices:\s*\n)?((?:[A-Z][.)] [^\n]*(?:\n|\Z)){2,})(?:Answer:?)?\s*\Z")


def is_foundry(row: Row) -> bool:
    """Returns whether a row has the common layout of llm-foundry's multiple choice."""
    return "query" in row and "gold" in row and "choices" in row


def foundry(row: Row) -> tuple[str, list[str], int]:
    """Returns the bare question of a row of llm-foundry, its choices and the index of the right one.

    Some of its files list the choices in the question and let A, B, ... stand for them: then those listed are meant.
    """
    asked, choices = text(row, "query"), texts(row, "choices")
    letters = [choice.strip() for choice in choices] == list("ABCDEFGHIJ"[: len(choices)])
    if letters and (listed := _LISTED.search(asked)):
        said = [line[3:].strip() for line in listed[1].strip().split("\n")]
        asked = asked[: listed.start()]
        choices = said if len(said) == len(choices) else []
    if not choices or (letters and not listed):
        raise ValueError("the choices are letters, and the question does not list them")
    return bare(asked), choices, whole(row, "gold")


def bare(asked: str) -> str:
    """Returns a question without the words around it."""
    return re.sub(r"\s*\n?Answer:?\s*\Z", "", asked).strip().removeprefix("Question: ")
