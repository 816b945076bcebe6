"""Words of files that were written before they were renamed, read as they are called today."""

from __future__ import annotations

from typing import Any

MODES = {"score": "loglikelihood"}


def renamed(value: Any) -> Any:
    """Returns a JSON value of a run folder in today's words: its own mode, and that of its cells and rows."""
    if not isinstance(value, dict):
        return value
    if value.get("mode") in MODES:
        value = {**value, "mode": MODES[value["mode"]]}
    parts = {key: [renamed(one) for one in value[key]] for key in ("cells", "rows") if isinstance(value.get(key), list)}
    return {**value, **parts}
