r"""A number is read as a careful person reads it, or there is no answer: never another number than the one written."""

from __future__ import annotations

from typing import Any

import pytest

from harness.errors import DataError
from harness.scoring.extractors import extract
from harness.scoring.numbers import as_number
from harness.scoring.scorers import score_answer

LATEX = [
    (r"1{,}200", "1200"),
    (r"\$7{,}350.", "7350"),
    (r"1\,200 crates", "1200"),
    (r"\(1{,}234{,}567{.}5\)", "1234567.5"),
    (r"$12\,345\,678$", "12345678"),
    (r"1\;200", "1200"),
    (r"1~200", "1200"),
    (r"1{\,}200", "1200"),
    (r"1,\!200,\!000", "1200000"),
    (r"3{,}5", "3.5"),
    (r"\$1{,}234.50 in all", "1234.5"),
    (r"-\$1{,}200", "-1200"),
    (r"45\%", "45"),
    (r"$- 5$", "-5"),
    (r"\text{Total} = \$90", "90"),
    (r"3 \times 10^{-4}", "0.0003"),
    (r"90^\circ", "90"),
    (r"25\text{ cm}^2", "25"),
    (r"25\ \text{cm}^{2}", "25"),
    (r"x_{12} = 7", "7"),
    (r"7 = x_{12}", "7"),
    (r"\frac{1}{2}", None),
    (r"\dfrac{3}{4}", None),
    (r"\frac12", None),
    (r"\frac{\sqrt{3}}{2}", None),
    (r"3\frac{1}{2}", "3.5"),
    (r"2 \tfrac{3}{4}", "2.75"),
    (r"2\frac{1}{3}", None),
    (r"\sqrt{2}", None),
    (r"5\sqrt{2}", None),
    (r"\sqrt[3]{8}", None),
    (r"2\pi", None),
    (r"2^{10}", None),
    (r"10^{6}", "1000000"),
    (r"\binom{5}{2}", None),
]
DASHES = [(f"The answer is {dash}5.", "-5") for dash in "-\u2010\u2011\u2012\u2013\u2014\u2212\ufe58\ufe63\uff0d"]
SIGNS = [
    *DASHES,
    *((f"It is {dash}$1,200", "-1200") for dash in "-\u2013\u2212"),
    ("10 − 3", "3"),
    ("10\u20133", "3"),
    ("x = − 5", "-5"),
    ("= - 5", "-5"),
    ("Result:\n- 5 apples", "5"),
    ("minus 5", "-5"),
    ("the balance is negative 12", "-12"),
    ("Das Ergebnis ist minus 7,5", "-7.5"),
    ("10 minus 3 leaves 7", "7"),
    ("答案是负5", "-5"),
    ("マイナス5度", "-5"),
    ("the total—12", "12"),
    ("the total – 12", "12"),
    ("(−3)", "-3"),
    ("\u200b−\u200b3", "-3"),
]
FRACTIONS = [
    ("3½", "3.5"),
    ("3 ½ cups", "3.5"),
    ("−2¾", "-2.75"),
    ("1⅛", "1.125"),
    ("3⅓", None),
    ("½", None),
    ("1/2", None),
    ("1⁄2", None),
    ("the answer is 6/8 of 4, so 3/4", None),
    ("3 1/2", "3.5"),
    ("In 2024 1/2 of them", None),
    ("x/2", None),
    ("60/5 = 12", "12"),
    ("3:1", None),
    ("at 10:30", None),
    ("03/05/2024", None),
    ("2024-05-03", None),
    ("2024-05-03T10:30:00", None),
    ("03.05.2024", None),
    ("555-123-4567", None),
    ("see https://example.org/2024/7 for 12", "12"),
    ("12, see https://example.org/2024/7", "12"),
]
GROUPED = [
    ("1 000", "1000"),
    ("12 345 678,5", "12345678.5"),
    ("1 234.5", "1234.5"),
    ("100 000", "100000"),
    ("120 340", None),
    ("sorted: 5 12 100 200", "200"),
    ("In 2024 100 people", "100"),
    ("1\u00a0000", "1000"),
    ("1\u202f234\u202f567,89", "1234567.89"),
    ("1\u2007000", "1000"),
    ("1.234.567,89", "1234567.89"),
    ("1.234.567", "1234567"),
    ("1'234'567.80", "1234567.8"),
    ("1’234", "1234"),
    ("1ʼ234", "1234"),
    ("12,34,567.5", "1234567.5"),
    ("1,00,00,000", "10000000"),
    ("1_000_000", "1000000"),
    ("1,2345,6789", None),
    ("1,234,56", None),
    ("1.2.3", None),
    ("1'23", None),
    ("１２３，４５６．５", "123456.5"),
    ("－５", "-5"),
    ("٢٠٢", "202"),
    ("۱۲٬۳۴۵٫۵", "12345.5"),
    ("१२,३४,५६७", "1234567"),
    ("𝟏𝟐", "12"),
]
POWERS = [
    ("6.02e23", "602000000000000000000000"),
    ("1.5E+3", "1500"),
    ("3 × 10⁴", "30000"),
    ("3·10⁻²", "0.03"),
    ("2 x 10^5", "200000"),
    ("10⁶", "1000000"),
    ("2^10", None),
    ("2**10", None),
    ("3²", None),
    ("25 cm^2", "25"),
    ("25 m²", "25"),
    ("1e400", None),
]


