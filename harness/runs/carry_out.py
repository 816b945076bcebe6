"""A run from start to finish, and what can be done with its folder afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from harness.backends import load
from harness.runs import ask_judge
from harness.runs.execute import Load, execute
from harness.runs.plan import Plan, check_judge, stored
from harness.runs.steps import Step
from harness.security.seal import Seal
from harness.store.files import write_jsonl_atomic
from harness.store.folder import RunFolder
from harness.store.rows import _sample_lines


def carry_out(plan: Plan, path: Path, load: Load = load, *, sealed: Seal | None = None) -> Iterator[Step]:
    """Yields each step of a run as it is done; everything is on disk when a step is yielded."""
    if not plan.config.responses_only:
        check_judge(plan)
    with RunFolder.create_or_resume(path, stored(plan)) as folder:
        if not (path / "samples.jsonl").exists():
            write_jsonl_atomic(path / "samples.jsonl", _sample_lines(plan))
        kept = None if sealed is None else str(sealed)
        yield from execute(plan, folder, load, kept)
        yield from ask_judge.carry_out(plan, folder, load, kept)
