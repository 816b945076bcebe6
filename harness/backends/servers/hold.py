"""Whether a server can be asked now: how many requests at once, and from when on, told by how it fails.

A refusal for rate halves the number of requests in flight; each answer adds a little. Where nobody can answer (not
there, loading, overloaded) one request at a time asks whether that has changed, and all others wait. Either holds all
of them back for as long as the server asks, or a time that doubles. Whoever waits longer than `TOLD_AFTER_S` is told.
"""

from __future__ import annotations

import logging
import random
import time
from datetime import UTC, datetime, timedelta

FIRST_WAIT_S = 0.5  # before the second attempt; doubled for each later one
LONGEST_WAIT_S = 60.0
LONGEST_PROBE_S = 20.0  # between two questions whether a server is back
LEAST_S = 1.0  # to which even a server that asks for less is given time, when it has refused again and again
TOLD_AFTER_S = 2.0  # of waiting


def backoff(failures: int, longest_s: float = LONGEST_WAIT_S) -> float:
    """Returns the seconds to wait after so many failures in a row, with jitter: others wait as well."""
    return min(longest_s, FIRST_WAIT_S * 2.0 ** min(failures - 1, 20)) * random.uniform(0.5, 1.0)


class Hold:
    """The state of one server, as one caller sees it. Moments are of `time.perf_counter`."""

    def __init__(self, most: int, where: str) -> None:
        self._most, self._where = float(most), where
        self._width = self._most  # requests that may be in flight
        self._narrowed = 0.0  # when it was last made less
        self._rounds = 0  # of failures in a row; those that were in flight together are one
        self.until = 0.0  # no attempt begins before
        self.since: float | None = None  # when it began to refuse all; None: it does not
        self._absent = self._told = False

    @property
    def width(self) -> int:
        """Returns how many requests may be in flight."""
        return 1 if self._absent else max(1, int(self._width))

    @property
    def absent(self) -> bool:
        """Returns whether nobody could answer the last time."""
        return self._absent

    def answered(self) -> None:
        """Takes note of an answer."""
        if self._told and self.since is not None:
            seconds = time.perf_counter() - self.since
            logging.getLogger("harness").warning(f"{self._where} answers again, after {seconds:.0f} s")
        self.since, self._rounds, self._absent, self._told = None, 0, False, False
        self._width = min(self._most, self._width + 1 / self._width)

    def refused(self, said: str, *, began: float, wait_s: float | None, absent: bool) -> float:
        """Takes note of an attempt, begun at `began`, that the server could not answer; returns the seconds to wait."""
        now = time.perf_counter()
        if began >= self._narrowed:
            self._narrowed, self._rounds = now, self._rounds + 1
            if not absent:
                self._width = max(1.0, self._width / 2)
        self.since = now if self.since is None else self.since
        self._absent = self._absent or absent
        own = backoff(max(1, self._rounds), LONGEST_PROBE_S if absent else LONGEST_WAIT_S)
        wait = max(wait_s, min(own, LEAST_S)) if wait_s else own
        self.until = max(self.until, now + wait)
        self._tell(said, self.until - now)
        return wait

    def _tell(self, said: str, wait: float) -> None:
        """Says once that all requests wait, when that takes longer than a moment."""
        if self._told or self.since is None or time.perf_counter() + wait - self.since < TOLD_AFTER_S:
            return
        self._told = True
        what = "does not answer" if self._absent else "takes no more requests now"
        logging.getLogger("harness").warning(
            f"{self._where} {what} ({said[:200]}): all requests wait, the next is sent in {wait:.0f} s"
        )


def moment_in(seconds: float) -> str:
    """Returns the moment so many seconds from now, for people."""
    return (datetime.now(UTC) + timedelta(seconds=seconds)).strftime("%Y-%m-%d %H:%M UTC")
