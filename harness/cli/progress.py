"""Progress of a run on stderr: bars with rate and time left; where there is no terminal, a plain line now and then."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable

from harness.runs.latency_pass import timed_alone
from harness.runs.plan import Plan
from harness.runs.steps import Step

EVERY_S = 10.0  # between plain lines
SHORTEST_S = 0.1  # a rate over less says nothing: the first answers of a batch come together


def shown(plan: Plan, steps: Iterable[Step]) -> None:
    """Goes through the steps of a run and shows how far it is."""
    (_bars if sys.stderr.isatty() else _lines)(plan, steps)


def _bars(plan: Plan, steps: Iterable[Step]) -> None:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TaskID,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (TextColumn("{task.description}"), BarColumn(24), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as progress:
        bars: dict[tuple[str, str, str], TaskID] = {}
        waiting = progress.add_task("loading", total=None)
        for step in steps:
            progress.update(waiting, visible=False)
            name, total = _name(step), _total(plan, step)
            if name not in bars:
                bars[name] = progress.add_task(" · ".join(name), total=total)
            progress.advance(bars[name])


def _lines(plan: Plan, steps: Iterable[Step]) -> None:
    done: dict[tuple[str, str, str], int] = {}
    said = time.monotonic()
    started = said
    for step in steps:
        name, total = _name(step), _total(plan, step)
        if name not in done:
            started = time.monotonic()
        done[name] = done.get(name, 0) + 1
        now = time.monotonic()
        if done[name] == total or now - said > EVERY_S:
            said = now
            pace = _pace(done[name], total, now - started)
            print(f"{' · '.join(name)}: {done[name]}/{total}{pace}", file=sys.stderr, flush=True)


def _pace(done: int, total: int, seconds: float) -> str:
    """Returns rate and time left in brackets; nothing where too little time has passed to tell."""
    if seconds < SHORTEST_S:
        return ""
    rate = done / seconds
    shown = f"{rate:.3g}/s" if rate < 1000 else f"{rate:,.0f}/s"
    return f" ({shown})" if done == total else f" ({shown}, {(total - done) / rate:.0f} s left)"


def _name(step: Step) -> tuple[str, str, str]:
    return step.cell.model.config.name, step.cell.task.name, step.phase


def _total(plan: Plan, step: Step) -> int:
    if step.phase != "latency":
        return len(step.cell.requests)
    return len(timed_alone(step.cell.requests, plan.config.latency.requests))
