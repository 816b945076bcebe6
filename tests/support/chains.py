"""Run folders whose files a test writes itself: chained anew, as if a run had written them so."""

from __future__ import annotations

import json
from pathlib import Path

from harness.store.chain import anchor, chained, plan_hash
from harness.store.files import MANIFEST, MEASURED, RESPONSES, SAMPLES, SUMMARY, VERDICTS, write_lines_atomic


def rechain(folder: Path) -> None:
    """Makes chains of what the files of a run folder say now, as if it was not judged yet."""
    for name in (SAMPLES, RESPONSES, VERDICTS, MEASURED):
        file = folder / name
        if file.exists():
            lines = [json.loads(line) for line in file.read_text().splitlines()]
            payloads = [{key: line[key] for key in line if key not in ("prev", "hash")} for line in lines]
            start = plan_hash(folder) if name == SAMPLES else anchor(folder)
            write_lines_atomic(file, chained(payloads, start))
    for name in (SUMMARY, MANIFEST):
        (folder / name).unlink(missing_ok=True)
