"""Objects field by field, and sets of labels and entities."""

from __future__ import annotations

import pytest

from harness.errors import DataError, TaskError
from harness.scoring.scorers import SCORERS, check_spec, score_answer

INVOICE = {"vendor": "ACME Ltd.", "total": 1234.5, "due": "2024-05-03", "paid": False, "order": None}
TYPES = {"fields": {"vendor": "text", "total": "number", "due": "date", "paid": "boolean"}}


def test_fields_are_compared_by_their_type() -> None:
    answer = {"vendor": "acme ltd", "total": "$1,234.50", "due": "May 3, 2024", "paid": "no", "order": ""}
    value, metrics = score_answer(TYPES, INVOICE, answer)
    assert value == 1
    assert metrics == {
        **{"valid_json": 1, "all_correct": 1, "f1": 1, "hallucinated": 0, "missed": 0},
        **{"shared": 4, "found": 4, "expected": 4},
    }


def test_wrong_missed_and_hallucinated_fields_are_told_apart() -> None:
    answer = {"vendor": "ACME Ltd.", "total": 99, "order": "X-1", "note": "paid by card"}
    value, metrics = score_answer(TYPES, INVOICE, answer)
    assert value == pytest.approx(1 / 6)  # vendor right; total wrong; due, paid missed; order, note made up
    assert metrics["all_correct"] == 0
    assert metrics["hallucinated"] == 1  # order and note, the two without an expected value
    assert metrics["missed"] == 0.5
    assert (metrics["shared"], metrics["found"], metrics["expected"]) == (1, 4, 4)
    assert metrics["f1"] == pytest.approx(2 * 1 / 8)


@pytest.mark.parametrize("answer", [None, "", "no json", [], ["x"], 5, '{"vendor": "cut'])
def test_what_is_no_object_scores_0_and_says_so(answer) -> None:
    value, metrics = score_answer("fields", INVOICE, answer)
    assert (value, metrics["valid_json"], metrics["all_correct"]) == (0, 0, 0)


def test_an_empty_object_is_right_where_nothing_is_expected() -> None:
    assert score_answer("fields", {}, {})[0] == 1
    assert score_answer("fields", {"a": None}, {})[0] == 1
    assert score_answer("fields", {}, None) == (
        0,
        {"valid_json": 0, "all_correct": 0, "f1": 1, "shared": 0, "found": 0, "expected": 0},
    )
    assert score_answer("fields", {}, {"a": 1})[0] == 0


@pytest.mark.parametrize(
    ("types", "expected", "answer", "value"),
    [
        ({}, {"a": 5}, {"a": "5.0"}, 1),
        ({}, {"a": "5"}, {"a": 5}, 1),
        ({}, {"a": "5"}, {"a": "5.0"}, 0),
        ({}, {"a": True}, {"a": "yes"}, 1),
        ({}, {"a": True}, {"a": 1}, 1),
        ({}, {"a": [1, 2]}, {"a": [1, 2]}, 1),
        ({}, {"a": [1, 2]}, {"a": [2, 1]}, 0),
        ({}, {"a": [1, 2]}, {"a": [1, 2, 3]}, 2 / 3),
        ({}, {"a": [1, 2]}, {"a": 1}, 0.5),
        ({"a": "set"}, {"a": [1, 2]}, {"a": [2, 1]}, 1),
        ({"a": "set"}, {"a": [1, 1]}, {"a": [1]}, 2 / 3),
        ({"a": {"set": "number"}}, {"a": [1, 2]}, {"a": ["2.0", "1"]}, 1),
        ({"a": {"list": {"of": {"number": {"absolute": 1}}}}}, {"a": [1, 2]}, {"a": [2, 2]}, 1),
        ({}, {"a": {"x": 1, "y": "b"}}, {"a": {"x": 1, "y": "c"}}, 0.5),
        ({"a": {"fields": {"x": {"number": {"relative": 0.1}}}}}, {"a": {"x": 100}}, {"a": {"x": 105}}, 1),
        ({}, {"a": [{"x": 1}, {"x": 2}]}, {"a": [{"x": 1}, {"x": 3}]}, 0.5),
        ({"a": {"date": {"dayfirst": True}}}, {"a": "2024-05-03"}, {"a": "03/05/2024"}, 1),
        ({"a": "token_f1"}, {"a": "the red cat"}, {"a": "red dog"}, 0.5),
        ({}, {"a": "x"}, {"a": {"b": "x"}}, 0),
        ({}, {"a": "x"}, {"a": ["x"]}, 0),
        ({}, {"a": 1}, {"a": [1]}, 0),
        ({}, {"a": {"x": 1}}, {"a": "x"}, 0),
        ({}, '{"a": "x"}', '```json\n{"a": "X"}\n```', 1),
    ],
)
def test_values_within_objects(types, expected, answer, value) -> None:
    check_spec({"fields": types}, "test")
    assert score_answer({"fields": types}, expected, answer)[0] == pytest.approx(value)


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ({"fields": {"a": "numbr"}}, "unknown field type 'numbr' | t.yaml: score: a | did you mean 'number'?"),
        ({"fields": {"a": {"set": "txt"}}}, "unknown field type 'txt' | t.yaml: score: a: of | did you mean 'text'?"),
        ("exct_match", "unknown scorer 'exct_match' | t.yaml: score | did you mean 'exact_match'?"),
        (
            {"number": {"relative": -1}},
            "scorer 'number': option 'relative' cannot be -1 | t.yaml: score"
            " | Input should be greater than or equal to 0",
        ),
        (
            {"exact_match": {"ignore": ["("]}},
            "scorer 'exact_match': option 'ignore' cannot be ['('] | t.yaml: score"
            " | no valid regular expression: missing ) at position 1",
        ),
        (
            {"exact_match": {"ignore_case": "yes"}},
            "scorer 'exact_match': option 'ignore_case' cannot be 'yes' | t.yaml: score"
            " | Input should be a valid boolean",
        ),
        (
            {"citation": {"row": {}}},
            "scorer 'citation' has no option 'row' | t.yaml: score | known: context, field, min_words",
        ),
        (
            {"answer_or_abstain": "fields"},
            "unknown scorer 'fields' | t.yaml: score: by | known: contains, exact_match, text, token_f1",
        ),
        ([], "cannot read None as scorer | t.yaml: score | write a name, or {name: {option: value}}"),
    ],
)
def test_a_wrong_spec_names_what_where_and_the_fix(spec, says) -> None:
    with pytest.raises(TaskError) as error:
        check_spec(spec, "t.yaml: score")
    assert f"{error.value.what} | {error.value.where} | {error.value.fix}" == says


