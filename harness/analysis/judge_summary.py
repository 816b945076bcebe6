"""What a summary says of a judge model: with each row it scored, and for the run as a whole."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from harness.analysis import judge_agreement
from harness.analysis.facts import RunFacts
from harness.analysis.places import SentToJudge, answer_place, place_of
from harness.config.machine import MachineConfig
from harness.config.task import RubricConfig
from harness.cost.machines import hourly
from harness.stats.totals import total
from harness.store.schema import (
    Agreement,
    Figure,
    Judged,
    JudgeEntry,
    JudgeWork,
    Note,
    NoteCode,
    PassLine,
    PlanFile,
    Row,
    StoppedLine,
    Subject,
    Unreadable,
)
from harness.tasks.judge_requests import name_of
from harness.tasks.rubric import verdict
from harness.values import CellName, Response

EXCERPT = 120  # characters of a reply that are shown


def of_rows(facts: RunFacts, rows: Sequence[Row]) -> tuple[Row, ...]:
    """Returns the rows; those that a judge scored with what is to be known of it as `judged`."""
    judge = facts.plan.judge
    if judge is None:
        return tuple(rows)
    tasks = {name: task for name, task in facts.plan.tasks.items() if task.judged_by is not None}
    agreed = {name: judge_agreement.agreement(name, task, facts.samples, facts.heard) for name, task in tasks.items()}
    return tuple(_with_judge(facts, judge, row, agreed[row.task]) if row.task in tasks else row for row in rows)


def _with_judge(facts: RunFacts, judge: JudgeEntry, row: Row, agreed: Agreement | None) -> Row:
    task, mine = facts.plan.tasks[row.task], facts.records[row.model, row.task]
    told = [one for record in mine for one in facts.heard.told.get(answer_place(record), {}).values()]
    replies = [reply for one in told for reply in one.replies]
    failed = [reply for reply in replies if reply is not None and reply.error is not None]
    judged = Judged(
        judge=judge.name,
        verdicts=len(replies),
        owed=replies.count(None),
        failed=len(failed),
        unreadable=None if task.judged_by is None else _unreadable(task.judged_by, replies),
        agreement=agreed,
        corrected=judge_agreement.corrected(task, mine, facts.samples),
        both_orders=judge_agreement.both_orders(mine),
        warning=judge_agreement.warning(row.task, agreed),
    )
    again = row.asked.transient + sum(reply.provisional for reply in failed) + judged.owed
    why = row.incomplete or _incomplete(row, judged, facts.plan.config.max_errors)
    return replace(row, judged=judged, asked=replace(row.asked, transient=again), incomplete=why)


def _unreadable(rubric: RubricConfig, replies: Sequence[Response | None]) -> Unreadable | None:
    """Returns how many whole replies hold no verdict, and the first of them; None if there is none."""
    whole = [reply for reply in replies if reply is not None and reply.error is None and not reply.truncated_left]
    said = [reply.text or "" for reply in whole if verdict(rubric, reply) is None]
    return Unreadable(len(said), _one_line(said[0])) if said else None


def _one_line(text: str) -> str:
    """Returns the beginning of what a model wrote, harmless in a line of a note; empty if there is nothing to see."""
    seen = "".join(c if c.isprintable() else " " for c in text[: 4 * EXCERPT]).replace("`", "'")
    line = " ".join(seen.split())
    return line if len(line) <= EXCERPT else line[: EXCERPT - 1] + "…"


def _incomplete(row: Row, judged: Judged, allowed: float) -> Note | None:
    """Returns why verdicts do not stand for all answers; None if they do, but for the errors a run allows."""
    about = Subject(row.model, (row.task,))
    if judged.owed:
        figures = {"owed": judged.owed, "verdicts": judged.verdicts}
        return Note(NoteCode.VERDICTS_OWED, "incomplete", about, figures)
    if judged.verdicts and judged.failed / judged.verdicts > allowed:
        figures = {"failed": judged.failed, "verdicts": judged.verdicts}
        return Note(NoteCode.FAILED_VERDICTS_OVER_LIMIT, "incomplete", about, {**figures, "allowed": allowed})
    return None


def paid(plan: PlanFile) -> list[str]:
    """Returns the judge's name among the models, if it is paid by the token."""
    return [name_of(plan.judge.name)] if plan.judge is not None and place_of(plan.judge).paid else []


def sent_to_judge(facts: RunFacts, cut_off: Collection[CellName]) -> SentToJudge:
    """Returns the bytes that left the machine for a judge, of each answer of which any did.

    They are unknown for a task (model, task) of which a sitting was cut off, with requests under way.
    """
    judge = facts.plan.judge
    if judge is None:
        return {}
    lost = {task for model, task in cut_off if model == name_of(judge.name)}
    return {place: None if place[1] in lost else sent for place, sent in facts.heard.sent.items() if sent}


