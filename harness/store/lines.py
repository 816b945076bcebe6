"""First loop: a plan to responses. Everything that needs a model ends here, in the files of the run folder.

Order: for each model, for each task, the answers still owed, then some of the same requests one at a time for latency.
A model whose next request could exceed a spend limit stops there, and what it owes stays owed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.runs.requests import Cell
from harness.store.renamed import renamed
from harness.values import LoglikelihoodRequest, Request, Response


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


def restored(line: Mapping[str, Any]) -> Response:
    """Returns the response of a line of `responses.jsonl`."""
    names = Response.__dataclass_fields__
    values = {name: tuple(v) if isinstance(v := line[name], list) else v for name in names if name in line}
    return Response(**values)


def _named(cell: Cell, kind: str) -> dict[str, Any]:
    return {"kind": kind, "model": cell.model.config.name, "task": cell.task.name, "mode": cell.mode}
