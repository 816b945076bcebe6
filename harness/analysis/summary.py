"""The files of a run to its summary: rows, references, what was spent, and notes. Unknown is None, never 0."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from harness.analysis import judge_summary, notes, places, resources
from harness.analysis.facts import RunFacts, Samples
from harness.analysis.rows import rows_of
from harness.analysis.spending import spent
from harness.config.task import TaskConfig
from harness.measure.other_work import Bystanders
from harness.store.schema import ChargeLine, ModelLine, NoteCode, PassLine, Reference, Row, Summary, with_row_notes


def summarise(facts: RunFacts) -> Summary:
    """Returns the summary of a run. A cell of its plan without a single record has no row."""
    plan = facts.plan
    lost = {cell for cell in facts.usage if facts.cut_off(cell)}
    rows = judge_summary.of_rows(facts, rows_of(facts, judge_summary.sent_to_judge(facts, lost)))
    judge = judge_summary.of_run(facts, rows, plan.machine)
    sealed = places.sealed(facts.every(ModelLine))
    paid = [name for name, entry in plan.models.items() if places.place_of(entry).paid] + judge_summary.paid(plan)
    money = spent(facts.usage, facts.every(ChargeLine), paid, [model for model, _ in lost])
    return with_row_notes(
        Summary(
            run=plan.run,
            digest=plan.digest,
            rows=rows,
            references=_references(plan.tasks, facts.samples),
            baseline=plan.baseline,
            machine=None if plan.machine is None else resources.priced(plan.machine),
            sealed=sealed,
            spent=money,
            judge=judge,
            notes=(
                *notes.of_run(plan, sealed),
                *notes.threads(plan, facts.every(ModelLine)),
                *notes.of_models(facts.every(ModelLine)),
                *notes.of_data(plan),
                *notes.of_rows(rows),
                *notes.prices(plan),
                *notes.paid(money),
                *notes.busy({_named(row): row.latency.bystanders for row in rows if _timed_here(row)}),
                *notes.busy(_beside_passes(facts, rows), NoteCode.BUSY_PASS),
                *notes.of_responses(facts.usage),
                *notes.without_answer(facts),
                *judge_summary.notes(plan, rows, judge),
                *notes.incomplete(facts, rows),
            ),
        )
    )


def _named(row: Row) -> str:
    return f"{row.model} on {row.task}"


def _beside_passes(facts: RunFacts, rows: Sequence[Row]) -> Mapping[str, Bystanders]:
    """Returns by row what the processors did at worst while it was answered, where that was on this computer."""
    found = {}
    for row in rows:
        lines = facts.lines(PassLine, (row.model, row.task)) if row.place.kind == "here" else []
        known = [line.bystanders for line in lines if line.bystanders is not None]
        shares = [max((getattr(one, name) or 0.0 for one in known), default=0.0) for name in ("others", "stolen")]
        found[_named(row)] = Bystanders(*shares)
    return found


def _timed_here(row: Row) -> bool:
    """Returns whether a row has latencies; of recorded answers none were measured."""
    return row.latency.n > 0 and row.place.kind != "file"


def _references(tasks: Mapping[str, TaskConfig], samples: Samples) -> tuple[Reference, ...]:
    """Returns, for each task with choices, what guessing would score, and always naming the commonest answer.

    That is an answer only where each sample offers it.
    """
    found: list[Reference] = []
    for name in tasks:
        asked = [sample for (task, _), sample in samples.items() if task == name and sample.labels]
        if asked:
            chance = sum((len(sample.right) or 1) / len(sample.labels) for sample in asked) / len(asked)
            answer, count = Counter(sample.expected for sample in asked).most_common(1)[0]
            found.append(Reference("chance", name, len(asked), chance))
            if (count > 1 or len(asked) == 1) and all(answer in sample.labels for sample in asked):
                found.append(Reference("majority", name, len(asked), count / len(asked), answer))
    return tuple(found)
