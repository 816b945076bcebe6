"""Scorer of rows that say themselves how they are judged, as promptfoo's `__expected` column does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from harness.scoring.cells import text
from harness.scoring.plain_text import matches
from harness.scoring.value_text import as_text

ASSERTIONS: Mapping[str, Callable[[str, str], bool]] = {
    "equals": lambda expected, answer: answer.strip() == expected.strip(),
    "contains": lambda expected, answer: expected in answer,
    "icontains": lambda expected, answer: expected.casefold() in answer.casefold(),
    "starts-with": lambda expected, answer: answer.startswith(expected),
    "regex": lambda expected, answer: any(True for _ in matches(expected, answer)),
}


def promptfoo(expected: Any, answer: Any, *, row: Mapping[str, object]) -> float:
    """Returns 1 if the assertion that the row names holds (`prepare: promptfoo` brings it there), else 0."""
    return float(ASSERTIONS[text(row, "assertion")](as_text(expected) or "", as_text(answer) or ""))
