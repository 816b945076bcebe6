"""A run that is stopped in the middle, as by Ctrl-C between two events."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import cast

from harness.runs.events import Answered, Event, Judged, Loaded, Timed


def stopped_after(events: Iterator[Event], n: int) -> list[Event]:
    """Goes on until so many answers, verdicts, timed requests and loads were told, stops, and returns all events."""
    told, done = [], 0
    while done < n and (event := next(events, None)) is not None:
        told.append(event)
        done += isinstance(event, Answered | Judged | Timed | Loaded)
    cast("Generator[Event]", events).close()
    return told
