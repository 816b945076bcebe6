"""The same day, however it is written in the languages of Europe and East Asia; and the last box that is complete."""

from __future__ import annotations

import datetime

import pytest

from harness.scoring.dates import as_date
from harness.scoring.extractors import extract

THE_DAY = (
    *("3. Mai 2024", "Freitag, 3. Mai 2024", "3 mai 2024", "vendredi 3 mai 2024", "3 de mayo de 2024", "3 maggio 2024"),
    *("3 de maio de 2024", "3 mei 2024", "3 maj 2024", "3 maja 2024", "3. května 2024", "3 мая 2024", "3 мая 2024 г."),
    *(
        "03.05.2024",
        "3.5.2024",
        "2024-05-03",
        "2024/5/3",
        "2024年5月3日",
        "2024년 5월 3일",
        "3/V/2024",
        "May 3rd, 2024",
    ),
    *("den 3 maj 2024", "3\u00a0mai\u00a02024", "３. Mai 2024"),
)


@pytest.mark.parametrize("text", THE_DAY)
def test_a_day_is_read(text: str) -> None:
    assert as_date(text) == datetime.date(2024, 5, 3)


@pytest.mark.parametrize("text", ["3 jui 2024", "Mai 2024", "03/05/2024", "3.5.24", "32. Mai 2024", "3 foo 2024", ""])
def test_what_could_be_another_day_is_none(text: str) -> None:
    assert as_date(text) is None


@pytest.mark.parametrize("rest", [r"\boxed{6", r"\boxed{6 and {7}", r"\boxed{\frac{1}{2}", "", "}"])
def test_a_later_box_that_is_cut_off_takes_nothing_away(rest: str) -> None:
    assert extract("boxed", rf"\boxed{{5}} then {rest}") == "5"
