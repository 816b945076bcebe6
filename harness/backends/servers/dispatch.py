"""Many requests to one server: how many at once, when to try again, when to give up, and what it all cost.

    run(requests, ask, limits=..., price=...)  ->  one response a request, as they finish

`ask(request, attempt)` runs in a thread of its own and returns a response or raises `AttemptFailed`. Everything else
happens in the thread that iterates: it starts attempts, collects what they bring, and is the only one that decides.

- A refusal for rate (429) halves the number of requests in flight and holds all of them back for as long as the server
  asks; each success adds a little.
- Other failures are tried again after a wait that doubles, with jitter. The same failure three times in a row is the
  server's considered answer: the sample fails.
- A sample has a number of attempts and a wall clock. An attempt that outlives the clock is abandoned, whatever it
  hangs in, and what it may bring later is not read.
- No request is sent that could exceed what the purse holds, by the tariff of its body. Under a spend limit the first
  goes alone: it shows whether the server keeps to the limits that it is sent.
- What concerns every request alike, such as a wrong key, stops the run before anything is recorded.
"""

from __future__ import annotations

import heapq
import queue
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import KW_ONLY, asdict, dataclass, field, replace
from typing import Generic, TypeVar

from harness.backends.servers.tariff import Tariff
from harness.config.model import LimitsConfig
from harness.cost.prices import TokenCount
from harness.errors import HarnessError, LimitReached
from harness.security.egress import carrying
from harness.security.secrets import redact
from harness.stats.totals import total
from harness.values import Billing, PaidAttempt, Request, Response

FIRST_WAIT_S = 0.5  # before the second attempt; doubled for each later one
LONGEST_WAIT_S = 60.0
SAME = 3  # identical failures in a row that fail a sample


@dataclass(eq=False)
class AttemptFailed(Exception):
    """An attempt without an answer. `kind` is short and fixed, so that failures can be counted by it."""

    kind: str
    detail: str = ""  # without secrets, and not long
    _: KW_ONLY
    retry: bool = True
    wait_s: float | None = None  # as the server asks
    busy: bool = False  # refused for rate
    billed: bool = True  # the server may have worked: without `used`, what it charges is unknown
    used: TokenCount | None = None
    fatal: HarnessError | None = None  # concerns every request: raised, unless some were answered already

    def __post_init__(self) -> None:
        self.detail = redact(self.detail).strip()[:500]
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


Asked = TypeVar("Asked", bound=Request)
Ask = Callable[[Asked, Attempt], Answer]


@dataclass(eq=False, slots=True)
class Purse:
    """What one backend may spend, and what it has, in USD, over all of its calls."""

    limit: float | None = None  # None: as much as it takes
    spent: float = 0.0  # what is unknown counts as the most it can be, so that the limit holds

    def check(self, usd: float, noun: str = "the next request") -> None:
        """Raises LimitReached if something that may cost `usd` could exceed the limit."""
        if self.limit is not None and self.spent + usd > self.limit:
            left = max(0.0, self.limit - self.spent)
            raise LimitReached(
                f"the spend limit is reached: {noun} could cost ${usd:.4f}, and ${left:.4f} is left",
                fix="raise `max_cost`; the same command goes on where it stopped",
            )


@dataclass(eq=False, slots=True)
class _Job(Generic[Asked]):
    request: Asked
    number: int
    worst: float | None = None  # USD the attempt under way can cost at most; None: unknown
    began: float | None = None
    free_at: float = 0.0  # when the attempt before ended
    tries: list[PaidAttempt] = field(default_factory=list)
    last: str = ""
    same: int = 0
    attempt: Attempt | None = None


def run(
    requests: Sequence[Asked],
    ask: Ask[Asked],
    *,
    limits: LimitsConfig,
    tariff: Tariff | None = None,
    purse: Purse | None = None,
) -> Iterator[Response]:
    """Yields one response a request, with what it cost in all its attempts.

    A failure that another day may mend is `provisional`. Raises BackendError for what concerns every request,
    and LimitReached when `purse` (default: one without a limit) does not pay for the next one, after all answers that
    were under way: the requests left are still owed, and nothing was recorded for them.
    """
    yield from _Run(ask, limits, tariff, purse or Purse(), alone=len(requests) == 1).go(requests)


