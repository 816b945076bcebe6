"""A provider's batch interface: all requests handed over at once, answered within a day, at the batch price.

What has been handed over is remembered in a file of its own (ids and request keys, no text), so that a run that was
killed while it waited asks for the answers of its batch and not for a second one.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from harness.security.egress import carrying
from harness.values import Sensitivity

POLL_S = 30.0
RETRIES = 5  # of a question about a batch; what hands one over is never sent twice
MOST = 10_000  # requests in one batch: below every provider's limit of number and size
FOLDER = Path(".cache") / "openweights-harness" / "batches"  # in the home folder


@dataclass(frozen=True, slots=True)
class Result:
    """What a batch brought for one request: the body of an answer, or why there is none."""

    key: str
    body: Mapping[str, object] | None
    error: str | None = None
    transient: bool = True  # asked again, it may be answered


@dataclass(frozen=True, slots=True)
class _HandedOver:
    """A batch that is remembered: where it is, and the keys of its requests."""

    host: str
    id: str
    keys: tuple[str, ...]


class Batches(Protocol):
    """The batch interface of one provider."""

    def submit(self, lines: Sequence[tuple[str, Mapping[str, object]]]) -> str:
        """Hands (key, parameters) over and returns the id of the batch."""
        ...

    def ended(self, id: str) -> bool:
        """Returns whether no more answers will come. Raises BackendError if the batch as a whole was refused."""
        ...

    def results(self, id: str) -> Iterator[Result]:
        """Yields what an ended batch brought, in any order."""
        ...


def handed_over(host: str, folder: Path | None = None) -> set[str]:
    """Returns the keys of the requests that wait in a remembered batch: they are paid for already."""
    notes = _remembered(Path.home() / FOLDER if folder is None else folder, host)
    return {key for note in notes for key in note.keys}


def collect(
    batches: Batches,
    host: str,
    lines: Mapping[str, Mapping[str, object]],
    folder: Path | None = None,
    *,
    sensitivity: Sensitivity = "restricted",
) -> Iterator[Result]:
    """Yields one result for each key of `lines`; hands over what no remembered batch holds, and waits.

    A batch is forgotten when its results were taken: what is done with the last one must be on disk by then.
    """
    folder = Path.home() / FOLDER if folder is None else folder
    waiting = [note for note in _remembered(folder, host) if not lines.keys().isdisjoint(note.keys)]
    held = {key for note in waiting for key in note.keys}
    fresh = [(key, params) for key, params in lines.items() if key not in held]
    for begin in range(0, len(fresh), MOST):
        part = fresh[begin : begin + MOST]
        with carrying(sensitivity):
            id = batches.submit(part)
        waiting.append(_remember(folder, host, id, [key for key, _ in part]))
    owed = set(lines)
    while waiting:
        for note in [note for note in waiting if batches.ended(note.id)]:
            waiting.remove(note)
            for result in batches.results(note.id):
                if result.key in owed:
                    owed.remove(result.key)
                    yield result
            for key in sorted(owed & set(note.keys)):
                owed.remove(key)
                yield Result(key, None, "the batch ended without an answer")
            _place(folder, host, note.id).unlink(missing_ok=True)
        if waiting:
            time.sleep(POLL_S)


def _place(folder: Path, host: str, id: str) -> Path:
    return folder / (hashlib.sha256(f"{host}|{id}".encode()).hexdigest()[:32] + ".json")


def _remember(folder: Path, host: str, id: str, keys: list[str]) -> _HandedOver:
    folder.mkdir(parents=True, exist_ok=True)
    note, place = _HandedOver(host, id, tuple(keys)), _place(folder, host, id)
    with open(place.with_suffix(".new"), "w", encoding="utf-8") as file:
        json.dump(asdict(note), file)
        file.flush()
        os.fsync(file.fileno())
    place.with_suffix(".new").replace(place)
    return note


def _remembered(folder: Path, host: str) -> list[_HandedOver]:
    held = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]
    notes = [_HandedOver(one["host"], one["id"], tuple(one["keys"])) for one in held]
    return [note for note in notes if note.host == host]
