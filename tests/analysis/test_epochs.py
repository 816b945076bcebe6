"""Several answers to a sample become one value by the stated rule, with its interval over samples."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from harness.analysis.epochs import reduce_epochs, repeated
from harness.config.task import BestBy
from harness.values import Record

FIELDS: dict[str, Any] = {
    "model": "m",
    "task": "t",
    "mode": "generate",
    "expected": "x",
    "failure": None,
    "input_tokens": 1,
    "output_tokens": 1,
    "choice_logprobs": None,
    "text": "",
    "finish_reason": "stop",
    "truncated_left": 0,
}


def answers(sample: str, *given: tuple[str | None, float | None]) -> list[Record]:
    return [Record(sample_id=sample, epoch=i, answer=a, value=v, **FIELDS) for i, (a, v) in enumerate(given)]


VOTED = answers("1", ("x", 1.0), ("y", 0.0), ("x", 1.0))
TIED = answers("2", ("x", 1.0), ("y", 0.0), (None, 0.0))
WRONG = answers("3", ("y", 0.0), ("z", 0.0), ("y", 0.0))


@pytest.mark.parametrize(
    ("rule", "values"),
    [("majority", [1.0, 0.5, 0.0]), ("any", [1.0, 1.0, 0.0]), ("all", [0.0, 0.0, 0.0])],
)
def test_a_rule_gives_each_sample_one_value(rule: str, values: list[float]):
    assert [record.value for record in reduce_epochs(VOTED + TIED + WRONG, rule)] == values


def test_the_mean_leaves_every_answer_as_it_is():
    assert reduce_epochs(VOTED + WRONG, "mean") == VOTED + WRONG


def test_the_best_by_a_metric_counts():
    confident = [replace(r, metrics={"confidence": c}) for r, c in zip(VOTED, (0.2, 0.9, 0.4))]
    assert [record.value for record in reduce_epochs(confident, BestBy(best_by="confidence"))] == [0.0]


def test_answers_without_a_value_do_not_take_part():
    records = answers("1", ("x", None), ("y", 1.0)) + answers("2", (None, None), (None, None))
    assert [record.value for record in reduce_epochs(records, "majority")] == [1.0, None]


def test_pass_at_k_and_its_relatives_have_their_definitions():
    found = {name: estimate.value for name, estimate in repeated(VOTED + TIED + WRONG).items()}
    assert found == {
        "pass@1": pytest.approx((2 / 3 + 1 / 3 + 0) / 3),
        "pass@3": pytest.approx(2 / 3),
        "pass^3": 0.0,
        "maj@3": pytest.approx((1 + 0.5 + 0) / 3),
    }


def test_one_answer_or_graded_ones_have_no_pass_at_k():
    assert repeated(answers("1", ("x", 1.0)) + answers("2", ("x", 0.0))) == {}
    assert repeated(answers("1", ("x", 0.5), ("x", 1.0))) == {}