class _Run(Generic[Asked]):
    """The state of one call. Only the iterating thread touches it; attempts speak through `results`."""

    def __init__(
        self, ask: Ask[Asked], limits: LimitsConfig, tariff: Tariff | None, purse: Purse, *, alone: bool
    ) -> None:
        self.ask, self.limits, self.tariff, self.purse, self.alone = ask, limits, tariff, purse, alone
        self.results: queue.SimpleQueue[tuple[_Job[Asked], Attempt, Answer | BaseException]] = queue.SimpleQueue()
        self.fresh: deque[_Job[Asked]] = deque()
        self.later: list[tuple[float, int, _Job[Asked]]] = []  # heap by the moment a job may go on
        self.flying: set[_Job[Asked]] = set()
        self.width = float(limits.concurrency)  # requests that may be in flight
        self.narrowed = 0.0  # when it was last halved
        self.held_until = 0.0  # no attempt begins before
        self.answered = 0
        self.stop: HarnessError | None = None

    def go(self, requests: Sequence[Asked]) -> Iterator[Response]:
        self.fresh.extend(_Job(request, i) for i, request in enumerate(requests))
        try:
            while self.flying or ((self.fresh or self.later) and self.stop is None):
                self._start()
                if not self.flying and self.stop is not None:
                    break
                yield from self._collect()
        finally:
            for job in self.flying:
                if job.attempt is not None:
                    job.attempt.abandoned.set()
        if self.stop is not None:
            raise self.stop

    # --- starting

    def _start(self) -> None:
        while self.stop is None and len(self.flying) < self._most_in_flight():
            now = time.perf_counter()
            if now < self.held_until:
                return
            if self.later and self.later[0][0] <= now:
                job = heapq.heappop(self.later)[2]
            elif self.fresh:
                job = self.fresh.popleft()
            else:
                return
            try:
                job.worst = self._worst(job.request)
                self.purse.check(sum(other.worst or 0.0 for other in self.flying) + (job.worst or 0.0))
            except LimitReached as reached:
                (self.fresh.appendleft if job.began is None else self._put_back)(job)
                if not self.flying:
                    self.stop = reached
                return
            self._fly(job, now)

    def _most_in_flight(self) -> int:
        """Returns how many requests may be out now: one, until an answer has shown what a limited purse has to pay."""
        unproven = self.purse.limit is not None and self.tariff is not None and not self.tariff.proven
        return 1 if unproven else max(1, int(self.width))

    def _put_back(self, job: _Job[Asked]) -> None:
        heapq.heappush(self.later, (time.perf_counter(), job.number, job))

    def _fly(self, job: _Job[Asked], now: float) -> None:
        job.began = now if job.began is None else job.began
        job.attempt = Attempt(
            number=len(job.tries) + 1,
            in_flight=len(self.flying) + 1,
            waited_s=now - job.free_at if job.tries else 0.0,
            handed_s=now - job.began,
            alone=self.alone,
            began=now,
        )
        self.flying.add(job)
        threading.Thread(target=self._try, args=(job, job.attempt), daemon=True, name="harness-ask").start()

    def _try(self, job: _Job[Asked], attempt: Attempt) -> None:
        try:
            with carrying(job.request.sensitivity):
                outcome: Answer | BaseException = self.ask(job.request, attempt)
        except BaseException as error:  # told to the iterating thread, which raises what is no AttemptFailed
            outcome = error
        self.results.put((job, attempt, outcome))

    # --- collecting

    def _collect(self) -> Iterator[Response]:
        """Waits for the next thing to happen, and yields what it makes final."""
        now = time.perf_counter()
        ends = [self._deadline(job) for job in self.flying]
        if (self.fresh or self.later) and len(self.flying) < self._most_in_flight() and self.stop is None:
            ready = self.later[0][0] if self.later and not self.fresh else now
            if not self.flying or ready > now or self.held_until > now:
                ends.append(max(ready, self.held_until))
        try:
            job, attempt, outcome = self.results.get(timeout=max(0.0, min(ends, default=now) - now))
        except queue.Empty:
            yield from self._overdue()
            return
        if job.attempt is not attempt or job not in self.flying:
            return  # abandoned earlier: its sample is done
        self.flying.discard(job)
        job.free_at = time.perf_counter()
        if isinstance(outcome, Answer):
            yield self._answered(job, attempt, outcome)
        elif isinstance(outcome, AttemptFailed):
            yield from self._failed(job, attempt, outcome)
        else:
            raise outcome

    def _answered(self, job: _Job[Asked], attempt: Attempt, answer: Answer) -> Response:
        self.answered += 1
        self.width = min(float(self.limits.concurrency), self.width + 1 / self.width)
        self._record(job, attempt, "answered", used=answer.used, billed=True, doubted=answer.doubted)
        response = answer.response
        return replace(response, billing=bill(job.tries))

    def _failed(self, job: _Job[Asked], attempt: Attempt, failed: AttemptFailed) -> Iterator[Response]:
        self._record(job, attempt, failed.kind, used=failed.used, billed=failed.billed, detail=failed.detail)
        if failed.fatal is not None and not self.answered:
            self.stop = self.stop or failed.fatal
            return
        now = time.perf_counter()
        wait = FIRST_WAIT_S * 2 ** (len(job.tries) - 1) * random.uniform(0.5, 1.0)
        wait = min(wait, LONGEST_WAIT_S) if failed.wait_s is None else failed.wait_s
        if failed.busy:
            if attempt.began >= self.narrowed:
                self.width, self.narrowed = max(1.0, self.width / 2), now
            self.held_until = max(self.held_until, now + min(wait, self.limits.sample_s))
        job.same = job.same + 1 if str(failed) == job.last else 1
        job.last = str(failed)
        if not failed.retry:
            yield self._given_up(job, str(failed), transient=failed.fatal is not None)  # a new key may mend it
        elif job.same >= SAME and not failed.busy:
            yield self._given_up(job, f"{failed} ({job.same} times)")
        elif len(job.tries) >= self.limits.attempts:
            yield self._given_up(job, f"{failed} (the last of {len(job.tries)} attempts)")
        elif now + wait >= self._deadline(job):
            yield self._given_up(job, f"{failed} (the next attempt would be after {self.limits.sample_s:g} s)")
        else:
            heapq.heappush(self.later, (now + wait, job.number, job))

    def _overdue(self) -> Iterator[Response]:
        now = time.perf_counter()
        for job in [job for job in self.flying if self._deadline(job) <= now]:
            self.flying.discard(job)
            if job.attempt is not None:
                job.attempt.abandoned.set()
                self._record(job, job.attempt, "abandoned", used=None, billed=True)
            yield self._given_up(job, f"no answer within {self.limits.sample_s:g} s")

    def _given_up(self, job: _Job[Asked], error: str, *, transient: bool = True) -> Response:
        return Response(
            key=job.request.key,
            prompt=None,
            finish_reason="error",
            error=redact(error),
            provisional=transient,
            billing=bill(job.tries),
        )

    def _deadline(self, job: _Job[Asked]) -> float:
        return (job.began or 0.0) + self.limits.sample_s

    # --- the bill

    def _record(
        self,
        job: _Job[Asked],
        attempt: Attempt,
        outcome: str,
        *,
        used: TokenCount | None,
        billed: bool,
        doubted: bool = False,
        detail: str = "",
    ) -> None:
        """Adds what an attempt took. `usd` None is unknown, and `most_usd` then the most it can be."""
        told = None if used is None or self.tariff is None else self.tariff.usd(job.request, used)
        usd = told if used is not None and not doubted else None if billed else 0.0  # a refusal costs nothing
        paid = PaidAttempt(
            outcome,
            usd,
            most_usd=max(job.worst, told or 0.0) if usd is None and job.worst is not None else None,
            s=time.perf_counter() - attempt.began,
            waited_s=attempt.waited_s,
            tokens=None if used is None else asdict(used),
            detail=detail,
        )
        self.purse.spent += at_most((paid,)) or 0.0
        job.tries.append(paid)

    def _worst(self, request: Request) -> float | None:
        """Returns what one attempt can cost at most. Raises BackendError where money is limited and that is unknown."""
        if self.tariff is None:
            return None
        return self.tariff.most_usd(request) if self.purse.limit is None else self.tariff.bound(request)


def bill(attempts: Sequence[PaidAttempt]) -> Billing:
    """Returns attempts with what they cost in all, in USD: None where one is unknown, and the most it can be."""
    return Billing(total(one.usd for one in attempts), at_most(attempts), tuple(attempts))


def at_most(attempts: Iterable[PaidAttempt]) -> float | None:
    """Returns the most that attempts can have cost, in USD; None without a price."""
    return total(one.most_usd if one.usd is None else one.usd for one in attempts)
