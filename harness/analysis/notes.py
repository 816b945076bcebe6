"""What a reader of a run must know beside its rows, as notes: codes and figures. `reports.notes` makes sentences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date

from harness.analysis.facts import RunFacts
from harness.analysis.places import place_of
from harness.analysis.slices import worst
from harness.analysis.usage import CellUsage
from harness.config.task import Writing
from harness.cost.machines import MACHINE_STALE_DAYS, hourly
from harness.cost.prices import STALE_DAYS
from harness.measure.other_work import OTHERS, STOLEN, Bystanders
from harness.store.schema import (
    Figure,
    ModelLine,
    Note,
    NoteCode,
    PlanFile,
    Row,
    Sealed,
    Spent,
    StoppedLine,
    Subject,
)
from harness.values import CellName, Estimate, Failure

SHOWN = 3  # kinds of refusal, missing samples and texts without an answer that are named
UNFOUND = (Failure.NO_ANSWER, Failure.TRUNCATED)  # what a text has in which the task's `extract` finds nothing
MANY_UNFOUND, FEWEST_UNFOUND = 0.2, 3  # share of a row's answers, and how many, that are worth a note


def of_run(plan: PlanFile, sealed: Sealed | None) -> Iterator[Note]:
    """Yields how a run was made: on what, at which price of a machine, sealed how, and with what licences."""
    places = [place_of(entry) for entry in plan.models.values()]
    if any(place.kind != "file" for place in places):
        processor = plan.host.processor or plan.host.system
        yield Note(NoteCode.MEASURED_ON, figures={"processor": processor, "cores": plan.host.cores})
    if plan.machine is None and any(place.kind == "here" and not place.paid for place in places):
        yield Note(NoteCode.MACHINE_UNKNOWN)
    elif plan.machine is not None:
        machine = plan.machine
        figures = {"machine": machine.name, "usd_per_hour": hourly(machine).total, "assumed": machine.assumed}
        origin: dict[str, Figure] = {"source": machine.source, "date": machine.date, "utilisation": machine.utilisation}
        age = _days_before(plan, machine.date)
        old = age is not None and age > MACHINE_STALE_DAYS
        yield Note(NoteCode.MACHINE_PRICE, figures={**figures, **origin, "age_days": age, "old": old})
    if sealed is not None:
        yield Note(NoteCode.SEALED, figures={"kind": sealed.kind, "reason": sealed.reason})
    for name, entry in plan.models.items():
        declared = entry.openness
        if declared is not None and declared.commercial in {"no", "conditional"}:
            told = {"licence": declared.licence, "commercial": declared.commercial, "reason": declared.reason}
            yield Note(NoteCode.LICENCE, subject=Subject(name), figures=told)
    for model in (*plan.config.models, *([] if plan.config.judge is None else [plan.config.judge])):
        stated: dict[str, Figure] = {"licence": model.licence, "provenance": model.provenance}
        if any(stated.values()) or model.accepted_by:
            yield Note(NoteCode.STATED, subject=Subject(model.name), figures={**stated, "by": model.accepted_by})
    if plan.config.despite_self_test:
        yield Note(NoteCode.DESPITE_SELF_TEST)
    if (kept := plan.policy) is not None:
        rules: dict[str, Figure] = {"name": kept.name, "digest": kept.digest, "verdicts": kept.verdicts}
        yield Note(NoteCode.POLICY, figures=rules)


def of_models(lines: Iterable[ModelLine]) -> list[Note]:
    """Returns what of a model's own files was not followed when it was loaded, once however often that was."""
    found = {(line.model, part, why): None for line in lines for part, why in line.otherwise.items()}
    return [
        Note(NoteCode.LOADED_OTHERWISE, subject=Subject(model), figures={"part": part, "why": why})
        for model, part, why in found
    ]


def of_data(plan: PlanFile) -> Iterator[Note]:
    """Yields what is to be known of the data of each task: rows that were left out, answers in other spellings."""
    for name, used in plan.data.items():
        about = Subject("", (name,))
        if used.left_out:
            figures: dict[str, Figure] = {"n": used.left_out, "columns": tuple(plan.tasks[name].data.without)}
            yield Note(NoteCode.ROWS_LEFT_OUT, subject=about, figures=figures)
        several = plan.tasks[name].data.config
        if isinstance(several, tuple) and 0 < used.sets < len(several):
            yield Note(NoteCode.PARTS_OF_DATA, subject=about, figures={"n": used.sets, "of": len(several)})
        if used.respelled:
            yield Note(NoteCode.ANSWERS_RESPELLED, subject=about, figures={"n": used.respelled})
        if used.never_first:
            yield Note(NoteCode.NEVER_FIRST, subject=about, figures={"n": used.never_first})


def _days_before(plan: PlanFile, day: str) -> int | None:
    """Returns how many days before a run a day was; None for what is no day."""
    try:
        return (date.fromisoformat(plan.created[:10]) - date.fromisoformat(day)).days
    except ValueError:
        return None


