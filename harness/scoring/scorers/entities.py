"""Scorer of named entities: a list of types and texts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from harness.errors import DataError
from harness.scoring.extractors import read_json
from harness.scoring.scorers.choice import plain
from harness.scoring.scorers.text import f1, overlap
from harness.scoring.value_text import as_text


def entities(expected: Any, answer: Any) -> tuple[float, dict[str, float]]:
    """Returns the F1 of the (type, text) pairs two lists share; repeats count, case and spacing do not; [] and [] is 1.

    A list holds {"type": ..., "text": ...} (other keys are not looked at), or is a mapping of type to texts; it may
    stand as the only value of an object, as in {"entities": [...]}. Metrics: `exact`, and the counts `shared`, `found`
    and `expected`, whose sums over samples give micro F1. Raises DataError if the expected value is neither.
    """
    right, found = _pairs(expected), _pairs(answer)
    if right is None:
        raise DataError(f"expected {expected!r:.60}, which is no list of entities", fix='write [{"type", "text"}, ...]')
    shared, n_found, wanted = overlap(right, found or [])
    exact = float(found is not None and shared == n_found == wanted)
    counts = {"shared": shared, "found": n_found, "expected": wanted}
    return (0.0 if found is None else f1(shared, n_found, wanted)), {"exact": exact, **counts}


def _pairs(value: Any) -> list[tuple[str, str]] | None:
    """Returns (type, text) of each entity, None if the value is no list of them."""
    value = read_json(value) if isinstance(value, str) else value
    if isinstance(value, Mapping) and len(value) == 1 and _listed(next(iter(value.values()))):
        value = next(iter(value.values()))
    if isinstance(value, Mapping):
        value = list(_grouped(value))
    if not _listed(value):
        return None
    return [(_plain(one.get("type")), _plain(one.get("text"))) for one in value]


def _listed(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(one, Mapping) for one in value)


def _grouped(value: Mapping[Any, Any]) -> Iterator[dict[str, object]]:
    for kind, texts in value.items():
        for text in texts if isinstance(texts, list | tuple) else [texts]:
            yield {"type": kind, "text": text}


def _plain(value: Any) -> str:
    return plain(as_text(value) or "")
