"""Kinds of task: what a file of each may say, old run folders, and that another kind is one module and one line."""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import pytest
import yaml

from harness.config.run import TaskUse
from harness.config.task import TaskConfig
from harness.errors import TaskError
from harness.tasks import kinds
from harness.tasks.kinds import KINDS, keys_of, read_task, task_from, task_from_old
from harness.tasks.kinds.base import Manner
from harness.tasks.load import load_task
from harness.tasks.score_answer import judge
from harness.tasks.self_test import self_test
from harness.values import Response, Sampling

NEEDED: dict[str, dict[str, Any]] = {  # beside what every task needs
    "choice": {"prompt": "{q}", "choices": ["a", "b"]},
    "cloze": {"prompt": "{q}"},
    "generate": {"prompt": "{q}"},
    "conversation": {"turns": ["{q}"]},
    "perplexity": {},
    "pairs": {"prompt": "{q}", "score": {"lm_eval": {}}},
}
KEYS = sorted(set().union(*(keys_of(kind.CONFIG) for kind in KINDS.values())))


def content(kind: str) -> dict[str, Any]:
    return {"task": "t", "data": {"file": "t.jsonl"}, "answer": "a", "kind": kind, **NEEDED[kind]}


def written(folder: Path, values: dict[str, Any]) -> Path:
    path = folder / "t.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("key", KEYS)
def test_a_key_that_means_nothing_for_a_kind_is_refused_and_those_that_have_it_are_named(
    tmp_path: Path, kind: str, key: str
):
    known = KINDS[kind].CONFIG
    assert read_task(written(tmp_path, content(kind)))[0].kind == kind
    if key in keys_of(known) - known.unwritten:
        return
    with pytest.raises(TaskError) as caught:
        read_task(written(tmp_path, content(kind) | {key: 1}))
    assert caught.value.what == f"a {kind} task has no `{key}`" and "t.yaml:" in caught.value.where
    having = [name for name, other in KINDS.items() if key in keys_of(other.CONFIG) - other.CONFIG.unwritten]
    assert caught.value.fix == f"leave it out: it is for `kind: {'`, `'.join(having)}`" and having
    assert len(str(caught.value).splitlines()) == 3


def test_a_kind_that_is_missing_or_unknown_is_named(tmp_path: Path):
    values = content("cloze")
    with pytest.raises(TaskError, match=r"kind: 'clozze' is no kind of task") as caught:
        read_task(written(tmp_path, values | {"kind": "clozze"}))
    assert caught.value.fix == "did you mean 'cloze'?"
    del values["kind"]
    with pytest.raises(TaskError, match="key 'kind' is missing") as caught:
        read_task(written(tmp_path, values))
    assert "choice, cloze, generate" in caught.value.fix
    with pytest.raises(TaskError, match="unknown key 'knd'") as caught:
        read_task(written(tmp_path, values | {"knd": "cloze"}))
    assert caught.value.fix == "did you mean 'kind'?"


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_run_folder_holds_of_a_task_is_read_back(kind: str):
    config = task_from(content(kind), "t.yaml")
    stored = json.loads(json.dumps(config.model_dump(mode="json", by_alias=True)))
    assert task_from_old(stored) == config


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_folder_of_before_holds_every_key_of_every_kind(kind: str):
    """A task was one class of 49 keys: those of the other kinds stand in old plans, and meant nothing."""
    old: dict[str, Any] = {key: None for key in KEYS if key not in keys_of(KINDS[kind].CONFIG)}
    old |= {"labels": "A.", "rotate": 0, "ending": "", "max_tokens": 256, "stop": [], "epochs": 1, "wall_s": None}
    old = {key: value for key, value in old.items() if key not in keys_of(KINDS[kind].CONFIG)}
    assert task_from_old(content(kind) | old) == task_from(content(kind), "t.yaml")


RIDDLE = '''
"""Riddle: the answer is the question, backwards."""

from typing import Literal

from harness.config.task import Judging, Question
from harness.tasks.kinds.base import Example, as_it_is, no_more, renamed, text_response
from harness.tasks.kinds.generate import written_requests
from harness.tasks.prompts import render
from harness.tasks.samples import plain_samples
from harness.values import Score


class RiddleTask(Question, Judging):
    kind: Literal["riddle"]
    marks: int = 1


CONFIG = RiddleTask
samples, relaid, later, replied = plain_samples, renamed, no_more, as_it_is


def prompt(config, sample, shots, chat):
    return render(config, sample, shots, chat)


def requests(config, sample, shots, manner):
    yield from written_requests(config, sample, (prompt(config, sample, shots, manner.chat),), config.stop, manner)


def score(config, sample, response, told):
    return Score(float(response.text == sample.row["q"][::-1]), response.text, None)


def examples(config, samples):
    for sample in samples:
        yield Example(config, sample, text_response(sample.row["q"][::-1]), text_response(""), text_response("?"))


def as_text(config, task):
    return task
'''


def test_another_kind_is_one_module_and_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "riddle.py").write_text(RIDDLE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(kinds, "KINDS", {**KINDS, "riddle": import_module("riddle")})

    (tmp_path / "t.jsonl").write_text('{"q": "abc"}\n{"q": "xyz"}\n')
    path = written(tmp_path, {"task": "t", "data": {"file": "t.jsonl"}, "kind": "riddle", "prompt": "{q}", "marks": 2})
    task = load_task(TaskUse(task=str(path)))
    assert self_test(task).passed and self_test(task).gold_tried == 2
    (request,) = kinds.kind_of(task.config).requests(task.config, task.samples[0], (), Manner("m", False, Sampling()))
    assert request.prompt.text == "abc" and request.mode == "generate"
    assert judge(task.config, task.samples[0], Response("k", None, text="cba")).value == 1.0
    with pytest.raises(TaskError, match="a cloze task has no `marks`") as caught:
        read_task(written(tmp_path, content("cloze") | {"marks": 2}))
    assert "`kind: riddle`" in caught.value.fix
    sys.modules.pop("riddle")


def test_every_kind_says_what_is_asked_of_it():
    for name, kind in KINDS.items():
        assert issubclass(kind.CONFIG, TaskConfig)
        assert kind.CONFIG.model_fields["kind"].annotation == Literal[name]