def threads(plan: PlanFile, lines: Iterable[ModelLine]) -> Iterator[Note]:
    """Yields which models computed with fewer or more threads than there are cores, in any sitting."""
    cores = plan.host.cores
    for model, count in dict.fromkeys((line.model, line.threads) for line in lines):
        if count is not None and cores is not None and count != cores:
            yield Note(NoteCode.THREADS, subject=Subject(model), figures={"threads": count, "cores": cores})


def of_rows(rows: Iterable[Row]) -> Iterator[Note]:
    """Yields what is to be known of single rows: the worst slice, the unit of a loss, joules, prompts that were cut."""
    for row in rows:
        if row.layout_of is not None:
            continue
        about = Subject(row.model, (row.task,))
        if (low := worst(row.slices)) is not None:
            part = {"column": low.column, "value": low.value, "accuracy": low.accuracy.value, "n": low.n}
            beside = {"rest": low.rest, "p_holm": low.p_holm, "compared": low.compared}
            yield Note(NoteCode.WORST_SLICE, subject=about, figures={**part, **beside})
        if (loss := row.expected_loss) is not None:
            always: dict[str, Figure] = {"always_answer": loss.always_answer, "always_value": loss.always_value}
            yield Note(NoteCode.LOSS_UNIT, subject=about, figures=always)
        yield from _without_interval(row, about)
        if row.energy.joules is not None:
            yield _energy(row, about)
        if row.asked.truncated_prompts:
            cut = {"n": row.asked.truncated_prompts}
            yield Note(NoteCode.TRUNCATED_PROMPTS, subject=about, figures=cut)


def _without_interval(row: Row, about: Subject) -> Iterator[Note]:
    """Yields why figures of a row have a value and no interval: once for all that share a reason."""
    figures: dict[str, Estimate | None] = {
        "accuracy": row.accuracy,
        "difference": None if row.difference is None else row.difference.estimate,
        "loss": None if row.expected_loss is None else row.expected_loss.estimate,
        **row.metrics,
        "corrected mean": None if row.judged is None or row.judged.corrected is None else row.judged.corrected.estimate,
    }
    reasons: dict[str, list[str]] = {}
    for name, found in figures.items():
        if found is not None and found.value is not None and found.low is found.high is None and found.reason:
            reasons.setdefault(found.reason, []).append(name)
    for reason, names in reasons.items():
        yield Note(NoteCode.NO_INTERVAL, subject=about, figures={"of": tuple(names), "reason": reason})


def _energy(row: Row, about: Subject) -> Note:
    """Returns what the pass of a row took, where counters told it."""
    energy = row.energy
    figures = {
        "joules": energy.joules,
        "method": energy.method,
        "net_joules": energy.net_joules,
        "carbon_g": energy.carbon_g,
        "j_per_output_token": energy.j_per_output_token,
        "j_per_sample": energy.j_per_sample,
        "j_per_correct": energy.j_per_correct,
    }
    return Note(NoteCode.ENERGY, subject=about, figures=figures)


def prices(plan: PlanFile) -> Iterator[Note]:
    """Yields what the cost of each model that is paid by the token is made of."""
    for name, entry in plan.models.items():
        if (price := entry.price) is not None:
            listed = {"provider": price.provider, "listed_as": price.model, "source": price.source}
            read = getattr(price, "retrieved", None)
            day = None if read is None else read.isoformat()
            age = None if day is None else _days_before(plan, day)
            dated = {**listed, "retrieved": day, "age_days": age, "old": age is not None and age > STALE_DAYS}
            yield Note(NoteCode.LIST_PRICE, subject=Subject(name), figures=dated)


def paid(spent: Spent | None) -> list[Note]:
    """Returns what a run paid to providers in all: answers, requests timed alone, and a judge's."""
    if spent is None:
        return []
    figures = {
        "usd": spent.usd,
        "known_usd": spent.known_usd,
        "most_usd": spent.most_usd,
        "beside_answers_usd": spent.beside_answers_usd,
        "cut_off": spent.cut_off,
    }
    return [Note(NoteCode.PAID, figures=figures)]


def busy(measured: Mapping[str, Bystanders], code: NoteCode = NoteCode.BUSY_MACHINE) -> list[Note]:
    """Returns the warning that times were taken beside other work; none where nothing is known to have disturbed them.

    `measured` has by name what the processors did beside each measurement; `code` says of what they are.
    """
    shares = {name: (found.others or 0.0, found.stolen or 0.0) for name, found in measured.items()}
    disturbed = {name: pair for name, pair in shares.items() if pair[0] > OTHERS or pair[1] > STOLEN}
    if not disturbed:
        return []
    others, stolen = (max(column) for column in zip(*disturbed.values()))
    figures = {"others": others, "stolen": stolen, "rows": tuple(disturbed)}
    return [Note(code, "warning", figures=figures)]


