"""Scorer of answers that are several pieces of text, for reading comprehension with numbers and dates (DROP)."""

from __future__ import annotations

import re
from typing import Any

from harness.errors import DataError
from harness.scoring.plain_text import ARTICLES, PUNCTUATION
from harness.scoring.scorers.text import f1
from harness.scoring.value_text import as_text

SEPARATOR = re.compile(r"\s*(?:[,;\n]|\band\b)\s*")
MAX_SPANS = 100  # of an answer that are compared


def spans(expected: Any, answer: Any) -> tuple[float, dict[str, float]]:
    """Returns 1 if the answer names the same spans as one of the accepted answers, in any order, else 0.

    The expected value is a list of accepted answers, each a list of spans. Where an accepted answer has several, the
    text is split at commas, semicolons, lines and "and". Words are compared without case, punctuation and articles,
    numbers by value. Metric `f1`: the F1 of the words of the best pairing of spans, 0 for a pair whose expected
    number is missing; the best over the accepted answers (Dua et al. 2019). Raises DataError for another value.
    """
    if not isinstance(expected, list) or not all(isinstance(one, list | tuple) and one for one in expected):
        raise DataError(
            f"expected {expected!r:.60}, which is no list of lists of spans", fix='write [["a", "b"], ["c"]]'
        )
    text = as_text(answer) or ""
    results = [_against(list(map(_words, one)), _given(text, len(one))) for one in expected]
    return max((exact for exact, _ in results), default=0.0), {"f1": max((f for _, f in results), default=0.0)}


def _given(text: str, n: int) -> list[frozenset[str]]:
    parts = SEPARATOR.split(text) if n > 1 else [text]
    return [words for words in map(_words, parts[:MAX_SPANS]) if words]


def _words(span: Any) -> frozenset[str]:
    words = re.split(r"[\s-]+", str(span).lower())
    plain = (_number(word) or ARTICLES.sub("", word.translate(PUNCTUATION)) for word in words)
    return frozenset(_number(word) or word for word in plain if word)


def _number(word: str) -> str | None:
    try:
        return repr(float(word)) if re.fullmatch(r"[+-]?[\d,]*\.?\d+", word) else None
    except ValueError:  # a comma that groups
        return repr(float(word.replace(",", "")))


def _against(right: list[frozenset[str]], given: list[frozenset[str]]) -> tuple[float, float]:
    """Returns whether two lists of spans are the same, and the F1 of pairing them greedily, best pair first."""
    pairs = sorted(((_overlap(one, other), i, j) for i, one in enumerate(right) for j, other in enumerate(given)))
    total, left, open_ = 0.0, set(range(len(right))), set(range(len(given)))
    for score, i, j in reversed(pairs):
        if i in left and j in open_:
            total += score
            left.discard(i)
            open_.discard(j)
    exact = sorted(map(sorted, right)) == sorted(map(sorted, given))
    return float(exact), total / max(len(right), len(given))


def _overlap(right: frozenset[str], given: frozenset[str]) -> float:
    numbers = {word for word in right if _number(word)}
    if numbers and not numbers & given:
        return 0.0
    return f1(len(right & given), len(given), len(right))
