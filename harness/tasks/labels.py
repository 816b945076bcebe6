"""How choices are labelled where a prompt lists them: A. A) (A) a. a) (a) 1. 1) (1)."""

from __future__ import annotations

import re

from harness.tasks.task import LETTERS


def name_of(labels: str, i: int) -> str:
    """Returns what the i-th choice is called, from 0: A, a or 1 for the first, as the style of labels has it."""
    return str(i + 1) if "1" in labels else LETTERS[i].lower() if "a" in labels else LETTERS[i]


def label_of(labels: str, i: int) -> str:
    """Returns the label before the i-th choice: its name in the dress of the style, as (A) or 1."""
    return re.sub("[Aa1]", name_of(labels, i), labels)
