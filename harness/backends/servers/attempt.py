"""One try of one request at a server: what it knows, what it brings, and how it fails."""

from __future__ import annotations

import threading
import time
from dataclasses import KW_ONLY, dataclass, field

from harness.cost.prices import TokenCount
from harness.errors import HarnessError
from harness.security.secrets import redact
from harness.values import Response

LONGEST_DETAIL = 500  # characters of what a server says of a failure


@dataclass(eq=False)
class AttemptFailed(Exception):
    """An attempt without an answer. `kind` is short and fixed, so that failures can be counted by it."""

    kind: str
    detail: str = ""  # without secrets, and not long
    _: KW_ONLY
    retry: bool = True
    wait_s: float | None = None  # as the server asks
    busy: bool = False  # refused for rate
    absent: bool = False  # nobody could answer: not there, loading, overloaded
    billed: bool = True  # the server may have worked: without `used`, what it charges is unknown
    free: bool = False  # no failure: it is put in another way now, and does not count as an attempt
    used: TokenCount | None = None
    fatal: HarnessError | None = None  # concerns every request: raised, unless some were answered. WorkStopped: always

    def __post_init__(self) -> None:
        self.detail = redact(self.detail).strip()[:LONGEST_DETAIL]
        super().__init__(str(self))

    def __str__(self) -> str:
        return f"{self.kind}: {self.detail}" if self.detail else self.kind


@dataclass(eq=False, slots=True)
class Attempt:
    """One try of one request. `abandoned` is set when nobody waits for it any more."""

    number: int
    in_flight: int  # with this one, when it began
    waited_s: float  # since the attempt before ended
    handed_s: float  # from the first attempt's begin to this one's
    alone: bool  # the only request of its call: its times may be told
    began: float = field(default_factory=time.perf_counter)
    abandoned: threading.Event = field(default_factory=threading.Event)

    def check(self) -> None:
        """Raises AttemptFailed if the answer is no longer wanted. To be called for each piece that arrives."""
        if self.abandoned.is_set():
            raise AttemptFailed("abandoned")


@dataclass(frozen=True, slots=True)
class Answer:
    """What an attempt brought, and the tokens it used; None: the server did not say."""

    response: Response
    used: TokenCount | None
    doubted: bool = False  # `used` cannot be of this answer: what it cost is unknown
