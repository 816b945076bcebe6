"""A run folder to its records and its summary: each file is read once, and the log of responses line by line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from harness.analysis import verdicts
from harness.analysis.facts import RunFacts, by_cell
from harness.analysis.summary import summarise
from harness.analysis.usage import CellUsage, Usage
from harness.errors import StoreError
from harness.scoring.scorers import own_python
from harness.store.files import RECORDS, RESPONSES, VERDICTS
from harness.store.lines import read_log, read_measurements, read_plan, read_records, read_response_lines, read_samples
from harness.store.opening import there
from harness.store.rows import read_object, refuse_no_run
from harness.store.schema import PlanFile, Row, Summary, summary_from_json
from harness.tasks import lm_eval_judge
from harness.tasks.records import records
from harness.values import CellName, Estimate, Record, ResponseLine, Sample

Samples = Mapping[tuple[str, str], Sample]  # by task and sample id


@dataclass(frozen=True, slots=True)
class JudgedRun:
    """What follows from the responses of a run."""

    plan: PlanFile
    samples: Samples
    records: list[Record]
    heard: verdicts.Heard
    usage: Mapping[CellName, CellUsage]
    lm_eval: Mapping[CellName, Mapping[str, float]] = field(default_factory=dict)  # its own metrics over all answers


def judged_run(path: Path) -> JudgedRun:
    """Returns what follows from a run's responses. Raises StoreError for a response that was not planned."""
    plan, samples = read_plan(path), read_samples(path)
    for name, config in plan.tasks.items():
        lm_eval_judge.refuse_unknown(config)
        for spec in config.scores:
            own_python.refuse_unknown(spec, name)
    replies = list(read_log(path / VERDICTS)) if there(path / VERDICTS) else []
    heard = verdicts.NOTHING_HEARD
    if plan.judge is not None:
        tasks = {name for name, task in plan.tasks.items() if task.judged_by is not None}
        answers = [line for line in read_response_lines(path / RESPONSES) if line.task in tasks]
        heard = verdicts.heard(plan, samples, answers, (line for line, _ in replies))
    usage, whole = Usage(), _Whole(plan)
    answered = whole.seen(_counted(path / RESPONSES, samples, usage))
    found = list(records(plan.tasks, samples, answered, heard.told))
    for line, counts in replies:
        usage.add(line, counts=counts)
    return JudgedRun(plan, samples, found, heard, usage.cells(), whole.metrics(samples))


def judged(path: Path) -> list[Record]:
    """Returns the records that follow from a run's responses. Raises StoreError for a response that was not planned."""
    return judged_run(path).records


def records_of(path: Path) -> Iterable[Record]:
    """Returns the records that a run folder holds; of a run that is not judged yet, those that follow."""
    return read_records(path) if there(path / RECORDS) else judged(path)


def summarised(path: Path) -> tuple[list[Record], Summary]:
    """Returns the records and the summary that follow from the responses of a run, without the heads of its chains."""
    refuse_no_run(path)
    run = judged_run(path)
    measured = tuple(read_measurements(path))
    facts = RunFacts(run.plan, run.samples, by_cell(run.records), measured, run.usage, run.heard)
    summary = summarise(facts)
    return run.records, replace(summary, rows=tuple(_with_lm_eval(row, run) for row in summary.rows))


def summary_of(path: Path) -> Summary:
    """Returns the summary that a run folder holds; one of an earlier version is made anew from its responses.

    Raises StoreError where there is none.
    """
    file = path / "summary.json"
    held = read_object(file)
    return summary_from_json(held, str(file)) or replace(
        summarised(path)[1], head=held.get("head"), verdicts_head=held.get("verdicts_head")
    )


def _with_lm_eval(row: Row, run: JudgedRun) -> Row:
    """Returns a row with what lm-eval makes of all answers together, if the task is one of its own."""
    found = run.lm_eval.get((row.model, row.task), {})
    told = {name: Estimate(value, method="lm-eval") for name, value in found.items()}
    return replace(row, metrics={**row.metrics, **told}) if told else row


class _Whole:
    """Keeps the answers that are judged all together: those to tasks of lm-eval that judge themselves."""

    def __init__(self, plan: PlanFile) -> None:
        self._tasks = {name: task for name, task in plan.tasks.items() if lm_eval_judge.is_judged_by(task)}
        self._kept: dict[CellName, list[ResponseLine]] = {}

    def seen(self, lines: Iterator[ResponseLine]) -> Iterator[ResponseLine]:
        for line in lines:
            if line.task in self._tasks:
                self._kept.setdefault(line.cell, []).append(line)
            yield line

    def metrics(self, samples: Samples) -> dict[CellName, Mapping[str, float]]:
        return {
            (model, task): lm_eval_judge.aggregated(
                self._tasks[task], ((samples[task, line.sample_id], line) for line in lines)
            )
            for (model, task), lines in self._kept.items()
        }


def _counted(log: Path, samples: Samples, usage: Usage) -> Iterator[ResponseLine]:
    """Yields the lines of a log that count, and tells `usage` of all of them."""
    seen: set[tuple[object, ...]] = set()
    for line, counts in read_log(log):
        usage.add(line, counts=counts)
        if not counts:
            continue
        place = (*line.place, line.turn)
        if place in seen or (line.task, line.sample_id) not in samples:
            fault = "stands twice" if place in seen else "is of no planned sample"
            what = f"the response to {line.task} {line.sample_id} {fault}"
            raise StoreError(what, where=str(log), fix="run `harness verify` on the folder")
        seen.add(place)
        yield line


def all_failed(path: Path) -> str | None:
    """Returns what went wrong where every request of a run folder ended in an error; None where one was answered."""
    log = path / RESPONSES
    last = [line.error for line, counts in read_log(log) if counts] if log.exists() else []
    errors = Counter(error for error in last if error is not None)
    if not last or errors.total() < len(last):
        return None
    commonest, n = errors.most_common(1)[0]
    return f"all of {len(last)} requests failed: {commonest} ({n} of them)"
