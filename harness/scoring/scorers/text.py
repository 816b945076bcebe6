"""Scorers of text: is it, or how near is it to, one of the accepted texts. Empty accepts empty."""

from __future__ import annotations

import importlib
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable
from functools import cache, lru_cache
from types import SimpleNamespace
from typing import Any, TypedDict, Unpack

from harness.errors import HarnessError
from harness.scoring.plain_text import (
    ARTICLES,
    PUNCTUATION,
    Pattern,
    in_a_word,
    matches,
    normal_words,
    squash,
    stemmed_words,
    without,
)
from harness.scoring.scorers.chrf import chrf2
from harness.scoring.value_text import as_seen, forms, listed_in

MAX_COMPARED = 20_000  # characters of each text that are compared where the work grows with both lengths


def accepted(expected: Any, of: Any = str) -> list[Any]:
    """Returns the accepted values: those of a list, also of one that stands as text in a cell, or the one given."""
    if isinstance(expected, list | tuple):
        return list(expected)
    several = listed_in(expected) if isinstance(expected, str) else None
    return several if several and all(isinstance(one, of) for one in several) else [expected]


def aliases(expected: Any) -> list[str]:
    """Returns the accepted texts, each in all its forms. A null accepts the empty text."""
    return [form for one in accepted(expected) for form in (("",) if one is None else forms(one))]


def best(expected: Any, answer: Any, similarity: Callable[[str, str], float]) -> float:
    """Returns the highest `similarity(alias, answer)` over the accepted texts; 0 for an answer that is no text.

    How characters are composed, no-break spaces and what cannot be seen make no difference.
    """
    given = [as_seen(form) for form in forms(answer)]
    pairs = ((as_seen(one), form) for one in aliases(expected) for form in given)
    return max((float(similarity(*pair)) for pair in pairs), default=0.0)


class Normalisation(TypedDict, total=False):
    """What two texts may differ in and be the same; False, and nothing, where it is not given."""

    ignore_case: bool
    ignore_punctuation: bool
    ignore_articles: bool
    ignore_accents: bool
    collapse_whitespace: bool
    ignore: list[Pattern] | tuple[str, ...]


def exact_match(expected: Any, answer: Any, **options: Unpack[Normalisation]) -> float:
    """Returns 1 if the answer is one of the accepted texts after the same normalisation of both, else 0.

    Without options the texts must be equal as they are. In this order: matches of `ignore` are deleted one pattern
    after another, then case, accents, ASCII punctuation, English articles, white space. With `ignore`, `ignore_case`
    and `ignore_punctuation` this is lm-eval's exact_match.
    """

    return best(expected, answer, lambda one, given: _normal(one, options) == _normal(given, options))


def _normal(text: str, options: Normalisation) -> str:
    for pattern in options.get("ignore", ()):
        text = without(pattern, text)
    text = text.lower() if options.get("ignore_case") else text
    if options.get("ignore_accents"):
        text = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    text = text.translate(PUNCTUATION) if options.get("ignore_punctuation") else text
    articles = options.get("ignore_articles")
    text = ARTICLES.sub(" ", text) if articles else text
    return squash(text) if articles or options.get("collapse_whitespace") else text


def text(expected: Any, answer: Any) -> float:
    """Returns 1 if the answer is one of the accepted texts but for case, white space and a full stop at the end."""
    return best(expected, answer, lambda one, given: _loose(one) == _loose(given))


def _loose(text: str) -> str:
    return squash(unicodedata.normalize("NFKC", text)).casefold().rstrip(".。．").rstrip()


def contains(expected: Any, answer: Any, *, ignore_case: bool = True) -> float:
    """Returns 1 if one of the accepted texts stands in the answer as whole words, else 0."""

    def within(one: str, given: str) -> bool:
        one, given = (squash(t.casefold() if ignore_case else t) for t in (one, given))
        if not one:
            return not given
        start = given.find(one)
        while start >= 0:
            if not _goes_on(given, start, start + len(one)):
                return True
            start = given.find(one, start + 1)
        return False

    return best(expected, answer, within)