@pytest.mark.parametrize(
    ("spec", "expected", "says"),
    [
        ("fields", "not json", "expected 'not json', which is no JSON object"),
        ("number", "five", "expected 'five', which is no number"),
        ("date", "03/05/2024", "expected '03/05/2024', which is no date or could be two"),
        ("boolean", "maybe", "expected 'maybe', which is neither yes nor no"),
        ("entities", "Bob", "expected 'Bob', which is no list of entities"),
        ("citation", "x", "the row has no column 'context'"),
    ],
)
def test_an_expected_answer_of_the_wrong_kind_is_an_error_of_the_data_never_a_score(spec, expected, says) -> None:
    with pytest.raises(DataError) as error:
        score_answer(spec, expected, "anything", {"contxt": "..."})
    assert error.value.what == says


PEOPLE = [{"type": "person", "text": "Ann"}, {"type": "place", "text": "New  York", "start": 4}]


@pytest.mark.parametrize(
    ("answer", "value", "exact"),
    [
        (PEOPLE, 1, 1),
        ('[{"type": "Person", "text": "ann"}, {"type": "place", "text": "new york"}]', 1, 1),
        ({"entities": PEOPLE}, 1, 1),
        ({"person": ["Ann"], "place": "New York"}, 1, 1),
        ([{"type": "person", "text": "Ann"}], 2 / 3, 0),
        ([{"type": "place", "text": "Ann"}], 0, 0),
        ([*PEOPLE, PEOPLE[0]], 4 / 5, 0),
        ([], 0, 0),
        ("none", 0, 0),
        (["Ann"], 0, 0),
        ([{"type": ["x"], "text": None}], 0, 0),
    ],
)
def test_entities_are_pairs_of_type_and_text(answer, value, exact) -> None:
    found, metrics = score_answer("entities", PEOPLE, answer)
    assert (found, metrics["exact"]) == (pytest.approx(value), exact)


def test_no_entities_where_none_are_is_right() -> None:
    assert score_answer("entities", [], "[]") == (1, {"exact": 1, "shared": 0, "found": 0, "expected": 0})
    assert score_answer("entities", [], "nothing here")[0] == 0


@pytest.mark.parametrize(
    ("expected", "answer", "value", "exact"),
    [
        (["a", "b"], ["B", "A"], 1, 1),
        ("a, b", "b,a", 1, 1),
        ("a, b", ["a"], 2 / 3, 0),
        ("a", "a, b, c", 0.5, 0),
        ([], "", 1, 1),
        (None, [], 1, 1),
        ([], "a", 0, 0),
        (["a", "a"], "a", 1, 1),
        (["a"], [["a"], {"b": 1}], 0, 0),
    ],
)
def test_several_labels_are_a_set(expected, answer, value, exact) -> None:
    found, metrics = score_answer("multi_label", expected, answer)
    assert (found, metrics["exact"]) == (pytest.approx(value), exact)
    assert score_answer({"multi_label": {"separator": ";"}}, "a,b; c", "c; a,b")[0] == 1


HOSTILE = [
    *(None, "", "x" * 300_000, [], {}, [[[[[]]]]], {"a": {"b": [{}]}}, {"type": 1}, [None] * 100_000),
    *(10**4000, -(10**4000), float("nan"), float("inf"), True, "\ud800\x00"),
    *({str(i): i for i in range(10_000)}, '"quoted words here" ' * 10_000),
]
GOLD = {
    "number": 3,
    "date": "2024-01-01",
    "boolean": True,
    "fields": {"a": 1, "b": ["x"]},
    "entities": PEOPLE,
    "spans": [["gold", "words"], ["3"]],
    "instructions": ["punctuation:no_comma"],
}
ROW = {"context": "some context", "assertion": "icontains", "kwargs": [{}]}
ROW |= {"unknown": "not known", "biased": ["gold words"], "ambiguous": True}


# what a user's own function makes of it is theirs; code is never run
@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(SCORERS) - {"python", "code"}))
def test_any_answer_gets_a_value_between_0_and_1(name: str) -> None:
    for answer in HOSTILE:
        for spec in ({name: None}, [{name: None}, "exact_match"]):
            value, metrics = score_answer(spec, GOLD.get(name, "gold words"), answer, ROW)
            assert 0 <= value <= 1, str(answer)[:50]
            assert all(isinstance(number, int | float) for number in metrics.values())
