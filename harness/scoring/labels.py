"""The label in what a model wrote: which one of a list it states, and which it denies or only mentions."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import regex

from harness.scoring.languages import SPACED, UNSPACED, any_of, words_of
from harness.scoring.plain_text import SPACED_WORD, squash, undressed
from harness.scoring.plain_text import UNSPACED as NO_SPACES
from harness.scoring.value_text import as_seen


def label(text: str, *, labels: Sequence[str] = ()) -> str | None:
    """Returns the one of `labels` that the text states, None if there is none or more than one.

    Case, punctuation, white space and _ or - between words do not count, unless two labels differ in nothing else;
    signs do: C is not C++, A not A-, 1 not -1 or 1.5. Looked for in turn: nothing but the label; clauses that are a
    label or say that "... is" it; any mention that is not denied ("not billing", "kein Versand", "billing is wrong")
    and no part of a longer word or label. What is asked ("Billing?") counts last. Two different labels found at one
    stage are no answer. Of labels that are numbers, "4/5" and "4 out of 5" are 4 where 5 is the highest.
    """
    known = _known(tuple(map(str, labels)))
    if (whole := known.names.get(known.plain(text))) is not None:
        return whole
    text = known.rating(undressed(text))
    if (whole := known.names.get(known.plain(text))) is not None:
        return whole
    clauses = [_Clause(known.plain(text), False, False)] if known.cut else list(_clauses(text, known.plain))
    told = [clause for clause in clauses if not clause.asked]
    for found in (
        {name for clause in told for name in known.stated(clause.text)},
        {name for clause in told for name in known.mentions(clause.text)},
        {name for clause in clauses if clause.asked and not clause.denied for name in known.mentions(clause.text)},
    ):
        if found:
            return known.names[found.pop()] if len(found) == 1 else None
    return None


# --- words with the signs that belong to them ------------------------------------------------------------------------

DASHES = str.maketrans("‐‑‒–—−﹣－", "--------")
JOINED = re.compile(r"(?<=\d)\s?(-)\s?(?=\d)|(?<=[<>≤≥])\s(?=\d)|\b(un|dis|anti|pre|re|mis|sub|in)-(?=[a-z])")
SIGN = regex.compile(
    r"(?<=\d)[.,/:-](?=\d)|(?<![\p{L}\p{N}])-(?=\d)|(?<=[\p{L}\p{N}])[+\#]+|(?<=\d)%|[<>≤≥](?=\s?\d)"
    r"|(?<=(?<![\p{L}\p{N}])\p{L})-(?![\p{L}\p{N}])|([^\p{L}\p{M}\p{N}]+?)"
)


def signed(text: str) -> str:
    """Returns the words alone, in lower case, with the signs that make them others: c++, a-, -1, 3.5, <5, 10%."""
    text = unicodedata.normalize("NFKC", as_seen(text)).casefold().translate(DASHES)
    text = JOINED.sub(lambda m: m[1] or m[2] or "", text)
    return " ".join(SIGN.sub(lambda m: " " if m[1] else m[0], text).split())


# --- clauses ---------------------------------------------------------------------------------------------------------

ENDS = re.compile(r"(?<!\d)[.,:]|[.,:](?!\d)|[;!?\n—()、。]|(?<=[^\W\d])\s[-–]\s")
BUT = re.compile(
    rf"(?<!anything\s)(?<!andere\sals\s)\b(?:{any_of('but', SPACED)})\b"
    r"(?!\s(?:also|too|auch|aussi|tambi[eé]n|anche|também|ook|även|også|też|również)\b)"
    rf"|(?:{any_of('but', UNSPACED)})",
    re.IGNORECASE,
)
NAY = re.compile(r"(?:no|nope|not|nein|non|nee|não|nej|nei|nie|ne|нет|ні|不|不是|否|いいえ|아니요|아니)\b")


@dataclass(frozen=True, slots=True)
class _Clause:
    """A part of a text, in plain form."""

    text: str
    asked: bool  # it ends in a question mark
    denied: bool  # and "no" is the answer


def _clauses(text: str, plain: Callable[[str], str]) -> Iterator[_Clause]:
    """Yields the clauses that hold words; "but" begins another."""
    cut: list[tuple[str, str]] = []
    start = 0
    for end in ENDS.finditer(text):
        cut.append((text[start : end.start()], end[0]))
        start = end.end()
    cut.append((text[start:], ""))
    kept = [(plain(clause), mark) for part, mark in cut for clause in BUT.split(part)]
    kept = [(clause, mark) for clause, mark in kept if clause]
    for (clause, mark), (after, _) in zip(kept, [*kept[1:], ("", "")]):
        yield _Clause(clause, mark == "?", mark == "?" and NAY.match(after) is not None)


# --- the labels of a task --------------------------------------------------------------------------------------------

STATES = (
    rf"(?:{words_of('states', 'chooses')}|\b(?:as|be|to|it s|answer|label|category|team|intent))\s?"
    r"(?:(?:the|a|an|about)\s)?"
)
ENDED = rf"(?=$|\s(?:{any_of('because', SPACED)})\b|{any_of('because', UNSPACED)})"
FILL = rf"(?:{words_of('between', 'answer')}\s?)"
SURE = re.compile(r"\b(?:no|without) (?:doubt|question)\b|\bnot only\b")
NEGATED = re.compile(rf"{words_of('denies')}\s?{FILL}{{0,5}}$")
WRONG = re.compile(rf"\s?(?:{any_of('wrong')})")
JOINS = re.compile(rf"\s?(?:{words_of('also', 'denies')}\s?)?(?:(?:a|an|the)\s)?")
DENIAL = frozenset(any_of("denies").split("|"))
ARTICLES = ("a", "i")  # labels that are words of prose as well: these only count where they are stated


@dataclass(frozen=True, slots=True)
class _Known:
    """The labels of a task, and how they are looked for."""

    names: Mapping[str, str]  # plain form -> label
    plain: Callable[[str], str]
    one: regex.Pattern[str]  # any of them, in a text in plain form
    said: regex.Pattern[str]  # one that is said to be it
    cut: bool  # clauses would cut them: they hold commas, points, ...
    out_of: re.Pattern[str] | None  # "/5" and its like after a number, where 5 is the highest label

    def rating(self, text: str) -> str:
        """Returns the text without "/5" or "out of 5" behind a number, where that is how the labels are counted."""
        return text if self.out_of is None else self.out_of.sub(r"\1", text)

    def stated(self, clause: str) -> Iterator[str]:
        """Yields the labels that a clause is, or says that something is; in plain form."""
        if clause in self.names:
            yield clause
        for match in self.said.finditer(clause, overlapped=True):
            if not NEGATED.search(clause[max(0, match.start() - 30) : match.start("name")]):
                yield match["name"]

    def mentions(self, clause: str) -> Iterator[str]:
        """Yields the labels that a clause holds and does not deny; in plain form."""
        clause = SURE.sub(lambda m: " " * len(m[0]), clause)
        denied, end = False, -1
        for match in self.one.finditer(clause):
            before, after = clause[max(0, match.start() - 60) : match.start()], clause[match.end() : match.end() + 60]
            goes_on = denied and JOINS.fullmatch(clause, end, match.start()) is not None
            denied = goes_on or NEGATED.search(before) is not None or WRONG.match(after) is not None
            end = match.end()
            determiner = match[0] in DENIAL and re.match(rf"\s(?!(?:{any_of('also', SPACED)})\b)", after)
            if not (denied or determiner or match[0] in ARTICLES):
                yield match[0]


@cache
def _known(labels: tuple[str, ...]) -> _Known:
    plain: Callable[[str], str] = squash
    for plain in (signed, lambda t: squash(as_seen(t)).casefold(), lambda t: squash(as_seen(t))):
        names = {plain(label): label for label in labels}
        if len(names) == len(set(labels)) and "" not in names:
            break
    any_name = "|".join(map(_bounded, sorted(names, key=len, reverse=True))) or r"(?!)"
    numbers = [int(name) for name in names if name.isdecimal()]
    top = max(numbers, default=None) if len(numbers) == len(names) > 1 else None
    return _Known(
        names,
        plain,
        regex.compile(any_name, regex.V1),
        regex.compile(rf"(?:^|{STATES})(?P<name>{any_name}){ENDED}", regex.V1),
        any(ENDS.search(label.strip(".!?")) or BUT.search(label) for label in labels),
        None
        if top is None
        else re.compile(rf"(?i)(\d)\s?(?:/|\b(?:out of|of|von|sur|de|su|di|van|из|z|av|af)\b)\s?{top}\b(?![.,]\d)"),
    )


def _bounded(name: str) -> str:
    """Returns the pattern of a label that is no part of a longer word or number; of Korean, endings may follow."""
    beside = rf"(?:{SPACED_WORD}|[+\#%<>≤≥./:,-])"
    left = "" if regex.match(rf"[{NO_SPACES}]", name) else rf"(?<!{beside})"
    right = "" if regex.search(rf"[{NO_SPACES}\p{{Hangul}}]$", name) else rf"(?!{beside})"
    return left + regex.escape(name, literal_spaces=True) + right
