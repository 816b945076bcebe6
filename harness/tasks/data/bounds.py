"""How much a data file may unpack to: a small file that holds gigabytes is told, and not read to its end."""

from __future__ import annotations

import io
from pathlib import Path
from typing import BinaryIO, cast

from harness.errors import DataError

MOST_BYTES = 256_000_000  # that a packed file, or one that is read as a whole, may hold
MOST_TIMES = 200  # its own size: what text packs to; a packed file of more is refused beyond MOST_BYTES only


class Unpacked(io.RawIOBase):
    """What is read of a packed file, counted. Raises DataError where it is more than text packs to."""

    def __init__(self, inner: BinaryIO, packed: int, path: Path) -> None:
        self._inner, self._path = inner, path
        self._most, self._read = max(MOST_BYTES, MOST_TIMES * packed), 0

    def readable(self) -> bool:
        """Returns True: it is there to be read."""
        return True

    def seekable(self) -> bool:
        """Returns True; what is read again after a seek back is no more of the file."""
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        """Goes to a place, as the file itself does."""
        return self._inner.seek(offset, whence)

    def tell(self) -> int:
        """Returns the place."""
        return self._inner.tell()

    def readinto(self, buffer: object) -> int:
        """Reads into a buffer; raises DataError beyond the bound."""
        view = memoryview(cast("bytearray", buffer))
        data = self._inner.read(len(view))
        view[: len(data)] = data
        if self._inner.tell() > self._most:
            what = f"the file unpacks to more than {self._most / 1e6:,.0f} MB"
            raise DataError(what, where=str(self._path), fix="unpack it, and look whether that is what it should hold")
        return len(data)


def unpacked(inner: BinaryIO, packed: int, path: Path) -> BinaryIO:
    """Returns a file that unpacks itself, bounded; `packed` is its size as it lies there, in bytes."""
    return cast("BinaryIO", io.BufferedReader(Unpacked(inner, packed, path), 1 << 16))


def read_whole(handle: io.TextIOWrapper, path: Path, fix: str) -> str:
    """Returns a whole text file. Raises DataError for one that is too large to be held as a whole."""
    text = handle.read(MOST_BYTES + 1)
    if len(text) > MOST_BYTES:
        what = f"the file holds more than {MOST_BYTES / 1e6:,.0f} MB, and is read as a whole"
        raise DataError(what, where=str(path), fix=fix)
    return text
