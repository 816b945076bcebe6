"""Scorers of labels: one of a list, or several of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.scoring.plain_text import as_text, squash
from harness.scoring.scorers.text import f1, overlap


def label(expected: Any, answer: Any) -> float:
    """Returns 1 if both name the same label, else 0; case and white space around it do not count."""
    right, found = as_text(expected), as_text(answer)
    return float(right is not None and found is not None and plain(right) == plain(found))


def multi_label(expected: Any, answer: Any, *, separator: str = ",") -> tuple[float, dict[str, float]]:
    """Returns the F1 of two sets of labels, given as lists or as texts with a separator; none and none is 1.

    Metrics: `exact`, precision and recall's parts as counts `shared`, `found`, `expected`.
    """
    shared, found, wanted = overlap(labels_in(expected, separator), labels_in(answer, separator))
    exact = float(shared == found == wanted)
    return f1(shared, found, wanted), {"exact": exact, "shared": shared, "found": found, "expected": wanted}


def labels_in(value: Any, separator: str) -> set[str]:
    """Returns the labels of a list, or of a text with a separator, without regard to case and white space."""
    several: Sequence[Any] = value.split(separator) if isinstance(value, str) else value or []
    several = several if isinstance(several, list | tuple) else [several]
    return {plain(as_text(one) or "") for one in several} - {""}


def plain(text: str) -> str:
    """Returns a label without regard to case and white space."""
    return squash(text).casefold()
