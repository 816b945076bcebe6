"""Scorer of JSON objects, field by field. A field's type is itself a scorer; lists and objects hold further ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any

from pydantic import AfterValidator

from harness.config import named_functions
from harness.errors import DataError
from harness.scoring.extractors import read_json
from harness.scoring.scorers.choice import label
from harness.scoring.scorers.number import boolean, date, number
from harness.scoring.scorers.text import edit_similarity, exact_match, f1, text, token_f1

MAX_ITEMS = 1000  # of a list in an answer that are compared


def _check_type(spec: Any) -> Any:
    named_functions.check(FIELD_TYPES, spec, "", "field type")
    return spec


FieldType = Annotated[Any, AfterValidator(_check_type)]


def fields(expected: Any, answer: Any, **types: FieldType) -> tuple[float, dict[str, float]]:
    """Returns the mean score over the fields of two objects: those expected and those the answer adds.

    `types` names the type of a field, as in {total: number, due: {date: {dayfirst: true}}, lines: {set: text}}; any
    other field is compared by the type of its expected value: text, number, boolean, list or object. A field that is
    absent, null, or empty is empty; empty is right where nothing is expected. What the answer adds scores 0.
    Two empty objects score 1.

    Metrics: `valid_json` (the answer is an object), `all_correct`, `hallucinated` (share of the fields without an
    expected value that the answer fills), `missed` (share of the fields with one that it leaves empty), and the
    counts `shared`, `found`, `expected` of filled fields, whose sums over samples give micro F1.
    Raises DataError if the expected value is no object.
    """
    right = _object(expected)
    if right is None:
        raise DataError(f"expected {expected!r:.60}, which is no JSON object", fix="mend the row, or score it as text")
    found = _object(answer)
    given = found or {}
    names = list(dict.fromkeys([*right, *types, *(name for name in given if not _empty(given[name]))]))
    scores = {name: _field(right.get(name), given.get(name), types.get(name)) for name in names}
    filled = {name for name in names if not _empty(given.get(name))}
    wanted = {name for name in names if not _empty(right.get(name))}
    shared = sum(scores[name] == 1 for name in filled & wanted)
    metrics = {
        "valid_json": float(found is not None),
        "all_correct": float(found is not None and all(score == 1 for score in scores.values())),
        "f1": f1(shared, len(filled), len(wanted)),
        "shared": shared,
        "found": len(filled),
        "expected": len(wanted),
    }
    if len(wanted) < len(names):
        metrics["hallucinated"] = len(filled - wanted) / (len(names) - len(wanted))
    if wanted:
        metrics["missed"] = len(wanted - filled) / len(wanted)
    if found is None:
        return 0.0, metrics
    return (sum(scores.values()) / len(scores) if scores else 1.0), metrics


def _object(value: Any) -> dict[str, object] | None:
    value = read_json(value) if isinstance(value, str) else value
    return dict(value) if isinstance(value, Mapping) else None


def _empty(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip()) or value in ([], {})


def _field(expected: Any, answer: Any, spec: Any) -> float:
    if _empty(expected) or _empty(answer):
        return float(_empty(expected) and _empty(answer))
    return _value(named_functions.call(FIELD_TYPES, spec or _type_of(expected), expected, answer))


def _value(result: float | tuple[float, dict[str, float]]) -> float:
    return result[0] if isinstance(result, tuple) else result


def _type_of(expected: Any) -> str:
    kinds = ((bool, "boolean"), (int | float, "number"), (Mapping, "fields"), (list | tuple, "list"))
    return next((name for kind, name in kinds if isinstance(expected, kind)), "text")


def in_order(expected: Any, answer: Any, *, of: FieldType = None) -> float:
    """Returns the mean score of two lists' items, one by one in order, over the length of the longer list."""
    right, found = _items(expected), _items(answer)
    scores = (_field(one, other, of) for one, other in zip(right, found))
    return sum(scores) / (max(len(right), len(found)) or 1) if right or found else 1.0


def in_any_order(expected: Any, answer: Any, *, of: FieldType = None) -> float:
    """Returns the F1 of two lists' items in any order; items count as the same if one scores 1 against the other."""
    right, found = _items(expected), _items(answer)
    left, shared = list(right), 0
    for other in found[:MAX_ITEMS]:
        match = next((i for i, one in enumerate(left) if _field(one, other, of) == 1), None)
        if match is not None:
            del left[match]
            shared += 1
    return f1(shared, len(found), len(right))


def _items(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


FIELD_TYPES: Mapping[str, Callable[..., Any]] = {
    "text": text,
    "exact_match": exact_match,
    "label": label,
    "token_f1": token_f1,
    "edit_similarity": edit_similarity,
    "number": number,
    "date": date,
    "boolean": boolean,
    "list": in_order,
    "set": in_any_order,
    "fields": fields,
}
