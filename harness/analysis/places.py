"""Where a model ran, what left this machine for it, and what kept the data here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.analysis.facts import RunFacts
from harness.stats.totals import total
from harness.store.schema import (
    ChargeLine,
    Egress,
    ModelEntry,
    ModelLine,
    Place,
    PlannedCell,
    Sealed,
)
from harness.values import AnswerPlace, Record

HERE, FILE = "this machine", "recorded"
SentToJudge = Mapping[AnswerPlace, int | None]  # bytes, of each answer of which any left this machine for a judge


def place_of(entry: ModelEntry) -> Place:
    """Returns where a model is; it is paid by the token at a provider, or at a server with a price."""
    if entry.where in (HERE, FILE):
        return Place(entry.where, "here" if entry.where == HERE else "file", paid=entry.price is not None)
    return Place(entry.where, "host", paid=True)


def answer_place(record: Record) -> AnswerPlace:
    """Returns which answer a record is of."""
    return record.model, record.task, record.sample_id, record.epoch


def left_machine(facts: RunFacts, cell: PlannedCell, records: Sequence[Record], to_judge: SentToJudge) -> Egress:
    """Returns where the data of a row went, of which share of the samples, and the bytes of text sent in all.

    The bytes are unknown where a sitting was cut off before it could count them.
    """
    place = place_of(facts.plan.models[cell.model])
    hosts: list[str] = []
    share = 0.0
    sent: list[int | None] = [0]
    if place.kind == "host":
        charges = (line.sent_bytes for line in facts.lines(ChargeLine, cell.name))
        sent = [None] if facts.cut_off(cell.name) else [facts.usage[cell.name].sent_bytes, *charges]
        hosts, share = [place.name], len(records) / cell.n
    judged = [to_judge[answer] for record in records if (answer := answer_place(record)) in to_judge]
    if judged and facts.plan.judge is not None:  # the judge is elsewhere too
        hosts = list(dict.fromkeys([*hosts, facts.plan.judge.where]))
        share = max(share, len(judged) / cell.n)
    return Egress(tuple(hosts), share, total([*sent, *judged]))


def sealed(lines: Sequence[ModelLine]) -> Sealed | None:
    """Returns what kept the data on this machine, over all sittings: the weakest. None if that was not noted."""
    found = [line.sealed for line in lines]
    noted = [kind for kind in found if kind is not None]
    if not noted or len(noted) < len(found):
        return None
    weakest = next((kind for kind in noted if kind.startswith("none")), noted[0])
    kind, _, reason = weakest.partition(" (")
    return Sealed(kind, reason.removesuffix(")"))
