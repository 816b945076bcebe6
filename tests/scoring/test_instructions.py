"""Each of the 25 instructions: texts that follow it and texts that do not."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from harness.analysis.statistics import further_of
from harness.errors import TaskError
from harness.scoring import scorers
from harness.scoring.scorers.instructions import INSTRUCTIONS, instructions, relaxed, sentences
from harness.values import Record

AT_LEAST, LESS = "at least", "less than"
# kind -> [values, texts that follow, texts that do not]
CASES: list[tuple[str, dict[str, Any], list[str], list[str]]] = [
    ("keywords:existence", {"keywords": ["cat", "dog"]}, ["Dogs chase CATS."], ["a cat", "cart, dog"]),
    ("keywords:existence", {"keywords": ["C++"]}, ["I like c++."], ["CCC"]),
    ("keywords:frequency", {"keyword": "tea ", "frequency": 2, "relation": AT_LEAST}, ["Tea, steam"], ["tea"]),
    ("keywords:frequency", {"keyword": "tea", "frequency": 2, "relation": LESS}, ["tea", "milk"], ["tea tea"]),
    ("keywords:forbidden_words", {"forbidden_words": ["if", "a.b"]}, ["a gift", "axb"], ["IF so", "see a.b"]),
    ("keywords:letter_frequency", {"letter": "Q", "let_frequency": 2, "let_relation": AT_LEAST}, ["qQ"], ["q"]),
    ("keywords:letter_frequency", {"letter": "#", "let_frequency": 1, "let_relation": LESS}, ["none"], ["#"]),
    ("language:response_language", {"language": "de"}, ["Das ist ein schöner Tag im Wald."], ["It is a fine day."]),
    ("language:response_language", {"language": "de"}, ["42"], []),  # no language to be told
    ("length_constraints:number_sentences", {"num_sentences": 2, "relation": AT_LEAST}, ["A dog. It ran!"], ["One."]),
    ("length_constraints:number_sentences", {"num_sentences": 2, "relation": LESS}, ["Dr. Lee ran"], ["Yes. No."]),
    ("length_constraints:number_words", {"num_words": 3, "relation": AT_LEAST}, ["it's so"], ["two words"]),
    ("length_constraints:number_words", {"num_words": 3, "relation": LESS}, ["two words"], ["one, two, three"]),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 2}, ["a\n***\nb", "***a***b"], ["a", "a******b"]),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 1}, ["a", "a\n***"], ["a***b"]),
    (
        "length_constraints:nth_paragraph_first_word",
        {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "So"},
        ["a b\n\n'So, it ends", "a\n\nso"],
        ["so\n\na", "a\n\nsome", "so", "a\n\nb\n\nso", "a\n\n\n\nso"],
    ),
    ("detectable_content:number_placeholders", {"num_placeholders": 2}, ["[a] and [b c]"], ["[a]", "[a\nb] [c]"]),
    ("detectable_content:postscript", {"postscript_marker": "P.S."}, ["Bye\np. s. more"], ["Bye, PS more"]),
    ("detectable_content:postscript", {"postscript_marker": "P.P.S"}, ["P. P. S more"], ["P.S. more"]),
    ("detectable_content:postscript", {"postscript_marker": "N.B."}, ["n.b. more"], ["nxbx"]),
    ("detectable_format:number_bullet_lists", {"num_bullets": 2}, ["* a\n  - b"], ["* a", "** a\n* b", "* a\n-b\n-"]),
    ("detectable_format:constrained_response", {}, ["Well: My answer is no."], ["My answer is never."]),
    (
        "detectable_format:number_highlighted_sections",
        {"num_highlights": 2},
        ["*a* and *b*", "**a** *b*"],
        ["*a*", "**a**", "* * *a\nb*"],
    ),
    (
        "detectable_format:multiple_sections",
        {"section_spliter": "PART", "num_sections": 2},
        ["PART 1\na\nPART2\nb"],
        ["PART 1", "part 1 part 2", "PART a PART b"],
    ),
    ("detectable_format:json_format", {}, ['```json\n{"a": 1}\n```', "[1]", "3"], ["{'a': 1}", "[" * 9999]),
    ("detectable_format:title", {}, ["<<Joy>>\nText"], ["<Joy>", "<<>>", "<< >>", "<<a\nb>>", ">>a<<"]),
    ("combination:two_responses", {}, ["a******b", "******a******b"], ["a", "a******a", "a******b******c"]),
    ("combination:repeat_prompt", {"prompt_to_repeat": "Say hi."}, ["say hi. Hi!"], ["Hi! Say hi."]),
    ("startend:end_checker", {"end_phrase": "The end."}, ['So it goes. the END."\n'], ["The end. Or not"]),
    ("startend:quotation", {}, [' "all of it" '], ['"', '"some" of it', "'all'"]),
    ("change_case:capital_word_frequency", {"capital_frequency": 2, "capital_relation": AT_LEAST}, ["I'M"], ["NASA a"]),
    ("change_case:capital_word_frequency", {"capital_frequency": 2, "capital_relation": LESS}, ["A-B"], ["A,B"]),
    (
        "change_case:english_capital",
        {},
        ["THIS IS A LONG DAY IN THE SUN."],
        ["This is.", "DAS IST EIN SCHÖNER TAG IM GRÜNEN WALD"],
    ),
    ("change_case:english_lowercase", {}, ["this is a long day in the sun."], ["This is.", "das ist ein tag im wald"]),
    ("punctuation:no_comma", {}, ["none here"], ["one, here"]),
]


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "values", "good", "bad"), CASES, ids=[case[0] for case in CASES])
def test_known_verdicts(kind: str, values: dict[str, Any], good: list[str], bad: list[str]):
    assert [INSTRUCTIONS[kind](text, **values) for text in good] == [True] * len(good)
    assert [INSTRUCTIONS[kind](text, **values) for text in bad] == [False] * len(bad)


def test_every_kind_has_a_case():
    assert len(INSTRUCTIONS) == 25
    assert {kind for kind, *_ in CASES} == set(INSTRUCTIONS)


@pytest.mark.parametrize(
    ("text", "n"),
    [
        ("", 0),
        ("No stop", 1),
        ("One. Two! Three?", 3),
        ('He said "No." She left.', 2),
        ("Dr. Smith of the U.S. army met J. Doe at 5 p.m. in Rome.", 1),
        ("It cost 3.50 at example.com. Cheap...", 2),
        ("1. Boil water.\n2. Add tea.", 2),
        ("What?! Yes.", 2),
        ("so am I. You too.", 2),
    ],
)
def test_sentences_are_told_by_rules(text: str, n: int):
    assert len(sentences(text)) == n


ROW = {"kwargs": [{"relation": None}, {"num_bullets": 1, "relation": None}]}
BOTH = ["punctuation:no_comma", "detectable_format:number_bullet_lists"]


def test_strict_and_loose_are_told_apart_by_prompt_and_by_instruction():
    value, metrics = instructions(BOTH, "Sure, here it is:\n* a point", row=ROW)
    assert (value, metrics) == (0.0, {"loose": 1.0, "followed": 1.0, "followed_loose": 2.0})
    value, metrics = instructions(BOTH, "Here it is:\n* a point", row=ROW)
    assert (value, metrics) == (1.0, {"loose": 1.0, "followed": 2.0, "followed_loose": 2.0})


def test_an_empty_text_follows_nothing():
    assert instructions(BOTH, " \n", row=ROW) == (0.0, {"loose": 0.0, "followed": 0.0, "followed_loose": 0.0})


def test_loose_texts_lack_a_line_or_the_asterisks():
    texts = relaxed("a\n*b*\nc")
    assert Counter(texts) == Counter(["a\n*b*\nc", "*b*\nc", "a\n*b*", "*b*", "a\nb\nc", "b\nc", "a\nb", "b"])


def test_the_share_of_instructions_counts_each_one_and_those_of_a_failed_answer_too():
    base = dict(model="m", task="t", epoch=0, mode="generate", answer=None, failure=None)
    base |= dict(input_tokens=0, output_tokens=0, choice_logprobs=None, text="", finish_reason="stop")
    base |= dict(truncated_left=0)
    first = Record(sample_id="0", expected=["a", "b", "c"], value=0.0, metrics={"followed": 2.0}, **base)
    second = Record(sample_id="1", expected=["a"], value=1.0, metrics={"followed": 1.0}, **base)
    failed = replace(first, sample_id="2", expected=["a"], metrics={})
    found = further_of([first, second, failed])
    assert set(found) == {"instructions"}
    assert found["instructions"].value == 3 / 5
    assert found["instructions"].low < 3 / 5 < found["instructions"].high


def test_a_missing_package_is_told_when_the_task_is_read(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(scorers.NEEDED, "instructions", "no_such_package")
    with pytest.raises(TaskError, match="needs the package no-such-package") as error:
        scorers.check_spec("instructions", "task.yaml:9")
    assert "openweights-harness[text]" in str(error.value)


@pytest.mark.slow
@pytest.mark.parametrize(
    "text", ["*" * 100_000, "[" * 100_000, "<<" * 50_000, "a" * 100_000, "\n" * 100_000, ". " * 50_000]
)
def test_hostile_texts_take_no_time_that_grows_faster_than_they_do(text: str):
    for kind, values, *_ in CASES:
        INSTRUCTIONS[kind](text, **values)