def of_responses(usage: Mapping[CellName, CellUsage]) -> list[Note]:
    """Returns what the responses tell beside their answers: once a model where all of its tasks tell the same."""
    said: list[tuple[Note, list[str]]] = []
    for (model, task), told in usage.items():
        for note in _of_cell(model, told):
            known = next((tasks for other, tasks in said if other == note), None)
            if known is None:
                said.append((note, [task]))
            else:
                known.append(task)
    of_model = Counter(model for model, _ in usage)
    return [
        Note(
            note.code,
            note.level,
            Subject(note.subject.model, () if len(tasks) == of_model[note.subject.model] else tuple(tasks)),
            note.figures,
            note.counts,
        )
        for note, tasks in said
    ]


def _of_cell(model: str, told: CellUsage) -> Iterator[Note]:
    n, about = told.answers, Subject(model)
    if told.versions:
        yield Note(NoteCode.ANSWERED_AS, subject=about, figures={"n": n}, counts=told.versions)
    if told.origins:
        yield Note(NoteCode.RECORDED_ANSWERS, subject=about, figures={"n": n}, counts=told.origins)
    if told.missing:
        lacking: dict[str, Figure] = {
            "n": len(told.missing),
            "asked": n + told.errors,
            "samples": tuple(told.missing[:SHOWN]),
        }
        yield Note(NoteCode.ANSWERS_MISSING, subject=about, figures=lacking)
    if told.matched:
        few = told.matched[:SHOWN]
        found: dict[str, Figure] = {"n": len(told.matched), "answers": n}
        found |= {"samples": tuple(sample for sample, _ in few), "there": tuple(name for _, name in few)}
        yield Note(NoteCode.ANSWERS_MATCHED, subject=about, figures=found)
    for name, refused in told.refused.items():
        share: dict[str, Figure] = {"parameter": name, "n": refused.n, "answers": n, "why": refused.said}
        yield Note(NoteCode.NOT_AS_ASKED, subject=about, figures=share)
    for (setting, why), count in told.otherwise.items():
        done: dict[str, Figure] = {"setting": setting, "n": count, "answers": n, "why": why}
        yield Note(NoteCode.HANDLED_OTHERWISE, subject=about, figures=done)
    for why, count in told.fallbacks.items():
        slow: dict[str, Figure] = {"n": count, "answers": n, "why": why}
        yield Note(NoteCode.PLAIN_METHOD, subject=about, figures=slow)
    if told.refusals:
        sums = {"n": sum(told.refusals.values()), "answers": n}
        most = dict(Counter(told.refusals).most_common(SHOWN))
        yield Note(NoteCode.REFUSALS, subject=about, figures=sums, counts=most)
    for label, count in told.counted.items():
        figures: dict[str, Figure] = {"label": label, "n": count, "answers": n}
        yield Note(NoteCode.TOKEN_COUNTS, subject=about, figures=figures)


def without_answer(facts: RunFacts) -> Iterator[Note]:
    """Yields, of each row of which many texts hold none of the task's labels, how many, and the commonest of them."""
    for cell in facts.plan.cells:
        task, records = facts.plan.tasks[cell.task], facts.records.get(cell.name, ())
        told = [" ".join(record.text.split()) for record in records if record.failure in UNFOUND and record.text]
        if not task.writes or len(told) < FEWEST_UNFOUND or len(told) < MANY_UNFOUND * len(records):
            continue
        if not facts.samples[cell.task, records[0].sample_id].labels:
            continue
        held = isinstance(task, Writing) and task.constrain is not None
        figures: dict[str, Figure] = {"n": len(told), "answers": len(records), "held": held}
        commonest = dict(Counter(told).most_common(SHOWN))
        yield Note(NoteCode.NO_ANSWER_FOUND, "warning", Subject(cell.model, (cell.task,)), figures, commonest)


def incomplete(facts: RunFacts, rows: Sequence[Row]) -> Iterator[Note]:
    """Yields a note for each cell whose row is incomplete or not there, with what stopped it."""
    stops = {line.model: line.reason for line in facts.every(StoppedLine)}
    known = {(row.model, row.task): row for row in rows}
    for cell in facts.plan.cells:
        row, about = known.get(cell.name), Subject(cell.model, (cell.task,))
        if row is None:
            owed = {"asked": 0, "expected": cell.n, "stopped": stops.get(cell.model)}
            yield Note(NoteCode.SAMPLES_OWED, "incomplete", about, owed)
            continue
        if (why := row.incomplete) is not None:
            stopped = stops.get(cell.model) if row.asked.responses < row.asked.expected else None
            yield Note(why.code, why.level, why.subject, {**why.figures, "stopped": stopped})
        if row.asked.transient:
            figures = {"n": row.asked.transient, "expected": row.asked.expected}
            yield Note(NoteCode.TRANSIENT, subject=about, figures=figures)
