"""What a cell of the data holds, as the type that is asked for. A cell that holds another raises TypeError."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Row = Mapping[str, object]  # column -> value, as the data have it


def text(row: Row, column: str) -> str:
    """Returns a text."""
    return as_text(row[column], column)


def as_text(value: object, column: str) -> str:
    """Returns a value of a column that is a text."""
    if isinstance(value, str):
        return value
    raise TypeError(f"column '{column}' holds {type(value).__name__}, and a text is needed")


def items(row: Row, column: str) -> Sequence[Any]:
    """Returns what a list holds."""
    value = row[column]
    if isinstance(value, Iterable) and not isinstance(value, str | Mapping):
        return value if isinstance(value, list | tuple) else list(value)
    raise TypeError(f"column '{column}' holds {type(value).__name__}, and a list is needed")


def texts(row: Row, column: str) -> list[str]:
    """Returns the texts of a list."""
    return [as_text(item, column) for item in items(row, column)]


def whole(row: Row, column: str) -> int:
    """Returns a whole number, also of one that is written as text."""
    value = row[column]
    if isinstance(value, str | int | float):
        return int(value)
    raise TypeError(f"column '{column}' holds {type(value).__name__}, and a number is needed")


def part(row: Row, column: str) -> Row:
    """Returns a row within the row."""
    return as_row(row[column], column)


def parts(row: Row, column: str) -> list[Row]:
    """Returns the rows of a list."""
    return [as_row(item, column) for item in items(row, column)]


def as_row(value: object, column: str) -> Row:
    """Returns a value of a column that has names of its own within it."""
    if isinstance(value, Mapping):
        return value
    raise TypeError(f"column '{column}' holds {type(value).__name__}, and one with names in it is needed")
