"""The run folder on disk: one plan, one lock, one append-only log of responses in which every line holds the last one.

    with RunFolder.create_or_resume(path, plan) as folder:
        log = folder.responses()
        log.append({"key": ..., ...})        # on disk when it returns

How a line holds the one before stands in `chain`: any changed byte, and any line lost, added or moved, breaks the log
at a line that can be named; lines cut off or forged at the very end show only against a head (the last hash) noted
elsewhere. The order on disk is: write, fsync, then done. What a crash leaves half written is cut off and owed again.
fsync is as good as the disk's word: some laptop drives keep a cache of their own.

A payload with `provisional: true` (a request that failed and may succeed later) may be followed by another of its key,
which then counts in its place. Any other key stands once.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import StoreError
from harness.store.chain import Line, anchor, checked_lines, sealed
from harness.store.files import BINARY, DISK, NOFOLLOW, Disk, _sync_folder, _write_all, disk_error
from harness.store.opening import parsed_line, read_lines, refuse_odd

SYNC_SHARE = 0.05  # of the time that may go into waiting for the disk
PROVISIONAL = b'"provisional":true'  # as such a payload is written


@dataclass(frozen=True, slots=True)
class ChainReport:
    """What checking a log found. `lines` and `head` are of the part before the break, or of the whole."""

    ok: bool
    lines: int
    head: str
    broken_line: int | None = None  # counted from 1
    why: str | None = None


class ResponseLog:
    """`responses.jsonl`, opened for appending: verified to the last line, a torn tail cut off.

    `note` tells what was cut off, for people; None if nothing was. Raises StoreError where the chain is broken before
    its last line, or the disk fails.
    """

    def __init__(self, path: Path, disk: Disk = DISK) -> None:
        self.path, self._disk = Path(path), disk
        self.note: str | None = None
        refuse_odd(self.path)
        try:
            new = not self.path.exists()
            self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | NOFOLLOW | BINARY, 0o644)
        except OSError as error:
            raise disk_error(error, self.path) from None
        try:
            if new:
                _sync_folder(self.path.parent, disk)
            self._recover()
        except OSError as error:
            self.close()
            raise disk_error(error, self.path) from None
        except BaseException:
            self.close()
            raise

    def _recover(self) -> None:
        self._keys: dict[str, bool] = {}  # key -> whether it is provisional
        self._head, self._size = anchor(self.path.parent), 0
        for line in checked_lines(self.path, self._head):
            if line.why is None:
                _take_key(self._keys, line, self.path)
                self._head, self._size = line.hash, self._size + len(line.data)
                continue
            if not line.last:
                raise broken(self.path, line.number, line.why)
            self._disk.truncate(self._fd, self._size)
            self._disk.fsync(self._fd)
            self.note = f"{self.path}: line {line.number} was half written; it is cut off and asked again"

    def keys(self) -> frozenset[str]:
        """Returns the keys of all responses that are safely stored, without the provisional ones."""
        return frozenset(key for key, provisional in self._keys.items() if not provisional)

    @property
    def head(self) -> str:
        """The hash of the last line: noted elsewhere, it proves the whole log."""
        return self._head

    def append(self, payload: Mapping[str, object]) -> None:
        """Stores one response. When this returns it is on disk."""
        self.append_many([payload])

    def append_many(self, payloads: Sequence[Mapping[str, object]]) -> None:
        """Stores the responses of one batch, in order, with one write and one fsync.

        Each payload holds JSON values and a `key` of its own. Raises StoreError if the disk fails: then none of them
        counts, what was written is taken back where possible, and the log is closed. Raises ValueError for a key
        stored before (the caller's bug).
        """
        if self._fd < 0:
            raise ValueError("the log is closed")
        head, lines = self._head, []
        keys: dict[str, bool] = {}
        for payload in payloads:
            key = str(payload["key"])
            if not self._keys.get(key, True) or key in keys:
                raise ValueError(f"key {key!r} is stored already")
            line, head = sealed(payload, head)
            lines.append(line)
            keys[key] = bool(payload.get("provisional"))
        data = b"".join(lines)
        if not data:
            return
        try:
            _write_all(self._fd, data, self._disk)
            self._disk.fsync(self._fd)
        except BaseException as error:
            self._take_back()
            if isinstance(error, OSError):
                raise disk_error(error, self.path) from None
            raise
        self._keys |= keys
        self._head, self._size = head, self._size + len(data)

    def _take_back(self) -> None:
        """Cuts off what a failed append left. If that fails too, opening the log again does it."""
        with contextlib.suppress(OSError):
            self._disk.truncate(self._fd, self._size)
            self._disk.fsync(self._fd)
        self.close()

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class Paced:
    """Hands payloads to a log several at a time: waiting for the disk takes no more than SYNC_SHARE of the time.

    A disk that syncs in a millisecond gets what came in the last nineteen. What is held back is lost in a crash, and
    owed again. `done` has the values whose payloads are on disk.
    """

    def __init__(
        self, log: ResponseLog, *, at_once: bool = False, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._log, self._share, self._clock = log, 1.0 if at_once else SYNC_SHARE, clock
        self._held: list[tuple[Any, Mapping[str, object]]] = []
        self._flushed = self._spent = 0.0  # seconds: when it was last, and how long it took
        self._told = 0
        self.done: list[Any] = []

    def add(self, value: Any, payload: Mapping[str, object]) -> None:
        """Takes the payload of a value, and stores all that are held if it is time to."""
        self._held.append((value, payload))
        if self._clock() - self._flushed >= self._spent * (1 / self._share - 1):
            self.flush()

    def flush(self) -> None:
        """Stores what is held. Raises as `append_many`; then what was held is dropped."""
        if not self._held:
            return
        held, self._held = self._held, []
        begun = self._clock()
        self._log.append_many([payload for _, payload in held])
        self._flushed = self._clock()
        self._spent = self._flushed - begun
        self.done += [value for value, _ in held]

    def new(self) -> list[Any]:
        """Returns the values that were stored since this was last asked."""
        told, self._told = self._told, len(self.done)
        return self.done[told:]


def read_responses(path: Path) -> Iterator[dict[str, object]]:
    """Yields the payloads of a log in order, each line checked against the chain; one for each key.

    A half-written last line is left out: it is owed. Raises StoreError for a missing log, a broken chain, or a key
    stored twice.
    """
    gone = superseded(path)
    yield from (payload for number, payload in enumerate(read_attempts(path)) if number not in gone)


def superseded(path: Path) -> frozenset[int]:
    """Returns the numbers, from 0, of the provisional lines of a log that others took the place of."""
    last: dict[str, int] = {}  # key -> its line so far, of those that were provisional once
    gone: set[int] = set()
    for number, data in enumerate(read_lines(path)):
        if last or PROVISIONAL in data:
            key, provisional = _key_of(data)
            if key in last:
                gone.add(last[key])
            if provisional or key in last:
                last[key] = number
    return frozenset(gone)


def _key_of(data: bytes) -> tuple[str, bool]:
    """Returns the key of a line and whether it is provisional; of what is no line of a log, no key."""
    try:
        payload = parsed_line(data)
        return str(payload["key"]), bool(payload.get("provisional"))
    except (ValueError, KeyError, TypeError, AttributeError):  # reading it in earnest says what is wrong
        return "", False


def read_attempts(path: Path) -> Iterator[dict[str, object]]:
    """Yields as `read_responses` does, and the provisional payloads that others took the place of."""
    seen: dict[str, bool] = {}
    for line in checked_lines(path, anchor(path.parent)):
        if line.why is None:
            yield _take_key(seen, line, path)
        elif line.whole:
            raise broken(path, line.number, line.why)


def verify_chain(
    path: Path, head: str | None = None, *, start: str | None = None, old: bool = False, at_once: bool = False
) -> ChainReport:
    """Returns whether every line of a log is as it was written, else the first that is not.

    `head`: the last hash as noted when the run ended; without it, lines cut off from the end cannot be missed.
    `start`: what the first line names before it; default: the `anchor` of its folder. `old`, `at_once`: as
    `checked_lines`. Raises StoreError only if the file cannot be read.
    """
    first = anchor(path.parent) if start is None else start
    lines, last, seen_at = 0, first, None
    for line in checked_lines(path, first, old=old, at_once=at_once):
        if line.why is not None:
            return ChainReport(False, lines, last, line.number, line.why)
        lines, last = line.number, line.hash
        if last == head:
            seen_at = lines
    if head is None or head == last:
        return ChainReport(True, lines, last)
    if seen_at is not None or head == first:
        return ChainReport(False, lines, last, (seen_at or 0) + 1, "lines were added after the noted head")
    return ChainReport(False, lines, last, lines + 1, "lines are missing at the end: the noted head is not there")


def holds(path: Path, head: str, *, old: bool = False) -> bool:
    """Returns whether a log has a line with this hash, or stands on it. `old`: as `checked_lines`.

    Raises StoreError for a log that is broken before that line.
    """
    start = anchor(path.parent)
    for line in checked_lines(path, start, old=old):
        if line.why is not None and line.whole:
            raise broken(path, line.number, line.why)
        if line.hash == head:
            return True
    return head == start


def _take_key(seen: dict[str, bool], line: Line, path: Path) -> dict[str, object]:
    """Returns the payload of a line, its key added to those seen, with whether it is provisional."""
    try:
        payload = line.content()
        key = str(payload["key"])
    except (ValueError, KeyError, TypeError):  # sealed right, but not by us
        raise broken(path, line.number, "the line is no response") from None
    if not seen.get(key, True):
        raise broken(path, line.number, f"the key {key!r} is stored twice")
    seen[key] = bool(payload.get("provisional"))
    return payload


def broken(path: Path, number: int, why: str) -> StoreError:
    """Returns the error of a log that is not as it was written from a line on."""
    fix = f"restore the file from a copy, or keep the {number - 1} lines before it (head -n {number - 1}) and run again"
    return StoreError(f"the log is broken: {why}", where=f"{path}, line {number}", fix=fix)
