"""Several runs in one table: their rows side by side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

from harness.analysis.spending import spent_together
from harness.errors import ConfigError, StoreError
from harness.store.schema import Note, NoteCode, Summary


def merged(summaries: Sequence[Summary], names: Sequence[str]) -> Summary:
    """Returns one summary of several runs: their rows side by side. Differences stay those within each run.

    `names` are those of the runs. What holds for some of them only is marked with their numbers, which the last notes
    resolve: a model that stands in several, and a note. Raises StoreError when two runs hold different versions of one
    task: those are never in one table.
    """
    version: dict[str, int] = {}
    for summary in summaries:
        for row in summary.rows:
            known = version.setdefault(row.task, row.task_version)
            if known != row.task_version:
                raise StoreError(
                    f"task '{row.task}' has version {known} in one run and {row.task_version} in another",
                    where=f"run {summary.run}",
                    fix="run the older one again, or show them apart",
                )
    seen = Counter((row.task, row.mode, row.model) for summary in summaries for row in summary.rows)
    rows = tuple(
        replace(row, run=name, mark=f"[{i}]" if seen[row.task, row.mode, row.model] > 1 else "")
        for i, (summary, name) in enumerate(zip(summaries, names, strict=True), 1)
        for row in summary.rows
    )
    references = {(found.name, found.task): found for summary in summaries for found in summary.references}
    baselines = list(dict.fromkeys(summary.baseline for summary in summaries))
    one = len(baselines) == 1 and not any(row.mark for row in rows)
    return replace(
        summaries[0],
        run=" + ".join(dict.fromkeys(summary.run for summary in summaries)),
        baseline=baselines[0] if one else "its run's baseline",
        rows=rows,
        references=tuple(references.values()),
        spent=spent_together([summary.spent for summary in summaries]),
        notes=(*_common(summaries), *_runs(summaries, names, named=not one)),
    )


_LACKING = {
    "labels": "they are in tasks with fixed `choices`, or `score: multi_label`",
    "slices": "add `slices: [COLUMN]` to the task file, and run it again",
}


def refuse_without(summary: Summary, view: str) -> None:
    """Raises ConfigError where no row has what a view shows: labels or slices."""
    rows = summary.rows if view in _LACKING else ()
    there = any(bool(row.slices) if view == "slices" else row.labels is not None for row in rows)
    if view in _LACKING and not there:
        raise ConfigError(f"no task here has {view}", fix=_LACKING[view])


def _common(summaries: Sequence[Summary]) -> Iterator[Note]:
    """Yields the notes that hold for all of several runs, then each other one with the numbers of its runs."""
    said: list[tuple[Note, list[int]]] = []
    for i, summary in enumerate(summaries, 1):
        for note in summary.notes:
            known = next((runs for other, runs in said if other == note), None)
            if known is None:
                said.append((note, [i]))
            elif known[-1] != i:
                known.append(i)
    yield from (note for note, runs in said if len(runs) == len(summaries))
    yield from (replace(note, runs=tuple(runs)) for note, runs in said if len(runs) < len(summaries))


def _runs(summaries: Sequence[Summary], names: Sequence[str], *, named: bool) -> Iterator[Note]:
    """Yields which run each number stands for; `named`: with its baseline, where it has one."""
    for i, (summary, name) in enumerate(zip(summaries, names, strict=True), 1):
        baseline = summary.baseline if named and len(summary.rows) > 1 else None
        yield Note(NoteCode.RUN, figures={"number": i, "name": name, "baseline": baseline})
