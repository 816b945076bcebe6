"""What `import harness` gives: plan, check, run, bench, and what can be done with a run folder afterwards.

    run = harness.run("quickstart", limit=100)                 a run file, with something added to it
    run = harness.run(tasks=["gsm8k"], models=["./my-model"])  or a run of what is given here
    run.table(), run.rows, run.records()

The command line calls nothing else.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from harness.analysis import bench as load_results
from harness.analysis import costs
from harness.analysis.epochs import clusters_of
from harness.analysis.facts import by_cell
from harness.analysis.judged_by import judged_by
from harness.analysis.labels import by_label
from harness.analysis.merge import merged, refuse_without
from harness.analysis.reading import reading
from harness.analysis.run_summary import all_failed, judged_run, records_of, summarised, summary_of
from harness.analysis.verify import Verified, verified
from harness.analysis.verify_sources import with_sources
from harness.backends import load
from harness.config.assemble import Source
from harness.config.assemble import assemble as assemble
from harness.config.run import RunConfig
from harness.errors import ConfigError, nearest
from harness.reports import formats, notebook
from harness.reports.layout import View
from harness.reports.spreadsheet import csv_text
from harness.runs import bench as load_runs
from harness.runs import check as checks
from harness.runs.carry_out import carry_out
from harness.runs.check import NO_MODEL as NO_MODEL
from harness.runs.events import Event as Event
from harness.runs.given import NOTHING, Given, taken_out
from harness.runs.house_rules import admitted
from harness.runs.plan import Plan, make_plan
from harness.runs.ready import refuse_unready
from harness.runs.spending import Spending, estimate, estimate_loads
from harness.security import seal as seals
from harness.security.policy import read_policy
from harness.security.seal import Seal
from harness.store.files import (
    RECORDS,
    RESPONSES,
    SHEET,
    SUMMARY,
    TABLE,
    VERDICTS,
    write_json_atomic,
    write_jsonl_atomic,
    write_text_atomic,
)
from harness.store.lines import read_plan
from harness.store.log import verify_chain
from harness.store.manifest import refuse_cut, write_manifest
from harness.store.opening import there
from harness.store.rows import answered, refuse_no_run
from harness.store.schema import RECORD_LINES, BenchSummary, Summary, summary_to_json
from harness.store.schema.rows import Row

if TYPE_CHECKING:
    import pandas


TABLES = {TABLE: formats.markdown, SHEET: csv_text}  # files that show a summary, and what makes them
Found = TypeVar("Found")
UNASKED = "harness.run was not asked to: seal=True"  # why a run in Python has no seal


@dataclass(frozen=True, slots=True)
class Run:
    """A run folder that can be read: by a person (`table`), or by a program (`summary`, `records`)."""

    folder: Path

    @property
    def summary(self) -> Summary:
        """Returns all that follows from the run; summary.json holds it where the run is judged."""
        with reading(self.folder):
            return summary_of(self.folder) if there(self.folder / SUMMARY) else summarised(self.folder)[1]

    @property
    def complete(self) -> bool:
        """Returns whether every planned sample has a response, and no more than allowed ended in an error."""
        summary = self.summary
        return len(summary.rows) == len(read_plan(self.folder).cells) and summary.complete

    @property
    def failed(self) -> str | None:
        """Returns what went wrong, where every request of a run ended in an error; None where any was answered."""
        return all_failed(self.folder)

    @property
    def resumable(self) -> bool:
        """Returns whether the same command would still ask something here, and the run needs it to be complete."""
        rows = self.summary.rows
        missing = len(rows) < len(read_plan(self.folder).cells)
        owed = missing or any(row.asked.responses < row.asked.expected or row.asked.transient for row in rows)
        return owed and not self.complete

    def table(self, form: str = "text", **how: Any) -> str:
        """Returns the tables as text (of `width` columns), markdown, csv or latex."""
        return formats.FORMATS[form](self.summary, **how)

    @property
    def rows(self) -> tuple[Row, ...]:
        """Returns a row for each model on each task: all that the tables are made of."""
        return self.summary.rows

    def as_json(self) -> dict[str, Any]:
        """Returns the content of summary.json."""
        return summary_to_json(self.summary)

    def _repr_html_(self) -> str:
        """Returns the tables for a notebook."""
        return notebook.html(self.summary)

    def records(self) -> pandas.DataFrame:
        """Returns one row a judged response; the columns are those of records.jsonl."""
        import pandas

        with reading(self.folder):
            return pandas.DataFrame(map(RECORD_LINES.write, records_of(self.folder)))


@dataclass(frozen=True, slots=True)
class Prepared:
    """A run that may begin: what it will ask, in which folder, and what keeps its data on this machine meanwhile."""

    plan: Plan
    folder: Path
    sealed: Seal
    given: Given = NOTHING

    def spending(self) -> tuple[Spending, ...]:
        """Returns what is still to be paid, for each model that is paid for."""
        return estimate(self.plan, answered(self.folder))

    def events(self) -> Iterator[Event]:
        """Carries the run out, and yields each thing that is done once it is on disk."""
        return carry_out(self.plan, self.folder, self.given.loading(load), sealed=self.sealed)

    def finish(self) -> Run:
        """Judges what was answered."""
        return _judged(self.folder)


def prepare(config: RunConfig, sealed: Seal, out: str | Path | None = None, given: Given = NOTHING) -> Prepared:
    """Returns a run that may begin. Raises a HarnessError for what would stop it later."""
    plan = make_plan(config, given)
    plan = replace(plan, policy=admitted(plan, sealed))
    refuse_unready(plan, answered(folder := folder_for(plan, out)))
    return Prepared(plan, folder, sealed, given)


@dataclass(frozen=True, slots=True)
class PreparedBench:
    """A benchmark of load that may begin."""

    plan: load_runs.Bench
    folder: Path
    sealed: Seal

    def spending(self) -> tuple[Spending, ...]:
        """Returns what all of its loads may cost, for each model that is paid for."""
        return estimate_loads(self.plan)

    def events(self) -> Iterator[Event]:
        """Carries it out, and yields what happens once it is on disk; only loads that are owed are measured."""
        return load_runs.carry_out(self.plan, self.folder, sealed=self.sealed)

    def finish(self) -> BenchSummary:
        """Returns the summary, and writes it."""
        return load_results.finish(self.folder)


def prepare_bench(config: RunConfig, sealed: Seal, out: str | Path | None = None) -> PreparedBench:
    """Returns a benchmark that may begin. Raises a HarnessError for what would stop it later."""
    made = load_runs.make_bench(config)
    made = replace(made, policy=admitted(made, sealed))
    return PreparedBench(made, folder_for(made, out), sealed)


def plan(source: Source = None, **added: Any) -> Plan:
    """Returns what a run would do, request by request. Reads data and model files; loads no weights, asks nothing."""
    more, given = taken_out(added)
    return make_plan(assemble(source, more), given)


def check(source: Source = None, *, policy: str | None = None, probe: int = 0, **added: Any) -> checks.Report:
    """Returns what a run would do, and whether its tasks judge rightly. Asks nothing, and needs no model.

    `policy` is a policy file or bundled name that the run must keep; `probe` loads the local models, and times so many
    requests of each task.
    """
    more, given = taken_out({"stand_in": NO_MODEL, **added})
    return checks.report(assemble(source, more), None if policy is None else read_policy(policy), probe, given)


def run(
    source: Source = None,
    *,
    out: str | Path | None = None,
    seal: bool = False,
    on_event: Callable[[Event], None] | None = None,
    **added: Any,
) -> Run:
    """Runs, or goes on where a run stopped: a run file, a bundled name, a task file or values, and what is added to it.

    What may be added are the fields of `Additions`; models, tasks and the judge may also be objects: a task of
    `make_task`, a backend of one's own. In full: models, tasks, data, limit, first, formats, seed, machine,
    baseline, judge, latency, max_cost, policy, responses_only, despite_self_test, deterministic. `out` is the run
    folder; default: `results/<UTC>-<name>-<digest8>` in the working folder, or the newest unfinished one of
    the same plan. `seal` keeps this process off the network, for good; whether it did is in `summary.sealed`.
    `on_event` is called with each thing that is done, once it is on disk. Raises a HarnessError for what the user can
    mend.
    """
    more, given = taken_out(added)
    wanted = assemble(source, more)
    sealed = seals.seal_run(wanted) if seal else Seal("none", UNASKED)
    prepared = prepare(wanted, sealed, out, given)
    for event in prepared.events():
        if on_event is not None:
            on_event(event)
    return prepared.finish()


def bench(
    source: Source = None,
    *,
    out: str | Path | None = None,
    seal: bool = False,
    on_event: Callable[[Event], None] | None = None,
    **added: Any,
) -> BenchSummary:
    """Measures latency and load as `bench:` in a run file says, and returns the summary that is written.

    In a folder where a benchmark stopped, what it still owes; the rest as in `run`.
    """
    wanted = assemble(source, taken_out(added)[0])
    sealed = seals.seal_run(wanted) if seal else Seal("none", UNASKED)

    def measured() -> BenchSummary:
        prepared = prepare_bench(wanted, sealed, out)
        for event in prepared.events():
            if on_event is not None:
                on_event(event)
        return prepared.finish()

    return beside_a_loop(measured)


def beside_a_loop(work: Callable[[], Found]) -> Found:
    """Does `work` here, or in a thread of its own where an event loop runs (a notebook): a load has its own loop."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return work()
    with ThreadPoolExecutor(1, thread_name_prefix="harness-bench") as beside:
        return beside.submit(work).result()


