"""Answers of several pieces: which piece comes first does not count, a missing number does."""

from __future__ import annotations

import pytest

from harness.errors import DataError
from harness.scoring.scorers.spans import spans


@pytest.mark.parametrize(
    ("expected", "answer", "exact", "f1"),
    [
        ([["Tom"]], "tom.", 1.0, 1.0),
        ([["the red ball"]], "Red ball", 1.0, 1.0),
        ([["Tom", "Ben"]], "Ben and Tom", 1.0, 1.0),
        ([["Tom", "Ben"]], "Ben", 0.0, 0.5),
        ([["Tom"]], "Ben", 0.0, 0.0),
        ([["12"], ["a dozen"]], "Dozen", 1.0, 1.0),
        ([["1,200"]], "1200", 1.0, 1.0),
        ([["3"]], "3.0", 1.0, 1.0),
        ([["12 yards"]], "11 yards", 0.0, 0.0),  # the number decides
        ([["12 yards"]], "12", 0.0, 2 / 3),
        ([["big red dog"]], "big dog", 0.0, 0.8),
        ([["Tom"]], "", 0.0, 0.0),
    ],
)
def test_known_verdicts(expected: list, answer: str, exact: float, f1: float):
    value, metrics = spans(expected, answer)
    assert value == exact
    assert metrics["f1"] == pytest.approx(f1)


@pytest.mark.parametrize("expected", ["Tom", ["Tom"], [[]], None])
def test_an_expected_value_of_another_kind_is_an_error(expected: object):
    with pytest.raises(DataError, match="which is no list of lists of spans"):
        spans(expected, "Tom")
