"""Lines that each hold the one before: a changed, lost, added or moved line is found, and named.

    plan.json ◂── samples.jsonl ◂── responses.jsonl, verdicts.jsonl, measurements.jsonl

A line is its payload as compact JSON, then `prev` (the hash of the line before), then `hash`: the sha256 of all else in
canonical form (compact, keys in order). So a line that was only rendered otherwise is none the worse. What the first
line names as `prev` is the file that the log stands on: the last hash of the samples, whose first line names the digest
of the plan. The head, the hash of a log's last line, thus stands for the plan, the samples with their right answers,
and all lines.

Lines of earlier versions have the hash of the bytes before it, and the first names zeros; their samples and
measurements are no chains.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.errors import StoreError
from harness.store.files import DISK, PLAN, SAMPLES, Disk, _compact, append_made
from harness.store.opening import FIX, opened, parsed, parsed_line, read_lines, read_whole, there

START = "0" * 64  # what the first line of a log of an earlier version, or of one that stands alone, names before it
_HASHES = ("prev", "hash")
_HASH_END = len(',"hash":""}\n') + 64
_BLOCK = 1 << 16


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a chain. `why` says what is wrong with it; None: nothing."""

    number: int  # counted from 1
    data: bytes
    hash: str
    why: str | None
    payload: Mapping[str, object] | None = None  # what it says; None: it was not read, or is no object
    last: bool = False  # nothing comes after it; told of a line that is wrong

    @property
    def whole(self) -> bool:
        """Returns whether it was written to its end."""
        return self.data.endswith(b"\n")

    def content(self) -> dict[str, object]:
        """Returns what it says, without the hashes. Raises ValueError for a line that holds no object."""
        found = parsed_line(self.data) if self.payload is None else self.payload
        if not isinstance(found, Mapping):
            raise ValueError("it holds no object")
        return {name: value for name, value in found.items() if name not in _HASHES}


def sealed(payload: Mapping[str, object], head: str) -> tuple[bytes, str]:
    """Returns the line of a payload after the line whose hash is `head`, and its own hash."""
    if not payload.keys().isdisjoint(_HASHES):
        raise ValueError("a payload may not have the keys `prev` and `hash`")
    whole = {**payload, "prev": head}
    own = canonical(whole)
    return _compact({**whole, "hash": own}) + b"\n", own


def canonical(value: Any) -> str:
    """Returns the sha256 of a JSON value, whatever its blanks and the order of its keys."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def checked(data: bytes, head: str, number: int) -> Line:
    """Returns a line with what is wrong with it as the one after the hash `head`."""
    if not data.endswith(b"\n"):
        return Line(number, data, "", "the line is half written")
    body, end = data[:-_HASH_END], data[-_HASH_END:]
    if end == b',"hash":"' + hashlib.sha256(body).hexdigest().encode() + b'"}\n':  # of an earlier version
        follows = body.endswith(f',"prev":"{head}"'.encode())
        return Line(number, data, end[-67:-3].decode(), None if follows else _moved(number))
    try:
        found = parsed_line(data)
        own, whole = found["hash"], {name: value for name, value in found.items() if name != "hash"}
        if len(data) != len(_compact(found)) + 1:  # rendered otherwise than we do: is any key there twice
            parsed(data)
        if own == canonical(whole):
            return Line(number, data, own, None if whole.get("prev") == head else _moved(number), found)
    except (ValueError, KeyError, TypeError, AttributeError):
        pass
    return Line(number, data, "", "the line was changed: its hash does not fit")


def _moved(number: int) -> str:
    if number == 1:
        return "it does not follow what it stands on: the plan, the samples, or lines before it were changed"
    return "lines were removed, added or moved here: it does not follow the line before"


def head_of(line: bytes) -> str | None:
    """Returns the hash that a line names as its own; None of a line that is of no chain."""
    try:
        found = parsed(line)
        prev, own = found["prev"], found["hash"]
    except (ValueError, KeyError, TypeError):
        return None
    return own if isinstance(own, str) and isinstance(prev, str) else None


def last_line(path: Path) -> bytes:
    """Returns the last line of a file that has anything in it; else nothing."""
    with opened(path) as file:
        end = file.seek(0, os.SEEK_END)
        tail = b""
        while end > 0:
            start = max(0, end - _BLOCK)
            file.seek(start)
            tail = file.read(end - start) + tail
            end = start
            if (at := tail.rstrip(b"\n").rfind(b"\n")) >= 0:
                return tail[at + 1 :]
        return tail


def anchor(folder: Path) -> str:
    """Returns what the first line of a folder's logs names before it: the last sample, or the plan where there is none.

    START in folders of earlier versions, and where there is neither.
    """
    if there(folder / SAMPLES):
        return head_of(last_line(folder / SAMPLES)) or START
    return plan_hash(folder) if there(folder / PLAN) else START


def plan_hash(folder: Path) -> str:
    """Returns the digest of all that `plan.json` says. Raises StoreError where it cannot be read."""
    path = folder / PLAN
    try:
        return canonical(parsed(read_whole(path)))
    except ValueError as error:
        raise StoreError(f"{PLAN} is not JSON: {error}", where=str(path), fix=FIX) from None


def checked_lines(path: Path, start: str, *, old: bool = False, at_once: bool = False) -> Iterator[Line]:
    """Yields each line of a chain with what is wrong with it, up to the first that is wrong.

    old: it may begin with lines of an earlier version, which are of no chain. at_once: it is written in one piece, so
    that its last line may lack its end.
    """
    head, wrong = start, None
    for number, data in enumerate(read_lines(path), 1):
        if wrong is not None:
            yield wrong
            return
        old = old and head_of(data) is None
        if old:
            head = START
            yield Line(number, data, START, None)
            continue
        line = checked(data + b"\n" if at_once and not data.endswith(b"\n") else data, head, number)
        if line.why is None:
            head = line.hash
            yield line
        else:
            wrong = line
    if wrong is not None:
        yield replace(wrong, last=True)


def append_chained(path: Path, rows: Iterable[Mapping[str, object]], disk: Disk = DISK, *, sync: bool = True) -> None:
    """Adds lines to a chain, all of them or none; a half-written line at the end, left by a crash, is cut off first.

    With `sync` False nothing waits for the disk: the next call that syncs covers these lines too.
    """

    def made(last: bytes) -> bytes:
        head = (head_of(last) or START) if last else anchor(path.parent)
        lines = []
        for row in rows:
            line, head = sealed(row, head)
            lines.append(line)
        return b"".join(lines)

    append_made(path, made, disk, sync=sync)


def chained(rows: Iterable[Mapping[str, object]], start: str) -> Iterator[bytes]:
    """Yields the lines of a chain that is written in one piece."""
    head = start
    for row in rows:
        line, head = sealed(row, head)
        yield line
