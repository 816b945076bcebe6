"""Real outputs with published labels, and the gold answers of real data sets, judged again by our own scorers."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from harness.scoring.extractors import extract
from harness.scoring.scorers import score_answer
from harness.scoring.scorers.refusal import is_refusal

pytestmark = pytest.mark.shared


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def value(extractor: Any, scorer: Any, text: str, expected: Any, **more: Any) -> float:
    """The value of a text as the second loop would give it: 0 without an answer."""
    answer = extract(extractor, text, **more)
    return 0.0 if answer is None else score_answer(scorer, expected, answer)[0]


@pytest.mark.parametrize(
    ("model", "published"),
    [("6b_finetuning", 0.2225), ("6b_verification", 0.39), ("175b_finetuning", 0.365), ("175b_verification", 0.56)],
)
def test_every_published_gsm8k_label_comes_out_again(shared: Path, model: str, published: float) -> None:
    rows = lines(shared / "data/scored_outputs/gsm8k_4models.jsonl")
    spec = [{"after": "A:"}, {"number": {"pick": "first"}}]
    ours = [value(spec, "number", row[model]["solution"], extract(spec, row["ground_truth"])) for row in rows]
    assert ours == [float(row[model]["is_correct"]) for row in rows]
    assert sum(ours) / len(ours) == pytest.approx(published)


@pytest.mark.parametrize(
    ("task", "published"),
    [
        ("boolean_expressions", 0.928),
        ("date_understanding", 0.872),
        ("multistep_arithmetic_two", 0.476),
        ("object_counting", 0.932),
        ("word_sorting", 0.404),
    ],
)
def test_published_bbh_accuracies_come_out_again(shared: Path, task: str, published: float) -> None:
    rows = lines(shared / f"data/scored_outputs/bbh_codex_cot/{task}.jsonl")
    ours = [value("after", "exact_match", row["prediction"], row["target"]) for row in rows]
    assert sum(ours) / len(ours) == pytest.approx(published)


@pytest.mark.parametrize(("model", "agrees"), [("gpt4", 0.924), ("mistralguard", 0.760)])
def test_string_matched_refusals_are_those_published_for_xstest(shared: Path, model: str, agrees: float) -> None:
    rows = table(shared / f"data/scored_outputs/xstest_{model}_labelled.csv")
    ours = ["2_full_refusal" if is_refusal(row["completion"]) else "1_full_compliance" for row in rows]
    assert ours == [row["strmatch_label"] for row in rows]
    with_people = sum(our == row["final_label"] for our, row in zip(ours, rows)) / len(rows)
    assert with_people == pytest.approx(agrees, abs=5e-4)


GOLD_OF_GSM8K = {"exact_match": {"ignore_case": True, "ignore": [",", r"\$", r"(?s).*#### ", r"\.$"]}}


@pytest.mark.slow
@pytest.mark.parametrize(
    "extractor",
    [
        "strict_number",
        "number",
        {"regex": r"#### (\-?[0-9\.\,]+)"},
        {"regex": {"pattern": r"(-?[$0-9.,]{2,})|(-?[0-9]+)", "pick": "last"}},
    ],
    ids=str,
)
def test_gold_of_gsm8k_scores_1_strict_and_flexible(shared: Path, extractor: Any) -> None:
    for name in ("gsm8k_test.jsonl", "gsm8k_train.jsonl"):
        rows = lines(shared / "data" / name)
        wrong = [r["answer"][-30:] for r in rows if value(extractor, GOLD_OF_GSM8K, r["answer"], r["answer"]) != 1]
        assert not wrong


@pytest.mark.parametrize("dress", ["{}", "Label: {}", "**{}**", "The intent is `{}`.", "{}\n\nThe customer asks so."])
def test_gold_of_banking77_scores_1_in_any_dress(shared: Path, dress: str) -> None:
    labels = (shared / "data/banking77_labels.txt").read_text(encoding="utf-8").split()
    rows = table(shared / "data/banking77_test.csv")
    assert len(labels) == 77
    for label in {row["category"] for row in rows}:
        for written in (label, label.replace("_", " "), label.upper()):
            assert value("label", "label", dress.format(written), label, labels=labels) == 1, written


def test_gold_slots_of_restaurant8k_score_1_field_by_field(shared: Path) -> None:
    for row in lines(shared / "data/restaurant8k_slots_test.jsonl"):
        answer = "Here it is:\n```json\n" + json.dumps(row["slots"], indent=1) + "\n```"
        found, metrics = score_answer("fields", row["slots"], extract("json", answer))
        assert (found, metrics["all_correct"]) == (1.0, 1.0), row


def test_gold_entities_of_wnut17_score_1(shared: Path) -> None:
    for row in lines(shared / "data/wnut17_dev.jsonl"):
        answer = json.dumps([{"type": e["type"], "text": e["text"]} for e in row["entities"]])
        assert value("json", "entities", answer, row["entities"]) == 1, row


def test_gold_letters_of_arc_and_hellaswag_score_1(shared: Path) -> None:
    arc = [row["gold"] for row in lines(shared / "data/arc_easy.jsonl")]
    hellaswag = [row["label"] for row in lines(shared / "data/hellaswag_val_1000.jsonl")]
    for gold in (*arc, *hellaswag):
        letter = "ABCDE"[gold]
        assert value({"letter": "ABCDE"}, "label", f"The answer is ({letter}).", letter) == 1


@pytest.mark.slow
def test_gold_choices_of_arc_score_1_as_labels(shared: Path) -> None:
    for row in lines(shared / "data/arc_easy.jsonl"):
        gold = row["choices"][row["gold"]]
        assert value("label", "label", f"**{gold}**", gold, labels=row["choices"]) == 1, row


@pytest.mark.slow
def test_every_correct_answer_of_truthfulqa_scores_1_and_no_other_gets_by_exactly(shared: Path) -> None:
    for row in table(shared / "data/truthfulqa.csv"):
        aliases = [one.strip() for one in row["Correct Answers"].split(";") if one.strip()]
        for alias in aliases:
            for scorer in ("text", "token_f1", "contains", {"exact_match": {"collapse_whitespace": True}}):
                assert value("text", scorer, f" {alias}\n", aliases) == 1, alias
        wrong = [one.strip() for one in row["Incorrect Answers"].split(";") if one.strip()]
        assert not {w for w in wrong if w not in aliases and value("text", "exact_match", w, aliases) == 1}


@pytest.mark.parametrize("task", ["boolean_expressions", "causal_judgement", "dyck_languages", "word_sorting"])
def test_gold_of_bbh_scores_1_after_the_marker(shared: Path, task: str) -> None:
    for row in lines(shared / f"data/bbh/{task}.jsonl"):
        assert value("after", "exact_match", f"So the answer is {row['target']}.", row["target"]) == 1
