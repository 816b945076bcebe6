"""Thinking is told apart from the answer by markers, counted, and cut off where a budget says so."""

from __future__ import annotations

import pytest

from harness.engine.text.thinking import Markers, Thinking, ThinkingTracker, markers_of
from tests.support.bytes_tokenizer import bytes_tokenizer, ids_of

THINK = Markers("<think>", "</think>")
WRITTEN = Markers("[begin thought]", "[end thought]")  # markers that are no tokens of their own


def read(text: str, prompt: str = "Why?", markers: Markers = THINK, stop=(), budget=None):
    """Returns the answer and the thought in a generated text."""
    tracker = ThinkingTracker(bytes_tokenizer(), Thinking(markers, budget), ids_of(prompt))
    ids = ids_of(text)
    for token in ids:
        tracker.push(token)
    return tracker.split(ids, stop)


@pytest.mark.parametrize(
    ("text", "prompt", "answer", "thought", "cut"),
    [
        ("<think>two and two</think>\n\nfour", "Why?", "four", "two and two", False),
        ("two and two</think>four", "Why?<think>", "four", "two and two", False),
        ("two and two</think>four", "Why?<think>\n", "four", "two and two", False),
        ("<think></think>four", "Why?", "four", "", False),
        ("just four", "Why?", "just four", None, False),
        ("<think>two and", "Why?", "", "two and", True),
        ("two and", "Why?<think>", "", "two and", True),
        ("", "Why?<think>", "", "", True),
        ("", "Why?", "", None, False),
        ("</think>four", "Why?<think>", "four", "", False),
        ("a</think>b</think>c", "Why?<think>", "b</think>c", "a", False),
        ("four", "Is <think> a tag?", "four", None, False),
    ],
)
def test_a_text_has_two_parts(text: str, prompt: str, answer: str, thought: str | None, cut: bool):
    got, parted = read(text, prompt)
    assert (got, parted.text, parted.cut) == (answer, thought, cut)


def test_markers_that_are_many_tokens_work_the_same():
    answer, thought = read("[begin thought]hm[end thought] yes", markers=WRITTEN)
    assert (answer, thought.text, thought.cut) == ("yes", "hm", False)
    answer, thought = read("hm[end thou", prompt="Why? [begin thought]", markers=WRITTEN)
    assert (answer, thought.cut) == ("", True)


def test_thinking_tokens_are_counted_with_their_markers_and_the_answers_are_not():
    assert read("<think>abc</think>four")[1].tokens == 5
    assert read("abc</think>four", prompt="Why?<think>")[1].tokens == 4
    assert read("four")[1].tokens == 0


def test_a_stop_string_cuts_the_answer_and_not_the_thought():
    answer, thought = read("<think>a. b.</think>c. d.", stop=["."])
    assert (answer, thought.text) == ("c", "a. b.")


def test_the_end_marker_is_forced_when_the_budget_is_spent_and_only_once():
    tracker = ThinkingTracker(bytes_tokenizer(), Thinking(THINK, budget=3), ids_of("Why?<think>"))
    forced = []
    for token in ids_of("abc"):
        assert forced == []
        tracker.push(token)
        forced = tracker.to_force()
    assert forced == ids_of("</think>") and tracker.to_force() == []
    tracker.push(forced[0])
    assert not tracker.active and tracker.answer_from == 4 and tracker.forced


def test_nothing_is_forced_without_a_budget_or_without_thinking():
    for budget, prompt in ((None, "Why?<think>"), (1, "Why?")):
        tracker = ThinkingTracker(bytes_tokenizer(), Thinking(THINK, budget), ids_of(prompt))
        for token in ids_of("abcdef"):
            tracker.push(token)
            assert tracker.to_force() == []


def test_markers_are_the_tokenizers_own():
    assert markers_of(bytes_tokenizer()) == THINK


@pytest.mark.shared
def test_a_tokenizer_without_markers_has_none(shared):
    from transformers import AutoTokenizer

    assert markers_of(AutoTokenizer.from_pretrained(shared / "tokenizers" / "gpt2")) is None
