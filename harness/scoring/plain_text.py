"""Text read as plain words, numbers and dates: what extractors and scorers share.

Everything here takes hostile text: work is linear in its length, and what is too large to be meant is no value.
"""

from __future__ import annotations

import datetime
import re
import string
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from itertools import islice
from typing import Annotated, Any, Literal

import regex
from pydantic import AfterValidator

MAX_CHARS = 300_000  # of an answer; of a longer one the middle is not read
MAX_DIGITS = 300  # of a number
PATTERN_SECONDS = 1.0  # for one pattern of a task file on one text

Decimals = Literal["auto", "point", "comma"]
Percent = Literal["ignore", "fraction"]


# --- words -----------------------------------------------------------------------------------------------------------


def bounded(text: str) -> str:
    """Returns the text; of one longer than MAX_CHARS the first and the last half of that many characters."""
    if len(text) <= MAX_CHARS:
        return text
    return text[: MAX_CHARS // 2] + "\n" + text[-MAX_CHARS // 2 :]


def as_text(value: Any) -> str | None:
    """Returns a plain value as text, None for what is no plain value (a list, a mapping, None)."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value) if abs(value) < 10**MAX_DIGITS else None
    return str(value) if isinstance(value, float | Decimal) else None


def squash(text: str) -> str:
    """Returns the text with every run of white space as one space, none at the ends."""
    return " ".join(text.split())


ASCII_WORDS = {i: chr(i).lower() if chr(i).isalnum() else " " for i in range(128)}


def fold(text: str) -> str:
    """Returns the words alone: compatibility characters and case folded, anything but letters and digits a space."""
    if text.isascii():
        return " ".join(text.translate(ASCII_WORDS).split())  # the same, eight times sooner
    return " ".join(re.sub(r"[\W_]+", " ", unicodedata.normalize("NFKC", text).casefold()).split())


PUNCTUATION = {ord(c): None for c in string.punctuation}
ARTICLES = re.compile(r"\b(?:a|an|the)\b")


# --- patterns of a task file -----------------------------------------------------------------------------------------


def _compiles(pattern: str) -> str:
    try:
        compiled(pattern)
    except regex.error as error:
        raise ValueError(f"no valid regular expression: {error}") from None
    return pattern


Pattern = Annotated[str, AfterValidator(_compiles)]


@cache
def compiled(pattern: str) -> regex.Pattern[str]:
    """Returns a compiled pattern of a task file. The `regex` package reads what `re` reads and can be timed out."""
    return regex.compile(pattern)


def matches(pattern: str, text: str) -> Iterator[regex.Match[str]]:
    """Yields the matches from left to right. Raises TimeoutError after PATTERN_SECONDS on one text."""
    return compiled(pattern).finditer(text, timeout=PATTERN_SECONDS)


def without(pattern: str, text: str) -> str:
    """Returns the text with every match deleted. Raises TimeoutError after PATTERN_SECONDS."""
    return compiled(pattern).sub("", text, timeout=PATTERN_SECONDS)


# --- numbers ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Number:
    """A number as it stands in a text."""

    value: Decimal
    percent: bool
    end: int  # position in the text after it


WORD = r"A-Za-z_À-ɏͰ-ӿ"  # letters that make a digit beside them part of a name, as in m2; other scripts set no spaces
CURRENCY = "$€£¥₹₽₩₺฿"
SPACE = "\u00a0\u2009\u202f"  # no-break spaces, the ones that group digits; a plain space does so in comma style only
SIGN = rf"(?<![{WORD}\d)\]}}%])[-+]"  # after any of these it subtracts, or joins
NUMBER = re.compile(
    rf"(?:(?<![{WORD}\d])|(?<=USD|EUR|GBP|CHF|JPY|INR|CAD|AUD))(?<![{WORD}]-)(?<!\d[.,])"
    rf"(?P<lead>(?:{SIGN})?[{CURRENCY}][ {SPACE}]?-?|{SIGN})?"
    rf"(?P<run>\d+(?:[.,'{SPACE}]\d+)*|\.\d+)"
    rf"(?:[eE](?P<e>[-+]?\d+)(?![{WORD}])|\s?(?:[×x*]|\\times|\\cdot)\s?10\^\{{?(?P<ten>-?\d+)\}}?)?"
    rf"(?P<percent>[ {SPACE}]?\\?[%٪])?"
)
SPACED = re.compile(r"(?<=\d) (?=\d{3}(?!\d))")
GROUPS = re.compile(rf"\d{{1,3}}(?:([.,'{SPACE}])\d{{3}})(?:\1\d{{3}})*|\d{{1,2}}(?:,\d{{2}})+,\d{{3}}|\d+")
FOREIGN = str.maketrans({"٫": ".", "٬": ",", "−": "-", "﹣": "-", "－": "-", "．": ".", "，": ",", "’": "'", "＄": "$"})


def numbers(text: str, decimal: Decimals = "auto", backwards: bool = False) -> Iterator[Number]:
    """Yields the numbers of a text, first to last or last to first.

    Digits of any script, grouped or not, with exponent or per cent sign. `point`: 1,234.5; `comma`: 1.234,5 and
    1 234,5. `auto`: the later of two different marks is the decimal one, a repeated mark groups, one comma before
    exactly three digits groups, any other single mark is decimal. A minus belongs to a number unless something to
    subtract from stands before it.

    Not read: digits within a word (m2, GPT-4), dates, versions and addresses (2024.05.03, 10.0.0.1), number words,
    numbers of more than MAX_DIGITS digits. A fraction is two numbers.
    """
    found = NUMBER.finditer(_arabic(text, decimal))
    for match in reversed(list(found)) if backwards else found:
        yield from reversed(list(_read(match, decimal))) if backwards else _read(match, decimal)


def _arabic(text: str, decimal: Decimals) -> str:
    """Returns the text with digits and marks of other scripts as ASCII, at the same positions."""
    if not text.isascii():
        text = re.sub(r"[^\x00-\x7f]", lambda m: _digit(m[0]), text.translate(FOREIGN))
    return SPACED.sub(SPACE[0], text) if decimal == "comma" else text


def _digit(character: str) -> str:
    value = unicodedata.decimal(character, None)
    return character if value is None else str(value)


def _read(match: re.Match[str], decimal: Decimals) -> Iterator[Number]:
    run, exponent = match["run"], match["e"] or match["ten"] or "0"
    if len(run) > MAX_DIGITS or len(exponent) > 4 or abs(int(exponent)) > MAX_DIGITS:
        return
    whole = _plain(run, decimal)
    parts = [whole] if whole is not None else run.split(",") if set(re.sub(r"\d", "", run)) == {","} else []
    for part in parts:  # 1,2,3 is three numbers; 10.0.0.1 is none
        sign = "-" if "-" in (match["lead"] or "") else ""
        yield Number(Decimal(f"{sign}{part}e{exponent}"), bool(match["percent"]), match.end())


def _plain(run: str, decimal: Decimals) -> str | None:
    """Returns digits and marks as digits with at most one point, None if they are no single number."""
    if run.isdigit():
        return run
    mark = _point(run, decimal)
    whole, _, fraction = run.rpartition(mark) if mark else (run, "", "")
    if (whole and not GROUPS.fullmatch(whole)) or (mark and not fraction.isdigit()):
        return None
    digits = re.sub(r"\D", "", whole) or "0"
    return f"{digits}.{fraction}" if mark else digits


def _point(run: str, decimal: Decimals) -> str:
    """Returns the decimal mark of a run of digits and marks, "" if it has none."""
    if decimal != "auto":
        mark = "." if decimal == "point" else ","
        return mark if mark in run else ""
    marks = re.sub(r"\d", "", run)
    if marks[-1] not in ".,":
        return ""
    if len(marks) > 1:
        return marks[-1] if marks.count(marks[-1]) == 1 else ""
    thousands = re.fullmatch(r"[1-9]\d{0,2},\d{3}", run)
    return "" if thousands else marks


def plain_number(value: Decimal) -> str:
    """Returns a number as digits: no exponent, no trailing zeros after the point, no minus zero."""
    text = f"{value:f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text in ("-0", "") else text


def as_number(value: Any, decimal: Decimals = "auto", percent: Percent = "ignore") -> Decimal | None:
    """Returns the one number that a value is or holds; None if it holds none or several, or is not finite."""
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, int):
        return Decimal(value) if abs(value) < 10**MAX_DIGITS else None
    if isinstance(value, float | Decimal):
        number = Decimal(str(value))
        return number if number.is_finite() and abs(number.adjusted()) <= MAX_DIGITS else None
    found = list(islice(numbers(bounded(value), decimal), 2)) if isinstance(value, str) else []
    return scaled(found[0], percent) if len(found) == 1 else None


def scaled(number: Number, percent: Percent) -> Decimal:
    """Returns the value; under `fraction` 45% is 0.45, otherwise 45."""
    return number.value.scaleb(-2) if number.percent and percent == "fraction" else number.value


# --- dates -----------------------------------------------------------------------------------------------------------

MONTHS = dict(jan=1, feb=2, mar=3, apr=4, may=5, jun=6, jul=7, aug=8, sep=9, oct=10, nov=11, dec=12)
MONTH = rf"(?P<month>{'|'.join(MONTHS)})[a-z]*\.?"
DATE_FORMS = tuple(
    re.compile(form + r"(?:(?:,?\s+|t)\d{1,2}:\d{2}.*)?")
    for form in (
        r"(?P<year>\d{4})-(?P<month>\d{1,2})-(?P<day>\d{1,2})",
        r"(?P<year>\d{4})/(?P<month>\d{1,2})/(?P<day>\d{1,2})",
        r"(?P<year>\d{4})\.(?P<month>\d{1,2})\.(?P<day>\d{1,2})",
        r"(?P<year>\d{4})(?P<month>\d{2})(?P<day>\d{2})",
        r"(?P<year>\d{4})年\s?(?P<month>\d{1,2})月\s?(?P<day>\d{1,2})日",
        r"(?P<day>\d{1,2})\.\s?(?P<month>\d{1,2})\.\s?(?P<year>\d{4})",  # with points the day comes first everywhere
        rf"(?:[a-z]+,?\s+)?(?P<day>\d{{1,2}})(?:st|nd|rd|th)?[.\s-]\s?(?:of\s+)?{MONTH}[,\s-]\s?(?P<year>\d{{4}})",
        rf"(?:[a-z]+,\s+)?{MONTH}\s+(?P<day>\d{{1,2}})(?:st|nd|rd|th)?,?\s+(?P<year>\d{{4}})",
    )
)
EITHER = re.compile(r"(?P<a>\d{1,2})[/-](?P<b>\d{1,2})[/-](?P<year>\d{4})")  # 03/05/2024: March or May?


def as_date(value: Any, dayfirst: bool | None = None) -> datetime.date | None:
    """Returns the date that a text is (English month names; a time of day is dropped), None if it is none.

    Two numbers before a year are read by `dayfirst`; without it only if one of them cannot be a month, or both are
    the same. Years of two digits are not guessed.
    """
    text = squash(value[:100].lower()) if isinstance(value, str) else ""
    for form in DATE_FORMS:
        if found := form.fullmatch(text):
            month = MONTHS.get(found["month"]) or int(found["month"])
            return _date(int(found["year"]), month, int(found["day"]))
    if not (found := EITHER.fullmatch(text)):
        return None
    a, b, year = int(found["a"]), int(found["b"]), int(found["year"])
    readings = {_date(year, b, a)} if dayfirst else {_date(year, a, b)} if dayfirst is False else set()
    readings = readings or {_date(year, b, a), _date(year, a, b)} - {None}
    return next(iter(readings)) if len(readings) == 1 else None


def _date(year: int, month: int, day: int) -> datetime.date | None:
    try:
        return datetime.date(year, month, day)
    except ValueError:
        return None
