"""Formats of a prompt: the same words and right answers, laid out in other ways; the range beside the score."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

import harness
from harness.config.base import validate
from harness.config.run import RunConfig, TaskUse
from harness.errors import TaskError
from harness.runs.check import report
from harness.runs.plan import make_plan
from harness.store.lines import read_measurements
from harness.store.rows import read_json
from harness.store.schema import LayoutRange
from harness.tasks.kinds import kind_of, prompt_of
from harness.tasks.kinds.base import Manner
from harness.tasks.load import load_task, load_tasks
from harness.tasks.prompt_layouts import differences, formats
from harness.tasks.shots import shots_for
from harness.tasks.task import Task
from harness.values import Sample, Sampling

ROWS = [
    {"id": f"r{i}", "q": f"Which is {word}?", "options": [word, "x", "y"], "A": "x", "B": word, "C": "y", "right": 0}
    | {"word": word, "split": "test" if i > 2 else "dev"}
    for i, word in enumerate(("ant", "bee", "cat", "dog", "eel", "fox"))
]
CHOICE = {
    "task": "t",
    "data": {"file": "t.jsonl", "id": "id", "split": "test"},
    "kind": "choice",
    "prompt": "Question: {q}\n{choices}\nAnswer:",
    "choices": "options",
    "continuation": "letter",
    "answer": "right",
    "answer_is": "index",
    "shots": {"n": 2, "from": "dev"},
}
WRITTEN = CHOICE | {
    "kind": "generate",
    "prompt": "Question: {q}\nThe answer is",
    "choices": None,
    "continuation": None,
    "answer_is": None,
    "answer": "word",
    "stop": ["Question:", "\n\n"],
}


def twin(task: Task) -> Task:
    return kind_of(task.config).as_text(task.config, task)


def texts(task: Task, sample: Sample) -> tuple[str, ...]:
    return next(kind_of(task.config).requests(task.config, sample, (), Manner("", False, Sampling()))).continuations


def write(folder: Path, task: dict[str, Any], **changes: Any) -> Path:
    (folder / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    (folder / "t.yaml").write_text(
        yaml.safe_dump({k: v for k, v in (task | changes).items() if v is not None}, sort_keys=False)
    )
    return folder / "t.yaml"


def load(folder: Path, task: dict[str, Any] = CHOICE, **changes: Any) -> Task:
    return load_task(TaskUse(task=str(write(folder, task, **changes))))


def shown(task: Task, n: int = 0) -> str:
    sample = task.samples[n]
    return prompt_of(task.config, sample, shots_for(task, sample, 0), chat=False).text


def words(task: Task) -> list[str]:
    """Returns what stays the same in all formats: the sorted words of a prompt without marks, labels and case."""
    plain = "".join(c if c.isalnum() else " " for c in shown(task)).casefold()
    return sorted(word for word in plain.split() if len(word) > 1)


def test_a_format_changes_the_layout_and_nothing_else(tmp_path: Path):
    own = load(tmp_path)
    found = formats(own, 12, seed=0)
    assert [task.name for task in found] == [f"t[format-{i}]" for i in range(1, 13)]
    assert len({shown(task) for task in (own, *found)}) == 13
    for task in found:
        assert words(task) == words(own)
        assert [sample.id for sample in task.samples] == [sample.id for sample in own.samples]
        for sample in task.samples:  # the right answer is the same text, wherever it stands now
            assert sample.choices[sample.gold] == sample.row["word"] and sample.expected == sample.labels[sample.gold]
            assert texts(task, sample) == tuple(f" {label}" for label in sample.labels)
    assert {sample.gold for task in found for sample in task.samples} == {0, 1, 2}  # choices are turned round
    assert {task.samples[0].labels for task in found} >= {("A", "B", "C"), ("1", "2", "3"), ("a", "b", "c")}
    assert {task.config.separator for task in found} > {"\n\n", "\n---\n"}


def test_formats_follow_from_the_seed_and_fewer_are_the_first_of_more(tmp_path: Path):
    own = load(tmp_path)
    assert formats(own, 5, seed=1) == formats(own, 5, seed=1)
    assert formats(own, 5, seed=1)[:3] == formats(own, 3, seed=1)
    assert formats(own, 5, seed=1) != formats(own, 5, seed=2)
    assert formats(own, 0, seed=1) == ()


def test_choices_in_columns_are_turned_round_and_their_letters_relabelled(tmp_path: Path):
    columns = {"choices": {"columns": ["A", "B", "C"]}, "answer": "word", "answer_is": "text", "continuation": None}
    own = load(tmp_path, prompt="{q}\nA. {A}\nB. {B}\nC. {C}\nAnswer:", shots=None, **columns)
    found = formats(own, 20, seed=0)
    rotated = next(t for t in found if t.config.rotate == 1 and t.config.labels == "(1)")
    assert "(1) dog" in shown(rotated) and "(2) y" in shown(rotated) and "(3) x" in shown(rotated)
    assert rotated.samples[0].expected == "dog" and rotated.samples[0].choices == ("dog", "y", "x")


def test_choices_that_are_not_shown_have_no_order(tmp_path: Path):
    own = load(tmp_path, prompt="Question: {q}\nAnswer:", continuation=None, shots=None)
    assert all(t.config.rotate == 0 and t.config.labels == "A." for t in formats(own, 9, seed=0))


def test_stop_strings_follow_the_labels_and_what_stands_between_shots(tmp_path: Path):
    own = load(tmp_path, WRITTEN)
    for task in formats(own, 12, seed=0):
        label = task.config.prompt[: task.config.prompt.index("{q}")].strip()
        assert label in task.config.stop and set(own.config.stop) <= set(task.config.stop)
        assert any(stop in task.config.separator for stop in task.config.stop)


@pytest.mark.parametrize("changes", [{"prompt": "{q}"}, {"kind": "perplexity", "prompt": None}])
def test_a_prompt_with_nothing_to_vary_has_no_variants(tmp_path: Path, changes: dict[str, Any]):
    assert formats(load(tmp_path, WRITTEN, **{"shots": None, "stop": None, **changes}), 5, seed=0) == ()


def test_each_prompt_of_a_task_has_formats_of_its_own(tmp_path: Path):
    prompts = {"short": "Q: {q}\nA:", "long": "Question: {q}\nAnswer at length:"}
    tasks = load_tasks(TaskUse(task=str(write(tmp_path, WRITTEN, prompt=None, prompts=prompts))))
    found = [one for task in tasks for one in formats(task, 2, seed=0)]
    names = [(one.name, one.format_of) for one in found]
    assert names == [(f"t[{p}.format-{i}]", f"t[{p}]") for p in prompts for i in (1, 2)]


def test_a_format_can_be_written_down_as_a_prompt_of_the_task(tmp_path: Path):
    (variant, *_) = formats(load(tmp_path), 1, seed=0)
    keys = ("prompt", "separator", "labels", "rotate")
    prompts = {"mine": {key: getattr(variant.config, key) for key in keys}}
    (mine,) = load_tasks(TaskUse(task=str(write(tmp_path, CHOICE, prompt=None, prompts=prompts))))
    assert [shown(mine, i) for i in range(3)] == [shown(variant, i) for i in range(3)]
    assert [sample.expected for sample in mine.samples] == [sample.expected for sample in variant.samples]


def test_a_style_of_labels_that_is_none_is_refused(tmp_path: Path):
    with pytest.raises(TaskError, match=r"labels: string should match pattern") as caught:
        load(tmp_path, labels="i.")
    assert "t.yaml" in caught.value.where


def test_the_twin_of_a_format_asks_for_its_own_labels(tmp_path: Path):
    own = load(tmp_path)
    numbered = next(task for task in formats(own, 12, seed=0) if "1" in task.config.labels)
    asked = twin(numbered)
    assert asked.name == numbered.name.replace("]", ".generated]") and asked.format_of == twin(own).name
    assert "Answer with the number of the right choice" in asked.config.instruction
    assert [sample.expected for sample in asked.samples] == [str(sample.gold + 1) for sample in numbered.samples]


def test_the_twin_of_a_format_lists_the_choices_before_its_last_line(tmp_path: Path):
    own = load(tmp_path, prompt="Question: {q}\nAnswer:", continuation=None, shots=None)
    for task in formats(own, 12, seed=0):
        asked = twin(task).config
        before, after = (asked.prompt + asked.cue).split("{choices}")
        assert before + after.lstrip("\n |") == task.config.prompt and "nswer" in after.casefold()
        assert (asked.prompt + asked.cue).casefold().count("answer") == 1


# ---- in a run -------------------------------------------------------------------------------------------------------


def config(task: Path, rules: Sequence[dict[str, Any]], **changes: Any) -> RunConfig:
    fake = {"name": "m", "backend": "fake", "script": list(rules)}
    given = {"run": "r", "tasks": [str(task)], "models": [fake], "latency": {"requests": 1, "warmup": 0}, "formats": 3}
    return validate(RunConfig, given | changes, "test")


def test_the_table_has_the_range_beside_the_score_of_the_tasks_own_format(tmp_path: Path):
    task = write(tmp_path, WRITTEN, shots=None)
    own = load_task(TaskUse(task=str(task)))
    one = formats(own, 3, seed=0)[1]
    # right in one variant alone, where the label is as only that one has it; wrong in all others
    mark = one.config.prompt[: one.config.prompt.index("{q}")]
    others = [t.config.prompt for t in (own, *formats(own, 3, seed=0)) if t.name != one.name]
    assert not any(prompt.startswith(mark) for prompt in others)
    rules = [{"prompt": f"^{mark}(.|\n)*{row['word']}", "text": row["word"]} for row in ROWS]
    result = harness.run(config(task, [*rules, {"text": "none"}]), out=tmp_path / "out")
    rows = {row.task: row for row in result.summary.rows}
    assert rows["t"].over_layouts == LayoutRange(3, 0.0, 1.0)
    assert rows["t"].accuracy.value == 0.0 and rows[one.name].accuracy.value == 1.0
    assert rows[one.name].layout_of == "t" and rows[one.name].over_layouts is None
    text = result.table("markdown")
    assert "over formats %" in text and "0.0–100.0" in text and "over formats: the lowest and the highest" in text
    assert "format-" not in text and "t[format-2]" in result.table("csv")
    assert [line.task for line in read_measurements(tmp_path / "out", {"latency"})] == ["t"]
    assert result.complete


def test_formats_are_part_of_the_plan_and_its_digest(tmp_path: Path):
    task = write(tmp_path, CHOICE)
    plans = [make_plan(config(task, [], formats=n)) for n in (0, 2, 3)]
    assert len({plan.digest for plan in plans}) == 3
    assert len(plans[2].cells) == 4 and len({r.key for cell in plans[2].cells for r in cell.requests}) == 12
    harness.run(config(task, [{"text": "A"}], limit=2), out=tmp_path / "out")
    stored = read_json(tmp_path / "out" / "plan.json")
    assert stored["formats"] == {f"t[format-{i}]": "t" for i in (1, 2, 3)}
    asked = {name: task["prompt"] for name, task in stored["identity"]["tasks"].items()}
    assert len(asked) == 4 and stored["config"]["formats"] == 3


def test_check_lists_what_each_format_changes(tmp_path: Path):
    found = report(config(write(tmp_path, CHOICE), []))
    text = found.text()
    for variant in found.plan.tasks[1:]:
        changed = "; ".join(differences(found.plan.tasks[0].config, variant.config))
        assert f"  {variant.name}: {changed}\n" in text and "prompt" in changed
    assert found.passed and text.count("self-test: gold answer") == 1 and "formats:" not in text
    plain = write(tmp_path, WRITTEN, prompt="{q}", shots=None, stop=None)
    assert "  formats: 0 of 3, its prompt has no more to vary" in report(config(plain, [])).text()
    assert [one["format_of"] for one in found.as_json()["tasks"]] == [None, "t", "t", "t"]
