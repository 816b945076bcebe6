"""The metric that a task is known by is the value of its answers, with interval and difference; the others stay."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

import harness
from harness.config.base import validate
from harness.config.files import bundled
from harness.config.run import RunConfig, TaskUse
from harness.errors import TaskError
from harness.scoring.extractors import extract
from harness.tasks.kinds import kind_of, read_task
from harness.tasks.load import load_task, task_names
from harness.tasks.score_answer import judge
from harness.tasks.task import Task
from harness.values import Response

# what results on these are published in, where it is not the first that a kind or scorer gives: Llama (Touvron et al.
# 2023, section 3), Mistral (Jiang et al. 2023) and OLMES (Gu et al. 2024) normalise by characters; DROP is known by F1
PUBLISHED = {
    **dict.fromkeys(("hellaswag", "openbookqa", "arc-challenge", "arc-easy", "piqa", "sciq"), "accuracy_norm"),
    "drop": "f1",
}


@pytest.mark.parametrize("name", task_names())
def test_a_bundled_task_is_known_by_its_published_metric(name: str):
    assert read_task(bundled("tasks") / f"{name}.yaml")[0].headline == PUBLISHED.get(name)


def task(folder: Path, rows: list[dict[str, Any]], **given: Any) -> Task:
    (folder / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "t.yaml").write_text(yaml.safe_dump({"task": "t", "data": {"file": "t.jsonl"}} | given))
    return load_task(TaskUse(task=str(folder / "t.yaml")))


CHOICE = {"kind": "choice", "prompt": "{q}", "choices": "of", "answer": "right"}
ROWS = [{"q": f"q{i}", "of": ["no", "a much longer one"], "right": 1} for i in range(3)]
SHORT = Response("", None, logprobs=(-3.0, -8.0))  # the short one is likelier, the long one is per character


@pytest.mark.parametrize("metric", ["accuracy_norm", "accuracy_bytes"])
def test_the_answer_is_the_choice_that_the_metric_takes(tmp_path: Path, metric: str):
    plain, headed = task(tmp_path, ROWS, **CHOICE), task(tmp_path, ROWS, **CHOICE, metric=metric)
    one, other = (judge(t.config, t.samples[0], SHORT) for t in (plain, headed))
    assert (one.value, one.answer) == (0.0, "no")
    assert (other.value, other.answer) == (1.0, "a much longer one")
    names = {"accuracy", "accuracy_norm", "accuracy_bytes"} - {metric}
    assert set(other.metrics) == names and other.metrics["accuracy"] == one.value
    assert one.metrics == {"accuracy_norm": 1.0, "accuracy_bytes": 1.0}


def test_a_scorer_of_the_chosen_text_sees_the_choice_that_the_metric_takes(tmp_path: Path):
    headed = task(tmp_path, ROWS, **CHOICE, metric="accuracy_norm", score=["exact_match", "token_f1"])
    assert judge(headed.config, headed.samples[0], SHORT).metrics["token_f1"] == 1.0


def test_of_several_right_ones_the_likeliest_may_count(tmp_path: Path):
    given = CHOICE | {"answer_is": "flags"}
    rows = [{"q": "q", "of": ["x", "y", "z"], "right": [1, 0, 1]}]
    share = judge((t := task(tmp_path, rows, **given)).config, t.samples[0], Response("", None, logprobs=(-1, -2, -3)))
    t = task(tmp_path, rows, **given, metric="accuracy")
    score = judge(t.config, t.samples[0], Response("", None, logprobs=(-1, -2, -3)))
    assert score.value == 1.0 and score.metrics == {"probability": share.value} and 0 < share.value < 1


WRITTEN = {"kind": "generate", "prompt": "{q}", "answer": "right"}


def test_a_metric_of_a_scorer_may_count_and_what_counted_before_stands_beside(tmp_path: Path):
    rows = [{"q": "q", "right": [["red", "blue"]]}]
    t = task(tmp_path, rows, **WRITTEN, score="spans", metric="f1")
    score = judge(t.config, t.samples[0], Response("", None, text="red"))
    assert score.value == pytest.approx(0.5) and score.metrics == {"spans": 0.0}
    none = judge(t.config, t.samples[0], Response("", None, text="  "))
    assert (none.value, none.failure) == (None, "no_answer")
    t = task(tmp_path, [{"q": "q", "right": "red"}], **WRITTEN, score=["exact_match", "token_f1"], metric="token_f1")
    score = judge(t.config, t.samples[0], Response("", None, text="red car"))
    assert score.value == pytest.approx(2 / 3) and score.metrics == {"exact_match": 0.0}


@pytest.mark.parametrize(
    ("given", "fix"),
    [
        (CHOICE | {"metric": "acc_norm"}, "did you mean 'accuracy_norm'?"),
        (CHOICE | {"continuation": "letter", "metric": "accuracy_norm"}, "accuracy"),
        (WRITTEN | {"metric": "f1"}, "leave it out"),
        (WRITTEN | {"score": "multi_label", "metric": "shared"}, "exact"),  # a count
    ],
)
def test_a_metric_that_answers_do_not_have_is_refused(tmp_path: Path, given: dict[str, Any], fix: str):
    rows = ROWS if given["kind"] == "choice" else [{"q": "q", "right": "a"}, {"q": "r", "right": "b"}]
    with pytest.raises(TaskError, match="none that answers to this task have") as caught:
        task(tmp_path, rows, **given)
    assert "t.yaml:" in caught.value.where and fix in caught.value.fix


def test_the_row_has_interval_and_difference_of_the_metric_and_says_which_it_is(tmp_path: Path):
    task(tmp_path, ROWS, **CHOICE, metric="accuracy_norm")
    long = {"name": "long", "backend": "fake", "script": [{"logprobs": [-3.0, -8.0]}]}
    short = {"name": "short", "backend": "fake", "script": [{"logprobs": [-3.0, -80.0]}]}
    given = {"run": "r", "tasks": [str(tmp_path / "t.yaml")], "models": [short, long], "latency": {"requests": 0}}
    result = harness.run(validate(RunConfig, given, "test"), out=tmp_path / "out")
    base, row = result.summary.rows
    assert (base.accuracy.value, row.accuracy.value) == (0.0, 1.0)
    assert row.accuracy.low is not None and row.difference is not None and row.difference.wins == 3
    assert row.metrics["accuracy"].value == 0.0 and "accuracy_norm" not in row.metrics
    assert row.metric == harness.open_run(tmp_path / "out").summary.rows[0].metric == "accuracy_norm"
    assert "choices scored · accuracy is by log-probability per character" in result.table(width=200)
    assert "accuracy_norm" in (tmp_path / "out" / "table.csv").read_text().splitlines()[1]


def test_asked_as_text_there_are_no_lengths_to_divide_by(tmp_path: Path):
    t = task(tmp_path, ROWS, **CHOICE, metric="accuracy_norm")
    assert kind_of(t.config).as_text(t.config, t).config.headline is None


# --- bundled tasks whose answer is found in a worked solution ---------------------------------------------------------

SAID = [
    *[("gsm8k-cot", f"18 is left. {said}", "18") for said in (
        "The answer is 18", "The answer is 18.", "the answer is: 18", "The answer is **18**.", "The answer is $18.00.",
        "The answer is 3 * 6 = 18.", "The answer is\n18", "So \\boxed{18}", "#### 18", "The answer is 18 dollars.",
        "The answer is not 3. The answer is 18.", "The answer is 18.\n\nThe answer is 7.",
    )],
    ("gsm8k-cot", "The answer is 1,234 apples.", "1234"),
    ("gsm8k-cot", "The answer is -5", "-5"),
    ("gsm8k-cot", "The answer is eighteen. 5 apples are left.", None),
    ("gsm8k-cot", "There were 3 apples.", None),
    *[("bbh", f"So {said}", "(B)") for said in (
        "the answer is (B)", "the answer is (B).", "the answer is: (B)", "The answer is **(B)**.",
        "the answer is **(B).**", 'the answer is "(B)".', "the answer is (B). It is hot.", "the answer is (B)\nmore",
    )],
    ("bbh", "So the answer is ] ) >", "] ) >"),
    ("bbh", "So the answer is ] ) >.", "] ) >"),
    ("bbh", "So the answer is 3.5", "3.5"),
    ("bbh", "So the answer is False", "False"),
    ("bbh", "I do not know.", None),
    *[("mmlu-pro", said, "C") for said in (
        "The answer is **C**", "The answer is C", "the answer is (C).", "The answer is: (C)", "Answer: C",
    )],
    ("mmlu-pro", "The answer is Clear from the text.", None),
    ("math-500", "Final Answer: The final answer is $18$. I hope it is correct.", "$18$"),
    ("math-500", "Final Answer: The final answer is $18$ I hope it is correct.", "$18$"),
    ("math-500", "Final Answer: The final answer is 18 I hope it is correct", "18"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "said", "wanted"), SAID)
def test_the_answer_is_what_was_written_or_none(name: str, said: str, wanted: str | None):
    assert extract(read_task(bundled("tasks") / f"{name}.yaml")[0].extract, said) == wanted


@pytest.mark.parametrize(
    ("name", "said", "cut"),
    [
        ("gsm8k-cot", "The answer is 18", "1"),
        ("bbh", "So the answer is (B)", "(B"),
        ("math-500", "Final Answer: The final answer is 18 I hope it is correct", "1"),
        ("mmlu-pro", "The answer is Clear", "C"),
    ],
)
def test_what_the_peer_makes_of_it_stands_beside(name: str, said: str, cut: str):
    assert extract(read_task(bundled("tasks") / f"{name}.yaml")[0].also["strict"], said) == cut
