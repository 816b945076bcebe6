"""Each label of a classification has its precision, recall and F1; what it is taken for; and none is no label."""

from __future__ import annotations

import csv
import json
import random
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

import harness
from harness.analysis.labels import by_label
from harness.api import with_labels
from harness.cli.app import app
from harness.config.base import validate
from harness.config.run import RunConfig
from harness.stats import Classification
from harness.values import Record, Sample

MESSAGES = [("my parcel is late", "delivery"), ("I forgot my code", "password"), ("money back", "refund")]
MESSAGES += [("hello there", "none of these"), ("where is my box", "delivery"), ("what a day", "none of these")]
CHOICE = {
    "task": "intent",
    "data": {"file": "t.jsonl"},
    "kind": "choice",
    "prompt": "{text}\nRequest:",
    "choices": ["delivery", "password", "refund", "none of these"],
    "answer": "intent",
}
RULES = [  # of two deliveries one is found; a refund is taken for none of these; one that is none, for a delivery
    {"prompt": "late", "text": "delivery"},
    {"prompt": "box", "text": "refund"},
    {"prompt": "code", "text": "password"},
    {"prompt": "hello", "text": "none of these"},
    {"prompt": "day", "text": "delivery"},
    {"prompt": "money", "text": "none of these"},
]


def run(folder: Path, task: dict[str, Any], rules: list[dict[str, Any]], as_text: bool = False) -> harness.Run:
    rows = [{"text": text, "intent": intent, "tags": [intent], "house": "one"} for text, intent in MESSAGES]
    (folder / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "t.yaml").write_text(yaml.safe_dump({k: v for k, v in task.items() if v is not None}))
    use = {"task": str(folder / "t.yaml")} | ({"as": "generate"} if as_text else {})
    fake = {"name": "m", "backend": "fake", "script": rules}
    config = {"run": "r", "tasks": [use], "models": [fake], "latency": {"requests": 0}}
    return harness.run(validate(RunConfig, config, "test"), out=folder / "out")


def labels_of(result: harness.Run) -> Classification:
    (row,) = with_labels(result).rows
    assert row.labels is not None
    return row.labels


@pytest.mark.parametrize(
    "changes", [{}, {"continuation": "letter", "prompt": "{text}\n{choices}\nRequest:", "rotate": 1}]
)
def test_each_choice_is_a_label_that_of_none_of_these_too(tmp_path: Path, changes: dict[str, Any]):
    letters = {"delivery": "D", "password": "A", "refund": "B", "none of these": "C"}  # turned round by one
    rules = [{**rule, "text": letters[rule["text"]]} for rule in RULES] if changes else RULES
    found = labels_of(run(tmp_path, CHOICE | changes, rules))
    scores = {label.label: (label.support, label.precision, label.recall) for label in found.labels}
    assert scores == {
        "delivery": (2, 0.5, 0.5),
        "password": (1, 1.0, 1.0),
        "refund": (1, 0.0, 0.0),
        "none of these": (2, 0.5, 0.5),
    }
    assert found.macro_f1.value == pytest.approx((0.5 + 1.0 + 0.0 + 0.5) / 4)
    order = [label.label for label in found.labels]
    assert found.confusion[order.index("refund")][order.index("none of these")] == 1
    assert found.abstentions == 0


def test_an_answer_that_names_no_label_is_an_abstention_and_no_mistake_for_another(tmp_path: Path):
    rules = [{"prompt": "money", "text": "I would rather not say"}, *RULES]
    found = labels_of(run(tmp_path, CHOICE, rules, as_text=True))
    order = [label.label for label in found.labels]
    assert found.abstentions == 1 and found.confusion[order.index("refund")] == (0, 0, 0, 0, 1)


