"""What a cell of a data file means: dates, numbers of 32 bits, a spreadsheet's errors, a delimiter's line."""

from __future__ import annotations

import base64
import datetime
import decimal
import re
from collections.abc import Iterator
from typing import Any

_TOLD = re.compile(r'\ufeff?"?sep=(.)"?[\r\n]*', re.IGNORECASE)


def told_delimiter(line: str) -> str | None:
    """Returns the delimiter that the first line of a CSV names for spreadsheet programs ("sep=;"), None without."""
    found = _TOLD.fullmatch(line)
    return found[1] if found else None


# What a spreadsheet shows where a formula failed, as programs in several languages export it: no value.
ERRORS = frozenset(
    [
        "#N/A",
        "#DIV/0!",
        "#REF!",
        "#VALUE!",
        "#NAME?",
        "#NUM!",
        "#NULL!",
        "#SPILL!",
        "#CALC!",
        "#FIELD!",
        "#GETTING_DATA",
        "#NV",
        "#BEZUG!",
        "#WERT!",
        "#ZAHL!",
        "#VALEUR!",
        "#NOM?",
        "#NOMBRE!",
        "#NUL!",
        "#¡VALOR!",
        "#¿NOMBRE?",
        "#¡REF!",
        "#¡NUM!",
        "#¡DIV/0!",
        "#VALORE!",
        "#NOME?",
        "#RIF!",
        "#VALOR!",
        "#N/D",
        "#VERW!",
        "#WAARDE!",
        "#NAAM?",
        "#GETAL!",
        "#Н/Д",
        "#ЗНАЧ!",
        "#ССЫЛКА!",
        "#ИМЯ?",
        "#ДЕЛ/0!",
        "#ARG!",
        "#ADR!",
        "#NAZWA?",
        "#LICZBA!",
        "Err:502",
        "Err:504",
    ]
)


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