def of_run(facts: RunFacts, rows: Sequence[Row], machine: MachineConfig | None) -> JudgeWork | None:
    """Returns what judging took in all, priced apart, and what the run cost with it. None for a run without a judge.

    A judge that runs here costs the machine's seconds, as the models do; what a provider charges is its own count. A
    sitting that was killed has no times: then the cost is unknown.
    """
    judge = facts.plan.judge
    if judge is None:
        return None
    name, place = name_of(judge.name), place_of(judge)
    mine = [usage for (model, _), usage in facts.usage.items() if model == name]
    usd = total(usage.usd for usage in mine)
    if place.kind == "here" and not place.paid:
        lines = sum(usage.lines for usage in mine)
        usd = _usd_here([line for line in facts.every(PassLine) if line.model == name], lines, machine)
    stops = (line.reason for line in facts.every(StoppedLine) if line.model == name)
    return JudgeWork(
        name=judge.name,
        where=place.name,
        digest=judge.digest,
        verdicts=sum(usage.answers for usage in mine),
        failed=sum(usage.errors for usage in mine),
        cut=sum(reply.truncated_left > 0 for reply in facts.heard.replies),
        input_tokens=total(usage.input_tokens for usage in mine),
        output_tokens=total(usage.output_tokens for usage in mine),
        usd=usd,
        usd_with_models=total([usd, *(row.cost.usd for row in rows)]),
        stopped=next(stops, None),
    )


def _usd_here(sittings: Sequence[PassLine], lines: int, machine: MachineConfig | None) -> float | None:
    """Returns what the seconds of a judge on this machine cost; `lines`: all of its replies."""
    price = None if machine is None else hourly(machine).total
    if machine is None or price is None or sum(line.responses for line in sittings) != lines:
        return None
    return sum(line.wall_s for line in sittings) / 3600 * price / machine.utilisation


def notes(plan: PlanFile, rows: Sequence[Row], judge: JudgeWork | None) -> list[Note]:
    """Returns what a reader of judged scores has to know: who judged, how far people agree, and what it took."""
    if judge is None:
        return []
    scored = [(row, row.judged) for row in rows if row.judged is not None and row.layout_of is None]
    found: list[Note] = []
    for task, judged in {row.task: judged for row, judged in scored}.items():
        rubric = plan.tasks[task].judged_by
        by: dict[str, Figure] = {
            "judge": judge.name,
            "where": judge.where,
            "pairs": rubric is not None and rubric.against is not None,
        }
        found += [Note(NoteCode.JUDGED_BY, subject=Subject(tasks=(task,)), figures=by)]
        found += _of_agreement(task, judged)
    for row, judged in scored:
        found += _of_row(row, judged)
        if plan.models[row.model].digest == judge.digest:
            found.append(Note(NoteCode.OWN_JUDGE, subject=Subject(row.model, (row.task,))))
    found.append(bill(judge))
    if judge.stopped is not None:
        found.append(Note(NoteCode.JUDGE_STOPPED, figures={"judge": judge.name, "reason": judge.stopped}))
    return found


def bill(judge: JudgeWork) -> Note:
    """Returns what judging took, and what the run cost with it."""
    figures: dict[str, Figure] = {
        "judge": judge.name,
        "verdicts": judge.verdicts,
        "failed": judge.failed,
        "cut": judge.cut,
        "input_tokens": judge.input_tokens,
        "output_tokens": judge.output_tokens,
        "usd": judge.usd,
        "usd_with_models": judge.usd_with_models,
    }
    return Note(NoteCode.JUDGE_BILL, figures=figures)


def _of_agreement(task: str, judged: Judged) -> list[Note]:
    agreed, found = judged.agreement, []
    if agreed is not None and agreed.raw is not None and agreed.kappa is not None:
        figures = {"n": agreed.n, "unreadable": agreed.unreadable}
        both = {"raw": agreed.raw, "kappa": agreed.kappa}
        found.append(Note(NoteCode.AGREEMENT, subject=Subject(tasks=(task,)), figures=figures, estimates=both))
    return [*found, judged.warning] if judged.warning is not None else found


def _of_row(row: Row, judged: Judged) -> list[Note]:
    about = Subject(row.model, (row.task,))
    notes = []
    if (unread := judged.unreadable) is not None:
        figures: dict[str, Figure] = {"n": unread.n, "verdicts": judged.verdicts, "such_as": unread.such_as}
        notes.append(Note(NoteCode.VERDICTS_UNREADABLE, subject=about, figures=figures))
    if (mean := judged.corrected) is not None:
        counts = {"labels": mean.labels, "n": row.asked.n}
        notes.append(Note(NoteCode.CORRECTED, subject=about, figures=counts, estimates={"mean": mean.estimate}))
    if (orders := judged.both_orders) is not None:
        counts = {"pairs": orders.pairs, "first": orders.first, "second": orders.second}
        same = {"consistent": orders.consistent}
        notes.append(Note(NoteCode.BOTH_ORDERS, subject=about, figures=counts, estimates=same))
    return notes