def folder_for(plan: Plan | load_runs.Bench, out: str | Path | None, root: Path = Path("results")) -> Path:
    """Returns the folder of a plan: as asked, else an unfinished one of the same plan, else a new one."""
    if out is not None:
        return Path(out)
    loads = isinstance(plan, load_runs.Bench)
    same = f"-{plan.config.run}-{'bench-' if loads else ''}{plan.digest[:8]}"
    for found in sorted(root.glob(f"*{same}"), reverse=True):
        if not (found / "summary.json").exists():
            return found
        if not load_results.read_bench(found).complete if loads else Run(found).resumable:
            return found
    now = datetime.now(UTC)
    while (new := root / f"{now:%Y%m%dT%H%M%SZ}{same}").exists():
        now += timedelta(seconds=1)  # another run of the same plan began in this second
    return new


def score(path: str | Path) -> Run:
    """Judges every response and writes records, summary, tables and manifest; reads files only. Raises StoreError.

    Every response must be of a planned sample, and none may stand twice; what is missing is named in the notes. A log
    that has lost lines since it was last judged is refused.
    """
    path = Path(path)
    refuse_no_run(path)
    refuse_cut(path)
    with reading(path):
        return _judged(path)


def _judged(path: Path) -> Run:
    """Judges a run, whatever its logs have lost: they were asked again."""
    found, summary = summarised(path)
    write_jsonl_atomic(path / RECORDS, map(RECORD_LINES.write, found))
    head = verify_chain(path / RESPONSES).head
    verdicts = verify_chain(path / VERDICTS).head if there(path / VERDICTS) else None
    summary = replace(summary, head=head, verdicts_head=verdicts, judged_by=judged_by())
    for name, text in TABLES.items():
        write_text_atomic(path / name, text(summary))
    write_json_atomic(path / SUMMARY, summary_to_json(summary))
    write_manifest(path)
    return Run(path)


