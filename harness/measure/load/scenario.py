"""One load as it is asked for: how many at a time, or a second, and until when. Sends nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from harness.measure.load.timed import Slo


@dataclass(frozen=True, slots=True)
class Scenario:
    """One load. It lasts until `requests` were measured and `seconds` are over, and never beyond `max_seconds`."""

    kind: Literal["concurrency", "rate", "offline"]
    level: float = 1.0  # concurrency: requests out at a time; rate: requests a second; offline: not used
    requests: int = 100
    seconds: float = 0.0
    max_seconds: float = 600.0
    warmup: int = 5  # sent first, under the same load, and not counted
    cooldown: int = 0  # concurrency: the last ones, which run beside fewer others; not in the percentiles
    max_out: int = 1000  # rate: more requests out than this is saturation
    slo: Slo | None = None
    seed: int = 0  # of the arrivals

    @property
    def name(self) -> str:
        """Returns how tables call it: single, concurrency 8, rate 2.5, offline."""
        if self.kind == "offline":
            return "offline"
        return "single" if self.kind == "concurrency" and self.level == 1 else f"{self.kind} {self.level:g}"
