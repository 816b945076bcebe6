"""How a value of the data is written, and when two writings are the same: the one place for prompts and scorers.

text_of(True) -> "True"   text_of(4.0) -> "4"   text_of(None) -> ""   text_of([1]) -> "[1]"
forms(4.0)    -> ("4", "4.0")                    whichever of them is written, the value is meant
as_seen("Ru\u0308ckgabe\u200b") == as_seen("R\u00fcckgabe")
"""

from __future__ import annotations

import ast
import json
import re
import unicodedata
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

MAX_DIGITS = 300  # of a number
WHOLE = 2**53  # floats beyond this are not exact: they stay in the form that Python gives them


def text_of(value: Any) -> str:
    """Returns how a value stands in a prompt, a target and a shot: text as it is, nothing for None, JSON for lists."""
    plain = as_text(value)
    if plain is not None:
        return plain
    return "" if value is None else json.dumps(_in_json(value), ensure_ascii=False, default=str)


def as_text(value: Any) -> str | None:
    """Returns a plain value as text, None for what is no plain value (a list, a mapping, None).

    True and False as people write them; a whole number without a point, also where it came as 4.0, since a column of
    whole numbers with a gap in it comes so; no exponent where the digits are few.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, int):
        return str(value) if abs(value) < 10**MAX_DIGITS else None
    if isinstance(value, float):
        return _of_float(value)
    return str(value) if isinstance(value, Decimal) else None


def _of_float(value: float) -> str:
    if value.is_integer() and abs(value) < WHOLE:
        return str(int(value))
    text = repr(value)
    return format(Decimal(text), "f") if "e-" in text and value and abs(value) > 1e-20 else text


def forms(value: Any) -> tuple[str, ...]:
    """Returns every text that is as good as `as_text`, that one first; nothing for what is no plain value.

    Only a value that has a type has several: a text is meant as it stands.
    """
    text = as_text(value)
    if text is None:
        return ()
    if isinstance(value, bool):
        return text, text.lower(), text.upper()
    whole = isinstance(value, int | float) and re.fullmatch(r"-?\d+", text)
    return (text, f"{text}.0") if whole else (text,)


def _in_json(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _in_json(held) for key, held in value.items()}
    if isinstance(value, list | tuple):
        return [_in_json(held) for held in value]
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) < WHOLE else value if value == value else None
    return value


# Zero-width and direction marks, soft hyphen, byte order mark, variation selectors: nothing that a reader sees.
UNSEEN = dict.fromkeys(
    (
        *(0xAD, 0x34F, 0x61C, 0x180E, 0x2060, 0x2061, 0x2062, 0x2063, 0x2064, 0xFEFF),
        *(*range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2066, 0x206A), *range(0xFE00, 0xFE10)),
    )
)
NO_BREAK = dict.fromkeys([0xA0, 0x2007, 0x202F], " ")  # spaces that a reader takes for one


def as_seen(text: str) -> str:
    """Returns what two texts share that look the same: composed characters, nothing unseen, no-break spaces plain."""
    if text.isascii():
        return text
    return unicodedata.normalize("NFC", text.translate({**UNSEEN, **NO_BREAK}))


MAX_CELL = 20_000  # characters of a cell that is looked at for a list
LISTED = re.compile(r"\s*\[.*\]\s*", re.DOTALL)
NUMPY = re.compile(r"""\[\s*(?:'[^']*'|"[^"]*")(?:\s+(?:'[^']*'|"[^"]*"))+\s*\]""")


def listed_in(cell: str) -> list[Any] | None:
    """Returns the list that stands as text in a cell, as JSON, Python or numpy write it; None where there is none."""
    if len(cell) > MAX_CELL or not LISTED.fullmatch(cell):
        return None
    if NUMPY.fullmatch(cell.strip()):  # Python would join the texts to one
        return [one[1:-1] for one in re.findall(r"""'[^']*'|"[^"]*\"""", cell)]
    for read in (json.loads, ast.literal_eval):
        try:
            found = read(cell.strip())
        except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
            continue
        return found if isinstance(found, list) else None
    return None
