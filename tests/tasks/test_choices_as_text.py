"""A choice task asked as text: what is asked, how it is judged, and that it is a row of its own."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

import harness
from harness.config.base import validate
from harness.config.run import RunConfig, TaskUse
from harness.errors import TaskError
from harness.runs.plan import make_plan
from harness.tasks.kinds import kind_of, prompt_of, task_from_old
from harness.tasks.kinds.base import Manner
from harness.tasks.load import load_task
from harness.tasks.prompts import check_columns
from harness.tasks.score_answer import judge
from harness.tasks.self_test import messy, self_test
from harness.tasks.shots import shots_for
from harness.tasks.task import Task
from harness.values import Message, Response, Sampling
from tests.support.rows import said

ROWS = [
    {"q": "Which is hot?", "options": ["ice", "fire"], "answer": "B", "team": "billing"},
    {"q": "Which is cold?", "options": ["ice", "fire", "sun"], "answer": "A", "team": "ship{s}"},
    {"q": "Which is wet?", "options": ["sun", "rain"], "answer": "B", "team": "billing"},
]
BY_NAME = {"prompt": "Ticket: {q}\nTeam:", "choices": ["billing", "ship{s}"], "answer": "team"}
BY_LETTER = {"prompt": "Question: {q}\nAnswer:", "choices": "options", "answer": "answer"}


def task(folder: Path, rows: list[dict[str, Any]] = ROWS, **given: Any) -> Task:
    (folder / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "t.yaml").write_text(yaml.safe_dump({"task": "t", "data": {"file": "t.jsonl"}, "kind": "choice"} | given))
    return load_task(TaskUse(task=str(folder / "t.yaml")))


def twin(task: Task) -> Task:
    return kind_of(task.config).as_text(task.config, task)


def asked(task: Task, index: int = 0, chat: bool = False) -> Any:
    sample = task.samples[index]
    prompt = prompt_of(task.config, sample, shots_for(task, sample, 0), chat)
    return prompt.messages or prompt.text


def values(task: Task, *texts: str) -> list[tuple[float | None, str | None]]:
    found = [judge(task.config, task.samples[0], Response("k", None, text=text)) for text in texts]
    return [(score.value, score.answer) for score in found]


def test_a_fixed_list_is_answered_by_name(tmp_path: Path):
    made = twin(task(tmp_path, **BY_NAME))
    told = "Choices (Team):\n- billing\n- ship{s}\n\nAnswer with exactly one of the choices, and nothing else."
    assert asked(made) == f"{told}\n\nTicket: Which is hot?\nTeam:"
    assert asked(made, chat=True) == (Message("user", f"Ticket: Which is hot?\n\n{told}"),)
    assert values(made, " Billing.", "ship{s}", "no idea") == [(1.0, "billing"), (0.0, "ship{s}"), (None, None)]


@pytest.mark.parametrize("given", [BY_NAME, BY_LETTER], ids=["by name", "by letter"])
def test_its_self_test_has_a_model_write_the_answers(tmp_path: Path, given: dict[str, Any]):
    made = twin(task(tmp_path, **given))
    tested = self_test(made)
    assert (tested.passed, tested.gold_tried, tested.wrong_tried) == (True, 3, 3)
    shouting = replace(made, config=made.config.model_copy(update={"score": "text", "extract": "first_line"}))
    assert messy(made)["in bold"] == 1.0 and messy(shouting)["in a sentence"] == 0.0
    unfound = replace(made, config=made.config.model_copy(update={"extract": "number"}))
    assert len(self_test(unfound).gold_fails) == 3


def test_choices_of_each_row_are_listed_and_answered_by_letter(tmp_path: Path):
    made = twin(task(tmp_path, **BY_LETTER))
    told = "Answer with the letter of the right choice and nothing else.\n\n"
    assert asked(made, 1) == told + "Question: Which is cold?\nA. ice\nB. fire\nC. sun\nAnswer:"
    assert values(made, "B", "The answer is (A).", "fire") == [(1.0, "B"), (0.0, "A"), (None, None)]


@pytest.mark.parametrize(
    ("prompt", "wanted"),
    [
        ("{q}\n{choices}\nAnswer:", "Which is hot?\nA. ice\nB. fire\nAnswer:"),
        ("{q}", "Which is hot?\nA. ice\nB. fire\nAnswer:"),
        ("Say:\n{q}", "Say:\nWhich is hot?\nA. ice\nB. fire\nAnswer:"),
    ],
)
def test_choices_are_listed_once_and_before_the_answer(tmp_path: Path, prompt: str, wanted: str):
    made = twin(task(tmp_path, **BY_LETTER | {"prompt": prompt}))
    assert asked(made).endswith("nothing else.\n\n" + wanted)


def test_shots_are_those_of_the_task_and_show_the_answer_in_the_same_form(tmp_path: Path):
    scored = task(tmp_path, **BY_LETTER, shots={"n": 1, "pick": "random"}, description="Easy.\n\n")
    made = twin(scored)
    for sample, same in zip(scored.samples, made.samples):
        assert [s.id for s in shots_for(scored, sample, 3)] == [s.id for s in shots_for(made, same, 3)]
    head, shot, answer, question = asked(made, chat=True)
    assert head == Message("system", "Easy.")
    assert (shot.role, answer.content, question.role) == ("user", "B" if "wet" in shot.content else "A", "user")
    ends = "\n\nAnswer with the letter of the right choice and nothing else."
    assert shot.content.endswith(ends) and question.content.endswith(ends)
    text = asked(made)
    assert text.startswith("Easy." + ends + "\n\nQuestion: ") and text.count(ends) == 1 and text.endswith("\nAnswer:")


CHAT = [  # the prompt of the task; what a chat model is asked; what a text ends in
    ("{q}\nAnswer:", "{q}\n{letters}\n\n{told}", "\nAnswer:"),
    ("{q}\nA:", "{q}\n{letters}\n\n{told}", "\nA:"),
    ("{q}", "{q}\n{letters}\n\n{told}", "\nAnswer:"),
    ("{q}\n\nThe best word is:", "{q}\n\n{letters}\n\n{told} for \"The best word is\"", "\n\nThe best word is:"),
    ("{q}\n{choices}\nYour choice -", "{q}\n{letters}\n\n{told} for \"Your choice\"", "\nYour choice -"),
    ("Say:\n{q}", "Say:\n{q}\n{letters}\n\n{told}", "\nAnswer:"),
    # a last line that holds data is the question, and is not taken off
    ("Which word fits?\nThe {q}:", "Which word fits?\nThe {q}:\n{letters}\n\n{told}", "\nAnswer:"),
]  # fmt: skip


@pytest.mark.parametrize(("prompt", "chat", "end"), CHAT)
def test_nothing_of_the_prompt_is_lost_and_a_chat_model_is_told_last_what_to_answer(
    tmp_path: Path, prompt: str, chat: str, end: str
):
    made = twin(task(tmp_path, **BY_LETTER | {"prompt": prompt}))
    (said,) = asked(made, chat=True)
    told = "Answer with the letter of the right choice"
    wanted = chat.replace("{told}", told).replace("{q}", "Which is hot?").replace("{letters}", "A. ice\nB. fire")
    assert said == Message("user", f"{wanted} and nothing else.")
    assert asked(made).endswith(end)


def test_a_text_ends_where_the_next_question_would_begin_and_a_chat_where_the_model_ends_it(tmp_path: Path):
    made = twin(task(tmp_path, **BY_LETTER, stop=["Question:"]))
    stops = {
        chat: next(kind_of(made.config).requests(made.config, made.samples[0], (), Manner("", chat, Sampling()))).stop
        for chat in (True, False)
    }
    assert stops == {True: ("Question:",), False: ("Question:", "\n\n")}


def test_an_instruction_and_a_cue_of_the_task_file_are_kept_and_scored_as_a_text_has_them(tmp_path: Path):
    scored = task(tmp_path, prompt="{q}", choices="options", answer="answer", instruction="Think.", cue="\nSo:")
    assert asked(scored) == "Think.\n\nWhich is hot?\nSo:"
    ends = 'Think.\n\nAnswer with the letter of the right choice for "So" and nothing else.'
    assert asked(twin(scored)) == f"{ends}\n\nWhich is hot?\nA. ice\nB. fire\nSo:"
    assert asked(twin(scored), chat=True) == (Message("user", f"Which is hot?\nA. ice\nB. fire\n\n{ends}"),)


def test_choices_that_the_prompt_shows_by_their_columns_are_not_listed_again(tmp_path: Path):
    rows = [{"q": "Which is hot?", "A": "ice", "B": "fire", "answer": "B"}]
    given = {"choices": {"columns": ["A", "B"]}, "answer": "answer", "answer_is": "letter"}
    made = twin(task(tmp_path, rows, prompt="{q}\nA. {A}\nB. {B}\nAnswer:", **given))
    assert asked(made).endswith("\n\nWhich is hot?\nA. ice\nB. fire\nAnswer:")
    unlabelled = twin(task(tmp_path, rows, prompt="{q} {A} or {B}?\nAnswer:", **given))
    assert asked(unlabelled).endswith("\n\nWhich is hot? ice or fire?\nA. ice\nB. fire\nAnswer:")


def test_the_twin_is_a_generated_task_of_its_own_name_that_can_be_stored(tmp_path: Path):
    for given in (BY_NAME, BY_LETTER):
        made = twin(task(tmp_path, **given))
        assert made.name == "t[generated]" and {sample.task for sample in made.samples} == {made.name}
        check_columns(made.config, [replace(made.samples[0], row={**made.samples[0].row, "choices": ""})], "here")
        stored = made.config.model_dump(mode="json", by_alias=True)
        assert task_from_old(json.loads(json.dumps(stored))) == made.config


def test_what_is_no_choice_of_one_has_no_twin(tmp_path: Path):
    several = task(tmp_path, [{"q": "?", "options": ["a", "b"], "answer": [1, 1]}], **BY_LETTER, answer_is="flags")
    with pytest.raises(TaskError, match="cannot be asked as text"):
        twin(several)
    many = task(tmp_path, [{"q": "?", "options": [str(i) for i in range(30)], "answer": "3"}], **BY_LETTER)
    with pytest.raises(TaskError, match="a row has 30 choices, and letters name 26"):
        twin(many)


# --- in a run --------------------------------------------------------------------------------------------------------

FAKE = {"name": "open", "backend": "fake", "script": [{"prompt": "hot", "text": "The answer is B."}]}
CLOSED = {"name": "closed", "backend": "anthropic", "model": "claude-haiku-4-5"}


def config(folder: Path, *models: dict[str, Any], **use: Any) -> RunConfig:
    given = {"run": "r", "tasks": [{"task": str(folder / "t.yaml"), **use}], "models": list(models)}
    return validate(RunConfig, given | {"latency": {"requests": 0}}, "test")


def cells(config: RunConfig) -> list[tuple[str, str, str]]:
    return [(cell.model.config.name, cell.task.name, cell.mode) for cell in make_plan(config).cells]


def test_where_one_model_does_not_score_every_model_gets_the_twin(tmp_path: Path):
    task(tmp_path, **BY_LETTER)
    assert cells(config(tmp_path, FAKE, CLOSED)) == [
        ("open", "t", "loglikelihood"),
        ("open", "t[generated]", "generate"),
        ("closed", "t[generated]", "generate"),
    ]
    assert cells(config(tmp_path, CLOSED)) == [("closed", "t[generated]", "generate")]
    assert cells(config(tmp_path, FAKE)) == [("open", "t", "loglikelihood")]


def test_a_run_file_may_ask_for_the_twin_alone(tmp_path: Path):
    task(tmp_path, **BY_LETTER)
    asked = config(tmp_path, FAKE, **{"as": "generate"})
    assert cells(asked) == [("open", "t[generated]", "generate")]
    result = harness.run(asked, out=tmp_path / "out")
    found = result.records().set_index("sample_id")
    assert found.loc["0", "answer"] == "B" and found.loc["0", "value"] == 1.0
    assert result.summary.references[0].name == "chance"


def test_a_closed_model_is_asked_by_messages_and_an_open_server_by_its_interface(tmp_path: Path):
    task(tmp_path, **BY_LETTER)
    local = {"backend": "openai", "base_url": "http://127.0.0.1:9/v1"}
    models = [CLOSED, {"name": "chat", **local}, {"name": "text", **local, "api": "completions"}]
    plan = make_plan(config(tmp_path, *models, **{"as": "generate"}))
    assert [cell.chat for cell in plan.cells] == [True, True, False]


def test_a_task_that_has_no_twin_is_refused_with_a_model_that_does_not_score(tmp_path: Path):
    task(tmp_path, kind="cloze", prompt="{q}", answer="answer")
    with pytest.raises(TaskError, match="which closed does not tell"):
        make_plan(config(tmp_path, FAKE, CLOSED))


def test_how_fast_and_at_what_price_a_model_is_asked_changes_no_answer(tmp_path: Path):
    task(tmp_path, **BY_LETTER)
    digest = make_plan(config(tmp_path, CLOSED)).digest
    limits = {"concurrency": 2, "max_cost": 1.0}
    same = CLOSED | {"limits": limits, "price": {"input": 1, "output": 2}, "api_key_env": "MY_KEY"}
    assert make_plan(config(tmp_path, same)).digest == digest
    for change in ({"model": "another"}, {"extra": {"thinking": {"type": "disabled"}}}, {"base_url": "https://h"}):
        assert make_plan(config(tmp_path, CLOSED | change)).digest != digest


def test_of_a_row_whose_answers_hold_no_label_the_commonest_is_shown_with_what_helps(tmp_path: Path):
    rows = [{"q": f"{i}", "team": "billing"} for i in range(10)]
    task(tmp_path, rows, **BY_NAME)
    script = [{"sample": str(i), "text": "billing"} for i in range(6)] + [{"sample": "6", "text": "Ask\n | us"}]
    talker = {"name": "talker", "backend": "fake", "script": [*script, {"text": "billing or ship{s}"}]}
    result = harness.run(config(tmp_path, talker, **{"as": "generate"}), out=tmp_path / "out")
    (line,) = [line for line in said(result.summary) if "hold no label" in line]
    assert line.startswith("WARNING: talker on t[generated]: 4 of 10 answers hold no label; commonest: ")
    assert '"billing or ship{s}" (3); "Ask | us" (1). What helps: `constrain: {labels: true}`' in line
    assert "hold no label" in result.table()
    told = {"name": "told", "backend": "fake", "script": [*script, {"text": "billing"}]}
    quiet = harness.run(config(tmp_path, told, **{"as": "generate"}), out=tmp_path / "few")
    assert not any("hold no" in line for line in said(quiet.summary))  # one of ten
