"""What is asked: templates of columns only, shots, messages; data are never read as a template."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from harness.config.task import TaskConfig
from harness.errors import TaskError
from harness.tasks.kinds import check_prompts_differ, kind_of, prompt_of, task_from
from harness.tasks.kinds.base import Manner
from harness.tasks.prompts import answer_text, check_columns, columns_of, fill
from harness.values import Message, Sample, Sampling


def task(**changes: Any) -> TaskConfig:
    base = {"task": "t", "data": {"file": "x"}, "kind": "generate", "prompt": "Q: {q}\nA:", "answer": "a"}
    given = base | changes
    unasked = ("prompt",) if given["kind"] in ("conversation", "perplexity") else ()
    return task_from({key: value for key, value in given.items() if key not in unasked}, "t.yaml")


def texts(config: Any, sample: Sample, chat: bool) -> tuple[str, ...]:
    """Returns the texts whose log-probability is asked for."""
    return _request(config, sample, chat).continuations


def given(config: Any, sample: Sample) -> tuple[str, ...]:
    """Returns what stands before each of them, after the prompt."""
    return _request(config, sample, False).given


def _request(config: Any, sample: Sample, chat: bool) -> Any:
    return next(kind_of(config).requests(config, sample, (), Manner("", chat, Sampling())))


def sample(id: str = "1", expected: Any = "four", **row: Any) -> Sample:
    return Sample(id, "t", {"q": "2+2?", "a": "four", **row}, expected)


def test_only_columns_are_put_in():
    assert fill("{a} {b.c} {{a}} {a}", {"a": "x", "b.c": 1}) == "x 1 {a} x"
    assert columns_of("{a} {{b}} {c d} {a}") == ("a", "c d")


@pytest.mark.parametrize("hostile", ["{q}", "{{q}}", "{0.__class__}", "{% raw %}", "${PATH}", "%(q)s", "\\1", "\x00"])
def test_data_are_never_a_template(hostile: str):
    assert fill("<{q}>", {"q": hostile}) == f"<{hostile}>"


def test_values_stand_as_text_and_nothing_stands_for_nothing():
    row = {"a": None, "b": 3, "c": [1, "ü"], "d": {"x": True}, "e": 0.5, "f": False}
    assert fill("{a}|{b}|{c}|{d}|{e}|{f}", row) == '|3|[1, "ü"]|{"x": true}|0.5|False'


def test_text_has_system_description_shots_and_question():
    config = task(system="Be brief.", description="About sums.\n\n")
    shots = [sample("2", "six", q="3+3?")]
    shown = prompt_of(config, sample(), shots, chat=False).text
    assert shown == "Be brief.\n\nAbout sums.\n\nQ: 3+3?\nA: six\n\nQ: 2+2?\nA:"


def test_messages_have_a_turn_for_each_shot():
    config = task(system="Be brief.", description="About sums.\n\n")
    shots = [sample("2", "six", q="3+3?")]
    assert prompt_of(config, sample(), shots, chat=True).messages == (
        Message("system", "Be brief.\n\nAbout sums."),
        Message("user", "Q: 3+3?\nA:"),
        Message("assistant", "six"),
        Message("user", "Q: 2+2?\nA:"),
    )


def test_lettered_choices_stand_one_a_line():
    config = task(kind="choice", choices="options", continuation="letter", prompt="{q}\n{choices}\nAnswer:")
    asked = Sample("1", "t", {"q": "Which?", "options": ["x", "y"]}, "B", ("x", "y"), ("A", "B"), 1, marks=("A.", "B."))
    assert prompt_of(config, asked, [], chat=False).text == "Which?\nA. x\nB. y\nAnswer:"
    assert texts(config, asked, chat=False) == (" A", " B")
    assert texts(config, asked, chat=True) == ("A", "B")


@pytest.mark.parametrize(
    ("changes", "what", "fix"),
    [
        ({"prompt": "{quest}"}, "prompt names column 'quest'", "known: a, q"),
        ({"prompt": "{qq}"}, "prompt names column 'qq'", "q"),
        ({"system": "{sys}"}, "system names column 'sys'", "known"),
        ({"description": "{topic}"}, "description names column 'topic'", "known"),
        ({"prompt": '{"a": 1}'}, "prompt names column '\"a\": 1'", "write {{ and }} for braces"),
        ({"prompt": "{choices}"}, "prompt names column 'choices'", "known"),
    ],
)
def test_a_column_that_is_not_there_is_named(changes: dict[str, Any], what: str, fix: str):
    with pytest.raises(TaskError) as caught:
        check_columns(task(**changes), [sample()], "t.yaml")
    assert what in caught.value.what
    assert fix in caught.value.fix
    assert caught.value.where == "t.yaml"


def test_a_right_answer_may_be_written_in_more_words_than_are_judged():
    config = task(target="The answer is {a}.")
    assert answer_text(config, sample()) == "The answer is four."
    shown = prompt_of(config, sample(), [sample("2", "six", q="3+3?", a="six")], chat=False).text
    assert shown == "Q: 3+3?\nA: The answer is six.\n\nQ: 2+2?\nA:"


def test_an_ending_is_scored_after_each_choice():
    config = task(kind="choice", choices={"columns": ["x", "y"]}, prompt="{q} ", ending="{end}", answer="a")
    asked = Sample(
        "1", "t", {"q": "Who?", "x": "Tom", "y": "Ben", "end": "did."}, "Ben", ("Tom", "Ben"), ("Tom", "Ben"), 1
    )
    assert given(config, asked) == ("Tom", "Ben")
    assert texts(config, asked, chat=False) == texts(config, asked, chat=True) == (" did.", " did.")
    assert prompt_of(config, asked, [asked], chat=False).text == "Who? Ben did.\n\nWho? "
    assert prompt_of(config, asked, [asked], chat=True).messages[1] == Message("assistant", "Ben did.")


def test_a_cloze_scores_the_answer_itself():
    assert texts(task(kind="cloze"), sample(), chat=False) == (" four",)
    assert given(task(kind="cloze"), sample()) == ()


@pytest.mark.parametrize("key", ["target", "ending"])
def test_a_missing_column_is_named_wherever_a_template_stands(key: str):
    changes = {"kind": "choice", "choices": ["a", "b"]} if key == "ending" else {}
    with pytest.raises(TaskError, match=f"{key} names column 'aa'"):
        check_columns(task(**changes, **{key: "{aa}"}), [sample()], "t.yaml")


@pytest.mark.parametrize("written", ["{{q}}", "{{ q }}", "{{Q}}", "{{q | upper}}", "{{q.strip()}}", "{{doc.q}}"])
def test_two_braces_around_a_column_are_refused_with_what_to_write(written: str):
    with pytest.raises(TaskError, match="two braces are one brace of the text") as caught:
        check_columns(task(prompt=f"Q: {written}\nA:"), [sample()], "t.yaml")
    assert caught.value.fix == "write {q} for what stands in the column" and written in caught.value.what


@pytest.mark.parametrize("written", ["{{}}", '{{"q": 1}}', "{{q, a}}", "{{{q}}}", "{{name}}", "{{{{q}}}}", "{{'q'}}"])
def test_braces_that_are_meant_stay(written: str):
    check_columns(task(prompt=f"{{q}} {written}"), [sample()], "t.yaml")


def test_samples_that_are_all_asked_the_same_are_refused():
    several = [sample("1", q="2+2?"), sample("2", q="3+3?"), sample("3", q="2+2?")]
    check_prompts_differ(task(), several, "t.yaml")
    check_prompts_differ(task(prompt="Say it."), several[:1], "t.yaml")
    with pytest.raises(TaskError, match=r"all 3 samples are asked the very same: 'Say it\.'"):
        check_prompts_differ(task(prompt="Say it."), several, "t.yaml")
    with pytest.raises(TaskError, match="the very same"):
        check_prompts_differ(task(prompt="{{question}}"), several, "t.yaml")


def test_a_fixed_question_about_other_choices_and_a_fixed_first_turn_are_no_mistake():
    rows = [replace(sample(str(i)), choices=(f"a{i}", "b")) for i in range(2)]
    check_prompts_differ(task(kind="choice", prompt="Which is right?", choices="a"), rows, "t.yaml")
    talk = {"kind": "conversation", "turns": ["Hello.", "{q}"], "scored": {2: {"answer": "a"}}}
    talks = [replace(sample(str(i), q=f"q{i}"), scored=(2,)) for i in range(2)]
    check_prompts_differ(task(**talk), talks, "t.yaml")
    check_prompts_differ(task(kind="perplexity"), rows, "t.yaml")
