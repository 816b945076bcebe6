"""Mathematical answers are the same however they are set; no algebra is done."""

from __future__ import annotations

import pytest

from harness.scoring.scorers.latex import latex

SAME = [
    (r"\frac{1}{2}", r"$\dfrac12$"),
    (r"\frac{1}{2}", "0.5"),
    (r"\frac{1}{2}", ".5"),
    (r"\frac{1}{2}", "1/2"),
    (r"\frac{1}{2}", r"\frac{2}{4}"),
    (r"-\frac{2}{3}", r"\frac{-2}{3}"),
    ("16", "16 units"),
    ("16", r"16\text{ cm}"),
    ("16", r"16\text{ cm}^2"),
    ("16", "16 square units."),
    ("1234", "1{,}234"),
    ("1,234", "1234"),
    ("(1,2)", "(1, 2)"),
    (r"90^\circ", "90"),
    ("x=5", "5"),
    ("5", "x = 5"),
    ("[2,5)", r"\left[2,5\right)"),
    (r"\sqrt{2}", r"\sqrt2"),
    (r"\text{Evelyn}", "Evelyn"),
    (r"10\%", "10"),
    (r"\le 3", r"\leq 3"),
    (r"\$32,348", "32348"),
    (r"2\pi", r"2 \pi."),
    ("5.0", "5"),
]
OTHER = [
    ("16", "17"),
    ("x+1", "1+x"),
    (r"\frac{1}{2}", r"\frac{1}{3}"),
    ("5", ""),
    ("2", r"\frac{2}{0}"),
    ("-5", "5"),
    ("3", "3 hours 20 minutes"),
    ("320", "3 hours 20 minutes"),
    ("5", "5 cm or 6 cm"),
]


@pytest.mark.parametrize(("expected", "answer"), SAME)
def test_how_an_expression_is_set_does_not_count(expected: str, answer: str):
    assert latex(expected, answer) == latex(answer, expected) == 1


@pytest.mark.parametrize(("expected", "answer"), OTHER)
def test_another_expression_is_another_answer(expected: str, answer: str):
    assert latex(expected, answer) == 0


def test_any_of_several_accepted_expressions_counts():
    assert latex(["1", r"\frac{1}{2}"], "0.5") == 1
    assert latex("1", {"answer": 1}) == 0


@pytest.mark.parametrize(
    "hostile", ["{" * 5000, r"\frac" * 5000, "1," * 5000, r"\text{" * 3000, "9" * 5000, " " * 9000]
)
def test_hostile_answers_are_judged_and_wrong(hostile: str):
    assert latex("1", hostile) == 0
