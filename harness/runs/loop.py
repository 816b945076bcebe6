"""The one loop of every run: what is owed is answered, appended, and told. All else listens to it or stands in a phase.

Stopping at any point, from inside or outside, leaves a run that can be resumed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from harness.errors import WorkStopped
from harness.runs.events import Event, Finished, Started
from harness.runs.phase import Stage


def loop(stages: Iterable[Stage[Any]]) -> Iterator[Event]:
    """Yields what happens, once it is on disk: of each model, of each phase of each cell, of each batch still owed."""
    for stage in stages:
        owed = [(phase, n) for phase in stage.phases if (n := phase.owed())]
        if not owed:
            continue
        with stage.at_work() as model:
            try:
                for phase, n in owed:
                    yield Started(phase.cell, phase.name, n)
                    with phase.begun(model) as sitting:
                        for batch in sitting.batches():
                            for answer in sitting.answers(batch):
                                yield from sitting.append(answer)
                        yield from sitting.rest()
                    yield Finished(phase.cell, phase.name)
            except WorkStopped as reached:
                yield stage.stopped(reached)
