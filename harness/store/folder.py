"""The run folder: one plan, one lock, its logs, and the refusal of a plan that is not the one it was begun with.

    with RunFolder.create_or_resume(path, plan) as folder:
        log = folder.responses()
        log.append({"key": ..., ...})        # on disk when it returns

How a line of the log holds the one before it stands in `harness.store.log`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from harness.errors import StoreError
from harness.store.files import (
    DISK,
    LOCK,
    PLAN,
    RESPONSES,
    VERDICTS,
    Disk,
    _compact,
    _temporary,
    disk_error,
    write_json_atomic,
)
from harness.store.lock import Lock
from harness.store.log import ResponseLog
from harness.store.opening import parsed, read_whole, refuse_odd


class RunFolder:
    """A folder that one process writes to, under one plan. Leave it through `with` or `close()`."""

    def __init__(self, path: Path, resumed: bool, lock: Lock, disk: Disk) -> None:
        self.path, self.resumed, self._lock, self._disk = path, resumed, lock, disk
        self._logs: dict[str, ResponseLog] = {}

    @classmethod
    def create_or_resume(
        cls, path: Path, plan: Mapping[str, object], disk: Disk = DISK, *, private: bool = False
    ) -> RunFolder:
        """Returns the folder, locked, with `plan.json` in it; `private`: a new one is opened to its owner only.

        `plan` holds `digest`, and `identity`: nested dictionaries of what the digest is made from. Raises StoreError
        if another process writes there, the folder was begun under another digest, or it holds something else.
        """
        path = Path(path)
        try:
            path.mkdir(parents=True, exist_ok=True)
            names = set(os.listdir(path))
            if private and PLAN not in names:
                path.chmod(0o700)
        except FileExistsError:
            raise StoreError("this is a file, no run folder", where=str(path), fix="name a folder: --out DIR") from None
        except OSError as error:
            raise disk_error(error, path) from None
        if PLAN not in names and names - {LOCK, _temporary(Path(PLAN)).name}:
            what = f"the folder holds other files and no {PLAN}: it is no run folder"
            raise StoreError(what, where=str(path), fix="name a new or empty folder: --out DIR")
        for name in (LOCK, PLAN):
            refuse_odd(path / name)
        lock = Lock(path / LOCK)
        try:
            resumed = (path / PLAN).exists()
            if resumed:
                _require_same(_read_plan(path / PLAN), plan, path)
            else:
                write_json_atomic(path / PLAN, plan, disk)
        except BaseException:
            lock.release()
            raise
        return cls(path, resumed, lock, disk)

    def responses(self) -> ResponseLog:
        """Returns the log of the models' responses, opened once."""
        return self._opened(RESPONSES)

    def verdicts(self) -> ResponseLog:
        """Returns the log of what the judge model replied, opened once; chained like the other."""
        return self._opened(VERDICTS)

    def _opened(self, name: str) -> ResponseLog:
        if name not in self._logs:
            self._logs[name] = ResponseLog(self.path / name, self._disk)
        return self._logs[name]

    def close(self) -> None:
        for log in self._logs.values():
            log.close()
        self._lock.release()

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _read_plan(path: Path) -> dict[str, Any]:
    try:
        plan: dict[str, Any] = parsed(read_whole(path))
        plan["digest"], plan["identity"].items()
        return plan
    except (ValueError, KeyError, TypeError, AttributeError):
        fix = "restore it from a copy, or start anew: --out DIR"
        raise StoreError("the plan of this run cannot be read", where=str(path), fix=fix) from None
    except OSError as error:
        raise disk_error(error, path) from None


def _require_same(before: Mapping[str, Any], now: Mapping[str, Any], path: Path) -> None:
    if before["digest"] == now["digest"]:
        return
    changed = list(_differences(before["identity"], json.loads(_compact(now["identity"]))))
    shown, more = changed[:5], [f"and {len(changed) - 5} more"] if len(changed) > 5 else []
    what = "this run was begun under another plan: " + ("; ".join(shown + more) or "its digest differs")
    raise StoreError(what, where=str(path), fix="use the settings it was begun with, or start anew: --out DIR")


_ABSENT = object()


def _differences(old: Any, new: Any, name: str = "") -> Iterator[str]:
    """Yields what differs between nested dictionaries and lists, under dotted names; what one side lacks as a whole."""
    if isinstance(old, list) and isinstance(new, list):
        old, new = dict(enumerate(old)), dict(enumerate(new))
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            yield from _differences(old.get(key, _ABSENT), new.get(key, _ABSENT), f"{name}.{key}" if name else str(key))
    elif old != new:
        yield f"{name} was {_shown(old)}, is {_shown(new)}"


def _shown(value: Any) -> str:
    if value is _ABSENT or isinstance(value, dict):
        return "absent" if value is _ABSENT else "present"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else text[:37] + "..."
