"""What a user can get wrong, and how it is told.

    HarnessError            three short lines: what, where, fix; exit code 2; no traceback
    ├── ConfigError         a run, model or machine file
    ├── TaskError           a task file
    ├── DataError           a data file
    ├── ModelError          a model folder or id: missing, unsafe, does not fit
    ├── BackendError        a backend that cannot do what is asked
    │   └── WorkStopped     a model's work ends for now: what was answered is kept, the rest is owed
    │       └── LimitReached    at a spend limit
    ├── StoreError          a run folder: locked, other plan, broken chain, disk full
    └── PolicyError         data that may not go where the plan would send it

Our own bugs keep their traceback.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable
from pathlib import Path

_NEXT_LINE = re.compile(r"[ \t]*[\r\n\t\v\f\x85\u2028\u2029]+[ \t]*")
# Control characters, those that turn the direction of a text or have no width, tags, and halves of characters
_HIDDEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    "\u3164\ud800-\udfff\ufeff\uffa0\ufff0-\ufffb\U000e0000-\U000e0fff]"
)


def visible(text: str, keep: str = "") -> str:
    """Returns a text with what a terminal or a reader would not see as it is written out, as JSON writes it.

    Text of models, servers and files may hold control characters: they would move the cursor, or hide what is there.
    """
    return _HIDDEN.sub(lambda found: found[0] if found[0] in keep else _written(found[0]), text)


def _written(one: str) -> str:
    halves = one.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{int.from_bytes(halves[i : i + 2], 'big'):04x}" for i in range(0, len(halves), 2))


class HarnessError(Exception):
    """A mistake the user can mend: `what` happened, `where`, and the `fix`."""

    def __init__(self, what: str, *, where: str = "", fix: str = "") -> None:
        self.what, self.where, self.fix = what, where, fix
        super().__init__("\n".join(self.lines()))

    def lines(self) -> list[str]:
        """Returns the message as printed: one to three lines."""
        named = (("error:", self.what), ("  at ", self.where), ("  fix", self.fix))
        return [f"{label} {visible(_NEXT_LINE.sub(' ', text))}" for label, text in named if text]

    def __reduce__(self) -> tuple[Callable[..., HarnessError], tuple[type[HarnessError], str, str, str]]:
        return _rebuild, (type(self), self.what, self.where, self.fix)


def _rebuild(kind: type[HarnessError], what: str, where: str, fix: str) -> HarnessError:
    return kind(what, where=where, fix=fix)


class ConfigError(HarnessError):
    """A run, model or machine file that cannot be used."""


class TaskError(HarnessError):
    """A task file that cannot be used."""


class DataError(HarnessError):
    """A data file that cannot be used."""


class ModelError(HarnessError):
    """A model that is missing, unsafe to load, or does not fit."""


class BackendError(HarnessError):
    """A backend that cannot do what the plan asks."""


class WorkStopped(BackendError):
    """What ends the work of one model for now: no credit, a quota of a day, a server that is gone."""


class LimitReached(WorkStopped):
    """What is left of a spend limit does not pay for the next request."""


class StoreError(HarnessError):
    """A run folder that is locked, belongs to another plan, is broken, or cannot be written."""


class PolicyError(HarnessError):
    """Data that may not go where the plan would send it."""


LONGEST_NAME = 200  # characters of a name that a message shows: a label may be a whole document


def nearest(name: str, known: Iterable[str]) -> str:
    """Returns "did you mean 'x'?" for the closest known name, or the list of known names if none is close."""
    names = sorted(one if len(one := str(each)) <= LONGEST_NAME else one[:LONGEST_NAME] + "…" for each in known)
    close = difflib.get_close_matches(str(name), names, n=1, cutoff=0.6)
    if close:
        return f"did you mean '{close[0]}'?"
    shown = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
    return f"known: {shown}" if names else ""


def beside(path: Path) -> list[str]:
    """Returns the names in the folder of a path that leads nowhere, hidden ones left out: none if it has no folder."""
    folder = path.parent
    return sorted(p.name for p in folder.iterdir() if not p.name.startswith(".")) if folder.is_dir() else []