@pytest.mark.parametrize(("text", "found"), [*LATEX, *SIGNS, *FRACTIONS, *GROUPED, *POWERS])
def test_a_number_is_read_or_there_is_no_answer(text: str, found: str | None) -> None:
    assert extract("number", text) == found
    assert extract(["boxed", "number"], rf"First 99. \boxed{{{text}}}") == found


@pytest.mark.parametrize(("text", "found"), [case for case in (*LATEX, *FRACTIONS, *GROUPED) if case[1] is None])
def test_what_cannot_be_read_is_not_replaced_by_a_number_before_it(text: str, found: None) -> None:
    assert extract("number", f"Step 7: {text}") in (found, *(["200"] if "sorted" in text else []))


@pytest.mark.parametrize(
    ("options", "text", "found"),
    [
        ({"percent": "fraction"}, "45％", "0.45"),
        ({"percent": "fraction"}, r"45\%", "0.45"),
        ({"percent": "fraction"}, "٤٥٪", "0.45"),
        ({"percent": "fraction"}, "12,5 %", "0.125"),
        ({"decimal": "comma"}, "1.200 Euro", "1200"),
        ({"decimal": "comma"}, "1 200,50", "1200.5"),
        ({"decimal": "comma"}, "−1.200,50 €", "-1200.5"),
        ({"decimal": "point"}, "1 200.50", "1200.5"),
    ],
)
def test_options_hold_for_every_dress(options: dict[str, str], text: str, found: str) -> None:
    assert extract({"number": options}, text) == found


@pytest.mark.parametrize(
    ("expected", "answer", "value"),
    [
        ("1{,}200", "1200", 1),
        (1200, r"\$1{,}200", 1),
        (-5, "–5", 1),
        (5, "–5", 0),
        (2, r"\frac{1}{2}", 0),
        (2, "1/2", 0),
        (3, "3½", 0),
        (3.5, "3½", 1),
        ("[4, 5]", "5", 1),
        ('["4", "5"]', "4", 1),
        (0.5, "½", 0),
    ],
)
def test_the_number_scorer_reads_alike(expected: Any, answer: str, value: int) -> None:
    assert score_answer("number", expected, answer)[0] == value


def test_an_expected_value_that_is_no_number_is_refused() -> None:
    for expected in ("1/2", "2024-05-03", "[]", "none"):
        with pytest.raises(DataError, match="which is no number"):
            score_answer("number", expected, "1")


def test_units_are_read_behind_a_number_in_any_dress() -> None:
    units = {"number": {"units": {"g": 1, "kg": 1000}}}
    assert score_answer(units, "1200 kg", r"1{,}200 kg")[0] == 1
    assert score_answer(units, "1200 kg", "１，２００ kg")[0] == 1
    assert as_number("½") is None
