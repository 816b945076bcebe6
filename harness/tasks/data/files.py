"""One data file -> rows: CSV, TSV, JSONL, JSON, Parquet, Excel, plain text; text ones also packed as .gz.

CSV and TSV cells are always text ("007" stays "007"); JSON, Parquet and Excel cells keep their type. Not-a-number is
None. A file that cannot be read as it stands is refused with the line and what would mend it, never guessed at.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import zlib
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, cast

from harness.errors import DataError
from harness.tasks.data.bounds import unpacked
from harness.tasks.data.formats import AS_IT_STANDS, READERS, DataSource, json_value, suffix_of
from harness.tasks.data.lazy import Lazy
from harness.tasks.data.tables import MOST_COLUMNS, too_many_columns

HELD = 64_000_000  # bytes of a JSONL file up to which its rows are kept in memory
_LFS_POINTER = b"version https://git-lfs"


def iter_rows(path: Path, source: DataSource = AS_IT_STANDS) -> Iterator[dict[str, object]]:
    """Yields the rows of one file in order, holding one row (JSON, Excel: the file; Parquet: a batch) in memory."""
    with _open(path) as raw:
        yield from _parse(raw, path, source)


def read_file(path: Path, source: DataSource) -> tuple[Sequence[dict[str, object]], str]:
    """Returns the rows of one file, and the sha256 (hex) of the very bytes they were read from.

    A list; of JSONL of more than HELD bytes `JsonLines`, which keeps none of them.
    """
    with _open(path) as raw:
        held = os.fstat(raw.fileno())
        digest = hashlib.file_digest(raw, "sha256").hexdigest()
        raw.seek(0)
        utf8 = (source.encoding or "utf-8").lower().replace("_", "-") in ("utf-8", "utf8", "utf-8-sig")
        if held.st_size <= HELD or suffix_of(path) not in {".jsonl", ".ndjson"} or not utf8:
            return list(_parse(raw, path, source)), digest
        for _ in _parse(raw, path, source):
            pass  # every line is read once, so that a broken one is told here and not in the middle of the work
    return JsonLines(path, held), digest


class JsonLines(Lazy[dict[str, object]]):
    """The rows of a JSONL file in UTF-8, read anew whenever they are asked for: 8 bytes a row are kept.

    Raises DataError where the file is no longer the one it was.
    """

    def __init__(self, path: Path, held: os.stat_result) -> None:
        self._path, self._was = path, _identity(held)
        self._starts = array("q")
        place = 0
        with self._opened() as lines:
            for line in lines:
                if not _blank(line):
                    self._starts.append(place)
                place += len(line)

    def __len__(self) -> int:
        return len(self._starts)

    def item(self, index: int) -> dict[str, object]:
        """Returns one row."""
        with self._opened() as lines:
            lines.seek(self._starts[index])
            return self._row(lines.readline())

    def items(self) -> Iterator[dict[str, object]]:
        """Yields every row in order."""
        with self._opened() as lines:
            for line in lines:
                if not _blank(line):
                    yield self._row(line)

    def _opened(self) -> BinaryIO:
        raw = _open(self._path)
        if _identity(os.fstat(raw.fileno())) != self._was:
            raw.close()
            raise DataError("the file was changed while it was in use", where=str(self._path), fix="start again")
        return raw

    def _row(self, line: bytes) -> dict[str, object]:
        row: dict[str, object] = json_value(line.removeprefix(b"\xef\xbb\xbf").decode(), self._path, 0)
        return row


def _identity(held: os.stat_result) -> tuple[int, int, int]:
    return held.st_ino, held.st_size, held.st_mtime_ns


def _blank(line: bytes) -> bool:
    return not line.lstrip().startswith(b"{") and line.removeprefix(b"\xef\xbb\xbf").decode().isspace()


def _open(path: Path) -> io.BufferedReader:
    try:
        return path.open("rb")
    except OSError as error:
        raise DataError(f"the file cannot be read: {error.strerror}", where=str(path), fix="check its rights") from None


def _parse(raw: BinaryIO, path: Path, source: DataSource) -> Iterator[dict[str, object]]:
    suffix = suffix_of(path)
    reader = READERS.get(suffix.removesuffix(".gz"))
    if reader is None:
        known = ", ".join(READERS)
        raise DataError(f"'{path.suffix}' is no format read here", where=str(path), fix=f"save it as one of: {known}")
    if raw.read(len(_LFS_POINTER)) == _LFS_POINTER:
        raise DataError("this is a Git LFS pointer, not the data itself", where=str(path), fix="run `git lfs pull`")
    raw.seek(0)
    packed = suffix.endswith(".gz")
    size = raw.seek(0, io.SEEK_END)
    raw.seek(0)
    handle = unpacked(cast("BinaryIO", gzip.GzipFile(fileobj=raw)), size, path) if packed else raw
    try:
        try:
            for number, row in enumerate(reader(handle, path, source), 1):
                if len(row) > MOST_COLUMNS:
                    raise too_many_columns(len(row), f"{path}, row {number}")
                yield row
        except UnicodeDecodeError as error:
            with path.open("rb") as again:
                inner = unpacked(cast("BinaryIO", gzip.GzipFile(fileobj=again)), size, path) if packed else again
                raise _undecodable(inner.read(), error.encoding, path) from None
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"not a whole gzip file: {error}", where=str(path), fix="download or pack it again") from None


def _undecodable(data: bytes, encoding: str, path: Path) -> DataError:
    try:
        data.decode(encoding)
        start, line = 0, 1
    except UnicodeDecodeError as error:
        start, line = error.start, data.count(b"\n", 0, error.start) + 1
    return DataError(
        f"byte {start} (0x{data[start]:02x}) is not {encoding} text",
        where=f"{path}, line {line}",
        fix="name the file's encoding in the task's data, e.g. encoding: cp1252, or save the file as UTF-8",
    )


def is_data(path: Path) -> bool:
    """Returns whether a file found in a folder holds rows; a plain text there is a note beside them."""
    kind = suffix_of(path).removesuffix(".gz")
    return kind in READERS and kind != ".txt" and not path.name.startswith(".") and path.is_file()
