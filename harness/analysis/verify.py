"""Whether a run folder is as it was written: every file, to the line where that can be told.

    plan.json            its digest follows from its identity; the samples stand on it
    samples.jsonl        a chain, on which the logs stand
    responses, verdicts, measurements      chains; their heads when the run was judged, or as noted elsewhere
    records, summary, tables               made again from the responses, and compared
    manifest.json        what each file said when the run was judged

A run that another version judged may come to other figures today. Where those differ, its files are compared with the
manifest alone: untouched, it is intact, and that is said.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from harness.analysis import bench
from harness.analysis.alike import Key, first_difference, line_of
from harness.analysis.judged_by import judged_by
from harness.analysis.reading import reading
from harness.analysis.run_summary import judged, summarised, summary_of
from harness.errors import HarnessError, StoreError
from harness.store.chain import START, anchor, plan_hash
from harness.store.files import MANIFEST, MEASURED, PLAN, RECORDS, RESPONSES, SAMPLES, SUMMARY, VERDICTS
from harness.store.lines import read_attempt_lines, read_measurements, read_plan, read_samples, unchained_measurements
from harness.store.log import ChainReport, read_responses, verify_chain
from harness.store.manifest import differing, read_manifest
from harness.store.opening import parsed, read_lines, read_whole, there
from harness.store.rows import is_bench, read_object
from harness.store.schema import (
    BENCHES,
    RECORD_LINES,
    JudgedBy,
    Manifest,
    PassLine,
    PlanFile,
    Summary,
    migrated,
    summary_to_json,
)
from harness.tasks.rows import digest
from harness.values import Record

Tables = Mapping[str, Callable[[Summary], str]]  # how each file that shows the summary is made
OWN = ("model", "task", "sample_id", "epoch", "mode", "input_tokens", "output_tokens", "finish_reason",
       "truncated_left")  # of a record: what follows from its response alone, whatever judges it  # fmt: skip


@dataclass(frozen=True, slots=True)
class Verified:
    """What was found of a run folder. Of one that is not as it was written, `says` names the first such thing."""

    ok: bool
    run: str
    says: str
    file: str | None = None  # that is not as it was written
    broken_line: int | None = None  # of it, where that can be told
    lines: int | None = None
    planned: int | None = None
    head: str | None = None  # of the chain of the responses; of a benchmark's measurements
    manifest: str | None = None  # digest of the manifest: noted elsewhere, it proves every file
    judged_by: JudgedBy | None = None  # where another version judged it, and figures of today's differ


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is not as it was written."""

    file: Path
    why: str
    line: int | None = None
    chain: bool = False  # what is broken is a chain

    def says(self) -> str:
        """Returns it in words."""
        where = "in" if self.line is None else f"at line {self.line} of"
        return f"{'BROKEN' if self.chain else 'CHANGED'} {where} {self.file}: {self.why}"


