"""Paths as a run records them: relative to the working folder where they lie under it.

A run folder is passed on and committed. Where somebody keeps their checkout is nobody's business, and reading, judging
or resuming a run needs none of these paths: they tell a person what was used.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# keys that hold a path (or a text that begins with one); no other text of a run is touched
KEYS = {"adapter", "data", "file", "folder", "machine", "origin", "path", "script", "task"}


def portable(value: Any, base: Path | None = None) -> Any:
    """Returns a JSON value in which absolute paths under `base` (default: the working folder) are relative to it."""
    folders = {str(base)} if base is not None else {os.getcwd(), os.path.realpath(os.getcwd())}
    return _walked(value, tuple(f"{folder.rstrip('/')}/" for folder in folders), named=False)


def _walked(value: Any, prefixes: tuple[str, ...], named: bool) -> Any:
    if isinstance(value, str):
        prefix = next((one for one in prefixes if named and value.startswith(one)), "")
        return value[len(prefix) :]
    if isinstance(value, Mapping):
        return {key: _walked(inner, prefixes, key in KEYS) for key, inner in value.items()}
    return [_walked(inner, prefixes, named) for inner in value] if isinstance(value, list | tuple) else value
