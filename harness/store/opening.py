"""Files of a run folder, opened and parsed as if a stranger had made them: a folder may come from anybody.

No link is followed, nothing is waited for (a pipe, a device), and no more is read than a run writes. JSON is read
strictly: what it does not have (NaN), a key that stands twice, a number beyond a double and very deep nesting are
errors, so that what is read cannot say one thing to us and another to the next reader.
"""

from __future__ import annotations

import errno
import json
import os
import re
import stat
from collections.abc import Iterable, Iterator
from math import isfinite
from pathlib import Path
from typing import Any, BinaryIO

from harness.errors import StoreError
from harness.store.files import BINARY, NOFOLLOW, disk_error

WHOLE_BYTES = 256 << 20  # the most that is read of a file in one piece
LINE_BYTES = 64 << 20  # of a line; the longest prompts and answers have a few million
DEEPEST = 100  # lists and objects within each other; a schema in a task file has some twenty
DIGITS = 308  # of a whole number: a double has no more
_FLAGS = os.O_RDONLY | NOFOLLOW | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | BINARY
_RISKY = re.compile(rb"\d[eE]\+?\d{3}|\d{309}|NaN|Infinity")


def there(path: Path) -> bool:
    """Returns whether a name stands in its folder, as whatever: a link that leads nowhere does too."""
    return os.path.lexists(path)


def refuse_odd(path: Path) -> None:
    """Raises StoreError where a name that is to be written is taken by a link, a pipe or another thing than a file."""
    if there(path) and not stat.S_ISREG(os.lstat(path).st_mode):
        raise _odd(path)


def opened(path: Path) -> BinaryIO:
    """Returns a file, opened to read its bytes. Raises StoreError for a link, and for what is no regular file."""
    path = Path(path)
    try:
        if not NOFOLLOW and path.is_symlink():
            raise _odd(path)
        number = os.open(path, _FLAGS)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EMLINK, errno.ENXIO, errno.EISDIR):
            raise _odd(path) from None
        raise disk_error(error, path) from None
    if not stat.S_ISREG(os.fstat(number).st_mode):
        os.close(number)
        raise _odd(path)
    return os.fdopen(number, "rb")


def _odd(path: Path) -> StoreError:
    what = "a link" if path.is_symlink() else "a folder" if path.is_dir() else "no regular file"
    fix = "put the file itself there: in a run folder no link is followed"
    return StoreError(f"{path.name} is {what}", where=str(path), fix=fix)


def read_whole(path: Path) -> bytes:
    """Returns all bytes of a file. Raises StoreError as `opened`, and for a file larger than a run writes."""
    with opened(path) as file:
        data = file.read(WHOLE_BYTES + 1)
    if len(data) > WHOLE_BYTES:
        raise StoreError(f"{path.name} has over {WHOLE_BYTES >> 20} MB", where=str(path), fix=FIX)
    return data


def read_lines(path: Path) -> Iterator[bytes]:
    """Yields the lines of a file, each with its end. Raises StoreError as `opened`, and for a line without bound."""
    with opened(path) as file:
        number = 0
        while line := file.readline(LINE_BYTES + 1):
            number += 1
            if len(line) > LINE_BYTES:
                what = f"a line of {path.name} has over {LINE_BYTES >> 20} MB"
                raise StoreError(what, where=f"{path}, line {number}", fix=FIX)
            yield line


FIX = "restore the file from a copy"


def parsed(data: bytes) -> Any:
    """Returns a JSON value, read strictly. Raises ValueError with what is wrong."""
    try:
        found = json.loads(
            data.decode(), object_pairs_hook=_once, parse_constant=_refused, parse_float=_finite, parse_int=_whole
        )
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    _refuse_deep(found)
    return found


def parsed_line(data: bytes) -> Any:
    """Returns `parsed` of a line, in less time where nothing looks odd; then a key may stand twice: the last counts."""
    if data.count(b"[") + data.count(b"{") > DEEPEST or _RISKY.search(data):
        return parsed(data)
    return json.loads(data.decode())


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {next(name for name in names if names.count(name) > 1)!r} stands twice")
    return found


def _refused(name: str) -> Any:
    raise ValueError(f"{name} is no number that JSON has")


def _finite(text: str) -> float:
    found = float(text)
    if not isfinite(found):
        raise ValueError(f"the number {text[:20]} is too large")
    return found


def _whole(text: str) -> int:
    if len(text) > DIGITS:
        raise ValueError(f"a number has {len(text)} digits")
    return int(text)


def _refuse_deep(value: Any) -> None:
    level = [value]
    for _ in range(DEEPEST):
        level = [inner for one in level for inner in _members(one) if isinstance(inner, dict | list)]
        if not level:
            return
    raise ValueError("it is nested too deeply")


def _members(value: Any) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
