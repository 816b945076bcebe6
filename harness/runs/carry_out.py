"""A plan carried out, from its first request to the last verdict of its judge."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.backends import load
from harness.runs import ask_judge
from harness.runs.execute import Load, execute
from harness.runs.plan import Plan, check_judge, plan_file
from harness.runs.steps import Step
from harness.security.seal import Seal
from harness.store.files import write_jsonl_atomic
from harness.store.folder import RunFolder
from harness.store.lines import SAMPLES, plan_content
from harness.store.schema import SAMPLE_LINES


def carry_out(plan: Plan, path: Path, load: Load = load, *, sealed: Seal | None = None) -> Iterator[Step]:
    """Yields each step of a run as it is done; everything is on disk when a step is yielded."""
    if not plan.config.responses_only:
        check_judge(plan)
    with RunFolder.create_or_resume(path, plan_content(plan_file(plan))) as folder:
        if not (path / SAMPLES).exists():
            write_jsonl_atomic(path / SAMPLES, _samples(plan))
        kept = None if sealed is None else str(sealed)
        yield from execute(plan, folder, load, kept)
        yield from ask_judge.carry_out(plan, folder, load, kept)


def _samples(plan: Plan) -> Iterator[dict[str, Any]]:
    for task in plan.tasks:
        for sample in plan.samples(task):
            yield SAMPLE_LINES.write(replace(sample, row=dict(sample.row)))
