"""What the responses of a run tell beside their answers: money, tokens, characters, and what a reader must know.

    usage = Usage()
    for line in usage.read(lines): ...   # the lines of a log, in their order
    usage.cells()                        # by model and task: sums and counts

Read from the log of responses alone, so that a run that was killed has its sums too. Unknown is None, never 0.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from harness.values import Billing, CellName, ResponseLine

SHOWN = 3  # kinds of refusal that are named


Number = TypeVar("Number", int, float)


@dataclass(frozen=True, slots=True)
class Refused:
    """A parameter that was not as asked, or not heeded."""

    said: str  # of it, the first time
    n: int  # answers


@dataclass(frozen=True, slots=True)
class CellUsage:
    """What the responses of one model on one task tell. Money and bytes are of every attempt; all else is of the
    answers that count."""

    usd: float | None  # None: of a part it is unknown
    known_usd: float
    most_usd: float | None  # the most it can have cost
    lines: int  # of the log, with those that others took the place of
    sent_bytes: int | None
    answers: int
    errors: int
    provisional: int  # of the errors: may succeed if asked again
    missing: tuple[str, ...]  # samples to which a file of recorded answers has none
    matched: tuple[tuple[str, str], ...]  # samples whose recorded answer was found by what was asked, under which id
    input_tokens: int | None
    output_tokens: int | None
    thinking_tokens: int | None  # None: there was none, or nobody counted it
    input_characters: int | None
    output_characters: int
    counted: Mapping[str, int] = field(default_factory=dict)  # how tokens were counted, if not by who answered: answers
    versions: Mapping[str, int] = field(default_factory=dict)  # of the model, as a provider names them: answers
    refusals: Mapping[str, int] = field(default_factory=dict)  # by a provider's own signal: answers
    origins: Mapping[str, int] = field(default_factory=dict)  # tools that wrote recorded answers: answers
    refused: Mapping[str, Refused] = field(default_factory=dict)  # by parameter
    otherwise: Mapping[tuple[str, str], int] = field(default_factory=dict)  # setting and what was done: answers
    fallbacks: Mapping[str, int] = field(default_factory=dict)  # why the slow method answered: answers


class Usage:
    """Sums over the lines of logs, taken up as they are read."""

    def __init__(self) -> None:
        self._cells: dict[CellName, _Sums] = {}

    def add(self, line: ResponseLine, *, counts: bool) -> None:
        """Takes up a line; `counts`: no other took its place."""
        if line.cell not in self._cells:
            self._cells[line.cell] = _Sums()
        self._cells[line.cell].add(line, counts=counts)

    def cells(self) -> dict[CellName, CellUsage]:
        """Returns what is told of each model on each task."""
        return {cell: sums.usage() for cell, sums in self._cells.items()}


def usage_of(lines: Iterable[ResponseLine]) -> dict[CellName, CellUsage]:
    """Returns what is told of each model on each task; `lines` are all, with those that others took the place of."""
    every = list(lines)
    last = {line.key: number for number, line in enumerate(every)}
    usage = Usage()
    for number, line in enumerate(every):
        usage.add(line, counts=last[line.key] == number)
    return usage.cells()


class _Sums:
    """Sums over the lines of one cell. A sum of which a part is unknown is None from then on."""

    def __init__(self) -> None:
        self._usd, self._most_usd = _Sum(0.0), _Sum(0.0)
        self._known_usd = 0.0
        self._sent_bytes = _Sum(0)
        self._input_tokens, self._output_tokens, self._input_characters = _Sum(0), _Sum(0), _Sum(0)
        self._output_characters = 0
        self._thinking: int | None = None
        self._lines = self._provisional = self._errors = self._answers = 0
        self._missing: list[str] = []
        self._matched: list[tuple[str, str]] = []
        self._counted, self._versions = Counter[str](), Counter[str]()
        self._refusals, self._origins = Counter[str](), Counter[str]()
        self._refused: dict[str, Refused] = {}
        self._otherwise, self._fallbacks = Counter[tuple[str, str]](), Counter[str]()

    def add(self, line: ResponseLine, *, counts: bool) -> None:
        bill = line.billing or Billing()
        self._usd.add(bill.usd)
        self._known_usd += bill.known_usd
        self._most_usd.add(bill.most_usd)
        self._sent_bytes.add(line.sent_bytes)
        self._lines += 1
        if not counts:
            return
        self._provisional += line.provisional
        if line.provider is not None and line.provider.missing:
            self._missing.append(line.sample_id)
        if line.error is not None:
            self._errors += 1
            return
        self._answers += 1
        self._answer(line)

    def _answer(self, line: ResponseLine) -> None:
        thought = line.thinking
        self._input_tokens.add(line.input_tokens)
        self._output_tokens.add(line.output_tokens)
        self._input_characters.add(line.input_characters)
        self._output_characters += len(line.text or "") + len((thought and thought.text) or "")
        if thought is not None and thought.tokens is not None:
            self._thinking = (self._thinking or 0) + thought.tokens
        _count(self._counted, None if line.counted is None else line.counted.how)
        if (applied := line.applied) is not None:
            self._otherwise.update(applied.otherwise.items())
            _count(self._fallbacks, applied.fallback)
        if (told := line.provider) is not None:
            if told.matched is not None:
                self._matched.append((line.sample_id, told.matched))
            _count(self._versions, told.model_version)
            _count(self._refusals, told.refusal)
            _count(self._origins, told.origin)
            for name, said in told.refused.items():
                known = self._refused.get(name, Refused(said, 0))
                self._refused[name] = Refused(known.said, known.n + 1)

    def usage(self) -> CellUsage:
        return CellUsage(
            usd=self._usd.total,
            known_usd=self._known_usd,
            most_usd=self._most_usd.total,
            sent_bytes=self._sent_bytes.total,
            input_tokens=self._input_tokens.total,
            output_tokens=self._output_tokens.total,
            input_characters=self._input_characters.total,
            output_characters=self._output_characters,
            counted=dict(self._counted),
            versions=dict(self._versions),
            refusals=dict(self._refusals),
            origins=dict(self._origins),
            lines=self._lines,
            answers=self._answers,
            errors=self._errors,
            provisional=self._provisional,
            thinking_tokens=self._thinking,
            missing=tuple(self._missing),
            matched=tuple(self._matched),
            refused=dict(self._refused),
            otherwise=dict(self._otherwise),
            fallbacks=dict(self._fallbacks),
        )


class _Sum(Generic[Number]):
    """A sum that is unknown, None, from the first part on that is."""

    def __init__(self, zero: Number) -> None:
        self.total: Number | None = zero

    def add(self, part: Number | None) -> None:
        self.total = None if self.total is None or part is None else self.total + part


def _count(words: Counter[str], word: str | None) -> None:
    if word is not None:
        words[word] += 1
