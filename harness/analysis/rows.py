"""The rows of a run: one model on one task, from its records and what was measured meanwhile."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain

from harness.analysis import places, resources
from harness.analysis.epochs import clusters_of, reduce_epochs, repeated
from harness.analysis.expected_loss import best_constant, expected_loss
from harness.analysis.facts import RunFacts
from harness.analysis.places import SentToJudge
from harness.analysis.slices import by_slice
from harness.analysis.statistics import further_of
from harness.config.task import TaskConfig
from harness.stats import accuracy, paired_difference
from harness.store.schema import (
    Counts,
    Difference,
    EnergyLine,
    EngineLine,
    ExpectedLoss,
    LatencyLine,
    LayoutRange,
    Note,
    NoteCode,
    PassLine,
    PlannedCell,
    Row,
    Subject,
)
from harness.values import Estimate, Failure, Record

WITHOUT_ACCURACY = "a text is neither right nor wrong: see bits_per_byte"


def rows_of(facts: RunFacts, to_judge: SentToJudge) -> tuple[Row, ...]:
    """Returns the rows of a run in the order of its plan. A cell without a single record has none."""
    rows = tuple(_row(facts, cell, to_judge) for cell in facts.plan.cells if cell.name in facts.records)
    return tuple(replace(row, over_layouts=_over_layouts(row, rows)) for row in rows)


def _row(facts: RunFacts, cell: PlannedCell, to_judge: SentToJudge) -> Row:
    plan, records, usage = facts.plan, facts.records[cell.name], facts.usage[cell.name]
    task, model = plan.tasks[cell.task], plan.models[cell.model]
    place = places.place_of(model)
    one_each = reduce_epochs(records, task.reduction)
    judged = [record for record in one_each if record.value is not None]
    base = facts.records.get((plan.baseline, cell.task))
    done = resources.throughput([] if place.kind == "file" else facts.lines(PassLine, cell.name))
    billed = place.kind == "file" or place.paid
    cost = (
        resources.cost_billed(model.price, usage, records)
        if billed
        else resources.cost_on_machine(done, records, plan.machine, usage)
    )
    asked = _counts(facts, cell, records, len({record.sample_id for record in judged}))
    return Row(
        model=cell.model,
        task=cell.task,
        task_version=task.version,
        layout_of=plan.formats.get(cell.task),
        mode=cell.mode,
        kind=task.kind,
        reads=task.reads,
        metric=task.headline,
        asked=asked,
        accuracy=_accuracy(task, judged),
        expected_loss=_loss(task, judged),
        metrics=further_of(records) | repeated(records),
        slices=by_slice(judged, clusters_of(judged), facts.samples, task.slices),
        difference=None if base is None else _difference(task, one_each, reduce_epochs(base, task.reduction)),
        latency=resources.latency(facts.lines(LatencyLine, cell.name)),
        throughput=done,
        tokens=resources.tokens(usage),
        cost=cost,
        prompt_tokens=resources.prompt_tokens(facts.lines(EngineLine, cell.name), cost),
        energy=resources.energy(facts.lines(EnergyLine, cell.name), done, records, plan.machine),
        place=place,
        left_machine=places.left_machine(facts, cell, records, to_judge),
        incomplete=_incomplete(cell, asked, plan.config.max_errors),
    )


def _counts(facts: RunFacts, cell: PlannedCell, records: Sequence[Record], n: int) -> Counts:
    usage, failures = facts.usage[cell.name], [_failures(record) for record in records]
    return Counts(
        n=n,
        responses=len(records),
        expected=cell.n,
        errors=sum(any(failure.startswith(Failure.BACKEND_ERROR) for failure in each) for each in failures),
        missing=len(usage.missing),
        transient=usage.provisional,
        truncated_prompts=sum(record.truncated_left > 0 for record in records),
        failures=dict(Counter(chain.from_iterable(failures))),
    )


def _failures(record: Record) -> list[str]:
    """Returns what went wrong with one answer; in a conversation each with its turn."""
    if not record.turns:
        return [] if record.failure is None else [str(record.failure)]
    return [f"{turn.failure} in turn {turn.turn}" for turn in record.turns if turn.failure is not None]


def _over_layouts(row: Row, rows: Sequence[Row]) -> LayoutRange | None:
    """Returns the lowest and highest accuracy of a task's own layout and its variants; None where none was asked."""
    others = [one for one in rows if (one.model, one.layout_of) == (row.model, row.task)]
    values = [one.accuracy.value for one in (row, *others) if one.accuracy.value is not None]
    return LayoutRange(len(others), min(values), max(values)) if others and values else None


def _incomplete(cell: PlannedCell, asked: Counts, allowed: float) -> Note | None:
    """Returns why a row does not stand for all samples; None if it does, but for the errors a run allows."""
    about = Subject(cell.model, (cell.task,))
    if asked.responses < cell.n:
        owed = {"asked": asked.responses, "expected": cell.n}
        return Note(NoteCode.SAMPLES_OWED, "incomplete", about, owed)
    if asked.errors / cell.n > allowed:
        figures = {"errors": asked.errors, "expected": cell.n, "allowed": allowed}
        return Note(NoteCode.ERRORS_OVER_LIMIT, "incomplete", about, figures)
    return None


def _loss(task: TaskConfig, judged: Sequence[Record]) -> ExpectedLoss | None:
    """Returns the mean cost of the answers and the cheapest one answer to all; None for a task without `costs`."""
    costs = task.answer_costs
    if costs is None or not judged:
        return None
    right = [str(record.expected) for record in judged]
    answer, value = best_constant(costs, right, dict.fromkeys((*costs, *right)))
    return ExpectedLoss(expected_loss(costs, judged), answer, value)


def _accuracy(task: TaskConfig, judged: Sequence[Record]) -> Estimate:
    if task.rolling:
        return Estimate(None, reason=WITHOUT_ACCURACY)
    return _estimate(_values(judged), clusters_of(judged))


def _values(records: Sequence[Record]) -> list[float]:
    return [record.value for record in records if record.value is not None]


def _estimate(values: Sequence[float], clusters: Sequence[str] | None) -> Estimate:
    return accuracy(values, clusters) if values else Estimate(None, reason="no answer could be judged")


def _difference(task: TaskConfig, records: Sequence[Record], base: Sequence[Record]) -> Difference | None:
    """Returns accuracy minus the baseline's on the samples that both have a value for, or None for the baseline."""
    if task.rolling or base[0].model == records[0].model or base[0].mode != records[0].mode:
        return None
    theirs = {(record.sample_id, record.epoch): record for record in base if record.value is not None}
    pairs = [
        (record, theirs[record.sample_id, record.epoch])
        for record in records
        if record.value is not None and (record.sample_id, record.epoch) in theirs
    ]
    if not pairs:
        return None
    mine, other = [a for a, _ in pairs], [b for _, b in pairs]
    found = paired_difference(_values(mine), _values(other), clusters_of(mine))
    return Difference(found.difference, found.p_value, found.test, found.wins, found.losses, found.ties)
