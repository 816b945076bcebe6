"""Which recorded answer belongs to which sample: by its id, and by what was asked where ids do not fit.

Some logs know their answers by position alone, which is another one once a file was sorted, filtered or given ids. What
they hold beside an answer (the variables of a test, the document, other columns of a table) is then looked for in the
prompt of the sample. Nothing is guessed: a sample that several different answers fit has none.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from harness.backends.recorded.logs import Answers, Recorded
from harness.values import Request

OPENING = 6  # tokens of a field by which it is looked up
LONG = 40  # characters: a field of so many is found within a sentence too, a shorter one between marks or alone
# A script without spaces gives a token for each character, so that text can begin anywhere in it.
_ALONE = r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3\uf900-\ufaff"
_TOKEN = re.compile(rf"[{_ALONE}]|[^\W{_ALONE}]+")
_BEFORE, _AFTER = re.compile(r"[\n:\"'“”„«»`>\[|：「]"), re.compile(r"[\n\"'“”«»`<\]|」]")
Tokens = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Found:
    """The answers of one sample in the log: their id there, and whether it was found by content; or why there is none.

    Exactly one of `id` and `why` is set.
    """

    id: str | None = None
    by_content: bool = False
    why: str = ""


@dataclass(frozen=True, slots=True)
class _Hit:
    """A field of a log that stands in a prompt."""

    id: str  # of the answers
    field: str
    end: int  # token behind it
    length: int  # tokens


class Matcher:
    """Finds the answers of samples in one log. What was found for a sample stays so."""

    def __init__(self, answers: Answers) -> None:
        self._tests = {id: answer for (id, _, _), answer in answers.by_sample.items()}
        self._positions = all(map(str.isdecimal, self._tests))  # or so it seems: content, where it is known, decides
        self._texts: dict[str, set[str | None]] = defaultdict(set)
        for answer in answers.by_sample.values():
            self._texts[answer.id].add(answer.text)
        self._found: dict[str, Found] = {}

    def match(self, requests: Sequence[Request]) -> Mapping[str, Found]:
        """Returns what was found for each sample asked about, by its id."""
        new = {r.sample_id: r for r in reversed(requests) if r.sample_id not in self._found}
        if new:
            self._found |= self._of(dict(reversed(new.items())))
        return self._found

    def _of(self, asked: Mapping[str, Request]) -> dict[str, Found]:
        by_id = {id: Found(id) for id in asked if id in self._tests}
        if by_id and not self._positions:
            return self._known(asked, by_id)
        by_content = self._by_content(asked)
        if not any(found.id is not None for found in by_content.values()):
            return self._known(asked, by_id or self._by_field(asked))
        agreed = all(found.id in (None, id) for id, found in by_content.items())
        return {id: by_id[id] if agreed and id in by_id else found for id, found in by_content.items()}

    @staticmethod
    def _known(asked: Iterable[str], known: Mapping[str, Found]) -> dict[str, Found]:
        return {id: known.get(id) or Found(why=f"no recorded answer to sample {id}") for id in asked}

    def _by_field(self, asked: Mapping[str, Request]) -> dict[str, Found]:
        """Returns what a field that names each row says, if the samples are called so."""
        if all(map(str.isdecimal, asked)):  # positions: any column of numbers would do
            return {}
        for values in self._fields.values():
            named = {value.strip(): id for id, value in values.items()}
            known = {id: Found(named[id], by_content=True) for id in asked if id in named}
            if len(named) == len(values) and 2 * len(known) > len(asked):
                return known
        return {}

    def _by_content(self, asked: Mapping[str, Request]) -> dict[str, Found]:
        hits = {id: list(self._hits(request)) for id, request in asked.items()}
        explained: dict[str, int] = defaultdict(int)  # field -> tokens of all prompts that it is
        for some in hits.values():
            for field in {hit.field for hit in some}:
                explained[field] += max(hit.length for hit in some if hit.field == field)
        shown = max((f for f in explained if self._tells_apart(f)), key=lambda field: explained[field], default="")
        return {id: self._best(id, some, shown) for id, some in hits.items()}

    def _best(self, id: str, hits: Sequence[_Hit], shown: str) -> Found:
        """Returns the test whose field `shown` stands last in the prompt (before it stand examples)."""
        fits = [hit for hit in hits if hit.field == shown]
        if not fits:
            return Found(why=f"no recorded answer to sample {id}, by its id or by what was asked")
        last = max((hit.end, hit.length) for hit in fits)
        tests = {hit.id for hit in fits if (hit.end, hit.length) == last}
        beside = {test: sum({h.field: h.length for h in hits if h.id == test}.values()) for test in tests}
        tests = {test for test in tests if beside[test] == max(beside.values())}
        tests = tests & {id} or tests
        if len(tests) > 1 and len({frozenset(self._texts[test] or ()) for test in tests}) > 1:
            return Found(why=f"{len(tests)} recorded answers fit sample {id}, and differ")
        return Found(min(tests), by_content=True)

    def _tells_apart(self, field: str) -> bool:
        """Returns whether most tests have a value of their own in a field, so that what shares it is a duplicate."""
        values = self._fields[field].values()
        return 2 * len(set(values)) > len(values)

    @cached_property
    def _fields(self) -> dict[str, dict[str, str]]:
        """The fields that tell tests apart, each with its value in every test."""
        fields: dict[str, dict[str, str]] = defaultdict(dict)
        for id, answer in self._tests.items():
            for name, value in answer.fields.items():
                fields[name][id] = value
        several = len(self._tests) > 1
        return {name: held for name, held in fields.items() if not several or len(set(held.values())) > 1}

    @cached_property
    def _openings(self) -> dict[Tokens, list[tuple[Tokens, str, str]]]:
        """First tokens -> (all tokens, test, field) of every value that begins so."""
        index: dict[Tokens, list[tuple[Tokens, str, str]]] = defaultdict(list)
        for name, held in self._fields.items():
            for id, value in held.items():
                if tokens := tuple(_TOKEN.findall(_folded(value))):
                    index[tokens[:OPENING]].append((tokens, id, name))
        return index

    def _hits(self, request: Request) -> Iterator[_Hit]:
        text = _folded(next((t.content for t in reversed(request.prompt.turns) if t.role == "user"), ""))
        marks = list(_TOKEN.finditer(text))
        tokens = tuple(mark[0] for mark in marks)
        for start in range(len(tokens)):
            for width in range(1, min(OPENING, len(tokens) - start) + 1):
                for value, id, field in self._openings.get(tokens[start : start + width], ()):
                    end = start + len(value)
                    if tokens[start:end] != value:
                        continue
                    before = text[marks[start - 1].end() if start else 0 : marks[start].start()]
                    after = text[marks[end - 1].end() : marks[end].start() if end < len(marks) else len(text)]
                    alone = (not start or _BEFORE.search(before)) and (end == len(marks) or _AFTER.search(after))
                    if alone or sum(map(len, value)) >= LONG:
                        yield _Hit(id, field, end, len(value))


def _folded(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()


def examples(answers: Mapping[tuple[str, int, int], Recorded], asked: Sequence[str], n: int = 3) -> str:
    """Returns some ids of samples and of answers, side by side, for a message."""
    theirs = list(dict.fromkeys(id for id, _, _ in answers))
    ours = ", ".join(f"'{id[:60]}'" for id in asked[:n])
    return f"samples: {ours}; answers: {', '.join(repr(id[:60]) for id in theirs[:n])}"
