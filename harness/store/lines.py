"""First loop: a plan to responses. Everything that needs a model ends here, in the files of the run folder.

Order: for each model, for each task, the answers still owed, then some of the same requests one at a time for latency.
A model whose next request could exceed a spend limit stops there, and what it owes stays owed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.runs.requests import Cell
from harness.security.secrets import redact, redacted, without_own
from harness.store.log import read_attempts, read_responses, superseded
from harness.store.renamed import renamed
from harness.store.rows import read_json
from harness.store.schema import MEASUREMENTS, PARTS, PLANS, RESPONSE_LINES, Measurement, PlanFile, migrated
from harness.values import LoglikelihoodRequest, Request, ResponseLine


def read_plan(folder: Path) -> PlanFile:
    """Returns what a run folder's `plan.json` says. Raises StoreError."""
    return PLANS.read(migrated("plan", read_json(folder / "plan.json")), str(folder / "plan.json"))


def read_response_lines(log: Path) -> Iterator[ResponseLine]:
    """Yields the lines of a log of responses that count, as `read_responses` does. Raises StoreError."""
    for payload in read_responses(log):
        yield RESPONSE_LINES.read(migrated("response", payload), str(log))


def read_log(log: Path) -> Iterator[tuple[ResponseLine, bool]]:
    """Yields all lines of a log of responses, each with whether it counts: no other took its place."""
    gone = superseded(log)
    for number, line in enumerate(read_attempt_lines(log)):
        yield line, number not in gone


def read_attempt_lines(log: Path) -> Iterator[ResponseLine]:
    """Yields all lines of a log of responses, those too that others took the place of. Raises StoreError."""
    for payload in read_attempts(log):
        yield RESPONSE_LINES.read(migrated("response", payload), str(log))


def read_measurements(folder: Path) -> Iterator[Measurement]:
    """Yields the lines of `measurements.jsonl` of a run folder, of each its class; a torn last line is left out."""
    for line in measurements(folder):
        yield MEASUREMENTS.read(migrated("measurement", line), str(folder / "measurements.jsonl"))


def payload(line: ResponseLine) -> dict[str, Any]:
    """Returns what is appended to a log for a response: without the secrets of this computer."""
    found = RESPONSE_LINES.write(line)
    found["text"] = None if line.text is None else without_own(line.text)
    found["error"] = None if line.error is None else redact(line.error)
    return found | {name: redacted(found[name]) for name in PARTS if name in found}


def measurements(path: Path) -> list[dict[str, Any]]:
    """Returns the lines of `measurements.jsonl` of a run folder; a torn last line is left out."""
    file = path / "measurements.jsonl"
    if not file.exists():
        return []
    whole = (line for line in file.read_text(encoding="utf-8").split("\n")[:-1] if line)
    return [renamed(json.loads(line)) for line in whole]


def characters(request: Request) -> int:
    """Returns the characters a request gives to read, as its input tokens are counted: once, with the longest pair."""
    pairs = request.pairs if isinstance(request, LoglikelihoodRequest) else ()
    return request.prompt.characters + max((len(given + text) for given, text in pairs), default=0)


def _named(cell: Cell, kind: str) -> dict[str, Any]:
    return {"kind": kind, "model": cell.model.config.name, "task": cell.task.name, "mode": cell.mode}
