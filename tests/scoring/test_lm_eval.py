"""GSM8K's strict and flexible extraction, as a task file writes them, equal lm-eval's own filters and metric."""

from __future__ import annotations

import random

import pytest
import yaml

from harness.scoring.extractors import check_spec as check_extract
from harness.scoring.extractors import extract
from harness.scoring.scorers import check_spec, score_answer

TASK = yaml.safe_load(r"""
extract: {regex: {pattern: '#### (\-?[0-9\.\,]+)', pick: first}}
also:
  flexible: {regex: {pattern: '(-?[$0-9.,]{2,})|(-?[0-9]+)', pick: last}}
score: {exact_match: {ignore: [',', '\$', '(?s).*#### ', '\.$'], ignore_case: true}}
""")
PIECES = [
    "####",
    "#### ",
    "18",
    "-3",
    "$",
    "1,234",
    ".",
    ",",
    "-",
    "\n",
    " ",
    "so ",
    "A: ",
    "3.50",
    "$5.",
    "٣",
    "#### -",
    "70000",
    "..",
    "é",
]


def texts(n: int, seed: int) -> list[str]:
    draw = random.Random(seed)
    return ["".join(draw.choices(PIECES, k=draw.randint(0, 12))) for _ in range(n)]


@pytest.fixture(scope="module")
def lm_eval():
    """lm-eval's regex filter and exact_match, by themselves."""
    filters = pytest.importorskip("lm_eval.filters.extraction")
    metrics = pytest.importorskip("lm_eval.api.metrics")
    return filters.RegexFilter, metrics.exact_match_hf_evaluate


@pytest.mark.parametrize(
    ("spec", "pattern", "group_select"),
    [
        (TASK["extract"], r"#### (\-?[0-9\.\,]+)", 0),
        (TASK["also"]["flexible"], r"(-?[$0-9.,]{2,})|(-?[0-9]+)", -1),
        ({"regex": r"(?i)(?<=the answer is )(.*)(?=.)"}, r"(?i)(?<=the answer is )(.*)(?=.)", 0),
        ({"regex": r"answer is \(?([A-J])\)?"}, r"answer is \(?([A-J])\)?", 0),
    ],
    ids=["strict", "flexible", "bbh", "mmlu-pro"],
)
def test_a_pattern_finds_what_lm_evals_filter_finds(lm_eval, spec, pattern, group_select) -> None:
    check_extract(spec, "test")
    regex_filter = lm_eval[0](pattern, group_select=group_select)
    hard = [f"{a}The answer is {b}" for a, b in zip(texts(200, 1), texts(200, 2))]
    written = texts(3000, 3) + hard + [f"answer is ({c})" for c in "AJKZ"]
    theirs = [found[0] for found in regex_filter.apply([[text] for text in written], [{}] * len(written))]
    ours = [extract(spec, text) for text in written]
    # They say "[invalid]" where nothing is found, and may find an empty text; both are no answer here.
    assert ours == [None if found in ("[invalid]", "") else found for found in theirs]
    assert any(ours) and not all(ours)


def test_exact_match_with_gsm8ks_patterns_equals_lm_evals_metric(lm_eval) -> None:
    check_spec(TASK["score"], "test")
    options = {"regexes_to_ignore": TASK["score"]["exact_match"]["ignore"], "ignore_case": True}
    rows = [(a, b) for a in texts(60, 4) for b in texts(60, 5)] + [("#### 1,234.", "x\n#### $1234"), ("Yes", "yes")]
    theirs = [lm_eval[1](predictions=[a], references=[b], **options)["exact_match"] for a, b in rows]
    ours = [score_answer(TASK["score"], b, a)[0] for a, b in rows]
    assert ours == [float(value) for value in theirs]
    assert 0 < sum(ours) < len(ours)


def test_ignored_punctuation_equals_lm_evals_metric(lm_eval) -> None:
    spec = {"exact_match": {"ignore_case": True, "ignore_punctuation": True}}
    options = {"ignore_case": True, "ignore_punctuation": True}
    rows = [(a, b) for a in texts(60, 6) for b in texts(60, 7)] + [("The U.S.A!", "the usa"), ("a b", "ab")]
    theirs = [lm_eval[1](predictions=[a], references=[b], **options)["exact_match"] for a, b in rows]
    assert [score_answer(spec, b, a)[0] for a, b in rows] == [float(value) for value in theirs]
