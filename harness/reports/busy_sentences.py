"""The warnings that something was timed while other work took the processors."""

from __future__ import annotations

from harness.measure.other_work import OTHERS, SHOWN, STOLEN
from harness.store.schema import Note


def busy_machine(note: Note) -> str:
    """Returns the warning about latencies."""
    return _busy(note, "latencies were measured", "they may be too long")


def busy_pass(note: Note) -> str:
    """Returns the warning about throughputs, and what follows from them."""
    return _busy(note, "answers were given", "tok/s may be too low, and $ a token too high")


def _busy(note: Note, what: str, then: str) -> str:
    rows, others, stolen = note.names("rows"), note.number("others"), note.number("stolen")
    upto = "up to " if len(rows) > 1 else ""
    taken = [f"other work took {upto}{100 * others:.0f} %"] if others > OTHERS else []
    taken += [f"the host of this virtual machine kept back {upto}{100 * stolen:.0f} %"] if stolen > STOLEN else []
    names = "; ".join([*rows[:SHOWN], *([f"{more} more"] if (more := len(rows) - SHOWN) > 0 else [])])
    when = f"of this computer's processors while {what} ({names})"
    return f"WARNING: {' and '.join(taken)} {when}: {then}."
