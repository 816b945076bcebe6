"""Conversations: the user's turns are fixed, the model's own answers stand between, chosen turns are judged."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest
import yaml

import harness
from harness.api import score as finish
from harness.api import verify as verified
from harness.backends.scripted import ScriptedBackend
from harness.cli import listing
from harness.config.base import validate
from harness.config.model import model_of
from harness.config.run import RunConfig, TaskUse
from harness.errors import ConfigError, TaskError
from harness.runs.bench import make_bench
from harness.runs.carry_out import carry_out
from harness.runs.check import report
from harness.runs.plan import make_plan
from harness.store.lines import read_measurements
from harness.store.rows import read_jsonl
from harness.tasks.kinds import prompt_of
from harness.tasks.kinds.conversation import asked, ends_turn, later, replied, turn_of
from harness.tasks.load import load_task
from harness.tasks.self_test import self_test
from harness.tasks.task import Task
from harness.values import Message, Request, Response
from tests.support.chains import rechain
from tests.support.rows import said
from tests.support.servers import Reply, SyntheticServer
from tests.support.stopping import stopped_after
from tests.support.written_models import write_model

ROWS = [
    {"id": "a", "name": "Ada", "city": "Oslo", "script": ["Hi, I am Ada.", "Who am I?"], "right": [None, "Ada"]},
    {"id": "b", "name": "Ben", "city": "Rome", "script": ["I am Ben. Say so.", "{city}?"], "right": ["Ben", "Rome"]},
]
TALK: dict[str, Any] = {
    "task": "talk",
    "data": {"file": "talk.jsonl", "id": "id"},
    "kind": "conversation",
    "turns": ["Hi, I am {name} of {city}.", "What is my name?", "And my town?"],
    "scored": {2: {"answer": "name"}, 3: {"answer": "city", "extract": "first_line", "score": "contains"}},
}
RULES = [  # the last question stands at the end of the prompt; the answers before it stand in it too
    {"prompt": r"Ada(.|\n)*town\?\s*(assistant|Assistant):$", "text": "Oslo, as said\nof course"},
    {"prompt": r"town\?\s*(assistant|Assistant):$", "text": "I forgot"},
    {"prompt": r"Hello (\w+)(.|\n)*name\?\s*(assistant|Assistant):$", "text": "Ada"},
    {"prompt": r"Ada", "text": "Hello Ada"},
    {"prompt": r"", "text": "Hello stranger"},
]


def write(folder: Path, rows: Sequence[dict[str, Any]] = ROWS, **changes: Any) -> Path:
    (folder / "talk.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    given = {key: value for key, value in (TALK | changes).items() if value is not None}
    (folder / "talk.yaml").write_text(yaml.safe_dump(given))
    return folder / "talk.yaml"


def load(folder: Path, rows: Sequence[dict[str, Any]] = ROWS, **changes: Any) -> Task:
    return load_task(TaskUse(task=str(write(folder, rows, **changes))))


def config(task: Path, rules: Any = RULES, **model: Any) -> RunConfig:
    fake = {"name": "m", "backend": "fake", "script": rules} | model
    run = {"run": "r", "tasks": [str(task)], "models": [fake], "latency": {"requests": 2, "warmup": 0}}
    return validate(RunConfig, run, "test")


# ---- task files -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"turns": None}, "a conversation needs `turns`"),
        ({"prompt": "{name}"}, "a conversation task has no `prompt`"),
        ({"shots": {"n": 1}}, "a conversation task has no `shots`"),
        ({"rubric": {"criteria": "kind", "against": "baseline"}}, "a conversation has no `against` or `human`: each"),
        ({"rubric": {"criteria": "kind", "human": "name", "of": "city"}}, "a conversation has no `against` or `human`"),
        ({"scored": None}, "what is right is missing: add `answer: COLUMN`, or `scored: {2: {answer: COLUMN}}`"),
        ({"scored": {4: {"answer": "name"}}}, "turn 4 is scored, and there are 3"),
        ({"scored": {0: {"answer": "name"}}}, "greater than or equal to 1"),
        ({"scored": {2: {"answr": "name"}}}, "did you mean 'answer'?"),
        ({"scored": {2: {"answer": "nmae"}}}, "did you mean 'name'?"),
        ({"scored": {2: {"answer": "name", "score": "contians"}}}, "did you mean 'contains'?"),
        ({"scored": {2: {"answer": "name", "extract": "frist_line"}}}, "did you mean 'first_line'?"),
        ({"transcript": "User:"}, "`transcript` needs {turn} once"),
        ({"transcript": "{turn}"}, "`transcript` needs {turn} once, and after it"),
        ({"turns": ["I am {nmae}", "b", "c"]}, "turns names column 'nmae', which the data do not have"),
        ({"kind": "generate", "prompt": "x", "answer": "name"}, "it is for `kind: conversation`"),
        ({"kind": "generate", "prompt": "{name}", "turns": None, "scored": None}, "`answer` is missing"),
    ],
)
def test_a_mistake_in_a_task_file_is_named(tmp_path: Path, changes: dict[str, Any], says: str):
    with pytest.raises(TaskError) as caught:
        make_plan(config(write(tmp_path, **changes)))
    assert says in str(caught.value)
    assert str(tmp_path) in caught.value.where


COLUMN = {"turns": "script", "answer": "right", "scored": None}


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"script": "Hi"}, "column 'script' holds no list of turns"),
        ({"script": []}, "a turn that is empty or no text"),
        ({"script": ["Hi", ""]}, "a turn that is empty or no text"),
        ({"script": ["Hi", {"text": "x"}]}, "a turn that is empty or no text"),
        ({"right": ["x"]}, "column 'right' holds 1 answers to 2 turns"),
        ({"right": [None, None]}, "no turn is scored"),
        ({"right": "Ada"}, "column 'right' holds no list of answers"),
        ({"right": [None, ""]}, "no answer to turn 2"),
    ],
)
def test_a_mistake_in_a_row_is_named_with_its_number(tmp_path: Path, row: dict[str, Any], says: str):
    with pytest.raises(TaskError, match="row 2") as caught:
        load(tmp_path, [ROWS[0], ROWS[1] | row], **COLUMN)
    assert says in caught.value.what


def test_turns_and_answers_may_be_columns_and_a_null_is_not_judged(tmp_path: Path):
    written = [{**row, "script": json.dumps(row["script"]), "right": json.dumps(row["right"])} for row in ROWS]
    for rows in (ROWS, written):  # lists, or JSON in a cell
        task = load(tmp_path, rows, **COLUMN)
        assert [(s.scored, s.expected) for s in task.samples] == [((2,), ("Ada",)), ((1, 2), ("Ben", "Rome"))]
        assert asked(task.config, task.samples[1])[1] == "{city}?"  # data are never a template


# ---- what the model is shown ----------------------------------------------------------------------------------------


def test_the_answers_of_the_model_stand_between_the_turns(tmp_path: Path):
    task = load(tmp_path, system="Be brief.")
    one = task.samples[0]
    prompt = prompt_of(task.config, one, (), chat=True)
    for answer, more in zip(("Hello Ada", "Ada"), later(task.config, one, chat=True)):
        prompt = prompt.answered(answer, more)
    assert [(turn.role, turn.content) for turn in prompt.messages] == [
        ("system", "Be brief."),
        ("user", "Hi, I am Ada of Oslo."),
        ("assistant", "Hello Ada"),
        ("user", "What is my name?"),
        ("assistant", "Ada"),
        ("user", "And my town?"),
    ]


def test_a_model_without_chat_template_gets_the_transcript_of_the_task(tmp_path: Path):
    task = load(tmp_path, transcript="Q: {turn}\nA:", separator="\n")
    one = task.samples[0]
    first, (second, third) = prompt_of(task.config, one, (), chat=False), later(task.config, one, chat=False)
    said = [replied(task.config, text, chat=False) for text in (" Hello Ada\n", "Ada")]  # a blank is told or not
    whole = first.answered(said[0], second).answered(said[1], third)
    assert whole.text == "Q: Hi, I am Ada of Oslo.\nA: Hello Ada\nQ: What is my name?\nA: Ada\nQ: And my town?\nA:"
    assert ends_turn(task.config, chat=False) == ("\nQ:",) and ends_turn(task.config, chat=True) == ()


def test_each_answer_begins_with_the_prefill(tmp_path: Path):
    task = load(tmp_path, prefill="Sure,")
    one = task.samples[0]
    chat = prompt_of(task.config, one, (), chat=True).answered(" hello", later(task.config, one, chat=True)[0])
    assert chat.messages[1:] == (
        Message("assistant", "Sure, hello"),
        Message("user", "What is my name?"),
        Message("assistant", "Sure,"),
    )
    text = prompt_of(task.config, one, (), chat=False).answered(" hello", later(task.config, one, chat=False)[0])
    assert text.text.endswith("Assistant: Sure, hello\n\nUser: What is my name?\nAssistant: Sure,")


def test_check_shows_the_conversation_and_tests_each_scored_turn(tmp_path: Path):
    found = report(config(write(tmp_path)))
    text = found.text()
    assert "    | User: What is my name?\n    | Assistant: (the model's answer)\n    | \n    | User: And my" in text
    assert "right answer to turn 2: Ada" in text and "right answer to turn 3: Oslo" in text
    assert "gold answer scores 1: ok (4 tried)" in text and found.passed
    assert "6 requests in all" in text


def test_the_list_of_tasks_shows_a_conversation_whole():
    text = listing.tasks("parcel-desk", as_json=False)
    assert "\nAssistant: (the model's answer)\n\nUser: Which parcel number did I give you?" in text
    assert text.endswith("# right answer to turn 4: a desk lamp")


def test_the_self_test_names_the_turn_that_is_judged_wrongly(tmp_path: Path):
    task = load(tmp_path, scored={2: {"answer": "name"}, 3: {"answer": "city", "extract": "number", "score": "number"}})
    assert self_test(task).gold_fails == ("a turn 3", "b turn 3")


# ---- running --------------------------------------------------------------------------------------------------------


def test_every_turn_is_stored_and_chosen_turns_are_judged(tmp_path: Path):
    result = harness.run(config(write(tmp_path)), out=tmp_path / "out")
    lines = read_jsonl(tmp_path / "out" / "responses.jsonl")
    assert [(line["sample_id"], line["turn"]) for line in lines] == [(i, t) for t in (1, 2, 3) for i in "ab"]
    assert all(line["finish_reason"] == "stop" and line["output_tokens"] > 0 and line["prev"] for line in lines)
    third = next(line for line in lines if (line["sample_id"], line["turn"]) == ("a", 3))
    assert "Hello Ada\n\nUser: What is my name?\nAssistant: Ada\n\nUser: And my town?" in third["prompt"]
    ada, ben = result.records().to_dict("records")
    assert ada["value"] == 1.0 and ben["value"] == 0.0  # he was called a stranger: an answer of the model's own
    assert ada["metrics"] == {"turn_2": 1.0, "turn_3": 1.0}
    assert [(turn["turn"], turn["value"], turn["answer"]) for turn in ada["turns"]] == [
        (1, None, None),
        (2, 1.0, "Ada"),
        (3, 1.0, "Oslo, as said"),  # its own extractor
    ]
    assert ada["input_tokens"] == sum(line["input_tokens"] for line in lines if line["sample_id"] == "a")
    row = result.summary.rows[0]
    assert (row.asked.n, row.asked.responses, row.asked.expected, row.accuracy.value) == (2, 2, 2, 0.5)
    assert row.throughput.samples == 2 and row.latency.n == 2
    assert "turn 2 %" in result.table("markdown") and verified(tmp_path / "out").ok and result.complete


@pytest.mark.parametrize(("over_turns", "value"), [("mean", 0.5), ("all", 0.0)])
def test_a_conversation_is_worth_the_mean_of_its_turns_or_needs_all(tmp_path: Path, over_turns: str, value: float):
    rules = [{"prompt": r"name\?\s*Assistant:$", "text": "Ada"}, {"prompt": "", "text": "Nowhere"}]
    task = write(tmp_path, ROWS[:1], over_turns=over_turns)
    result = harness.run(config(task, rules), out=tmp_path / "out")
    assert result.summary.rows[0].accuracy.value == value


def test_a_turn_that_only_some_conversations_have_is_a_mean_over_those(tmp_path: Path):
    rules = [{"prompt": r"Say so.\s*Assistant:$", "text": "Ben"}, {"prompt": "", "text": "?"}]
    result = harness.run(config(write(tmp_path, **COLUMN), rules), out=tmp_path / "out")
    row = result.summary.rows[0]
    assert row.metrics["turn_1"].value == 1.0 and row.metrics["turn_2"].value == 0.0
    assert row.accuracy.value == 0.25  # 0 of 1 turn, 1 of 2


def test_what_goes_wrong_is_named_by_turn_and_nothing_is_asked_after_it(tmp_path: Path):
    rules = [{"sample": "a", "prompt": r"name\?\s*Assistant:$", "error": "connection lost"}, *RULES]
    numbers = {2: {"answer": "name"}, 3: {"answer": "city", "extract": "number"}}
    talk = config(write(tmp_path, scored=numbers), rules)
    result = harness.run(talk, out=tmp_path / "out", despite_self_test=True)  # no city is a number
    row = result.summary.rows[0]
    assert row.asked.failures == {
        "backend_error in turn 2": 1,
        "backend_error in turn 3": 1,
        "no_answer in turn 3": 1,
    }
    lines = read_jsonl(tmp_path / "out" / "responses.jsonl")
    errors = {(line["sample_id"], line["turn"]): line["error"] for line in lines if line["error"]}
    assert errors == {("a", 2): "connection lost", ("a", 3): "not asked: turn 2 has no answer"}
    ada = result.records().iloc[0]
    assert row.asked.n == 1 and ada["failure"] == "backend_error"  # left out of the mean
    assert not result.complete  # one of two is more than the run allows


class Counting(ScriptedBackend):
    """Keeps the key of every request it answers."""

    keys: ClassVar[list[str]] = []

    def answer(self, requests: Sequence[Request]) -> Iterator[Response]:
        for response in super().answer(requests):
            self.keys.append(response.key)
            yield response


@pytest.mark.usefixtures("one_by_one")
def test_resumed_in_the_middle_nothing_is_asked_twice(tmp_path: Path):
    wanted = config(write(tmp_path)).model_copy(update={"latency": harness.config.bench.LatencyConfig(requests=0)})
    plan = make_plan(wanted)
    for _ in carry_out(plan, tmp_path / "whole"):
        pass
    expected = finish(tmp_path / "whole").records().to_dict("records")
    for stop in range(1, 6):  # after each of the six answers but the last
        Counting.keys = []
        out = tmp_path / f"out{stop}"
        for sitting in (stop, 6):
            stopped_after(carry_out(plan, out, Counting), sitting)
        assert sorted(Counting.keys) == sorted(request.key for request in plan.cells[0].requests)
        assert finish(out).records().to_dict("records") == expected
        assert verified(out).ok
        passes = list(read_measurements(out, {"pass"}))
        assert sum(line.samples for line in passes) == 2  # conversations, in the sitting they ended in


@pytest.mark.usefixtures("one_by_one")
def test_an_unfinished_conversation_is_owed_and_has_no_record(tmp_path: Path):
    plan = make_plan(config(write(tmp_path)))
    stopped_after(carry_out(plan, tmp_path / "out"), 5)
    result = finish(tmp_path / "out")
    assert len(result.records()) == 1 and not result.complete
    assert "INCOMPLETE: m on talk: 1 of 2 samples." in said(result.summary)


def test_answers_are_judged_again_from_the_files_alone(tmp_path: Path):
    harness.run(config(write(tmp_path)), out=tmp_path / "out")
    plan = json.loads((tmp_path / "out" / "plan.json").read_text())
    plan["tasks"]["talk"]["scored"] = {"3": {"answer": "city", "extract": None, "score": "exact_match"}}
    samples = read_jsonl(tmp_path / "out" / "samples.jsonl")
    samples = [{**line, "scored": [3], "expected": line["expected"][1:]} for line in samples]
    (tmp_path / "out" / "plan.json").write_text(json.dumps(plan))
    (tmp_path / "out" / "samples.jsonl").write_text("".join(json.dumps(line) + "\n" for line in samples))
    rechain(tmp_path / "out")
    row = finish(tmp_path / "out").summary.rows[0]
    assert row.accuracy.value == 0.0 and list(row.metrics) == ["turn_3"]  # "Oslo, as said" is not "Oslo"


def test_several_epochs_are_several_conversations(tmp_path: Path):
    result = harness.run(config(write(tmp_path, epochs=2)), out=tmp_path / "out")
    row = result.summary.rows[0]
    assert (row.asked.n, row.asked.responses, len(read_jsonl(tmp_path / "out" / "responses.jsonl"))) == (2, 4, 12)


def test_python_of_the_task_sees_what_was_said_before(tmp_path: Path):
    (tmp_path / "mine.py").write_text(
        "def kept(expected, answer, row):\n"
        "    return float(row['_question_1'].startswith('Hi') and '_answer_3' not in row\n"
        "                 and answer in row['_answer_1'])\n"
    )
    judged = {2: {"answer": "name", "score": {"python": "mine:kept"}}}
    task = write(tmp_path, scored=judged)
    result = harness.run(config(task), out=tmp_path / "out")
    assert list(result.records()["value"]) == [1.0, 0.0]
    one = load_task(TaskUse(task=str(task)))
    _, turn = turn_of(one.config, one.samples[0], 2, (Response("", None, text="Hello Ada"),))
    assert {key: value for key, value in turn.row.items() if key.startswith("_")} == {
        "_question_1": "Hi, I am Ada of Oslo.",
        "_answer_1": "Hello Ada",
        "_question_2": "What is my name?",
    }


def test_a_server_gets_the_conversation_as_messages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("harness.security.egress.is_loopback", lambda host: False)  # as if it were elsewhere

    def reply(order: int, body: dict[str, Any]) -> Reply:
        return Reply(status=404) if not body else Reply(text=f"answer {len(body['messages'])}", tokens=1)

    with SyntheticServer(reply) as server:
        task = write(tmp_path, ROWS[:1])
        remote = {"backend": "openai", "base_url": server.url, "script": None, "price": {"input": 1.0, "output": 10.0}}
        remote["allow_http"] = True
        wanted = config(task, **remote).model_copy(update={"latency": harness.config.bench.LatencyConfig(requests=0)})
        result = harness.run(wanted, out=tmp_path / "out")
        bodies = [body for body in server.bodies if body]
    assert [[turn["content"] for turn in body["messages"]] for body in bodies] == [
        ["Hi, I am Ada of Oslo."],
        ["Hi, I am Ada of Oslo.", "answer 1", "What is my name?"],
        ["Hi, I am Ada of Oslo.", "answer 1", "What is my name?", "answer 3", "And my town?"],
    ]
    (passed,) = read_measurements(tmp_path / "out", {"pass"})
    assert passed.usd == pytest.approx(3 * (7 * 1.0 + 1 * 10.0) / 1e6) and passed.samples == 1
    assert passed.sent_bytes == sum(len(turn["content"]) for body in bodies for turn in body["messages"])
    assert result.complete


def test_recorded_conversations_are_judged_like_any_others(tmp_path: Path):
    said = {("a", 1): "Hello", ("a", 2): "Ada", ("a", 3): "Oslo", ("b", 1): "Hi", ("b", 2): "Bob", ("b", 3): "Rome"}
    lines = [{"id": id, "turn": turn, "text": text} for (id, turn), text in said.items()]
    (tmp_path / "old.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    task = write(tmp_path)
    result = harness.run(config(task, str(tmp_path / "old.jsonl"), backend="recorded"), out=tmp_path / "out")
    assert list(result.records()["value"]) == [1.0, 0.5]


@pytest.mark.slow
def test_a_model_in_this_process_goes_on_from_its_own_answers(tmp_path: Path):
    task = write(tmp_path, max_tokens=6)
    model = model_of(name="d", path="demo-0.1m", threads=1, device="cpu")
    wanted = config(task).model_copy(update={"models": (model,)})
    harness.run(wanted, out=tmp_path / "out")
    lines = {(li["sample_id"], li["turn"]): li for li in read_jsonl(tmp_path / "out" / "responses.jsonl")}
    for id in "ab":
        first, second = lines[id, 1], lines[id, 2]
        assert second["prompt"] == f"{first['prompt']} {first['text'].strip()}\n\nUser: What is my name?\nAssistant:"
        assert second["input_tokens"] > first["input_tokens"] and second["prefill_s"] > 0


@pytest.mark.slow
def test_a_chat_template_is_given_the_answers_as_messages(tmp_path: Path):
    folder = write_model(tmp_path / "m", "llama", chat=True, context=512)
    model = model_of(name="c", path=str(folder), threads=1, device="cpu")
    wanted = config(write(tmp_path, max_tokens=4)).model_copy(update={"models": (model,)})
    harness.run(wanted, out=tmp_path / "out")
    lines = {(li["sample_id"], li["turn"]): li for li in read_jsonl(tmp_path / "out" / "responses.jsonl")}
    assert lines["a", 1]["prompt"] == "<s>[user] Hi, I am Ada of Oslo. [assistant]"
    said = lines["a", 1]["text"]
    assert lines["a", 2]["prompt"] == f"{lines['a', 1]['prompt']} {said} [user] What is my name? [assistant]"


def test_load_is_not_measured_on_conversations(tmp_path: Path):
    with pytest.raises(ConfigError, match="task 'talk' is a conversation"):
        make_bench(config(write(tmp_path)))
