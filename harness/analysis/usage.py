"""What the responses of a run tell beside their answers: money, tokens, characters, and what a reader must know.

    usage = Usage()
    for line in usage.read(lines): ...   # the lines of a log, in their order
    usage.cells()                        # by model and task: sums and counts

Read from the log of responses alone, so that a run that was killed has its sums too. Unknown is None, never 0.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.stats.totals import total
from harness.store.schema import ChargeLine
from harness.values import Billing, CellName, ResponseLine

SHOWN = 3  # kinds of refusal that are named


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
        self._all: dict[str, float | None] = dict.fromkeys(("usd", "known_usd", "most_usd", "sent_bytes"), 0)
        self._good: dict[str, float | None] = dict.fromkeys(
            ("input_tokens", "output_tokens", "input_characters", "output_characters"), 0
        )
        self._thinking: int | None = None
        self._counts = Counter[str]()
        self._missing: list[str] = []
        self._words = {name: Counter[str]() for name in ("counted", "versions", "refusals", "origins")}
        self._refused: dict[str, Refused] = {}

    def add(self, line: ResponseLine, *, counts: bool) -> None:
        bill = line.billing or Billing()
        money = {"usd": bill.usd, "known_usd": bill.known_usd, "most_usd": bill.most_usd}
        _plus(self._all, {**money, "sent_bytes": line.sent_bytes})
        self._counts["lines"] += 1
        if not counts:
            return
        self._counts["provisional"] += line.provisional
        if line.provider is not None and line.provider.missing:
            self._missing.append(line.sample_id)
        if line.error is not None:
            self._counts["errors"] += 1
            return
        self._counts["answers"] += 1
        self._answer(line)

    def _answer(self, line: ResponseLine) -> None:
        thought = line.thinking
        written = len(line.text or "") + len((thought and thought.text) or "")
        tokens = {"input_tokens": line.input_tokens, "output_tokens": line.output_tokens}
        _plus(self._good, {**tokens, "input_characters": line.input_characters, "output_characters": written})
        if thought is not None and thought.tokens is not None:
            self._thinking = (self._thinking or 0) + thought.tokens
        self._note("counted", None if line.counted is None else line.counted.how)
        if (told := line.provider) is not None:
            self._note("versions", told.model_version)
            self._note("refusals", told.refusal)
            self._note("origins", told.origin)
            for name, said in told.refused.items():
                known = self._refused.get(name, Refused(said, 0))
                self._refused[name] = Refused(known.said, known.n + 1)

    def _note(self, name: str, word: str | None) -> None:
        if word is not None:
            self._words[name][word] += 1

    def usage(self) -> CellUsage:
        sums: dict[str, Any] = {**self._all, **self._good}
        words: dict[str, Any] = {name: dict(found) for name, found in self._words.items()}
        counts = {name: self._counts[name] for name in ("lines", "answers", "errors", "provisional")}
        return CellUsage(
            **sums,
            **counts,
            **words,
            thinking_tokens=self._thinking,
            missing=tuple(self._missing),
            refused=dict(self._refused),
        )


def _plus(sums: dict[str, float | None], parts: Mapping[str, float | None]) -> None:
    for name, part in parts.items():
        known = sums[name]
        sums[name] = None if known is None or part is None else known + part


def spent(
    rows: Mapping[CellName, CellUsage],
    charges: Iterable[ChargeLine],
    paid: Iterable[str],
    cut_off: Iterable[str] = (),
) -> dict[str, Any] | None:
    """Returns what a run paid to providers in all, requests beside the answers included; None if no model is `paid`.

    Where a sitting was cut off with requests under way (`cut_off`: of which models), what those cost is unknown.
    """
    models = set(paid)
    lost = sorted(models & set(cut_off))
    if not models:
        return None
    answers = [(cell[0], row.usd, row.known_usd, row.most_usd) for cell, row in rows.items() if cell[0] in models]
    beside = [(line.model, line.usd, line.usd or 0.0, line.most_usd) for line in charges if line.model in models]
    every = [*answers, *beside, *((name, None, 0.0, None) for name in lost)]
    return {
        "cut_off": lost,
        "usd": total(usd for _, usd, _, _ in every),
        "known_usd": sum(known for _, _, known, _ in every),
        "most_usd": total(most for _, _, _, most in every),
        "beside_answers_usd": total(usd for _, usd, _, _ in beside),
        "by_model": {
            name: total(usd for model, usd, _, _ in every if model == name)
            for name in dict.fromkeys(model for model, _, _, _ in every)
        },
    }


def spent_together(several: Iterable[Mapping[str, Any] | None]) -> dict[str, Any] | None:
    """Returns what several runs paid to providers together, as `spent` tells it of one; None if none of them paid."""
    parts = [one for one in several if one is not None]
    if not parts:
        return None
    models = dict.fromkeys(name for one in parts for name in one["by_model"])
    sums = ("usd", "known_usd", "most_usd", "beside_answers_usd")
    return {
        "cut_off": sorted({name for one in parts for name in one["cut_off"]}),
        **{key: total(one[key] for one in parts) for key in sums},
        "by_model": {name: total(one["by_model"][name] for one in parts if name in one["by_model"]) for name in models},
    }


def footnotes(rows: Mapping[CellName, CellUsage]) -> list[str]:
    """Returns what to say below a table: once for each model where it is the same for all of its tasks."""
    said: dict[tuple[str, str], list[str]] = {}
    for (model, task), row in rows.items():
        for text in _texts(row):
            said.setdefault((model, text), []).append(task)
    tasks = Counter(model for model, _ in rows)
    return [
        f"{model}: {text}." if len(named) == tasks[model] else f"{model} on {', '.join(named)}: {text}."
        for (model, text), named in said.items()
    ]


def _texts(row: CellUsage) -> Iterator[str]:
    n = row.answers
    if versions := row.versions:
        yield f"answered as {_counts(versions, n)}"
    if origins := row.origins:
        yield f"nothing was asked: answers from a file ({_counts(origins, n)}), judged here"
    if missing := row.missing:
        asked, named = n + row.errors, ", ".join(map(_short, missing[:SHOWN]))
        more = " and others" if len(missing) > SHOWN else ""
        yield f"{len(missing)} of {asked} answers are missing from the file: of sample {named}{more}"
    for name, refused in row.refused.items():
        share = "no answer" if refused.n == n else f"{refused.n} of {n} answers not"
        yield f"{share} with {name} as the task asks: {refused.said.rstrip('.')}"
    if refusals := row.refusals:
        kinds = ", ".join(f"{_short(kind)} ({count})" for kind, count in Counter(refusals).most_common(SHOWN))
        yield f"{sum(refusals.values())} of {n} answers are refusals by the provider's own signal: {kinds}"
    for label, count in row.counted.items():
        yield f"the tokens of {count} of {n} answers are {label}"


def _counts(found: Mapping[str, int], n: int) -> str:
    if list(found.values()) == [n]:
        return _short(next(iter(found)))
    return ", ".join(f"{_short(name)} ({count} of {n})" for name, count in found.items())


def _short(text: str) -> str:
    return text if len(text) <= 80 else text[:79] + "…"
