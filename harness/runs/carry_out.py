"""A plan carried out, from its first request to the last verdict of its judge.

Order: for each model, for each task, the answers still owed, then some of the same requests one at a time for latency;
after all models their judge. A model whose next request could exceed a spend limit stops there, and what it owes stays
owed.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

from harness.backends import Backend, Load, load
from harness.backends.servers.presence import refuse_absent
from harness.runs.answers import Answers
from harness.runs.events import Event
from harness.runs.latency import Latencies
from harness.runs.loop import loop
from harness.runs.phase import Phase, Stage
from harness.runs.plan import Plan, check_judge, plan_file
from harness.runs.preview import check_templates
from harness.runs.verdicts import judging
from harness.security.seal import Seal
from harness.store.files import SAMPLES
from harness.store.folder import RunFolder
from harness.store.lines import plan_content, write_samples
from harness.store.schema import SAMPLE_LINES
from harness.tasks.self_test import refuse_failing
from harness.tasks.used_columns import columns_used, of_row


def carry_out(plan: Plan, path: Path, load: Load = load, *, sealed: Seal | None = None) -> Iterator[Event]:
    """Yields what happens in a run; what an event tells is on disk."""
    check_templates(plan.cells)
    if not plan.config.responses_only:
        check_judge(plan)
    if not (plan.config.responses_only or plan.config.despite_self_test):
        for task in (task for task in plan.tasks if not task.format_of):
            refuse_failing(task)
    private = any(task.config.sensitivity != "public" for task in plan.tasks)
    with RunFolder.create_or_resume(path, plan_content(plan_file(plan)), private=private) as folder:
        if not (path / SAMPLES).exists():
            write_samples(path, _samples(plan))
        if folder.responses().note:
            logging.getLogger("harness").info(folder.responses().note)
        seal = None if sealed is None else str(sealed)
        models = list(stages(plan, folder, load, seal))
        waiting = [stage for stage in models if any(phase.owed() for phase in stage.phases)]
        if len(waiting) > 1:  # one alone says so itself
            for stage in waiting:
                refuse_absent(stage.model.config)
        yield from loop(chain(models, judging(plan, folder, load, seal)))


def stages(plan: Plan, folder: RunFolder, load: Load, sealed: str | None) -> Iterator[Stage[Backend]]:
    """Yields the models at work one after the other. Their judge comes when there are answers."""
    idle: dict[str, float | None] = {}
    for model in plan.models:
        phases: list[Phase[Backend]] = []
        for cell in (cell for cell in plan.cells if cell.model is model):
            phases += [Answers(cell, folder, idle), Latencies(cell, folder, plan.config.latency)]
        yield Stage(model, phases, load, plan.config, folder, sealed)


def _samples(plan: Plan) -> Iterator[dict[str, Any]]:
    for task in plan.tasks:
        columns = columns_used(task.config)
        for sample in plan.samples(task):
            yield SAMPLE_LINES.write(replace(sample, row=of_row(sample.row, columns)))
