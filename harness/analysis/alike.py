"""Two JSON values that must say the same: where they first differ, and in which line of the file that is."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

Key = tuple[str | int, ...]
_MARK = "\0here\0"


def first_difference(held: Any, due: Any, key: Key = ()) -> Key | None:
    """Returns the key, from the outside in, under which two values first differ; None if they say the same.

    Numbers are compared to within rounding, which differs between machines.
    """
    if isinstance(held, Mapping) and isinstance(due, Mapping):
        pairs = [(name, held.get(name, _MARK), due.get(name, _MARK)) for name in (*held, *(due.keys() - held.keys()))]
    elif isinstance(held, list) and isinstance(due, list):
        if len(held) != len(due):
            return key
        pairs = [(i, *pair) for i, pair in enumerate(zip(held, due))]
    else:
        return None if _same(held, due) else key
    found = (first_difference(mine, theirs, (*key, name)) for name, mine, theirs in pairs)
    return next((one for one in found if one is not None), None)


def _same(held: Any, due: Any) -> bool:
    if isinstance(held, bool) or isinstance(due, bool) or not (_number(held) and _number(due)):
        return type(held) is type(due) and bool(held == due)
    return math.isclose(held, due, rel_tol=1e-9, abs_tol=1e-12)


def _number(value: Any) -> bool:
    return isinstance(value, int | float)


def line_of(content: Any, key: Key) -> int | None:
    """Returns the line, from 1, in which a key stands when its file is written as a run writes it; None: nowhere."""
    text = json.dumps(_marked(content, key), indent=2, ensure_ascii=False)
    before, mark, _ = text.partition(json.dumps(_MARK))
    return before.count("\n") + 1 if mark else None


def _marked(value: Any, key: Sequence[str | int]) -> Any:
    """Returns a value with a mark in the place of what stands under a key."""
    if not key:
        return _MARK
    first, *rest = key
    if isinstance(value, Mapping):
        return {name: _marked(inner, rest) if name == first else inner for name, inner in value.items()}
    return [_marked(inner, rest) if i == first else inner for i, inner in enumerate(value)]
