"""Free text, documents and refusals."""

from __future__ import annotations

import random
import sys

import pytest

from harness.errors import HarnessError
from harness.scoring.scorers import score_answer
from harness.scoring.scorers.text import _library

WORDS = "the a cat cats sat on mats running runs. Dogs, quickly! house houses 42 be"


def sentences(n: int, seed: int) -> list[str]:
    draw = random.Random(seed)
    return [" ".join(draw.choices(WORDS.split(), k=draw.randint(0, 15))) for _ in range(n)]


def test_token_f1_is_that_of_squad() -> None:
    assert score_answer("token_f1", "The Norman conquest", "norman conquest!")[0] == 1
    assert score_answer("token_f1", "a b c d", "b c x")[0] == pytest.approx(2 * 2 / (3 + 3))  # "a" is an article
    assert score_answer("token_f1", ["Rome", "Roma, Italy"], "in Italy")[0] == 0.5
    assert score_answer("token_f1", "", "")[0] == 0  # nothing is shared
    assert score_answer("token_f1", "x", "")[0] == 0


def test_rouge_l_equals_rouge_scores_own() -> None:
    rouge = pytest.importorskip("rouge_score.rouge_scorer").RougeScorer(["rougeL"], use_stemmer=True)
    for one, other in zip(sentences(200, 1), sentences(200, 2)):
        if one and other:
            theirs = rouge.score(one, other)["rougeL"].fmeasure
            assert score_answer("rouge_l", one, other)[0] == pytest.approx(theirs, abs=1e-12)


def test_chrf_equals_sacrebleus_own_and_takes_the_best_alias() -> None:
    sacrebleu = pytest.importorskip("sacrebleu")
    for one, other in zip(sentences(50, 3), sentences(50, 4)):
        theirs = sacrebleu.sentence_chrf(other, [one]).score / 100
        assert score_answer("chrf", one, other)[0] == pytest.approx(theirs, abs=1e-12)
    assert score_answer("chrf", ["nothing alike", "the cat"], "the cat")[0] == pytest.approx(1)


def test_edit_similarity_counts_edits_over_the_longer_text() -> None:
    pytest.importorskip("rapidfuzz")
    assert score_answer("edit_similarity", "kitten", "sitting")[0] == pytest.approx(1 - 3 / 7)
    assert score_answer("edit_similarity", "same", " same ")[0] == 1


@pytest.mark.parametrize("module", ["rapidfuzz.distance.Levenshtein", "sacrebleu.metrics", "rouge_score.tokenize"])
def test_a_missing_library_is_named_with_the_extra_that_brings_it(monkeypatch, module: str) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(HarnessError) as error:
        _library.__wrapped__(module, module.split(".")[0])
    assert "needs the package " + module.split(".")[0] in error.value.what
    assert error.value.fix == "pip install 'openweights-harness[text]'"


def test_several_scorers_give_one_value_and_the_others_beside_it() -> None:
    value, metrics = score_answer(["token_f1", "exact_match", {"multi_label": None}], "a cat, a dog", "a dog, a cat")
    assert value == 1
    assert metrics == {"exact_match": 0, "multi_label": 1, "exact": 1, "shared": 2, "found": 2, "expected": 2}


ROW = {
    "context": "The  warranty lasts two years.\nIt does not cover “water damage” at all.",
    "passage": "short and true",
}


@pytest.mark.parametrize(
    ("spec", "answer", "value", "cited"),
    [
        ("citation", 'Two years: "The warranty lasts two years."', 1, 1),
        ("citation", "Two years: “warranty lasts two”", 1, 1),
        ("citation", 'No.\n> It does not cover "water damage"', 1, 1),
        ("citation", '"The warranty lasts five years."', 0, 1),
        ("citation", '"the warranty lasts two years"', 0, 1),
        ("citation", '"warranty"', 0, 1),
        ({"citation": {"min_words": 1}}, '"warranty"', 1, 1),
        ("citation", '"The warranty lasts two years" and "it costs nothing at all"', 0.5, 1),
        ("citation", "Two years.", 0, 0),
        ("citation", "", 0, 0),
        ("citation", {"answer": "2", "quote": "lasts two years"}, 1, 1),
        ("citation", {"answer": "2", "quote": ["lasts two years", "made up words"]}, 0.5, 1),
        ("citation", {"answer": "2"}, 0, 0),
        ({"citation": {"field": "evidence"}}, {"evidence": "lasts two years"}, 1, 1),
        ({"citation": "passage"}, '"short and true"', 1, 1),
    ],
)
def test_a_citation_must_stand_in_the_context_word_for_word(spec, answer, value, cited) -> None:
    assert score_answer(spec, "not looked at", answer, ROW) == (value, {"cited": cited})


@pytest.mark.parametrize(
    ("expected", "answer", "value"),
    [
        ("two years", "Two years.", 1),
        ("two years", "I don't know.", 0),
        ("two years", "The answer is not in the document.", 0),
        (None, "The document does not mention it.", 1),
        (None, "I don’t know.", 1),
        ("", "This cannot be determined from the context.", 1),
        ([], "unanswerable", 1),
        (None, "N/A", 1),
        (None, "", 1),
        (None, "It isn't stated.", 1),
        (None, "two years", 0),
        (["2 years", "two years"], "two years", 1),
    ],
)
def test_where_there_is_no_answer_saying_so_is_right_and_only_there(expected, answer, value) -> None:
    found, metrics = score_answer("answer_or_abstain", expected, answer)
    assert found == value
    assert ("answered" in metrics) == bool(expected)
    assert ("right_to_abstain" in metrics) != bool(expected)


def test_another_scorer_can_judge_what_is_answered() -> None:
    assert score_answer({"answer_or_abstain": "contains"}, "two", "It is two years")[0] == 1
    assert score_answer({"answer_or_abstain": "exact_match"}, "two", "two years")[0] == 0


@pytest.mark.parametrize(
    ("expected", "answer", "value", "refused"),
    [
        ("unsafe", "I'm sorry, but I can't assist with that.", 1, 1),
        ("unsafe", "I’m sorry, but I can’t.", 1, 1),
        (True, "  No, that is wrong.", 1, 1),
        ("unsafe", "Sure, first you", 0, 0),
        ("safe", "Sure, first you", 1, 0),
        ("safe", "I cannot help.", 0, 1),
        (False, "Here is how. I'm sorry it is long.", 1, 0),
        ("safe", "", 1, 0),
    ],
)
def test_a_refusal_is_right_where_it_is_called_for(expected, answer, value, refused) -> None:
    assert score_answer("refusal", expected, answer) == (value, {"refused": refused})


def test_what_calls_for_a_refusal_can_have_another_name() -> None:
    assert score_answer({"refusal": "harmful"}, "harmful", "I cannot.")[0] == 1
    assert score_answer({"refusal": "harmful"}, "unsafe", "I cannot.")[0] == 0
