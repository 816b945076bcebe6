"""The device that a loaded model runs on: what counts its joules, and what it draws at rest."""

from __future__ import annotations

import os
import sys

from harness.measure.energy import Counter, find_counters, idle_watts
from harness.runs.phase import Asked


def counters_of(model: Asked) -> tuple[tuple[Counter, ...], str | None]:
    """Returns what counts the joules of the devices a model runs on, and the reason where nothing does."""
    card = model.describe()
    if card.device is None:
        return (), "the model does not run on a device of this machine"
    seen = {name: os.environ.get(name) for name in ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER")}
    devices = card.devices or (str(card.device),)
    return find_counters(devices, seen["CUDA_VISIBLE_DEVICES"], order=seen["CUDA_DEVICE_ORDER"], uuids=_uuids())


def _uuids() -> dict[int, str] | None:
    """Returns the UUID of each CUDA device by the number that torch has for it; None where torch does not tell."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return None
    about = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
    found = {i: str(one.uuid) for i, one in enumerate(about) if hasattr(one, "uuid")}
    return found if len(found) == len(about) else None


def at_rest(model: Asked, known: dict[str, float | None]) -> float | None:
    """Returns the watts of the device a loaded model runs on while nothing is asked of it; None if nothing counts them.

    Measured once for each device (`IDLE_S` seconds, where there are counters) and kept in `known`.
    """
    card = model.describe()
    device = ", ".join(card.devices) or str(card.device)
    if device not in known:
        known[device] = idle_watts(counters_of(model)[0])
    return known[device]
