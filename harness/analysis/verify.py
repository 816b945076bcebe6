"""A run from start to finish, and what can be done with its folder afterwards."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from itertools import zip_longest
from pathlib import Path
from typing import Any

from harness.analysis.run_summary import _summarised
from harness.store.files import RESPONSES, VERDICTS
from harness.store.log import read_responses, verify_chain
from harness.store.rows import read_json, read_jsonl, record_line, refuse_no_run


def verified(path: Path) -> dict[str, Any]:
    """Returns whether a run is as it was written: the chain of its responses, and the scores that follow from them."""
    refuse_no_run(path)
    plan = read_json(path / "plan.json")
    summary = read_json(path / "summary.json") if (path / "summary.json").exists() else {}
    log = verify_chain(path / RESPONSES, summary.get("head"))
    chains = [(path / RESPONSES, log)]
    if (path / VERDICTS).exists() or "verdicts_head" in summary:
        chains.append((path / VERDICTS, verify_chain(path / VERDICTS, summary.get("verdicts_head"))))
    for file, found in chains:
        if not found.ok:
            says = f"BROKEN at line {found.broken_line} of {file}: {found.why}"
            return {"ok": False, "run": str(path), "broken_line": found.broken_line, "says": says}
    if summary and (changed := _changed(path, summary)):
        return {"ok": False, "run": str(path), "broken_line": None, "says": f"CHANGED: {changed}"}
    planned = sum(cell.get("requests", cell["n"]) for cell in plan["cells"])
    judged_too = f" and {chains[1][1].lines} verdicts" if len(chains) > 1 else ""
    lines = f"{sum(1 for _ in read_responses(path / RESPONSES))} of {planned} responses{judged_too}"
    follows = "their records and scores follow" if summary else "not judged yet"
    says = f"ok: {path}: {lines} unbroken, {follows}; head {log.head}"
    return {"ok": True, "run": str(path), "lines": log.lines, "planned": planned, "head": log.head, "says": says}


_SCORES = ("n", "accuracy", "metrics", "failures", "difference")  # of a row: what people decide by


def _changed(path: Path, summary: Mapping[str, Any]) -> str:
    """Returns what of a run's records and scores does not follow from its responses; empty if all does."""
    records_of, fresh = _summarised(path)
    for i, (line, record) in enumerate(zip_longest(read_jsonl(path / "records.jsonl"), records_of), 1):
        if record is None or line != json.loads(json.dumps(record_line(record))):
            return f"line {i} of {path / 'records.jsonl'} does not follow from the responses"
    for row, due in zip_longest(summary["rows"], fresh["rows"], fillvalue={}):
        for key in _SCORES:
            if not _same(row.get(key), json.loads(json.dumps(due.get(key)))):
                named = f"{key} of {due.get('model', row.get('model'))} on {due.get('task', row.get('task'))}"
                return f"{named} in {path / 'summary.json'} does not follow from the responses"
    return ""


def _same(one: Any, other: Any) -> bool:
    """Returns whether two JSON values say the same; numbers to within rounding, which differs between machines."""
    if isinstance(one, dict) and isinstance(other, dict):
        return all(_same(one.get(key), other.get(key)) for key in one.keys() | other.keys())
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-12)
    return one == other
