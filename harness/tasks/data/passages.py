"""Texts within lists and objects: passages, paragraphs, the sentences of a document.

{"contexts": ["We studied ...", "Results: ..."], "labels": ["BACKGROUND", "RESULTS"]}   ->   two lines of text
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

DEEPEST = 20  # levels of lists and objects within each other that are looked through


def texts_in(value: Any, levels: int = DEEPEST) -> list[str]:
    """Returns the texts of a list or object, in order: of an object those of the key that holds most of them."""
    if isinstance(value, str):
        value = _nested(value)
    if levels == 0:
        return []
    if isinstance(value, list | tuple):
        return [text for item in value for text in ([item] if isinstance(item, str) else texts_in(item, levels - 1))]
    if isinstance(value, Mapping):
        if all(isinstance(held, str) for held in value.values()):
            return list(value.values())  # a title and its text
        found = [texts_in(held, levels - 1) for held in value.values() if not isinstance(held, str)]
        return max(found, key=lambda texts: sum(map(len, texts)), default=[])
    return []


def as_passages(value: Any) -> Any:
    """Returns a list or object of texts as one text, a line each (words: a space each); anything else as it is."""
    texts = texts_in(value)
    if not texts:
        return value
    return (" " if not any(" " in text.strip() for text in texts) else "\n").join(text.strip() for text in texts)


def _nested(text: str) -> Any:
    """Returns the list or object that a cell holds as JSON, else None."""
    if text.lstrip()[:1] not in ("[", "{"):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
