"""The device that a loaded model runs on: what counts its joules, and what it draws at rest."""

from __future__ import annotations

import os

from harness.measure.energy import Counter, find_counters, idle_watts
from harness.runs.phase import Asked


def counters_of(model: Asked) -> tuple[tuple[Counter, ...], str | None]:
    """Returns what counts the joules of the device a model runs on, and the reason where nothing does."""
    device = model.describe().device
    if device is None:
        return (), "the model does not run on a device of this machine"
    return find_counters(str(device), os.environ.get("CUDA_VISIBLE_DEVICES"))


def at_rest(model: Asked, known: dict[str, float | None]) -> float | None:
    """Returns the watts of the device a loaded model runs on while nothing is asked of it; None if nothing counts them.

    Measured once for each device (`IDLE_S` seconds, where there are counters) and kept in `known`.
    """
    device = str(model.describe().device)
    if device not in known:
        known[device] = idle_watts(counters_of(model)[0])
    return known[device]
