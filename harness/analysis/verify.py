"""Whether a run folder is as it was written: the chains of its logs, and the scores that follow from them."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from harness.analysis.run_summary import summarised, summary_of
from harness.store.files import RESPONSES, VERDICTS
from harness.store.lines import RECORDS, read_plan
from harness.store.log import ChainReport, read_responses, verify_chain
from harness.store.rows import jsonl_lines, refuse_no_run
from harness.store.schema import RECORD_LINES, Row, Summary, migrated
from harness.values import Estimate


@dataclass(frozen=True, slots=True)
class Verified:
    """What was found of a run folder. Of one that is not as it was written, `says` names the first such thing."""

    ok: bool
    run: str
    says: str
    broken_line: int | None = None  # of a log whose chain is broken
    lines: int | None = None
    planned: int | None = None
    head: str | None = None


def verified(path: Path) -> Verified:
    """Returns whether a run is as it was written: the chain of its responses, and the scores that follow from them."""
    refuse_no_run(path)
    held = summary_of(path) if (path / "summary.json").exists() else None
    log = verify_chain(path / RESPONSES, None if held is None else held.head)
    chains = [(path / RESPONSES, log)]
    verdicts_head = None if held is None else held.verdicts_head
    if (path / VERDICTS).exists() or verdicts_head is not None:
        chains.append((path / VERDICTS, verify_chain(path / VERDICTS, verdicts_head)))
    for file, found in chains:
        if not found.ok:
            says = f"BROKEN at line {found.broken_line} of {file}: {found.why}"
            return Verified(False, str(path), says, found.broken_line)
    if held is not None and (changed := _changed(path, held)):
        return Verified(False, str(path), f"CHANGED: {changed}")
    return _unbroken(path, log, chains[1][1].lines if len(chains) > 1 else None, judged=held is not None)


def _unbroken(path: Path, log: ChainReport, verdicts: int | None, *, judged: bool) -> Verified:
    planned = sum(cell.requests for cell in read_plan(path).cells)
    judged_too = "" if verdicts is None else f" and {verdicts} verdicts"
    lines = f"{sum(1 for _ in read_responses(path / RESPONSES))} of {planned} responses{judged_too}"
    follows = "their records and scores follow" if judged else "not judged yet"
    says = f"ok: {path}: {lines} unbroken, {follows}; head {log.head}"
    return Verified(True, str(path), says, lines=log.lines, planned=planned, head=log.head)


def _changed(path: Path, held: Summary) -> str:
    """Returns what of a run's records and scores does not follow from its responses; empty if all does."""
    records_of, fresh = summarised(path)
    for i, (line, record) in enumerate(zip_longest(jsonl_lines(path / RECORDS), records_of), 1):
        if (
            record is None
            or line is None
            or migrated("record", line) != json.loads(json.dumps(RECORD_LINES.write(record)))
        ):
            return f"line {i} of {path / RECORDS} does not follow from the responses"
    for row, due in zip_longest(held.rows, fresh.rows):
        named = due or row
        assert named is not None
        if row is None or due is None:
            return f"the row of {named.model} on {named.task} in {path / 'summary.json'} does not follow"
        if what := _differs(row, due):
            return f"{what} of {due.model} on {due.task} in {path / 'summary.json'} does not follow from the responses"
    return ""


def _differs(row: Row, due: Row) -> str:
    """Returns which of the figures that people decide by is not as it must be; empty where all are."""
    if (row.model, row.task, row.asked.n) != (due.model, due.task, due.asked.n):
        return "n"
    if not _same(row.accuracy, due.accuracy):
        return "accuracy"
    if row.metrics.keys() != due.metrics.keys() or not all(_same(row.metrics[k], due.metrics[k]) for k in due.metrics):
        return "metrics"
    if dict(row.asked.failures) != dict(due.asked.failures):
        return "failures"
    one, other = row.difference, due.difference
    if (one is None) != (other is None):
        return "difference"
    if one is not None and other is not None:
        counts = (one.wins, one.losses, one.ties) == (other.wins, other.losses, other.ties)
        if not (counts and _same(one.estimate, other.estimate) and _near(one.p, other.p)):
            return "difference"
    return ""


def _same(one: Estimate, other: Estimate) -> bool:
    """Returns whether two estimates say the same, to within rounding, which differs between machines."""
    pairs = ((one.value, other.value), (one.low, other.low), (one.high, other.high), (one.stderr, other.stderr))
    return one.method == other.method and all(_near(a, b) for a, b in pairs)


def _near(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is other
    return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-12)
