"""Numbered lines of cells to rows, as CSV and Excel have them; and cells to what JSON knows."""

from __future__ import annotations

import base64
import datetime
import decimal
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from harness.errors import DataError

MOST_COLUMNS = 2_000  # of a row: more are no table of questions, and every one of them would be looked at


def table(
    lines: Iterator[tuple[int, list[Any]]], path: Path, header: Sequence[str] | None, unit: str, delimiter: str | None
) -> Iterator[dict[str, object]]:
    """Yields rows of numbered lines of cells. Without `header` the first line names the columns.

    What a spreadsheet leaves behind the table is left out: empty columns without a name, and rows of empty cells.
    """
    names, spare = list(header or ()), 0
    if header is None:
        number, cells = next(lines, (1, []))
        names = [str("" if cell is None else cell).strip() for cell in cells]
        while len(names) > 1 and not names[-1]:
            names, spare = names[:-1], spare + 1
        check_names(names, f"{path}, {unit} {number}", delimiter)
    for number, cells in lines:
        if cells == names:  # `header:` is given, and the file turns out to have the same header row
            continue
        if len(cells) > 1 and not any(map(filled, cells)):
            continue
        if spare and len(cells) == len(names) + spare:
            for position, cell in enumerate(cells[-spare:], len(names) + 1):
                if filled(cell):
                    raise DataError(f"column {position} has no name", where=f"{path}, {unit} {number}", fix=_UNNAMED)
            cells = cells[:-spare]
        if len(cells) != len(names):
            fix = "mend the row (a cell with the delimiter in it needs quotes)"
            if header is not None:
                fix += ", or `header:` in the task"
            what = f"the row has {len(cells)} cells, but there are {len(names)} columns"
            raise DataError(what, where=f"{path}, {unit} {number}", fix=fix)
        yield dict(zip(names, cells))


_UNNAMED = "name it (merged cells name only their first column), or list all names as `header:` if none is there"


def too_many_columns(n: int, where: str) -> DataError:
    """Returns what is said of a row with more columns than a table of questions has."""
    what = f"{n:,} columns, and {MOST_COLUMNS:,} are the most"
    return DataError(what, where=where, fix="keep the columns that the task needs")


def filled(cell: Any) -> bool:
    return cell is not None and str(cell).strip() != ""


def check_names(names: list[str], where: str, delimiter: str | None) -> None:
    """Refuses a header with two columns of one name, or one of no name (save the first of a CSV: pandas' index)."""
    if delimiter and len(names) == 1:
        for other in ";\t|,":
            if other != delimiter and other in names[0]:
                fix = f'write delimiter: "{other}" in the task\'s data'.replace("\t", "\\t")
                raise DataError(f"one column, named {names[0]!r}: another delimiter?", where=where, fix=fix)
    if len(names) > MOST_COLUMNS:
        raise too_many_columns(len(names), where)
    first: dict[str, int] = {}
    for position, name in enumerate(names):
        if not name and not (position == 0 and delimiter and len(names) > 1):
            raise DataError(f"column {position + 1} has no name", where=where, fix=_UNNAMED)
        if first.setdefault(name, position) != position:
            what = f"two columns are named '{name[:200]}' ({first[name] + 1} and {position + 1})"
            raise DataError(what, where=where, fix="rename one of them")


def rows_of_arrow(batch: Any) -> Iterator[dict[str, object]]:
    """Yields the rows of an Arrow record batch or table. A number of few digits keeps them: 0.1 of 32 bits is 0.1."""
    types = {field.name: field.type for field in batch.schema if _short(field.type)}
    for row in batch.to_pylist():
        yield plain({**row, **{name: _few_digits(row[name], kind) for name, kind in types.items()}})


def _short(kind: Any) -> bool:
    """Tells if an Arrow type is, or holds, numbers of 16 or 32 bits with a point."""
    return str(kind) in _NARROW or any(_short(kind.field(i).type) for i in range(kind.num_fields))


_NARROW = {"float": "float32", "halffloat": "float16"}  # Arrow's names: numpy's


def _few_digits(value: Any, kind: Any) -> Any:
    """Returns a value of an Arrow type with the shortest digits that are the same number in its own width."""
    import numpy as np

    if value is None:
        return None
    if str(kind) in _NARROW:
        return float(str(getattr(np, _NARROW[str(kind)])(value)))
    if isinstance(value, dict):
        return {name: _few_digits(held, kind.field(name).type) for name, held in value.items()}
    return [_few_digits(held, kind.field(0).type) for held in value] if _short(kind) else value


def plain(value: Any) -> Any:
    """Returns a cell as JSON knows it: not-a-number is None, dates are ISO text, bytes are base64 text.

    A point in time at midnight is a date, as spreadsheets and pandas store dates.
    """
    if isinstance(value, float):
        return None if value != value else value
    if isinstance(value, dict):
        return {key: plain(held) for key, held in value.items()}
    if isinstance(value, list | tuple):
        return [plain(held) for held in value]
    if isinstance(value, datetime.datetime) and value.tzinfo is None and value.time() == datetime.time():
        return value.date().isoformat()
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    if isinstance(value, decimal.Decimal):
        return str(value)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return value


def first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
