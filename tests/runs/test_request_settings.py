"""Forms, prefill, thinking, confidence and the model's own settings, from the task file to the table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import harness
from harness.config.base import validate
from harness.config.model import model_of
from harness.config.run import RunConfig
from harness.config.task import GenerationConfig
from harness.errors import HarnessError, ModelError, TaskError
from harness.models.info import inspect_model
from harness.runs.plan import make_plan
from harness.runs.request_settings import sampling_of
from harness.store.rows import read_json
from harness.tasks.answer_form import is_valid
from harness.tasks.kinds import task_from_old
from harness.tasks.kinds.generate import GenerateTask
from harness.tasks.score_answer import judge
from harness.values import Confidence, Failure, Form, Response, Sample, Sampling, Thinking

TASK = "task: t\ndata: {file: t.jsonl}\nkind: generate\nprompt: '{q}'\nanswer: a\nextract: number\n"


def config(folder: Path, more: str = "", rules: list[dict[str, Any]] | None = None, **model: Any) -> RunConfig:
    rows = [{"q": f"1+{i}=", "a": str(1 + i)} for i in range(4)]
    (folder / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "t.yaml").write_text(TASK + more)
    scripted = {"backend": "scripted", "script": {"answers": rules or [{"text": "2"}]}}
    one = {"name": "m"} | (model if "path" in model else scripted | model)
    run = {"run": "r", "tasks": [str(folder / "t.yaml")], "models": [one], "latency": {"requests": 0}}
    return validate(RunConfig, run, "test")


def keys(planned: RunConfig) -> set[str]:
    return {request.key for cell in make_plan(planned).cells for request in cell.requests}


def judged(more: dict[str, Any], **response: Any):
    task = task_from_old(
        {"task": "t", "data": {"file": "x"}, "kind": "generate", "prompt": "q", "answer": "a", "extract": "number"}
        | more
    )
    return judge(task, Sample("1", "t", {}, "4"), Response("k", None, **response))


# --- task file to request --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "more",
    [
        "constrain: {regex: '[0-9]+'}",
        "constrain: {choices: ['1', '2']}",
        "constrain: {schema: {type: integer}}",
        "prefill: 'It is'",
        "thinking: {switch: 'off'}",
        "thinking: {budget: 9}",
        "thinking: {markers: ['(', ')']}",
        "logprobs: true",
        "wall_s: 5",
    ],
)
def test_each_part_changes_the_key_of_a_request(tmp_path: Path, more: str):
    assert not keys(config(tmp_path)) & keys(config(tmp_path, more))


def test_a_prefill_stands_where_the_answer_of_a_shot_stands(tmp_path: Path):
    plan = make_plan(config(tmp_path, "prefill: 'It is'\nshots: {n: 1}\n"))
    assert plan.cells[0].requests[0].prompt.text == "1+1= 2\n\n1+0= It is"
    plan = make_plan(config(tmp_path, "prefill: 'It is'\nchat: 'on'\n"))
    last = plan.cells[0].requests[0].prompt.messages[-1]
    assert (last.role, last.content) == ("assistant", "It is")


@pytest.mark.parametrize(
    ("more", "line", "what"),
    [
        ("stop: ['']", 7, "stop.0"),
        ("max_tokens: 0", 7, "max_tokens"),
        ("generation: {temperature: -0.5}", 7, "generation.temperature"),
        ("constrain:\n  schema: {type: strin}", 7, "'strin' is not valid under any of the given schemas (at type)"),
        ("constrain:\n  schema: {type: array, uniqueItems: true}", 7, "uniqueItems"),
        ("constrain: {regex: '(a|b'}", 7, "regex"),
        ("constrain: {regex: '(?=a)b'}", 7, "look-around"),
        ("constrain: {choices: []}", 7, "at least 1 item"),
        ("constrain: {regex: a, choices: [a]}", 7, "give one of `schema`, `regex`, `choices`"),
        ("constrain: {labels: true}", None, "a choice task that is asked as text"),
        ("thinking: {budget: 0}", 7, "thinking.budget"),
        ("thinking: {markers: ['', ')']}", 7, "a marker is empty"),
        ("wall_s: 0", 7, "wall_s"),
    ],
)
def test_a_mistake_names_the_file_and_the_line(tmp_path: Path, more: str, line: int | None, what: str):
    with pytest.raises(TaskError) as caught:
        make_plan(config(tmp_path, more))
    assert what in caught.value.what
    assert line is None or caught.value.where == f"{tmp_path / 't.yaml'}:{line}"


def test_a_limit_beyond_what_the_model_reads_is_found_before_anything_is_asked(tmp_path: Path):
    with pytest.raises(
        TaskError, match="max_tokens 64 leaves no room for a prompt in the 64 tokens that m reads"
    ) as caught:
        make_plan(config(tmp_path, "max_tokens: 64", path="demo-0.1m", max_length=64))
    assert caught.value.where.endswith("t.yaml:7")


@pytest.mark.parametrize(
    ("more", "fix"),
    [
        ("prefill: It", "api: completions"),
        ("thinking: {budget: 9}", "extra"),
        ("model_defaults: true", "leave it out"),
        ("wall_s: 5", "limits"),
    ],
)
def test_what_a_server_cannot_do_is_refused_and_not_left_out(tmp_path: Path, more: str, fix: str):
    asked = {"backend": "openai", "base_url": "http://127.0.0.1:9/v1", "script": None}
    with pytest.raises(HarnessError, match="cannot be asked of m, which runs on a server") as caught:
        make_plan(config(tmp_path, more, **asked))
    assert fix in caught.value.fix and caught.value.where.endswith("t.yaml:7")


OPEN = {"backend": "openai", "base_url": "http://127.0.0.1:9/v1", "script": None}
OWN = {"backend": "openai", "script": None}
CLAUDE, GEMINI = ({"backend": name, "script": None} for name in ("anthropic", "google"))
EVERY = (OPEN, OPEN | {"api": "completions"}, OWN, OWN | {"api": "completions"}, CLAUDE, GEMINI)
ASKED = [  # what a task asks, and who can be asked it
    ("constrain: {schema: {type: integer}}", (OPEN, OPEN | {"api": "completions"}, OWN, CLAUDE, GEMINI)),
    ("constrain: {regex: a}", (OPEN, OPEN | {"api": "completions"})),
    ("constrain: {choices: [a, b]}", (OPEN, OPEN | {"api": "completions"}, GEMINI)),
    ("constrain: {regex: a, enforce: false}", EVERY),
    ("prefill: It", (OPEN | {"api": "completions"}, OWN | {"api": "completions"})),
    ("thinking: {switch: 'off'}", (OPEN, CLAUDE, GEMINI)),
    ("thinking: {budget: 2000}", (CLAUDE, GEMINI)),
    ("thinking: {markers: ['(', ')']}", EVERY),
    ("logprobs: true", (OPEN, OPEN | {"api": "completions"}, OWN, OWN | {"api": "completions"}, GEMINI)),
]


@pytest.mark.parametrize(("more", "able"), ASKED, ids=[more for more, _ in ASKED])
def test_each_interface_is_asked_what_it_has_and_refuses_the_rest_in_the_plan(tmp_path: Path, more: str, able):
    for model in able:
        make_plan(config(tmp_path, more, **model))
    for model in [one for one in EVERY if one not in able]:
        with pytest.raises(HarnessError, match="cannot be asked of m"):
            make_plan(config(tmp_path, more, **model))


# --- the model's own settings ----------------------------------------------------------------------------------------


def _sampling(folder: Path, stated: dict[str, Any] | None, given: dict[str, Any]) -> Sampling:
    if stated is not None:
        (folder / "generation_config.json").write_text(json.dumps(stated))
    task = GenerateTask.model_construct(model_defaults=True, generation=GenerationConfig(**given))
    return sampling_of(task, model_of(name="m", path=str(folder)), inspect_model(folder), seed=3)


@pytest.mark.parametrize(
    ("stated", "given", "sampling"),
    [
        ({"do_sample": True, "temperature": 0.6, "top_p": 0.95}, {}, Sampling(0.6, 0.95, 50, seed=3)),
        ({"do_sample": True, "top_k": 20}, {"temperature": 0.2}, Sampling(0.2, 1.0, 20, seed=3)),
        ({"temperature": 0.6, "repetition_penalty": 1.1}, {}, Sampling(repetition_penalty=1.1, seed=3)),
    ],
)
def test_model_defaults_are_what_generate_would_do_and_the_tasks_keys_go_first(tmp_path, stated, given, sampling):
    assert _sampling(tmp_path, stated, given) == sampling


def test_settings_that_are_not_there_or_not_done_here_are_refused(tmp_path: Path):
    with pytest.raises(ModelError, match="it states none"):
        _sampling(tmp_path, None, {})
    with pytest.raises(ModelError, match="the model's own settings have num_beams: 4, which is not done here"):
        _sampling(tmp_path, {"num_beams": 4}, {})


# --- response to record ----------------------------------------------------------------------------------------------


def test_a_thought_that_was_cut_is_its_own_failure_and_never_judged():
    cut = Thinking("it is 4", 3, cut=True)
    score = judged({}, text="", finish_reason="length", thinking=cut)
    assert (score.failure, score.value) == (Failure.THINKING_CUT, None)
    assert judged({}, text="", finish_reason="length").failure is Failure.TRUNCATED
    assert judged({}, text="", finish_reason="time").failure is Failure.TRUNCATED
    assert judged({}, text="", finish_reason="stop").failure is Failure.NO_ANSWER


def test_a_prefill_is_part_of_the_answer_and_alone_is_none():
    assert judged({"prefill": "It is 4"}, text=".", finish_reason="stop").value == 1.0
    assert judged({"prefill": "It is 4"}, text="", finish_reason="stop").failure is Failure.NO_ANSWER


def test_confidence_is_a_probability():
    told = Confidence(mean=-0.5, minimum=-2.0, first=0.0)
    metrics = judged({}, text="4", finish_reason="stop", confidence=told).metrics
    assert metrics["confidence"] == pytest.approx(0.6065, abs=1e-4)
    assert metrics["confidence_min"] == pytest.approx(0.1353, abs=1e-4) and metrics["confidence_first"] == 1.0


@pytest.mark.parametrize(
    ("form", "valid", "invalid"),
    [
        (Form(choices=("a", "b")), (" a\n", "b"), ("ab", "")),
        (Form(regex="[0-9]+"), ("12", " 7 "), ("12a", "")),
        (Form(schema='{"type": "integer"}'), ("12", " 7"), ("1.5", "x", "", "[" * 100_000)),
        (Form(schema='{"$ref": "#/$defs/n", "$defs": {"n": {"enum": [1]}}}'), ("1",), ("2",)),
    ],
)
def test_a_text_is_of_a_form_or_not(form: Form, valid: tuple, invalid: tuple):
    assert all(is_valid(form, text) for text in valid) and not any(is_valid(form, text) for text in invalid)


@pytest.mark.parametrize("enforce", ["true", "false"])
def test_the_table_tells_the_share_of_valid_answers_held_or_not(tmp_path: Path, enforce: str):
    rules = [{"sample": "1", "thinking": "hm", "text": "1"}, {"sample": "2", "text": "it is 2"}, {"text": "9"}]
    planned = config(tmp_path, f"constrain: {{regex: '[0-9]+', enforce: {enforce}}}", rules)
    result = harness.run(planned, out=tmp_path / "out")
    assert result.summary.rows[0].metrics["valid_output"].value == 3 / 4
    plan = read_json(tmp_path / "out" / "plan.json")
    assert plan["cells"][0]["sampling"]["temperature"] == 0 and plan["models"]["m"]["generation_config"] is None


def test_confidence_is_averaged_over_the_answers_that_have_one(tmp_path: Path):
    from harness.analysis.statistics import further_of
    from harness.values import Record

    def record(**metrics: float) -> Record:
        return Record("m", "t", "1", 0, "generate", "4", "4", 1.0, None, 1, 1, None, "4", "stop", 0, metrics)

    found = further_of([record(confidence=0.5), record()])
    assert found["confidence"].value == 0.5
