"""Before a run: lengths in each model's tokens, what is cut, which shots, and right answers in messy dress."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.config.base import validate
from harness.config.run import RunConfig, TaskUse
from harness.errors import ModelError
from harness.models.find import resolve_model
from harness.runs.check import report
from harness.runs.preview import balance, excerpt
from harness.tasks.load import load_task
from harness.tasks.self_test import messy

ROWS = [{"q": f"How much is {i}?", "a": str(i), "split": "train" if i > 9 else "test"} for i in range(12)]


def make(folder: Path, rows: list[dict[str, Any]] = ROWS, **changes: Any) -> Path:
    (folder / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = {"task": "t", "data": {"file": "t.jsonl", "split": "test"}, "kind": "generate", "prompt": "{q}"}
    (folder / "t.yaml").write_text(yaml.safe_dump(task | {"answer": "a", "max_tokens": 16} | changes))
    return folder / "t.yaml"


def checked(task: Path, **model: Any) -> Any:
    models = [{"name": "m", "backend": "fake"} | model]
    return report(validate(RunConfig, {"run": "r", "tasks": [str(task)], "models": models}, "test"))


def test_messy_dress_is_reported_and_fails_nothing(tmp_path: Path):
    strict = load_task(TaskUse(task=str(make(tmp_path, score="exact_match"))))
    assert messy(strict) == {
        "as it is": 1.0,
        "in a fence": 0.0,
        "in bold": 0.0,
        "in a sentence": 0.0,
        "in quotes": 0.0,
        "with a full stop": 0.0,
        "with words before": 0.0,
        "in other case": 1.0,
        "as another type": 0.0,
    }
    found = checked(make(tmp_path, extract="number", score="number"))
    assert found.messy["t"] == dict.fromkeys(found.messy["t"], 1.0)
    assert found.passed and "right answers in messy dress: as it is 100 %, in a fence 100 %" in found.text()
    assert found.as_json()["tasks"][0]["messy"]["in bold"] == 1.0


def test_shots_balance_and_the_longest_prompt_are_shown(tmp_path: Path):
    rows = [{**row, "a": ["yes", "no", "no"][i % 3]} for i, row in enumerate(ROWS)]
    rows[4]["q"] = "long " * 2000
    text = checked(make(tmp_path, rows, shots={"n": 2, "from": "train"})).text()
    assert "2 shots before each sample; before 0: 0, 1" in text
    assert "2 right answers: no 60.0 %, yes 40.0 %" in text
    assert "the longest prompt, of sample 4:" in text and "characters ..." in text


def test_python_of_the_task_is_named_with_its_digest(tmp_path: Path):
    (tmp_path / "mine.py").write_text("def same(expected, answer):\n    return expected == answer\n")
    text = checked(make(tmp_path, score={"python": "mine:same"})).text()
    assert "scorer: Python of this task, mine:same, sha256 " in text


OBJECTS = [{"q": f"Bill {i}", "a": {"total": i, "due": "soon"}, "split": "test"} for i in range(5)]


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (
            {"constrain": {"schema": {"type": "object", "properties": {"due": {"type": "number"}}}}},
            "right answer may be written: FAILS for 5: `constrain` does not allow it (sample 0, 1, 2, 3, 4)",
        ),
        (
            {"constrain": {"schema": {"type": "object", "required": ["total", "tax"]}}},
            "right answer may be written: FAILS for 5: `constrain` does not allow it (sample 0, 1, 2, 3, 4)",
        ),
        ({"score": {"fields": {"due": "date"}}}, "gold answer scores 1: FAILS for 5: sample 0, 1, 2, 3, 4 (5 tried)"),
        ({"constrain": {"schema": {"type": "object", "required": ["total"]}}}, None),
    ],
)
def test_a_schema_that_does_not_fit_the_answers_fails_the_self_test(
    tmp_path: Path, changes: dict[str, Any], line: str | None
):
    found = checked(make(tmp_path, OBJECTS, **({"extract": "json", "score": "fields"} | changes)))
    assert found.passed == (line is None)
    assert line is None or f"self-test: {line}" in found.text()


def test_choices_without_the_right_answer_fail_the_self_test(tmp_path: Path):
    rows = [{**row, "a": ["yes", "no", "maybe"][i % 3]} for i, row in enumerate(ROWS)]
    held = {"extract": "text", "score": "text"}
    found = checked(make(tmp_path, rows, constrain={"choices": ["Yes", "No"]}, **held))
    assert found.self_tests[0].unfit == ("2", "5", "8")
    assert checked(make(tmp_path, rows, constrain={"choices": ["Yes", "No", "Maybe"]}, **held)).passed


def test_many_right_answers_have_no_balance_and_a_short_prompt_is_whole(tmp_path: Path):
    assert balance(load_task(TaskUse(task=str(make(tmp_path)))).samples) is None
    assert list(excerpt("a\nb")) == ["a", "b"]


def test_a_model_without_a_tokenizer_here_has_no_token_counts(tmp_path: Path):
    assert checked(make(tmp_path)).tokens == ()


def test_a_model_whose_tokenizer_is_missing_or_broken_is_told(tmp_path: Path):
    whole = resolve_model("demo-0.1m")
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((whole / name).read_bytes())
    with pytest.raises(ModelError, match="the model folder has no tokenizer"):
        checked(make(tmp_path), backend="transformers", path=str(tmp_path))
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(ModelError, match="transformers cannot load the model") as caught:
        checked(make(tmp_path), backend="transformers", path=str(tmp_path))
    assert caught.value.fix.startswith("get all files of the model again")


@pytest.mark.shared
def test_tokens_are_those_the_model_would_read(tmp_path: Path, shared: Path):
    from transformers import AutoTokenizer

    folder = shared / "models" / "stories260K"
    rows = [{**row} for row in ROWS]
    rows[7]["q"] = "once upon a time " * 300
    (found,) = checked(make(tmp_path, rows), backend="transformers", path=str(folder)).tokens
    lengths = sorted(len(AutoTokenizer.from_pretrained(folder)(row["q"])["input_ids"]) for row in rows[:10])
    assert (found.median, found.longest, found.longest_id) == (lengths[5], lengths[-1], "7")
    assert (found.context, found.room, found.cut, found.counted) == (512, 16, 1, 10)
    assert "1 of 10 PROMPTS ARE CUT on the left" in found.line()
    config = json.loads((folder / "config.json").read_text())
    width = 2 * config["num_key_value_heads"] * config["hidden_size"] // config["num_attention_heads"]
    assert found.cache_bytes == 512 * config["num_hidden_layers"] * width * 4  # fp32 weights; never beyond the context
    choices = {"kind": "choice", "choices": ["0", "1 2 3 4 5 6"], "answer": "a", "continuation": "text"}
    rows = [{**row, "a": "0"} for row in ROWS]
    (scored,) = checked(make(tmp_path, rows, **choices), backend="transformers", path=str(folder)).tokens
    whole = AutoTokenizer.from_pretrained(folder)("How much is 3? 1 2 3 4 5 6")["input_ids"]
    assert (scored.longest, scored.room, scored.cut) == (len(whole) - 1, 0, 0)
