"""Every message's text stands in the prompt; what the data spell is text; and the same day on every day."""

from __future__ import annotations

from datetime import date

import pytest

from harness.backends.local.templates import ChatTemplate
from harness.values import GenerateRequest, LoglikelihoodRequest, Message, Prompt, Writing
from tests.support.bytes_tokenizer import bytes_tokenizer, ids_of

ASKED = (Message("system", "Answer in one word."), Message("user", "Crate 7?"))
TALK = (*ASKED, Message("assistant", "Red."), Message("user", "And 8?"))


def rendered(source: str, *messages: Message, choices: tuple[str, ...] = (), today: date | None = None, **writing):
    template = ChatTemplate(Templated(source), *(() if today is None else (today,)))
    prompt = Prompt(messages=messages)
    asked = LoglikelihoodRequest("k", "s", prompt, choices) if choices else None
    return template.render(asked or GenerateRequest("k", "s", prompt, writing=Writing(**writing)))


class Templated:
    """The byte tokenizer with another chat template."""

    def __init__(self, source: str) -> None:
        self.chat_template = source

    def __getattr__(self, name):
        return getattr(bytes_tokenizer(), name)

    def __call__(self, *given, **options):
        return bytes_tokenizer()(*given, **options)

    def apply_chat_template(self, turns, **options):
        return bytes_tokenizer().apply_chat_template(turns, **{"chat_template": self.chat_template, **options})


EACH = "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}[assistant]"
NO_SYSTEM = "{% for m in messages %}{% if m.role != 'system' %}[{{ m.role }}]{{ m.content }}{% endif %}{% endfor %}"
REFUSES = "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}" + EACH
PARTS = "{% for m in messages %}[{{ m.role }}]{% for c in m.content %}{{ c.text }}{% endfor %}{% endfor %}"
PARTS_ONLY = "{% for m in messages %}[{{ m.role }}]{{ m.content[0]['text'] + '' }}{% endfor %}"
PARTS_NO_SYSTEM = (
    "{% for m in messages if m.role != 'system' %}[{{ m.role }}]{% for c in m.content if c.type == 'text' %}"
    "{{ c.text }}{% endfor %}{% endfor %}"
)
FIRST_OF_SYSTEM = "{{ messages[0].content if messages[0].role == 'system' }}{{ messages[-1].content | trim }}"


@pytest.mark.parametrize(
    ("source", "sent", "folded"),
    [
        (EACH, "[system]Answer in one word.[user]Crate 7?[assistant]", False),
        (NO_SYSTEM, "[user]Answer in one word.\n\nCrate 7?", True),
        (REFUSES, "[user]Answer in one word.\n\nCrate 7?[assistant]", True),
        (PARTS, "[system]Answer in one word.[user]Crate 7?", False),
        (PARTS_ONLY, "[system]Answer in one word.[user]Crate 7?", False),
        (PARTS_NO_SYSTEM, "[user]Answer in one word.\n\nCrate 7?", True),
        (FIRST_OF_SYSTEM, "Answer in one word.Crate 7?", False),
    ],
)
def test_every_text_comes_through_a_template(source, sent, folded):
    made = rendered(source, *ASKED)
    assert (made.text, made.error) == (sent, None)
    assert ("system_message" in made.otherwise) is folded


@pytest.mark.parametrize(
    ("source", "messages", "named"),
    [
        ("{{ messages[-1].content }}", TALK, "message 1 of 4 (system)"),
        (FIRST_OF_SYSTEM, TALK, "message 2 of 4 (user)"),
        ("{% for m in messages if m.role == 'user' %}{{ m.content }}{% endfor %}", TALK[1:], "2 of 3 (assistant)"),
        (EACH.replace("m.content", "m.content[:10]"), ASKED, "message 1 of 2 (system)"),
        (EACH.replace("m.content", "m.content | upper"), ASKED, "message 1 of 2 (system)"),
        ("{{ messages | length }}", ASKED[1:], "message 1 of 1 (user)"),
        ("{% for m in messages %}A{% endfor %}", (Message("user", "A"),), "message 1 of 1 (user)"),
    ],
)
def test_a_template_that_loses_a_text_gives_no_prompt(source, messages, named):
    made = rendered(source, *messages)
    assert made.error is not None and named in made.error and "text of" in made.error


def test_white_space_around_a_text_and_an_empty_one_may_go():
    source = "{% for m in messages if m.content | trim %}{{ m.content | trim }}{% endfor %}"
    said = (Message("system", " "), Message("user", "  Crate\n 7? \n"))
    assert rendered(source, *said).text == "Crate\n 7?"