class _Found(HarnessError):
    """The first fault: what comes after it need not be looked at."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.why, where=str(fault.file))
        self.fault = fault


def verified(path: Path, tables: Tables, head: str | None = None) -> Verified:
    """Returns whether a run is as it was written, and its figures follow from its responses.

    `head` is the head of its chain, or the digest of its manifest, as noted elsewhere: against it a log that was cut
    at its end, or written anew as a whole, is found.
    """
    try:
        is_bench(path)
    except StoreError as error:
        if not there(path / PLAN):
            raise  # it is no run folder
        return Verified(False, str(path), f"BROKEN: {error.what}, at {error.where}", str(path / PLAN))
    try:
        with reading(path):
            return _Folder(path, tables, head).checked()
    except _Found as found:
        fault = found.fault
        return Verified(False, str(path), fault.says(), str(fault.file), fault.line)
    except StoreError as error:
        file, _, line = error.where.partition(", line ")
        says = f"BROKEN: {error.what}" + (f", at {error.where}" if error.where else "")
        return Verified(False, str(path), says, file or None, int(line) if line.isdigit() else None)


class _Folder:
    """A run folder while it is looked through."""

    def __init__(self, path: Path, tables: Tables, head: str | None) -> None:
        self.path, self.tables, self.noted = path, tables, head
        self.bench = is_bench(path)
        self.chained = there(path / SAMPLES) and anchor(path) != START  # not of an earlier version
        self.manifest: Manifest | None = None

    def checked(self) -> Verified:
        """Returns what is said of a folder that is as it was written. Raises _Found or StoreError for any other."""
        plan = self._plan()
        self.manifest = read_manifest(self.path)
        reports = self._chains()
        head = reports[MEASURED if self.bench else RESPONSES].head if reports else START
        judge = self._judged()
        self._contents()
        if not self.bench:
            self._counts()
        if self.noted is not None:
            self._head(head)
        return self._unbroken(plan, reports, head, judge)

    def _plan(self) -> PlanFile:
        plan = read_plan(self.path)
        if plan.digest != digest(plan.identity):
            self._fault(PLAN, "its digest does not follow from its identity")
        return plan

    def _chains(self) -> dict[str, ChainReport]:
        """Returns what was found of each chain. Raises _Found for the first that is broken."""
        if not self.bench:
            self._of(SAMPLES, verify_chain(self.path / SAMPLES, start=plan_hash(self.path), old=True, at_once=True))
            read_samples(self.path)
        found, noted = {}, self._noted()
        for name in (MEASURED,) if self.bench else (RESPONSES, VERDICTS, MEASURED):
            old = name == MEASURED and unchained_measurements(self.path)
            if there(self.path / name):
                found[name] = verify_chain(self.path / name, None if old else noted.get(name), old=old)
                self._of(name, found[name])
            elif name == RESPONSES or noted.get(name) is not None:
                self._fault(name, "it is missing")
        return found

    def _noted(self) -> Mapping[str, str | None]:
        """Returns the heads of the chains when the run was judged, of those that are known."""
        if self.manifest is not None:
            return {name: file.content for name, file in self.manifest.files.items()}
        if self.bench or not there(self.path / SUMMARY):
            return {}
        held = summary_of(self.path)
        return {RESPONSES: held.head, VERDICTS: held.verdicts_head}

    def _of(self, name: str, report: ChainReport) -> None:
        if not report.ok:
            raise _Found(Fault(self.path / name, report.why or "", report.broken_line, chain=True))

    def _judged(self) -> JudgedBy | None:
        """Returns which version judged the run, if today's comes to other figures; None if all follows, or nothing was.

        Raises _Found for what does not follow though it must.
        """
        if not there(self.path / SUMMARY):
            made = (MANIFEST, RECORDS, *self.tables)
            if any(there(self.path / name) for name in made):
                self._fault(SUMMARY, "it is missing")
            return None
        held = read_object(self.path / SUMMARY)
        by = self._judge(held)
        if self.manifest is None and (by is not None or self.chained):
            self._fault(MANIFEST, "it is missing, and this run was judged: `harness score` writes it")
        fault = next(self._not_following(held), None)
        if fault is None:
            return None
        if by == judged_by():
            raise _Found(fault)
        if self.manifest is None and not self.bench:
            own = next(self._records(judged(self.path), OWN), None)
            if own is not None:
                raise _Found(own)
        return by or EARLIER

    def _judge(self, held: Mapping[str, object]) -> JudgedBy | None:
        """Returns by which version the run says that it was judged. Raises StoreError for no summary."""
        if not self.bench:
            return summary_of(self.path).judged_by
        return BENCHES.read(held, str(self.path / SUMMARY)).judged_by if "schema" in held else None

    def _not_following(self, held: Mapping[str, object]) -> Iterator[Fault]:
        """Yields what of the files that are made from others does not follow from them."""
        try:
            if self.bench:
                yield from self._summary(held, BENCHES.write(bench.summarised(self.path)), ("judged_by",))
                return
            records, summary = summarised(self.path)
        except StoreError:
            raise
        except HarnessError as error:  # a scorer or a library that is not here: another version judged it
            yield Fault(self.path / SUMMARY, error.what)
            return
        yield from self._records(records)
        yield from self._summary(held, summary_to_json(summary), ("head", "verdicts_head", "judged_by"))
        shown = (summary_of(self.path), summary)  # alike, but for the order of keys and the last digit of a number
        for name, make in self.tables.items():
            if there(self.path / name):
                faults = [next(self._text(name, make(one)), None) for one in shown]
                yield from (fault for fault in faults[:1] if fault is not None and None not in faults)

    def _records(self, records: Sequence[Record], names: tuple[str, ...] | None = None) -> Iterator[Fault]:
        """Yields each record that does not follow from its response; `names`: the fields that must."""
        file = self.path / RECORDS
        if not there(file) and self.manifest is None:
            return  # runs of earlier versions are kept without
        due = (json.loads(json.dumps(RECORD_LINES.write(record))) for record in records)
        for i, (line, record) in enumerate(zip_longest(read_lines(file), due), 1):
            held = None if line is None else self._record(line)
            if held is None or record is None or not _alike(held, record, names):
                yield Fault(file, "it does not follow from the responses", i)

    def _record(self, line: bytes) -> Any:
        try:
            return migrated("record", parsed(line))
        except (ValueError, TypeError, AttributeError):
            return None

    def _summary(
        self, held: Mapping[str, object], due: Mapping[str, object], apart: tuple[str, ...]
    ) -> Iterator[Fault]:
        """Yields the first figure of a summary that does not follow; those `apart` are of another kind."""
        if "schema" not in held:
            return  # of an earlier version: it is made anew wherever it is read
        mine, theirs = ({k: v for k, v in one.items() if k not in apart} for one in (held, due))
        if (key := first_difference(mine, theirs)) is not None:
            file = self.path / SUMMARY
            yield Fault(file, f"{_figure(due, key)} does not follow from the responses", line_of(held, key))

    def _text(self, name: str, due: str) -> Iterator[Fault]:
        """Yields the first line of a table that the summary does not make."""
        lines = read_whole(self.path / name).decode(errors="replace").replace("\r\n", "\n").rstrip().split("\n")
        for i, (held, made) in enumerate(zip_longest(lines, due.rstrip().split("\n")), 1):
            if held != made:
                yield Fault(self.path / name, "it does not follow from the summary", i)

    def _contents(self) -> None:
        if self.manifest is not None:
            for name, what in differing(self.path, self.manifest):
                self._fault(name, f"it {what} since the run was judged")

    def _counts(self) -> None:
        """Raises _Found where more responses were counted, when they were noted, than there are."""
        told: Counter[tuple[str, str]] = Counter()
        for line in read_measurements(self.path, {"pass"}):
            if isinstance(line, PassLine):
                told[line.model, line.task] += line.responses
        for name in (RESPONSES, VERDICTS):
            if there(self.path / name):
                told.subtract(line.cell for line in read_attempt_lines(self.path / name))
        for (model, task), n in told.items():
            if n > 0:
                self._fault(MEASURED, f"it tells of {n} more responses of {model} on {task} than there are")

    def _head(self, head: str) -> None:
        noted = (self.noted or "").strip().lower()
        if noted == head or (self.manifest is not None and noted == self.manifest.digest):
            return
        log = MEASURED if self.bench else RESPONSES
        if there(self.path / log):
            self._of(log, verify_chain(self.path / log, noted, old=self.bench))
        self._fault(log, "the noted head is not there: it was cut, or written anew")

    def _fault(self, name: str, why: str, line: int | None = None) -> None:
        raise _Found(Fault(self.path / name, why, line))

    def _unbroken(
        self, plan: PlanFile, reports: Mapping[str, ChainReport], head: str, judge: JudgedBy | None
    ) -> Verified:
        planned = sum(cell.requests for cell in plan.cells)
        if self.bench:
            counted = f"{reports[MEASURED].lines if MEASURED in reports else 0} measurements"
        else:
            answers = sum(1 for _ in read_responses(self.path / RESPONSES))
            verdicts = f" and {reports[VERDICTS].lines} verdicts" if VERDICTS in reports else ""
            counted = f"{answers} of {planned} responses{verdicts}"
        follows = "their records and scores follow" if there(self.path / SUMMARY) else "not judged yet"
        if judge is not None:
            follows = f"judged by {_named(judge)}"
        own = self.manifest.digest if self.manifest is not None else None
        says = f"ok: {self.path}: {counted} unbroken, {follows}; head {head}"
        if own is not None:
            says += f"; manifest {own}"
        if judge is not None:
            says += "\n  figures of this version may differ: `harness score` makes them anew"
        lines = None if not reports else reports[MEASURED if self.bench else RESPONSES].lines
        return Verified(True, str(self.path), says, None, None, lines, planned, head, own, judge)


EARLIER = JudgedBy(None, "")  # one that did not say


def _named(by: JudgedBy) -> str:
    if by == EARLIER:
        return "an earlier version, which noted no digests of its files"
    return f"another version (harness {by.harness or 'from its source'}, code {by.code})"


def _figure(due: Mapping[str, object], key: Key) -> str:
    """Returns what a reader calls what stands under a key of a summary: of a row, with its model and task."""
    match key:
        case ("rows", int(i), *rest) if rest:
            row = rows[i] if isinstance(rows := due.get("rows"), list) and i < len(rows) else {}
            model, task = (row.get(name) for name in ("model", "task"))
            return f"{'.'.join(map(str, rest))} of {model} on {task}"
    return ".".join(map(str, key)) or "the list of keys"


def _alike(held: Any, due: Any, names: tuple[str, ...] | None) -> bool:
    if names is None:
        return bool(held == due)
    return isinstance(held, Mapping) and all(held.get(name) == due.get(name) for name in names)
