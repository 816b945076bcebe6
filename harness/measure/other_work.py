"""What else the processors of this computer did while something was timed: others' work, and time kept back by a host.

    before = reading();  ...;  found = between(before, reading())

From Linux's /proc, read before and after and never meanwhile. Elsewhere (macOS), and where the kernel does not tell,
all is unknown, never 0. Only a host that keeps time back in silence reads as one that keeps back none.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
OTHERS = 0.10  # of all processors, above which a reader is warned: one busy of up to nine; with more, some stay free
STOLEN = 0.05  # less than of others: nothing that we could run on instead is free meanwhile
SHORTEST_S = 0.5  # the kernel counts in ticks of 10 ms: on two processors they missed up to 0.04 of so long a time
SHOWN = 3  # measurements that a warning names


@dataclass(frozen=True, slots=True)
class Reading:
    """Processor seconds since the computer began, of all its processors; `t` is monotonic."""

    t: float
    processors: int
    busy: float  # of everybody, the kernel's own included, without stolen
    stolen: float  # that a virtual machine wanted and its host gave to others
    own: float  # of this process and those it started, those that have ended too


@dataclass(frozen=True, slots=True)
class Bystanders:
    """Shares of the time of all processors, in [0, 1]; None is unknown."""

    others: float | None = None
    stolen: float | None = None


def reading(proc: Path = PROC) -> Reading | None:
    """Returns how the processors' time was spent so far; None where that is not told. Takes about a millisecond."""
    try:
        started = [str(child.pid) for child in multiprocessing.active_children()]
        own = sum(_ticks((proc / process / "stat").read_text()) for process in ("self", *started))
        return parsed((proc / "stat").read_text(), own, os.sysconf("SC_CLK_TCK"), time.monotonic())
    except (OSError, ValueError, IndexError, AttributeError):  # Windows has no sysconf
        return None


def parsed(stat: str, own: int, ticks_per_s: int, t: float) -> Reading | None:
    """Returns the reading in a text of /proc/stat; None where it counts nothing, as in some sandboxes.

    `own` is in ticks. Time of guests is in the user's already. Raises ValueError or IndexError for another format.
    """
    lines = [line.split() for line in stat.splitlines() if line.startswith("cpu")]
    user, nice, system, _idle, _iowait, irq, softirq, stolen = map(int, lines[0][1:9])
    busy = user + nice + system + irq + softirq
    if busy == 0:
        return None
    return Reading(t, len(lines) - 1, busy / ticks_per_s, stolen / ticks_per_s, own / ticks_per_s)


def _ticks(stat: str) -> int:
    """Returns the ticks of a process and of what it started that has ended, from the text of its stat."""
    fields = stat.rpartition(")")[2].split()  # its name, in brackets before, may hold anything
    return sum(map(int, fields[11:15]))


def between(before: Reading | None, after: Reading | None, *, served_here: bool = False) -> Bystanders:
    """Returns what others had of the processors between two readings; unknown in less than `SHORTEST_S`.

    `served_here`: what was timed is a server on this computer. Its work cannot be told from that of others.
    """
    if before is None or after is None or before.processors != after.processors or after.t - before.t < SHORTEST_S:
        return Bystanders()
    whole = (after.t - before.t) * after.processors
    busy, own, stolen = after.busy - before.busy, after.own - before.own, after.stolen - before.stolen
    known = not served_here and busy >= 0 and own >= 0  # a counter that went back, as when it wraps, tells nothing
    return Bystanders(
        others=min(1.0, max(0.0, busy - own) / whole) if known else None,
        stolen=min(1.0, stolen / whole) if stolen >= 0 else None,
    )
