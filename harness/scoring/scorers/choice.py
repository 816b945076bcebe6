"""Scorers of labels: one of a list, or several of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.scoring.plain_text import squash
from harness.scoring.scorers.text import accepted, f1, overlap
from harness.scoring.value_text import as_seen, as_text, forms


def label(expected: Any, answer: Any) -> float:
    """Returns 1 if both name the same label, else 0; case and white space around it do not count."""
    right, found = ({plain(form) for form in forms(value)} for value in (expected, answer))
    return float(not right.isdisjoint(found))


def multi_label(expected: Any, answer: Any, *, separator: str = ",") -> tuple[float, dict[str, float]]:
    """Returns the F1 of two sets of labels, given as lists or as texts with a separator; none and none is 1.

    Metrics: `exact`, precision and recall's parts as counts `shared`, `found`, `expected`.
    """
    shared, found, wanted = overlap(labels_in(expected, separator), labels_in(answer, separator))
    exact = float(shared == found == wanted)
    return f1(shared, found, wanted), {"exact": exact, "shared": shared, "found": found, "expected": wanted}


def labels_in(value: Any, separator: str) -> set[str]:
    """Returns the labels of a list, or of a text with a separator, without regard to case and white space."""
    listed = accepted(value)
    several: Sequence[Any] = value.split(separator) if listed == [value] and isinstance(value, str) else listed
    return {plain(as_text(one) or "") for one in several} - {""}


def plain(text: str) -> str:
    """Returns a label without regard to case, white space, and how its characters are composed."""
    return squash(as_seen(text)).casefold()
