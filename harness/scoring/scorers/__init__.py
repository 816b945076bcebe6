"""Judges one answer: what was expected and what was found in, a value in [0, 1] out.

    score: exact_match                                   a name
    score: {number: {relative: 0.01}}                    a name and its options
    score: [token_f1, exact_match]                       the first is the value, the others are metrics beside it

Each scorer is a function `(expected, answer, *, options)` that gives a value, or a value and metrics; SCORERS is the
one list of them. A scorer of one's own is a function in one of these files, a line here, and a test.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Any

from harness.config import named_functions
from harness.errors import TaskError
from harness.scoring.scorers.assertions import promptfoo
from harness.scoring.scorers.bbq import AMBIGUOUS, BIASED, NAMED, bias
from harness.scoring.scorers.choice import label, multi_label
from harness.scoring.scorers.code import code
from harness.scoring.scorers.documents import answer_or_abstain, citation
from harness.scoring.scorers.entities import entities
from harness.scoring.scorers.fields import fields
from harness.scoring.scorers.instructions import instructions
from harness.scoring.scorers.latex import latex
from harness.scoring.scorers.number import boolean, date, number
from harness.scoring.scorers.own_python import python
from harness.scoring.scorers.refusal import refusal
from harness.scoring.scorers.spans import spans
from harness.scoring.scorers.text import (
    chrf,
    contains,
    edit_similarity,
    exact_match,
    regex,
    rouge_l,
    text,
    token_f1,
)

SCORERS: Mapping[str, Callable[..., float | tuple[float, dict[str, float]]]] = {
    "exact_match": exact_match,
    "text": text,
    "contains": contains,
    "regex": regex,
    "token_f1": token_f1,
    "edit_similarity": edit_similarity,
    "chrf": chrf,
    "rouge_l": rouge_l,
    "number": number,
    "date": date,
    "latex": latex,
    "boolean": boolean,
    "choice": label,
    "label": label,
    "multi_label": multi_label,
    "fields": fields,
    "entities": entities,
    "spans": spans,
    "citation": citation,
    "answer_or_abstain": answer_or_abstain,
    "refusal": refusal,
    "instructions": instructions,
    "promptfoo": promptfoo,
    "code": code,
    "bias": bias,
    "python": python,
}

# the module of an optional package that a scorer is made with
NEEDED = {
    "edit_similarity": "rapidfuzz",
    "chrf": "sacrebleu",
    "rouge_l": "rouge_score",
    "instructions": "langdetect",
}


# the columns of a row that a scorer reads beside the answer's, where a task cannot name others
READS = {"promptfoo": ("assertion",), "instructions": ("kwargs",), "bias": ("unknown", "biased", "ambiguous")}

PARTS = ("shared", "found", "expected")  # of one answer; together they make the micro-averaged F1
NATS, BYTES, WORDS = "nats", "bytes", "words"  # metrics of a text's log-probability, and what it is spread over
COUNTS = (*PARTS, NATS, BYTES, WORDS, BIASED, NAMED, AMBIGUOUS)  # metrics that are summed, not averaged
FOLLOWED = {"followed": "instructions", "followed_loose": "instructions_loose"}  # a count in a record: its share


def score_answer(
    spec: Any, expected: Any, answer: Any, row: Mapping[str, object] | None = None
) -> tuple[float, dict[str, float]]:
    """Returns the value of an answer in [0, 1], and further metrics by name.

    `row` is the sample's data, for scorers that look at more than the expected answer. Metrics in `COUNTS` and
    `FOLLOWED` are counts, everything else is in [0, 1]. Raises DataError if the expected answer is not of the kind the
    scorer needs, TimeoutError for a pattern that takes too long.
    """
    steps = list(spec) if isinstance(spec, list | tuple) else [spec]
    results = [named_functions.call(SCORERS, step, expected, answer, row=row or {}) for step in steps]
    pairs = [result if isinstance(result, tuple) else (result, {}) for result in results]
    metrics: dict[str, float] = {}
    for step, (value, further) in zip(steps[1:], pairs[1:]):
        metrics |= further | {named_functions.name_of(step): value}
    return pairs[0][0], metrics | pairs[0][1]


def columns_of(spec: Any) -> list[tuple[str, str]]:
    """Returns the columns of a row that a `score:` key which `check_spec` accepts reads, each after its scorer."""
    steps = list(spec) if isinstance(spec, list | tuple) else [spec]
    return [(name, column) for name in map(named_functions.name_of, steps) for column in READS.get(name, ())]


def check_spec(spec: Any, where: str) -> None:
    """Raises TaskError for a `score:` key that names an unknown scorer, option or value, or needs a missing package."""
    steps = list(spec) if isinstance(spec, list | tuple) else [spec]
    for step in steps or [None]:
        named_functions.check(SCORERS, step, where, "scorer")
        name = named_functions.name_of(step)
        if name in NEEDED and find_spec(NEEDED[name]) is None:
            what = f"scorer '{name}' needs the package {NEEDED[name].replace('_', '-')}, which is not installed"
            raise TaskError(what, where=where, fix="pip install 'openweights-harness[text]'")
