"""By which version of the harness a run is judged: its code and the libraries that decide figures."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import harness
from harness.store.schema import JudgedBy

# What stands between the responses and the tables.
JUDGING = ("values.py", "config", "stats", "scoring", "cost", "tasks", "engine/text", "measure", "store", "analysis",
           "reports")  # fmt: skip
LIBRARIES = ("numpy", "scipy", "sacrebleu", "rouge-score", "rapidfuzz", "math-verify", "lm-eval")


@cache
def judged_by() -> JudgedBy:
    """Returns what judges here and now."""
    return JudgedBy(_version("openweights-harness"), _code(), {name: _version(name) for name in LIBRARIES})


def _code() -> str:
    """Returns a digest of the modules that judge, the same on every system."""
    root, found = Path(harness.__file__).parent, hashlib.sha256()
    for room in JUDGING:
        for file in sorted((root / room).rglob("*.py")) if (root / room).is_dir() else [root / room]:
            found.update(file.relative_to(root).as_posix().encode())
            found.update(file.read_bytes().replace(b"\r\n", b"\n"))
    return found.hexdigest()[:16]


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
