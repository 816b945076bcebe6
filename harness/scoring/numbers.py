r"""Numbers as they stand in a text. What cannot be read is a number without a value, and never another number.

    numbers("1{,}200 of 3½")  -> 1200, 3.5          numbers("1/2, 10:30, 2024-05-03, 10.0.0.1")  -> four without value

Everything here takes hostile text: work is linear in its length.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from itertools import islice
from typing import Any, Literal

from harness.scoring.plain_text import bounded
from harness.scoring.value_text import MAX_DIGITS, UNSEEN

Decimals = Literal["auto", "point", "comma"]
Percent = Literal["ignore", "fraction"]


@dataclass(frozen=True, slots=True)
class Number:
    """A number as it stands in a text."""

    value: Decimal | None  # None: it is no single number in digits: a fraction, a date, a ratio, a power, a root
    percent: bool
    after: str  # the text behind it, its first characters


# --- marks, signs and digits of every sort, in one form ---------------------------------------------------------------

WORD = r"A-Za-zÀ-ɏͰ-ӿ"  # letters that make a digit beside them part of a name, as in m2; other scripts set no spaces
CURRENCY = "$€£¥₹₽₩₺฿"
SPACE = "\u00a0\u2009\u202f"  # the spaces that group digits wherever they stand; a plain space does so in some places
OPERAND = rf"[{WORD}\d)\]}}%]"  # after it a dash subtracts, or joins
FOREIGN = {
    **str.maketrans("٫٬،，．’‘ʼ´＄％＋⁄∕﹣－‐‑", ".,,,.''''$%+//----"),
    0x2007: SPACE[0],
    **{gone: None for gone in UNSEEN},
}
NO_DIGIT = r"(?=[\d.$€£¥₹])"  # what a sign stands before
IN_ONE_FORM = tuple(
    (re.compile(pattern), new)
    for pattern, new in (
        (r"\b[a-zA-Z]{2,10}://\S+", " "),  # the numbers of an address mean nothing
        (r"\\([$%#&])", r"\1"),
        (r"(?<=\d)\{([.,])\}(?=\d)", r"\1"),  # 1{,}200
        (r"(?<=[\d,])(?:\\!|\{\\!\})(?=\d)", ""),
        (r"(?<=\d)(?:\{?\\[,;: ]\}?|~|\\thinspace\s?)(?=\d)", SPACE[2]),
        (r"\\[dtc]frac(?![a-zA-Z])", r"\\frac"),
        (r"\\(?:times|cdot)(?![a-zA-Z])\s?", "×"),
        (rf"(?<!{OPERAND})[\u2012-\u2015\u2212\ufe58]{NO_DIGIT}", "-"),
        (rf"(?<![\d)\]}}%])(?<![\d)\]}}%] )\u2212 {NO_DIGIT}", "-"),
        (rf"(?<=[=:(\[{{$≈<>≤≥])( ?)- {NO_DIGIT}", r"\1-"),
        (
            r"(?i)(^|[=:(,.]\s*|\b(?:is|be|are|was|of|to|at|equals|ist|sind|est|es|è|é|op|равно|составляет)\s)"
            rf"(?:minus|negative|moins|menos|meno|min|минус)\s{NO_DIGIT}",
            r"\1-",
        ),
        (rf"(?:负|負の?|マイナス|零下)\s?{NO_DIGIT}", "-"),
    )
)
SPACED = re.compile(r"(?<=\d) (?=\d{3}(?!\d))")


def _in_one_form(text: str, decimal: Decimals) -> str:
    if not text.isascii():
        text = re.sub(r"[^\x00-\x7f]", lambda m: _digit(m[0]), text.translate(FOREIGN))
    for pattern, new in IN_ONE_FORM:
        text = pattern.sub(new, text)
    return SPACED.sub(SPACE[0], text) if decimal == "comma" else text


def _digit(character: str) -> str:
    value = unicodedata.decimal(character, None)
    return character if value is None else str(value)


# --- finding ---------------------------------------------------------------------------------------------------------

VULGAR = "".join(chr(c) for c in [0xBC, 0xBD, 0xBE, *range(0x2150, 0x215F), 0x2189])
RAISED = "⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺"
FLAT = str.maketrans(RAISED, "0123456789-+")
ARGUMENT = r"\s?(?:\{(?:[^{}]|\{(?:[^{}]|\{[^{}]{0,100}\}){0,100}\}){0,200}\}|\d)"
TOKEN = re.compile(
    rf"""
    (?P<none>(?<=[\w)}}])\^\{{?\(?[-+]?\d+(?:[.,]\d+)?|(?<=[\w)}}])_\{{?\d+)  # an exponent, an index: nothing at all
    | (?P<unread>
        (?<=[{WORD})}}])/\s?\d[\d.,]*                                         # x/2
      | (?:(?<![{WORD}\d.,])\d[\d.,]{{0,300}}\s?)?(?:\\sqrt(?:\[[^\]]{{0,20}}\])?(?:{ARGUMENT})?|√\s?\(?\d*)
      | \\binom{ARGUMENT}{ARGUMENT}
      )
    | (?:(?<![{WORD}\d])|(?<=USD|EUR|GBP|CHF|JPY|INR|CAD|AUD))(?<![{WORD}]-)(?<!\d[.,:])(?<!\w_)
      (?P<lead>(?:(?<!{OPERAND})[-+])?[{CURRENCY}][ {SPACE}]?-?|(?<!{OPERAND})[-+])?
      (?: (?P<whole>\d{{1,9}})?[ {SPACE}]?(?:(?P<vulgar>[{VULGAR}])|\\frac(?P<up>{ARGUMENT})(?P<down>{ARGUMENT}))
        | (?P<mixed>\d{{1,3}}[ {SPACE}]\d{{1,3}}/\d{{1,3}}(?![\d/]))
        | (?P<joined>\d+(?:-\d+){{2,}}(?:[T ]\d+(?::\d+)+)?
            | \d+(?:[.,]\d+)*(?:[ ]?/[ ]?\d+(?:[.,]\d+)*|:\d+(?:[.,]\d+)*)+)
        | (?P<run>(?:(?<!\d[ ])[1-9]\d{{0,2}}(?:[ ]\d{{3}})+(?!\d)(?:[.,]\d+(?![.,]?\d))?(?P<more>[ ]\d)?
            | \d+(?:[.,'_{SPACE}]\d+)*|\.\d+))
          (?: [eE](?P<e>[-+]?\d+)(?![{WORD}])
            | \s?[×x*·⋅∙]\s?10(?:(?:\^|\*\*)\{{?\(?(?P<ten>[-+−]?\d+)\)?\}}?|(?P<raised>[{RAISED}]+))
            | (?P<power>(?:\^|\*\*)\{{?\(?[-+−]?\d+(?:[.,/]\d+)?\)?\}}?|[{RAISED}]+|\s?(?:\\pi(?![a-zA-Z])|π)))?
          (?P<percent>[ {SPACE}]?[%٪])?
      )
    """,
    re.VERBOSE,
)
GROUPS = re.compile(rf"\d{{1,3}}(?:([.,'_ {SPACE}])\d{{3}})(?:\1\d{{3}})*|\d{{1,2}}(?:,\d{{2}})+,\d{{3}}|\d+")
SURE_SPACES = re.compile(r"\d{1,2}( \d{3})+|\d{3}( \d{3})* 000")  # "120 340" may be two numbers as well


def numbers(text: str, decimal: Decimals = "auto", backwards: bool = False) -> Iterator[Number]:
    r"""Yields the numbers of a text, first to last or last to first.

    Digits of any script, grouped or not, with exponent or per cent sign, also as LaTeX sets them (1{,}200, \$5).
    `point`: 1,234.5; `comma`: 1.234,5. `auto`: the later of two different marks is the decimal one, a repeated mark
    groups, one comma before exactly three digits groups, any other single mark is decimal. Spaces group three digits
    each. A dash of any sort is a minus unless something to subtract from stands before it. 3½ is 3.5.

    Without a value: a fraction (a share? a date? a rating?), what is joined by / or : or several -, versions and
    addresses (10.0.0.1), roots and powers but those of ten, several readings (120 340), more than MAX_DIGITS digits.
    Not found at all: digits within a word (m2, GPT-4), exponents and indexes of letters (cm^2), number words.
    """
    found = TOKEN.finditer(_in_one_form(text, decimal))
    for match in reversed(list(found)) if backwards else found:
        values = list(_values(match, decimal))
        after = match.string[match.end() : match.end() + 40]
        for value in reversed(values) if backwards else values:
            yield Number(value, bool(match["percent"]), after)


def _values(match: re.Match[str], decimal: Decimals) -> Iterator[Decimal | None]:
    """Yields what one place in the text says: a value, None for one that cannot be read, several for 1,2,3."""
    if match["none"]:
        return
    sign = "-" if "-" in (match["lead"] or "") else ""
    run = match["run"]
    if run is None:
        value = _mixed(match)
        yield -value if value is not None and sign else value
        return
    exponent = match["e"] or match["ten"] or match["raised"] or ("" if match["power"] else "0")
    if run == "10" and match["power"]:  # 10^6
        run, exponent = "1", re.sub(r"[^-+\d−./]", "", match["power"].translate(FLAT))
    exponent = exponent.translate(FLAT).replace("−", "-")
    if not re.fullmatch(r"[-+]?\d{1,3}", exponent) or abs(int(exponent)) > MAX_DIGITS or len(run) > MAX_DIGITS:
        yield None
        return
    whole = None if match["more"] else _plain(run, decimal)
    parts = run.split(",")
    several = whole is None and len(parts) > 1 and all(re.fullmatch(r"\d{1,2}", part) for part in parts[1:])
    for part in parts if several else [whole]:  # 1,2,3 is three numbers; 10.0.0.1 is none
        yield None if part is None else Decimal(f"{sign}{part}e{exponent}")


def _mixed(match: re.Match[str]) -> Decimal | None:
    """Returns 3.5 for 3½, 3 1/2 and 3\\frac{1}{2}; None for a fraction alone, and for one without an end: 3⅓."""
    if match["mixed"]:
        whole, up, down = re.split(rf"[ {SPACE}/]", match["mixed"])
    elif match["whole"] and match["vulgar"]:
        ratio = Fraction(unicodedata.numeric(match["vulgar"])).limit_denominator(10)
        whole, up, down = match["whole"], str(ratio.numerator), str(ratio.denominator)
    elif match["whole"]:
        whole, up, down = match["whole"], match["up"].strip(" {}"), match["down"].strip(" {}")
    else:
        return None
    if not (up.isdecimal() and down.isdecimal() and len(down) < 4 and 0 < int(up) < int(down)):
        return None
    exact = Decimal(whole) + Decimal(up) / Decimal(down)
    return exact if Fraction(exact) == Fraction(int(whole)) + Fraction(int(up), int(down)) else None


def _plain(run: str, decimal: Decimals) -> str | None:
    """Returns digits and marks as digits with at most one point, None if they are no single number."""
    if run.isdigit():
        return run
    mark = _point(run, decimal)
    whole, _, fraction = run.rpartition(mark) if mark else (run, "", "")
    if (whole and not GROUPS.fullmatch(whole)) or (mark and not fraction.isdigit()):
        return None
    if " " in whole and not SURE_SPACES.fullmatch(whole):
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


# --- reading one -----------------------------------------------------------------------------------------------------


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


def scaled(number: Number, percent: Percent) -> Decimal | None:
    """Returns the value; under `fraction` 45% is 0.45, otherwise 45."""
    if number.value is None:
        return None
    return number.value.scaleb(-2) if number.percent and percent == "fraction" else number.value