def test_sets_of_labels_have_scores_and_no_confusions(tmp_path: Path):
    task = CHOICE | {
        "kind": "generate",
        "choices": None,
        "answer": "tags",
        "score": {"multi_label": {"separator": ";"}},
    }
    rules = [{"prompt": "late", "text": "Delivery; refund"}, {"prompt": "code", "text": "spam"}, *RULES]
    result = run(tmp_path, task, rules)
    found = labels_of(result)
    scores = {label.label: (label.support, label.recall) for label in found.labels}
    assert scores["delivery"] == (2, 0.5) and scores["password"] == (1, 0.0) and scores["(other)"] == (0, None)
    assert found.confusion is None
    assert "Which is taken for which" not in CliRunner().invoke(app, ["table", str(result.folder), "--labels"]).stdout


def test_labels_that_a_text_states_are_those_of_the_data(tmp_path: Path):
    task = CHOICE | {"kind": "generate", "choices": None, "score": "label"}
    found = labels_of(run(tmp_path, task, [{"prompt": "late", "text": "parcels"}, {"prompt": "", "text": "Refund"}]))
    assert [label.label for label in found.labels] == ["delivery", "none of these", "password", "refund"]
    assert found.abstentions == 1 and found.labels[3].recall == 1.0


def test_the_table_names_what_a_label_is_taken_for(tmp_path: Path):
    result = run(tmp_path, CHOICE, RULES)
    text = CliRunner().invoke(app, ["table", str(result.folder), "--labels", "-f", "markdown"]).stdout
    assert "| refund | m | 1 | 0.0 | 0.0 | 0.0 [0.0, " in text
    assert "| refund | 0 | 0 | 0 | 1 | 0 |" in text  # the matrix: delivery, password, refund, none of these, no label
    assert text.index("| refund | m") < text.index("| password | m")  # the lowest F1 first
    lines = CliRunner().invoke(app, ["table", str(result.folder), "--labels", "-f", "csv"]).stdout.strip().splitlines()
    assert lines[0].startswith("model,task,task_version,mode,label,precision,recall,f1,support") and len(lines) == 5


def test_the_table_says_why_a_figure_has_no_interval(tmp_path: Path):
    result = run(tmp_path, CHOICE | {"cluster": "house"}, RULES)
    said = " ".join(result.table(width=300).split())
    assert (
        "m on intent: accuracy, accuracy_norm, accuracy_bytes without an interval: one cluster has no standard error."
        in said
    )
    text = CliRunner().invoke(app, ["table", str(result.folder), "--labels", "-f", "markdown"]).stdout
    assert "no interval: 6 samples of 4 labels are too few for an interval: it takes 10 a label" in text


def test_a_run_without_labels_says_so(tmp_path: Path):
    result = run(tmp_path, CHOICE | {"kind": "generate", "choices": None}, RULES)
    told = CliRunner().invoke(app, ["table", str(result.folder), "--labels"])
    assert told.exit_code != 0 and "no task here has labels" in str(told.exception)


@pytest.mark.shared
def test_the_77_intents_of_banking77_have_sklearns_macro_f1(shared: Path):
    metrics = pytest.importorskip("sklearn.metrics")
    names = tuple((shared / "data/banking77_labels.txt").read_text(encoding="utf-8").split())
    with (shared / "data/banking77_test.csv").open(encoding="utf-8", newline="") as file:
        right = [row["category"] for row in csv.DictReader(file)][::20]
    draw = random.Random(0)
    answers = [one if draw.random() < 0.7 else draw.choice(names) for one in right]
    samples = {("b", str(i)): Sample(str(i), "b", {}, one, names, names) for i, one in enumerate(right)}
    records = [
        Record("m", "b", str(i), 0, "loglikelihood", one, answer, float(one == answer), None, 1, 0, None, None, None, 0)
        for i, (one, answer) in enumerate(zip(right, answers))
    ]
    found = by_label({"score": None}, records, samples, None)
    assert found.macro_f1.value == pytest.approx(metrics.f1_score(right, answers, average="macro"))
    assert found.confusion == tuple(
        (*map(int, row), 0) for row in metrics.confusion_matrix(right, answers, labels=list(names))
    )
    assert found.macro_f1.low is None and "154 samples of 77 labels are too few" in found.macro_f1.reason
