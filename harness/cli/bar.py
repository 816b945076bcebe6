"""Progress on stderr, of what happens in a run: bars with rate and time left; without a terminal a line now and then.

with shown() as listen:
    for event in prepared.events():
        listen(event)
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from harness.cli.terminal import say
from harness.reports.plain import plain
from harness.runs.events import Answered, Event, Judged, Loaded, PhaseName, Started, Timed, UnderLoad

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

EVERY_S = 10.0  # between plain lines
SHORTEST_S = 0.1  # a rate over less says nothing: the first answers of a batch come together
Name = tuple[str, str, PhaseName]


@contextmanager
def shown() -> Iterator[Callable[[Event], None]]:
    """Gives what listens to a run, and shows how far it is."""
    if not sys.stderr.isatty():
        yield _Lines()
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (TextColumn("{task.description}"), BarColumn(24), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as progress:
        yield _Bars(progress)


class _Bars:
    """A bar for each phase of each cell."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._bars: dict[Name, TaskID] = {}
        self._waiting = progress.add_task("loading", total=None)

    def __call__(self, event: Event) -> None:
        self._progress.update(self._waiting, visible=False)
        if isinstance(event, Started):
            begun = (*event.cell, event.phase)
            self._bars[begun] = self._progress.add_task(" · ".join(begun), total=event.owed)
        elif isinstance(event, Loaded):
            self._progress.console.print(plain(_load(event)), markup=False, highlight=False)
        if (name := _advanced(event)) is not None:
            self._progress.advance(self._bars[name])


class _Lines:
    """A line now and then, and one for what is done."""

    def __init__(self) -> None:
        self._name: Name | None = None
        self._done, self._owed = 0, 0
        self._started = self._said = time.monotonic()

    def __call__(self, event: Event) -> None:
        now = time.monotonic()
        if isinstance(event, Started):
            self._name, self._done, self._owed, self._started = (*event.cell, event.phase), 0, event.owed, now
            self._say(f"{' · '.join(self._name)}: 0/{event.owed}", now)
        elif isinstance(event, Loaded):
            self._say(_load(event), now)
        elif isinstance(event, UnderLoad) and now - self._said > EVERY_S:
            self._say(f"{' · '.join(event.cell)} · {event.requests} answers so far", now)
        elif (name := _advanced(event)) is not None:
            self._done += 1
            if self._done == self._owed or now - self._said > EVERY_S:
                pace = _pace(self._done, self._owed, now - self._started)
                self._say(f"{' · '.join(name)}: {self._done}/{self._owed}{pace}", now)

    def _say(self, text: str, now: float) -> None:
        self._said = now
        say(text)


def _advanced(event: Event) -> Name | None:
    """Returns what an event brings on by one; None: nothing."""
    if isinstance(event, Answered):
        return (*event.cell, "answers")
    if isinstance(event, Timed):
        return (*event.cell, "latency")
    if isinstance(event, Judged):
        return (*event.cell, "verdicts")
    return (*event.cell, "load") if isinstance(event, Loaded) else None


def _load(event: Loaded) -> str:
    """Returns what to tell of a load that has ended."""
    row = event.row
    ended = f"; ended early, {row.stopped}" if row.stopped else "; saturated" if row.saturated else ""
    speed = "–" if row.requests_per_s is None else f"{row.requests_per_s:.3g}"
    return f"{' · '.join(event.cell)} · {row.scenario}: {row.n} requests, {speed}/s{ended}"


def _pace(done: int, total: int, seconds: float) -> str:
    """Returns rate and time left in brackets; nothing where too little time has passed to tell."""
    if seconds < SHORTEST_S:
        return ""
    rate = done / seconds
    shown = f"{rate:.3g}/s" if rate < 1000 else f"{rate:,.0f}/s"
    return f" ({shown})" if done == total else f" ({shown}, {(total - done) / rate:.0f} s left)"