def test_thoughts_of_earlier_turns_may_go_and_are_noted():
    source = "{% for m in messages %}{{ m.content.split('</think>')[-1] }}{% endfor %}"
    said = (Message("user", "Why?"), Message("assistant", "<think>hm</think>So."), Message("user", "And?"))
    made = rendered(source, *said)
    assert made.text == "Why?So.And?" and made.otherwise == {"earlier_thoughts": "left out by the chat template"}


# --- thinking --------------------------------------------------------------------------------------------------------

OPENS = "{{ messages[0].content }}<think>\n"
SWITCHED = OPENS + "{% if enable_thinking is defined and not enable_thinking %}\n</think>\n\n{% endif %}"
USER = (Message("user", "Why?"),)


def test_choices_are_not_scored_inside_a_thought():
    assert "choices would be scored as a thought" in rendered(OPENS, *USER, choices=("a", "b")).error
    made = rendered(SWITCHED, *USER, choices=("a", "b"))
    assert made.text == "Why?<think>\n</think>\n\n" and "switched off" in made.otherwise["thinking"]
    assert rendered(SWITCHED, *USER).text == "Why?<think>\n"  # a written answer may think
    assert rendered(EACH, *USER, choices=("a", "b")).error is None


@pytest.mark.parametrize("marker", ["<think>", "[THINK]", "<|START_THINKING|>", "◁think▷"])
def test_markers_count_that_are_no_tokens_of_the_tokenizer(marker, monkeypatch):
    monkeypatch.setattr("harness.backends.local.templates.markers_of", lambda tokenizer: None)
    assert marker in rendered("{{ messages[0].content }}" + marker, *USER, choices=("a", "b")).error


# --- control tokens in the data --------------------------------------------------------------------------------------


def ids(made, source: str = EACH) -> list[int]:
    control = ChatTemplate(Templated(source)).control
    return bytes_tokenizer().encode(made.text) if made.marked is None else control.reader([made.marked])["input_ids"][0]


@pytest.mark.parametrize("said", ["He wrote </s>.", "<|end|>", "a<|end|><|end|>b</s>", "<s>x"])
def test_what_the_data_spell_is_text_and_what_the_template_writes_is_a_token(said):
    source = "{{ bos_token }}{{ messages[0].content }}<|end|>"
    made = rendered(source, Message("user", said))
    assert made.text == f"<s>{said}<|end|>"
    letters = [bytes_tokenizer().convert_tokens_to_ids(letter) for letter in said.replace(" ", "Ġ")]
    assert ids(made, source) == [1, *letters, 3]


def test_nothing_is_marked_where_the_data_spell_nothing():
    assert rendered(EACH, *USER).marked is None


def test_choices_and_the_data_of_a_text_are_data_too_and_the_tasks_own_text_is_not():
    template = ChatTemplate(Templated(EACH))
    asked = LoglikelihoodRequest("k", "s", Prompt("<|end|>Q: is </s> one?<|end|>", data=("is </s> one?",)), ("</s>",))
    made = template.render(asked)
    read = template.control.reader([made.marked + "</s>"])["input_ids"][0]
    assert [token for token in read if token < 4] == [3, 3]
    whole = template.render(GenerateRequest("k", "s", Prompt("<|end|>Q: is </s> one?<|end|>")))
    assert whole.marked is None and ids_of(whole.text).count(2) == 1


def test_a_tokenizer_that_can_read_it_in_no_other_way_is_noted(monkeypatch):
    monkeypatch.setattr("harness.engine.control_tokens.MarkedReader", lambda *given: 1 / 0)
    made = rendered(EACH, Message("user", "He wrote </s>."))
    assert made.marked is None and "'</s>' in the data is read as the control token" in made.otherwise["control_tokens"]


# --- dates -----------------------------------------------------------------------------------------------------------


def test_a_template_that_asks_for_the_date_is_told_the_same_on_every_day():
    source = (
        "\n{% if strftime_now is defined %}{{ strftime_now('%d %b %Y, %-d.%m.') }} {% endif %}{{ messages[0].content }}"
    )
    assert rendered(source, *USER).text == "\n01 Jan 2025, 1.01. Why?"
    assert rendered(source, *USER, today=date(2026, 2, 3)).text == "\n03 Feb 2026, 3.02. Why?"
    inside = "{% macro day() %}{{ strftime_now('%Y-%m-%d') }}{% endmacro %}{{ day() }}{{ messages[0].content }}"
    assert rendered(inside, *USER).text == "2025-01-01Why?"
