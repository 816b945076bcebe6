"""Text read as plain words: what extractors and scorers share.

Everything here takes hostile text: work is linear in its length.
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Callable, Iterator
from functools import cache
from typing import Annotated

import regex
from pydantic import AfterValidator

from harness.scoring.value_text import as_seen

MAX_CHARS = 300_000  # of an answer; of a longer one the middle is not read
PATTERN_SECONDS = 1.0  # for one pattern of a task file on one text


# --- words -----------------------------------------------------------------------------------------------------------


def bounded(text: str) -> str:
    """Returns the text; of one longer than MAX_CHARS the first and the last half of that many characters."""
    if len(text) <= MAX_CHARS:
        return text
    return text[: MAX_CHARS // 2] + "\n" + text[-MAX_CHARS // 2 :]


def squash(text: str) -> str:
    """Returns the text with every run of white space as one space, none at the ends."""
    return " ".join(text.split())


ASCII_WORDS = {i: chr(i).lower() if chr(i).isalnum() else " " for i in range(128)}
NO_WORD = regex.compile(r"[^\p{L}\p{M}\p{N}]+")  # a vowel sign of Hindi or Thai is part of its word


def fold(text: str) -> str:
    """Returns the words alone: compatibility characters and case folded, anything but letters and digits a space."""
    if text.isascii():
        return " ".join(text.translate(ASCII_WORDS).split())  # the same, eight times sooner
    return NO_WORD.sub(" ", unicodedata.normalize("NFKC", as_seen(text)).casefold()).strip()


UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}ー\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"  # no spaces between words
SPACED_WORD = (
    rf"[\p{{L}}\p{{M}}\p{{N}}_--[{UNSPACED}]]"  # a character that makes the one beside it part of a longer word
)
_SPACED_WORD = regex.compile(SPACED_WORD, regex.V1)


def in_a_word(text: str, position: int, edge: str) -> bool:
    """Tells if the character at a position continues the word, or the number, that has its edge beside it."""
    if not 0 <= position < len(text):
        return False
    return all(_SPACED_WORD.match(c) is not None for c in (text[position], edge))


PUNCTUATION = {ord(c): None for c in string.punctuation}
ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_MARKS = regex.compile(r"[\p{P}\p{S}]")
_PIECES = regex.compile(rf"[{UNSPACED}]\p{{M}}*|{SPACED_WORD}+", regex.V1)


def normal_words(text: str) -> list[str]:
    """Returns the words without case, punctuation and articles (Rajpurkar et al. 2016, SQuAD's evaluation).

    Of scripts that set no spaces between words (Chinese, Japanese, Thai, ...) each character is a word.
    """
    if text.isascii():
        return ARTICLES.sub(" ", text.lower().translate(PUNCTUATION)).split()
    plain = ARTICLES.sub(" ", _MARKS.sub("", unicodedata.normalize("NFKC", as_seen(text)).casefold()))
    return [piece for word in plain.split() for piece in _PIECES.findall(word)]


def stemmed_words(text: str, stem: Callable[[str], str]) -> list[str]:
    """Returns the words in lower case, those of more than three ASCII letters stemmed; as `normal_words` cuts them."""
    pieces = _PIECES.findall(NO_WORD.sub(" ", unicodedata.normalize("NFKC", as_seen(text)).lower()))
    return [stem(piece) if piece.isascii() and len(piece) > 3 else piece for piece in pieces]


_WIDE = {0xFF01 + i: 0x21 + i for i in range(94)} | str.maketrans("　【】〔〕「」『』“”„«»‘’", ' []()"""""""""\'\'')
_SET = r"\\(?:text\w*|math\w+|bf|rm|operatorname|mbox)\s*\{([^{}]{0,200})\}"
_UNDRESS = tuple(
    (re.compile(pattern, re.IGNORECASE), new)
    for pattern, new in (
        (_SET, r"\1"),
        (_SET, r"\1"),
        (r"\\(?:boxed|fbox)\s*\{([^{}]{0,200})\}", r" answer: \1\n"),
        (r"<(?:final[_ -]?)?(?:answer|ans|choice|option|letter)>", "\nanswer: "),
        (r"</?[a-z_][a-z0-9_]{0,20}(?:\s[^<>]{0,80})?/?>", "\n"),
        (r"\\[()\[\]]|[*`\"$]|__", ""),
        (r"n't\b", " not"),
        (r"(?<!\w)'|'(?!\w)", ""),
    )
)


def undressed(text: str) -> str:
    """Returns the text without what stands around an answer and says nothing: markup, quotes, LaTeX's fonts.

    Full-width characters become plain ones. A box and an <answer> become a line "answer: ...".
    """
    text = as_seen(text).translate(_WIDE)
    for pattern, new in _UNDRESS:
        text = pattern.sub(new, text)
    return text


# --- patterns of a task file -----------------------------------------------------------------------------------------


def _compiles(pattern: str) -> str:
    try:
        compiled(pattern)
    except regex.error as error:
        raise ValueError(f"no valid regular expression: {error}") from None
    return pattern


Pattern = Annotated[str, AfterValidator(_compiles)]


@cache
def compiled(pattern: str) -> regex.Pattern[str]:
    """Returns a compiled pattern of a task file. The `regex` package reads what `re` reads and can be timed out."""
    return regex.compile(pattern)


def matches(pattern: str, text: str) -> Iterator[regex.Match[str]]:
    """Yields the matches from left to right. Raises TimeoutError after PATTERN_SECONDS on one text."""
    return compiled(pattern).finditer(text, timeout=PATTERN_SECONDS)


def without(pattern: str, text: str) -> str:
    """Returns the text with every match deleted. Raises TimeoutError after PATTERN_SECONDS."""
    return compiled(pattern).sub("", text, timeout=PATTERN_SECONDS)
