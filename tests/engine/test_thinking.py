"""Thinking is told apart from the answer by markers, counted, and cut off where a budget says so."""

from __future__ import annotations

import pytest

from harness.engine.text.answer import GrowingAnswer
from harness.engine.text.thinking import AS_TEXT, Markers, Thinking, ThinkingTracker, markers_of, split_text
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


# --- as text, and alike everywhere -----------------------------------------------------------------------------------


def letters(text: str) -> list[int]:
    inner = bytes_tokenizer().backend_tokenizer
    pieces = ("".join(piece for piece, _ in inner.pre_tokenizer.pre_tokenize_str(text))) if text else ""
    return [bytes_tokenizer().convert_tokens_to_ids(piece) for piece in pieces]


def grown(text: str, prompt: str = "Why?", stop=(), markers: Markers | None = None):
    """Returns the answer, the thought, the stop string and how much was written, token by token as a row does it."""
    answer = GrowingAnswer(bytes_tokenizer(), stop, Thinking(markers), letters(prompt))
    for count, token in enumerate(letters(text), start=1):
        if (found := answer.push(token)) is not None:
            return *answer.read(letters(text)[:count]), found, count
    return *answer.read(letters(text)), None, len(letters(text))


@pytest.mark.parametrize("markers", AS_TEXT)
def test_markers_that_are_plain_text_part_a_thought(markers: Markers):
    answer, thought, _, _ = grown(f" {markers.start}hm{markers.end} four")
    assert (answer, thought.text, thought.cut) == ("four", "hm", False)
    answer, thought, _, _ = grown(f"hm{markers.end}\n\nfour", prompt=f"Why? {markers.start}\n")
    assert (answer, thought.text, thought.cut) == ("four", "hm", False)
    assert grown(f"{markers.start}hm")[1].cut


TEXTS = [
    "<think>a. b</think>c. d.", "a</think>b", "<think>a", "x<think>a</think>b", "<think></think>", "<thin", "", " \n",
    "</think>four", "[THINK]a</think>[/THINK]b", "<think>a[/THINK]b</think>c", "x<think>a</think>b[/THINK]c",
    "a[/THINK]b</think>c", "</think>", "a</think>b</think>c",
    "\n<think>\na\n</think>\n\nb", "<think><think>a</think>b", "four, not <think>", "<reasoning>a</reasoning>b",
]  # fmt: skip


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("markers", [None, THINK])
def test_a_text_is_parted_token_by_token_as_it_is_whole(text: str, markers: Markers | None):
    whole, thought, cut = split_text(text, markers)
    answer, parted, _, _ = grown(text, markers=markers)
    assert (answer, parted.text, parted.cut) == (whole, thought, cut)
    whole, thought, cut = split_text(text, markers, opened=THINK)
    answer, parted, _, _ = grown(text, prompt="Why?<think>", markers=markers)
    assert (answer, parted.text, parted.cut) == (whole, thought, cut)


@pytest.mark.parametrize(
    ("text", "stop", "answer", "thought"),
    [
        ("<think>a\n\nb</think>c\n\nd", "\n\n", "c", "a\n\nb"),
        ("<think>a\n\nb</think>\n\nc\n\nd", "\n\n", "c", "a\n\nb"),  # white space before an answer ends nothing
        ("<think>a</think>\n c\nd", "\n", "c", "a"),
        ("<think>a</think>c<d", "<", "c", "a"),  # nor does a part of the marker itself
        ("<think>a</think>xyz", "xyz", "", "a"),
        ("<b>c", "<", "", None),
        ("c<think>", "<", "c", None),
        ("<think>a. </think>b. ", ".", "b", "a."),
        ("a</think>b.c", ".", "b", "a"),
    ],
)
def test_a_stop_string_ends_an_answer_and_never_a_thought(text: str, stop: str, answer: str, thought: str | None):
    got, parted, found, count = grown(text, stop=(stop,))
    assert (got, parted.text, found) == (answer, thought, stop)
    assert count <= len(letters(text))


def test_what_may_yet_be_a_marker_holds_a_stop_string_back_and_no_longer():
    assert grown("<thing>", stop=("<",))[3] == 6  # `<thin` may be a marker, `<thing` is none
    assert grown("\n\nx", stop=("\n\n",))[3] == 2


def test_a_budget_ends_a_thought_between_markers_that_are_text():
    tracker = ThinkingTracker(bytes_tokenizer(), Thinking(None, budget=9), letters("Why?"))
    forced = []
    for token in letters("<think>abcdef"):
        tracker.push(token)
        forced += tracker.to_force()
    assert forced == ids_of("</think>") and tracker.forced
