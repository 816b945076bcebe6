"""Extractors: how a task names them, what a wrong name says, and that no text makes them hang or crash."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import TaskError
from harness.scoring.extractors import EXTRACTORS, check_spec, extract, read_json
from harness.scoring.numbers import as_number, numbers
from harness.scoring.plain_text import MAX_CHARS, bounded

LABELS = ("billing", "shipping", "A", "N/A")
OPTIONS = {"regex": r"(?i)answer:? (\S+)", "first_of": ["boxed", "number"]}
EACH = [{name: OPTIONS[name]} if name in OPTIONS else name for name in EXTRACTORS]


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("numbr", "unknown extractor 'numbr' | task.yaml: extract | did you mean 'number'?"),
        (
            {"number": {"pik": "first"}},
            "extractor 'number' has no option 'pik' | task.yaml: extract | did you mean 'pick'?",
        ),
        ("text", None),
        ({"text": {"pick": "first"}}, "extractor 'text' has no option 'pick' | task.yaml: extract | leave it out"),
        (
            {"number": {"pick": "frist"}},
            "extractor 'number': option 'pick' cannot be 'frist' | task.yaml: extract"
            " | Input should be 'first' or 'last'",
        ),
        (
            {"regex": "("},
            "extractor 'regex': option 'pattern' cannot be '(' | task.yaml: extract"
            " | no valid regular expression: missing ) at position 1",
        ),
        ("regex", "extractor 'regex' needs the option 'pattern' | task.yaml: extract | {regex: {pattern: ...}}"),
        (
            {"first_of": ["boxed", {"after": {"markr": "x"}}]},
            "extractor 'after' has no option 'markr' | task.yaml: extract: extractors | did you mean 'marker'?",
        ),
        (
            {"first_of": []},
            "extractor 'first_of': option 'extractors' cannot be [] | task.yaml: extract | write a list of extractors",
        ),
        ([], "cannot read None as extractor | task.yaml: extract | write a name, or {name: {option: value}}"),
        (7, "cannot read 7 as extractor | task.yaml: extract | write a name, or {name: {option: value}}"),
        (
            {"after": "x", "number": {}},
            "cannot read {'after': 'x', 'number': {}} as extractor | task.yaml: extract"
            " | write a name, or {name: {option: value}}",
        ),
        ([{"after": "A:"}, "numer"], "unknown extractor 'numer' | task.yaml: extract | did you mean 'number'?"),
        ([{"after": "A:"}, {"number": {"pick": "first"}}], None),
        ({"label": ["a", "b"]}, None),
        ({"after": ["a", "b"]}, None),
        ({"number": None}, None),
    ],
)
def test_a_wrong_spec_names_what_where_and_the_fix(spec, says) -> None:
    if says is None:
        return check_spec(spec, "task.yaml: extract")
    with pytest.raises(TaskError) as error:
        check_spec(spec, "task.yaml: extract")
    assert f"{error.value.what} | {error.value.where} | {error.value.fix}" == says


def test_a_group_that_the_pattern_lacks_is_told() -> None:
    with pytest.raises(TaskError, match="the pattern has no group 2"):
        extract({"regex": {"pattern": r"(\d)", "group": 2}}, "7")
    with pytest.raises(TaskError, match="the pattern has no group 'x'"):
        extract({"regex": {"pattern": r"(\d)", "group": "x"}}, "7")


def test_steps_work_one_after_another_and_the_first_miss_ends_them() -> None:
    steps = [{"after": "Result:"}, "first_line", "number"]
    assert extract(steps, "Result: 5 of them\n7") == "5"
    assert extract(steps, "5\n7") is None
    assert extract(["json", "number"], '{"a": 5}') is None  # a step after JSON has no text to read


def test_labels_of_the_task_are_used_unless_the_spec_gives_its_own() -> None:
    assert extract("label", "yes", ("yes", "no")) == "yes"
    assert extract({"label": ["ja", "nein"]}, "ja", ("yes", "no")) == "ja"
    assert extract("letter", "The answer is F", tuple("ABCDEF")) == "F"
    assert extract("letter", "The answer is F", ("yes", "no")) is None


ODD = st.sampled_from('aAB"\\`{}[]()1.,-#$:*= \n\u0663\ud800bilng\x00')


@pytest.mark.slow
@pytest.mark.parametrize("spec", EACH, ids=str)
@settings(max_examples=50, deadline=None)
@given(text=st.text(ODD, max_size=60) | st.text(max_size=60))
def test_any_text_gives_an_answer_or_none(spec, text: str) -> None:
    answer = extract(spec, text, LABELS)
    assert answer is None or ((answer != "" or spec == "raw") and isinstance(answer, str | dict | list))


HOSTILE = {
    "spaces": " ",
    "one number": "9",
    "many numbers": "1 ",
    "grouped": "1 000 ",
    "arabic": "٣",
    "open lists": "[",
    "open objects": '{"a":',
    "open quotes": '\\"',
    "fences": "```\n```x\n",
    "statements": "the answer is ",
    "colons": ":",
    "boxes": "\\boxed{",
    "intervals": "[1 ",
    "labels": "billing ",
    "null bytes": "\x00",
    "half characters": "\ud800",
    "words": "aaaa ",
    "marks": "#### -",
}


@pytest.mark.slow
@pytest.mark.parametrize("spec", EACH, ids=str)
def test_two_megabytes_of_anything_come_back(spec) -> None:
    """Work is linear in the text: each takes a second at most. Were it not, most of these would take hours."""
    for piece in HOSTILE.values():
        extract(spec, "answer: {" + piece * (2_000_000 // len(piece)), LABELS)
    extract(spec, '{"a": "' + '\\"' * 500_000, LABELS)


def test_the_middle_of_a_huge_text_is_not_read_but_both_ends_are() -> None:
    huge = "first 1 " + "x" * 10_000_000 + " last 2"
    assert len(bounded(huge)) == MAX_CHARS + 1
    assert (extract({"number": {"pick": "first"}}, huge), extract("number", huge)) == ("1", "2")
    assert bounded("short") == "short"


@pytest.mark.slow
def test_a_pattern_that_explodes_is_stopped() -> None:
    with pytest.raises(TimeoutError):
        extract({"regex": r"(?:\w+\s?)+:"}, ": " + "9" * 100_000)


def test_json_reads_numbers_without_limit_of_size_as_text_and_refuses_depth() -> None:
    assert read_json('{"a": ' + "9" * 5000 + "}") == {"a": "9" * 5000}
    assert read_json('{"a": 1e999}') == {"a": float("inf")}
    assert read_json("[" * 64 + "]" * 64) is not None
    assert read_json("[" * 65 + "]" * 65) is None


PLAIN = st.none() | st.booleans() | st.integers() | st.text()
JSON = st.recursive(PLAIN, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)


@given(JSON)
@settings(max_examples=100, deadline=None)
def test_any_object_is_read_back_from_words_and_a_fence(value) -> None:
    assert extract("json", "So:\n```json\n" + json.dumps({"v": value}, indent=1) + "\n```\nDone.") == {"v": value}
    assert extract("json", "So: " + json.dumps({"v": value}, ensure_ascii=False) + ", {done}") == {"v": value}


@given(st.decimals(allow_nan=False, allow_infinity=False, places=2, min_value=-(10**12), max_value=10**12))
@settings(max_examples=200, deadline=None)
def test_a_grouped_number_reads_as_itself(value) -> None:
    for written in (f"{value:,}", f"${value:,}".replace("$-", "-$"), f"{value:,}".replace(",", "'"), f"{value:,} kg"):
        assert as_number(written) == value
    german = f"{value:,}".translate(str.maketrans(",.", ".,"))
    assert as_number(german, "comma") == value
    assert [n.value for n in numbers(f"first 3, then {value:,}", backwards=True)] == [value, 3]
