"""How far a judge model is to be believed: its agreement with people, and means corrected by their verdicts.

Agreement is of the judge's own verdicts on the very texts that people judged. A mean is corrected only where people
judged the model's own answers, some of them: then by prediction-powered inference (`harness.stats.ppi_mean`), which
holds if those are a uniform random draw of all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.analysis.verdicts import Heard
from harness.config.task import Judging, TaskConfig
from harness.stats import accuracy, cohen_kappa, ppi_mean
from harness.store.schema import Agreement, BothOrders, Corrected, Note, NoteCode, Subject
from harness.tasks.kinds.written import text_to_judge
from harness.tasks.rubric import FIRST, SAME, agreed_verdict, as_verdict, worth
from harness.values import Record, Sample

ENOUGH = 30  # texts judged by people and by the judge; with fewer the intervals of agreement and correction do not hold

Samples = Mapping[tuple[str, str], Sample]


def agreement(name: str, task: TaskConfig, samples: Samples, heard: Heard) -> Agreement | None:
    """Returns how far the judge agrees with people on a task: a share, and Cohen's kappa. None without their verdicts.

    Kappa has quadratic weights on a scale of numbers. `n` counts texts with both verdicts, `unreadable` those of which
    the judge gave none.
    """
    rubric = task.judged_by
    if rubric is None or rubric.human is None:
        return None
    replies = heard.labelled.get(name, {})
    people = {id: as_verdict(rubric, samples[name, id].row[rubric.human]) for id in replies}
    judge = {id: agreed_verdict(rubric, told) for id, told in replies.items()}
    both = [(said, people[id]) for id, said in judge.items() if said is not None]
    unreadable = len(replies) - len(both)
    if not both:
        return Agreement(0, unreadable)
    raw = accuracy([float(a == b) for a, b in both])
    ordered = rubric.against is None and not isinstance(rubric.scale, Mapping)
    kappa = cohen_kappa([said for said, _ in both], [told for _, told in both], ordered=ordered)
    return Agreement(len(both), unreadable, raw, kappa)


def corrected(task: TaskConfig, records: Sequence[Record], samples: Samples) -> Corrected | None:
    """Returns the mean that people would give, estimated from the judge's verdicts and theirs; None without theirs.

    `records` are those of one model on one task. Where people judged every answer it is the mean of their verdicts.
    """
    if not isinstance(task, Judging) or (rubric := task.rubric) is None:
        return None
    if rubric.human is None or not isinstance(rubric.of, str):
        return None
    if any(record.epoch > 0 for record in records):
        return None
    human, judge, rest = [], [], []
    for record in records:
        if record.value is None:
            continue
        row = samples[record.task, record.sample_id].row
        told = as_verdict(rubric, row.get(rubric.human))
        text = text_to_judge(task, samples[record.task, record.sample_id], str(row.get(rubric.of) or ""))
        if told is None or record.failure is not None or text != record.answer:
            rest.append(record.value)
            continue
        human.append(worth(rubric, told))
        judge.append(record.value)
    if len(human) < 2:
        return None
    found = ppi_mean(human, judge, rest) if rest else accuracy(human)
    return Corrected(found, len(human))


def both_orders(records: Sequence[Record]) -> BothOrders | None:
    """Returns how often pairs got one verdict in both orders, and else how often what stood first was preferred."""
    same = [r.metrics[SAME] for r in records if SAME in r.metrics]
    if not same:
        return None
    first = [r.metrics[FIRST] > 0.5 for r in records if FIRST in r.metrics]
    return BothOrders(len(same), accuracy(same), first=sum(first), second=len(first) - sum(first))


def warning(task: str, found: Agreement | None) -> Note | None:
    """Returns why a judged score is to be read with care; None where agreement with people has been shown."""
    about = Subject(tasks=(task,))
    if found is None:
        return Note(NoteCode.VERDICTS_UNCHECKED, "warning", about)
    if found.n < ENOUGH:
        return Note(NoteCode.VERDICTS_CHECKED_ON_FEW, "warning", about, {"n": found.n, "enough": ENOUGH})
    kappa = found.kappa
    if kappa is None or kappa.value is None:
        return Note(NoteCode.AGREEMENT_UNKNOWN, "warning", about, {"reason": None if kappa is None else kappa.reason})
    if (kappa.low if kappa.low is not None else kappa.value) <= 0:
        return Note(NoteCode.AGREEMENT_BY_CHANCE, "warning", about)
    return None