def open_run(path: str | Path) -> Run:
    """Returns the run in a folder. Raises StoreError where there is none.

    One that was not judged yet is judged whenever it is read: reading writes nothing.
    """
    folder = Path(path)
    refuse_no_run(folder)
    return Run(folder)


def with_labels(run: Run) -> Summary:
    """Returns the summary of a run whose rows have `labels`: how each label does, None where answers are no labels."""
    found = judged_run(run.folder)
    counted = by_cell([record for record in found.records if record.value is not None])

    def labelled(row: Row) -> Row:
        records = counted.get((row.model, row.task), [])
        labels = by_label(found.plan.tasks[row.task], records, found.samples, clusters_of(records))
        return replace(row, labels=labels)

    summary = run.summary
    return replace(summary, rows=tuple(map(labelled, summary.rows)))


def verify(
    path: str | Path, *, head: str | None = None, models: Sequence[str] = (), data: Sequence[str] = ()
) -> Verified:
    """Returns whether a run is as it was written, and its figures follow from it: `ok`, and in words `says`.

    `head` is the head of its chain, or the digest of its manifest, as it was noted elsewhere. `models` are model
    folders, and `data` files of data, whose digests are compared with those in the plan: PATH, or NAME=PATH where the
    run has several.
    """
    found = verified(Path(path), TABLES, head)
    return with_sources(found, models, data) if found.ok and (models or data) else found


def cost_of(
    path: str | Path,
    *,
    machine: str | None = None,
    volume: float | None = None,
    against: str | None = None,
    bench: str | Path | None = None,
) -> costs.CostReport:
    """Returns what a recorded run costs: by token, request and correct answer, at several utilisations.

    `machine` is a machine file or bundled name (default: the run's own), `volume` requests a month, `against` an API
    of the price list, `bench` the folder of a benchmark whose capacity counts.
    """
    summary = open_run(path).summary
    with reading(Path(path)):
        return costs.report(Path(path), summary, machine, volume, against, None if bench is None else Path(bench))


def tables(paths: Sequence[str | Path], form: str = "text", view: View = "run", **how: Any) -> str:
    """Returns the tables of one run, or of several side by side, as text (of `width` columns), markdown, csv or latex.

    The form json is the summary that they are made of. Raises ConfigError for another form, and for a view that no
    task of the runs has.
    """
    known = [*formats.FORMATS, "json"]
    if form not in known:
        raise ConfigError(f"no format '{form}'", fix=nearest(form, known))
    summary = _together([open_run(path) for path in paths], view)
    if form == "json":
        return json.dumps(summary_to_json(summary), ensure_ascii=False)
    with reading(Path(paths[0])):  # figures that no table can show
        return formats.FORMATS[form](summary, view, **(how if form == "text" else {}))


def _together(runs: Sequence[Run], view: View) -> Summary:
    summaries = []
    for run in runs:
        with reading(run.folder):
            summaries.append(with_labels(run) if view == "labels" else run.summary)
    found = summaries[0] if len(summaries) == 1 else merged(summaries, [str(run.folder) for run in runs])
    refuse_without(found, view)
    return found