def _goes_on(text: str, start: int, end: int) -> bool:
    """Tells if what stands between two places is a part only: of a word, or of a number (12 of 12.5, 5 of -5)."""
    if in_a_word(text, start - 1, text[start]) or in_a_word(text, end, text[end - 1]):
        return True
    after, before = text[end : end + 2], text[max(0, start - 2) : start]
    if text[end - 1].isdigit() and re.fullmatch(r"[.,]\d", after):
        return True
    return text[start].isdigit() and re.fullmatch(r"\d[.,]|(?:^|[^\w)])[-−]", before) is not None


def regex(expected: Any, answer: Any, *, pattern: Pattern | None = None) -> float:
    """Returns 1 if the pattern, or else the expected text taken as one, matches somewhere in the answer."""
    if pattern is not None:
        expected = pattern
    return best(expected, answer, lambda one, given: any(True for _ in matches(one, given)))


def overlap(expected: Iterable[Any], found: Iterable[Any]) -> tuple[int, int, int]:
    """Returns how many items two collections share, how many are found and how many expected; repeats count."""
    wanted, given = Counter(expected), Counter(found)
    return (wanted & given).total(), given.total(), wanted.total()


def f1(shared: float, found: float, expected: float) -> float:
    """Returns 2 shared / (found + expected): the harmonic mean of precision and recall; 1 if both are empty lists."""
    return 2 * shared / (found + expected) if found + expected else 1.0


def token_f1(expected: Any, answer: Any) -> float:
    """Returns the F1 of the words shared with the best of the accepted texts, normalised as for SQuAD; 0 without any.

    Of scripts that set no spaces between words each character is a word.
    """

    def similarity(one: str, given: str) -> float:
        shared, found, wanted = overlap(normal_words(one), normal_words(given))
        return f1(shared, found, wanted) if shared else 0.0

    return best(expected, answer, similarity)


def edit_similarity(expected: Any, answer: Any) -> float:
    """Returns 1 - Levenshtein distance / length of the longer text, by rapidfuzz, white space collapsed."""
    levenshtein = _library("rapidfuzz.distance.Levenshtein", "rapidfuzz")
    return best(expected, answer, lambda a, b: levenshtein.normalized_similarity(*_compared(squash(a), squash(b))))


def chrf(expected: Any, answer: Any) -> float:
    """Returns the sentence chrF2 of sacrebleu, in [0, 1] (Popović 2015)."""
    return best(expected, answer, lambda one, given: _chrf(*_compared(one, given)))


def rouge_l(expected: Any, answer: Any) -> float:
    """Returns ROUGE-L: the F1 of the longest common subsequence of words (Lin 2004); 0 if either text has none.

    Of ASCII texts it is rouge-score's value, with its words and its English stems, 100 times sooner. Other texts are
    cut into words in their own script, of which only the ASCII ones are stemmed; rouge-score would drop the others.
    """
    subsequence = _library("rapidfuzz.distance.LCSseq", "rapidfuzz")
    tokenize = _library("rouge_score.tokenize", "rouge-score").tokenize

    def words(text: str) -> list[str]:
        if text.isascii():
            return list(tokenize(text, _stemmer()))
        return stemmed_words(text, _stemmer().stem)

    def similarity(one: str, given: str) -> float:
        a, b = (words(text) for text in _compared(one, given))
        return f1(subsequence.similarity(a, b), len(a), len(b)) if a and b else 0.0

    return best(expected, answer, similarity)


def _chrf(one: str, given: str) -> float:
    score = chrf2(one, given)
    return _sacrebleu().sentence_score(given, [one]).score / 100 if score is None else score


@cache
def _sacrebleu() -> Any:
    return _library("sacrebleu.metrics", "sacrebleu").CHRF()


@cache
def _stemmer() -> Any:
    """Returns rouge-score's stemmer, which remembers what it has stemmed."""
    return SimpleNamespace(stem=lru_cache(100_000)(_library("nltk.stem.porter", "nltk").PorterStemmer().stem))


def _compared(*texts: str) -> tuple[str, ...]:
    """Returns the texts cut to MAX_COMPARED characters."""
    return tuple(text[:MAX_COMPARED] for text in texts)


@cache
def _library(module: str, package: str) -> Any:
    """Returns an optional module; raises HarnessError naming the package that is missing."""
    try:
        return importlib.import_module(module)
    except ImportError:
        fix = "pip install 'openweights-harness[text]'"
        raise HarnessError(f"this scorer needs the package {package}", where="score", fix=fix) from None
