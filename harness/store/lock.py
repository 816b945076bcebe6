"""One process writes to a run folder: the lock that holds the others off, on every system, even through a crash."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from filelock import FileLock, Timeout

from harness.errors import StoreError
from harness.store.files import disk_error


class Lock:
    """Holds a file until it is released or the process ends. The file says which process that is."""

    def __init__(self, path: Path) -> None:
        """Takes the lock. Raises StoreError, naming the process, where another has it."""
        self._path = path
        self._held = FileLock(path, blocking=False, thread_local=False)
        try:
            self._held.acquire()
        except Timeout:
            holder = _read(path)
            what = "another run is writing here" + (f" (process {holder})" if holder else "")
            fix = "wait for it to end, or name another --out DIR"
            raise StoreError(what, where=str(path.parent), fix=fix) from None
        except OSError as error:
            raise disk_error(error, path) from None
        with contextlib.suppress(OSError):  # a system may let nobody write to a file that is locked
            path.write_text(f"{os.getpid()}\n", encoding="utf-8")

    def release(self) -> None:
        """Lets others in, and takes the file away. Releasing twice is allowed."""
        if not self._held.is_locked:
            return
        removed = self._remove()  # while it is held: afterwards it may be another's
        self._held.release()
        if not removed:  # a system may keep the name of an open file; where another holds it by now, it keeps it too
            self._remove()

    def _remove(self) -> bool:
        try:
            self._path.unlink(missing_ok=True)
        except OSError:
            return False
        return True


def _read(path: Path) -> str:
    """Returns the process that wrote the file; nothing where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")[:32].strip()
    except OSError:
        return ""
