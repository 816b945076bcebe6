"""Files written whole or not at all, and lines appended so that a crash leaves at most one torn line."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import StoreError

BINARY = getattr(os, "O_BINARY", 0)  # Windows would otherwise write another end of line
NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)  # a link that somebody put into a folder leads nowhere
PLAN, SAMPLES, RESPONSES, VERDICTS = "plan.json", "samples.jsonl", "responses.jsonl", "verdicts.jsonl"
RECORDS, MEASURED, SUMMARY = "records.jsonl", "measurements.jsonl", "summary.json"
TABLE, SHEET, MANIFEST, LOCK = "table.md", "table.csv", "manifest.json", ".lock"


@dataclass(frozen=True, slots=True)
class Disk:
    """The system calls that writing is made of. Tests pass others, to fail and to count."""

    write: Callable[[int, Any], int] = os.write
    fsync: Callable[[int], None] = os.fsync
    truncate: Callable[[int, int], None] = os.ftruncate
    rename: Callable[[Any, Any], None] = os.replace


DISK = Disk()


def write_text_atomic(path: Path, text: str, disk: Disk = DISK) -> None:
    """Writes a file so that after a crash there is the old one or the new one, never a part."""
    _write_atomic(Path(path), [text.encode()], disk)


def write_lines_atomic(path: Path, lines: Iterable[bytes], disk: Disk = DISK) -> None:
    """Writes lines, each with its end, whole or not at all."""
    _write_atomic(Path(path), lines, disk)


def write_json_atomic(path: Path, value: Any, disk: Disk = DISK) -> None:
    """Writes a value as indented JSON, whole or not at all."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    _write_atomic(Path(path), [text.encode()], disk)


def write_jsonl_atomic(path: Path, rows: Iterable[Mapping[str, object]], disk: Disk = DISK) -> None:
    """Writes one compact JSON line a row, whole or not at all."""
    _write_atomic(Path(path), (_compact(row) + b"\n" for row in rows), disk)


def append_jsonl(path: Path, row: Mapping[str, object], disk: Disk = DISK) -> None:
    """Adds one line to a file and syncs it. A half-written line at the end, left by a crash, is cut off first."""
    append_rows(path, (row,), disk)


def append_rows(path: Path, rows: Iterable[Mapping[str, object]], disk: Disk = DISK, *, sync: bool = True) -> None:
    """`append_jsonl` for several lines, synced once: all of them or none.

    With `sync` False nothing waits for the disk: the next call that syncs covers these lines too.
    """
    data = b"".join(_compact(row) + b"\n" for row in rows)
    append_made(path, lambda last: data, disk, sync=sync)


def append_made(path: Path, make: Callable[[bytes], bytes], disk: Disk = DISK, *, sync: bool = True) -> None:
    """Adds to a file what `make` gives for its last whole line (none: nothing), all of it or none; as `append_rows`."""
    path = Path(path)
    try:
        new = not path.exists()
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | NOFOLLOW | BINARY
        with os.fdopen(os.open(path, flags, 0o644), "r+b", buffering=0) as file:
            if new:
                _sync_folder(path.parent, disk)
            last, size = _whole_lines(file)
            data = make(last)
            disk.truncate(file.fileno(), size)
            try:
                _write_all(file.fileno(), data, disk)
                if sync:
                    disk.fsync(file.fileno())
            except BaseException:
                with contextlib.suppress(OSError):
                    disk.truncate(file.fileno(), size)
                raise
    except OSError as error:
        raise disk_error(error, path) from None


def _whole_lines(file: Any, block: int = 1 << 16) -> tuple[bytes, int]:
    """Returns the last whole line of a file and the length up to its end, reading from the back."""
    start = file.seek(0, os.SEEK_END)
    tail = b""
    while start > 0:
        end, start = start, max(0, start - block)
        file.seek(start)
        tail = file.read(end - start) + tail
        whole = tail.rfind(b"\n") + 1
        before = tail.rfind(b"\n", 0, max(0, whole - 1)) + 1
        if before or (whole and start == 0):
            return tail[before:whole], start + whole
    return b"", 0


def _write_atomic(path: Path, chunks: Iterable[bytes], disk: Disk) -> None:
    temporary = _temporary(path)
    try:
        temporary.unlink(missing_ok=True)  # of a crash, or a link
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | NOFOLLOW | BINARY, 0o644)
        try:
            buffer = bytearray()
            for chunk in chunks:
                buffer += chunk
                if len(buffer) > 1 << 20:
                    _write_all(fd, bytes(buffer), disk)
                    buffer.clear()
            _write_all(fd, bytes(buffer), disk)
            disk.fsync(fd)
        finally:
            os.close(fd)
        disk.rename(temporary, path)
        _sync_folder(path.parent, disk)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise disk_error(error, path) from None
        raise


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.part")


def _compact(value: Any) -> bytes:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    try:
        return text.encode()
    except UnicodeEncodeError:  # half a character, as a broken decoder may give: only escapes can hold it
        return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()


def _write_all(fd: int, data: bytes, disk: Disk) -> None:
    """Writes all of `data`: the system may take a part of it, or be interrupted."""
    rest = memoryview(data)
    while rest:
        try:
            taken = disk.write(fd, rest)
        except InterruptedError:
            continue
        if taken == 0:
            raise OSError(errno.EIO, "the system takes no more bytes")
        rest = rest[taken:]


def _sync_folder(folder: Path, disk: Disk) -> None:
    """Makes the names in a folder last: a new file whose name is lost is lost. Windows opens no folder."""
    if sys.platform == "win32":
        return
    fd = os.open(folder, os.O_RDONLY)
    try:
        disk.fsync(fd)
    finally:
        os.close(fd)


def disk_error(error: OSError, path: Path) -> StoreError:
    again = "then run the same command again: it goes on where it stopped"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StoreError("the disk is full", where=str(path), fix=f"free some space, {again}")
    if error.errno == errno.ELOOP:
        fix = "put the file itself there: in a run folder no link is followed"
        return StoreError(f"{path.name} is a link", where=str(path), fix=fix)
    if error.errno == errno.ENOENT:
        return StoreError("no such file", where=str(path), fix="name a run folder that holds it")
    why = error.strerror or str(error)
    return StoreError(f"the disk refuses: {why}", where=str(path), fix=f"check the disk and the rights, {again}")
