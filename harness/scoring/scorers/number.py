"""Scorers of single values that are more than their spelling: numbers, dates, yes and no."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from itertools import islice
from typing import Annotated, Any

from pydantic import Field

from harness.errors import DataError
from harness.scoring.dates import as_date
from harness.scoring.numbers import Decimals, Percent, as_number, numbers, scaled
from harness.scoring.plain_text import fold
from harness.scoring.scorers.text import accepted
from harness.scoring.value_text import as_text

Tolerance = Annotated[float, Field(ge=0)]


def number(
    expected: Any,
    answer: Any,
    *,
    absolute: Tolerance = 0.0,
    relative: Tolerance = 0.0,
    decimal: Decimals = "auto",
    percent: Percent = "ignore",
    units: Mapping[str, float] | None = None,
) -> float:
    """Returns 1 if the answer holds one number and it is the expected one, else 0.

    Allowed is a difference of max(absolute, relative x |expected|). `units`, as in {g: 1, kg: 1000}, gives what one
    of each unit is worth; a number without a unit counts once, one with a word after it that is no such unit not at
    all. Several numbers in an answer are no answer: let an extractor pick. How numbers are read: reading.numbers.
    Raises DataError if the expected value is no number.
    """

    def read(value: Any) -> Decimal | None:
        return _measure(value, units, decimal, percent) if units else as_number(value, decimal, percent)

    wanted = [read(one) for one in accepted(expected, of=int | float | str)]
    right = [one for one in wanted if one is not None]
    if not right or len(right) < len(wanted):
        raise DataError(f"expected {expected!r:.60}, which is no number", fix="mend the row, or score it as text")
    found = read(answer)
    return float(found is not None and any(_near(one, found, absolute, relative) for one in right))


def _near(right: Decimal, found: Decimal, absolute: float, relative: float) -> bool:
    if right == found:  # exact, however many digits
        return True
    return abs(right - found) <= max(Decimal(str(absolute)), Decimal(str(relative)) * abs(right))


UNIT = re.compile(r"\s?([^\W\d_]+[²³]?|°\s?[A-Za-z]?|[µ%‰]\w*)")


def _measure(value: Any, units: Mapping[str, float], decimal: Decimals, percent: Percent) -> Decimal | None:
    """Returns the one number of a text in base units, None if it has a unit that is unknown."""
    if not isinstance(value, str):
        return as_number(value)
    found = list(islice(numbers(value[:1000], decimal), 2))
    if len(found) != 1:
        return None
    after = UNIT.match(found[0].after)
    worth = 1 if after is None else units.get(after[1])
    one = scaled(found[0], percent)
    return None if worth is None or one is None else one * Decimal(str(worth))


def date(expected: Any, answer: Any, *, dayfirst: bool | None = None) -> float:
    """Returns 1 if both are the same day, however written, else 0. A day that could be read two ways is none.

    `dayfirst` says how 03/05/2024 is meant. Raises DataError if the expected value is no date, or could be two.
    """
    right = {as_date(one, dayfirst) for one in accepted(expected)}
    if None in right:
        fix = "write YYYY-MM-DD, or set dayfirst: true or false"
        raise DataError(f"expected {expected!r:.60}, which is no date or could be two", fix=fix)
    return float(as_date(answer, dayfirst) in right)


WORDS = {**dict.fromkeys(("true", "yes", "y", "1"), True), **dict.fromkeys(("false", "no", "n", "0"), False)}


def boolean(expected: Any, answer: Any) -> float:
    """Returns 1 if both say yes or both say no (true, yes, y, 1; false, no, n, 0), else 0.

    Raises DataError if the expected value says neither.
    """
    right, found = (WORDS.get(fold(as_text(value) or "")) for value in (expected, answer))
    if right is None:
        raise DataError(f"expected {expected!r:.60}, which is neither yes nor no", fix="write true or false")
    return float(right is found)
