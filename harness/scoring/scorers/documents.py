"""Scorers of answers from documents: is the citation real, and does the model say so when there is no answer."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any

from pydantic import AfterValidator

from harness.config import named_functions
from harness.errors import DataError, nearest
from harness.scoring.plain_text import squash
from harness.scoring.scorers.text import contains, exact_match, text, token_f1
from harness.scoring.value_text import as_text

MAX_PASSAGES = 100  # of one answer that are looked up
QUOTED = re.compile(r'"([^"]+)"|“([^”]+)”|«([^»]+)»|„([^“”]+)[“”]|^>[ \t]?(.+)$', re.MULTILINE)


def citation(
    expected: Any,
    answer: Any,
    *,
    context: str = "context",
    field: str = "quote",
    min_words: int = 3,
    row: Mapping[str, object],
) -> tuple[float, dict[str, float]]:
    """Returns the share of the cited passages that stand word for word in the row's column `context`; 0 without any.

    A passage is what stands in quotation marks or behind ">", or, of an answer in JSON, in `field` (a text or a
    list). One of fewer than `min_words` words proves nothing and counts as not found. White space and typographic
    quotes do not count, case does. The expected answer is not looked at. Metrics: `cited` (there is a passage).
    Raises DataError if the row has no such column.
    """
    if context not in row:
        raise DataError(f"the row has no column '{context}'", where="score: citation", fix=nearest(context, row))
    source = _straight(str(row[context]))
    if isinstance(answer, Mapping):
        value = answer.get(field)
        passages = [as_text(one) or "" for one in (value if isinstance(value, list) else [value])]
    else:
        passages = ["".join(groups) for groups in QUOTED.findall(as_text(answer) or "")]
    passages = [_straight(one) for one in passages if one.strip()][:MAX_PASSAGES]
    found = sum(len(one.split()) >= min_words and one in source for one in passages)
    return (found / len(passages) if passages else 0.0), {"cited": float(bool(passages))}


def _straight(text: str) -> str:
    return squash(text.translate({ord(a): b for a, b in zip("“”„«»‘’", '"""""\'\'')})).strip(" \"'")


ANSWERED_BY: Mapping[str, Callable[..., float]] = {
    "token_f1": token_f1,
    "exact_match": exact_match,
    "text": text,
    "contains": contains,
}


def _check_by(spec: Any) -> Any:
    named_functions.check(ANSWERED_BY, spec, "", "scorer")
    return spec


MISSING = r"(?:stated|mentioned|given|provided|specified|in the (?:text|context|document|passage))"
NO_ANSWER = re.compile(
    r"\b(?:unanswerable|not answerable|no answer|no information|not enough information|insufficient information"
    r"|(?:cannot|can'?t) be (?:answered|determined)|(?:do not|don'?t) know"
    rf"|(?:is|are|was|were)(?: not|n'?t) {MISSING}|not {MISSING}\.?$"
    r"|(?:does not|doesn'?t) (?:say|state|mention|specify|provide|contain|give)\b)",
    re.IGNORECASE,
)
NOTHING = ("", "n/a", "none", "null", "unknown")


def answer_or_abstain(
    expected: Any, answer: Any, *, by: Annotated[Any, AfterValidator(_check_by)] = "token_f1"
) -> tuple[float, dict[str, float]]:
    """Returns 1 for saying that there is no answer where none is expected; where one is, what the scorer `by` gives.

    Nothing is expected if the expected value is null, empty or an empty list. An abstention is an empty answer, N/A
    or none, or one of the usual English ways of saying so in its first 200 characters. Abstaining where there is an
    answer, and answering where there is none, score 0. Metrics: `abstained`, and `right_to_abstain` (only where
    nothing is expected), `answered` (only where something is).
    """
    given = squash(as_text(answer) or "")
    says_so = NO_ANSWER.search(given[:200].replace("’", "'"))
    abstained = says_so is not None or given.strip(" .").casefold() in NOTHING
    if expected is None or expected in ([], ()) or as_text(expected) == "":
        return float(abstained), {"abstained": float(abstained), "right_to_abstain": float(abstained)}
    value = 0.0 if abstained else named_functions.call(ANSWERED_BY, by, expected, given)
    return value, {"abstained": float(abstained), "answered": float(not abstained)}
