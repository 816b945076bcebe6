"""What cells of the data are read as; one that holds something else says so, and names its column."""

from __future__ import annotations

import pytest

from harness.scoring import cells

ROW = {"question": "why?", "choices": ["a", "b"], "label": "2", "info": {"n": 3}, "turns": [{"n": 1}, {"n": 2}]}


def test_cells_are_read_as_the_type_that_is_asked_for():
    assert cells.text(ROW, "question") == "why?"
    assert cells.texts(ROW, "choices") == ["a", "b"] and list(cells.items(ROW, "choices")) == ["a", "b"]
    assert cells.whole(ROW, "label") == 2 and cells.whole(cells.part(ROW, "info"), "n") == 3
    assert [cells.whole(one, "n") for one in cells.parts(ROW, "turns")] == [1, 2]


@pytest.mark.parametrize(
    ("read", "column", "needed"),
    [
        (cells.text, "choices", "holds list, and a text is needed"),
        (cells.items, "question", "holds str, and a list is needed"),
        (cells.items, "info", "holds dict, and a list is needed"),
        (cells.texts, "turns", "holds dict, and a text is needed"),
        (cells.whole, "info", "holds dict, and a number is needed"),
        (cells.part, "question", "holds str, and one with names in it is needed"),
        (cells.parts, "choices", "holds str, and one with names in it is needed"),
    ],
)
def test_another_type_is_refused_with_the_column(read, column, needed):
    with pytest.raises(TypeError, match=f"column '{column}' {needed}"):
        read(ROW, column)


def test_a_column_that_is_not_there_is_named():
    with pytest.raises(KeyError, match="answer"):
        cells.text(ROW, "answer")
