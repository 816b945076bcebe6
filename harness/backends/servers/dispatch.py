"""Many requests to one server: how many at once, when to try again, when to give up, and what it all cost.

    run(requests, ask, limits=..., tariff=...)  ->  one response a request, as they finish

`ask(request, attempt)` runs in a thread of its own and returns a response or raises `AttemptFailed`. Everything else
happens in the thread that iterates: it starts attempts, collects what they bring, and is the only one that decides.

- Where a server takes no more requests, or nobody can answer, all requests wait: see `hold`. That is no failure of a
  sample: it is tried again as long as its clock runs. If nothing was answered until then, or the server asks for a
  longer wait, the work stops, and what is left is owed.
- Other failures are tried again after a wait that doubles, with jitter. The same failure three times in a row is the
  server's considered answer: the sample fails. So it does if again and again nobody can answer it, and others are
  answered meanwhile.
- A sample has a number of attempts and a wall clock. An attempt that outlives the clock is abandoned, whatever it
  hangs in, and what it may bring later is not read.
- No request is sent that could exceed what the purse holds, by the tariff of its body. Under a spend limit the first
  goes alone: it shows whether the server keeps to the limits that it is sent.
- What concerns every request alike, such as a wrong key, stops the run before anything is recorded; an account without
  credit stops it whenever it comes. What is left is owed.
"""

from __future__ import annotations

import heapq
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Generic, TypeVar

from harness.backends.servers.attempt import Answer, Attempt, AttemptFailed
from harness.backends.servers.hold import Hold, backoff, moment_in
from harness.backends.servers.replies import reached
from harness.backends.servers.tariff import Tariff
from harness.config.model import LimitsConfig
from harness.cost.prices import TokenCount
from harness.errors import HarnessError, LimitReached, WorkStopped
from harness.security.egress import carrying
from harness.security.secrets import redact
from harness.stats.totals import total
from harness.values import Billing, PaidAttempt, Request, Response

SAME = 3  # identical failures in a row that fail a sample


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
    own: int = 0  # failures that were not the server's towards all
    seen: int = 0  # answers to all requests when it last failed, or began
    attempt: Attempt | None = None


def run(
    requests: Sequence[Asked],
    ask: Ask[Asked],
    *,
    limits: LimitsConfig,
    tariff: Tariff | None = None,
    purse: Purse | None = None,
    where: str = "the server",
) -> Iterator[Response]:
    """Yields one response a request, with what it cost in all its attempts. `where` is what messages call the server.

    A failure that another day may mend is `provisional`. Raises BackendError for what concerns every request,
    LimitReached when `purse` (default: one without a limit) does not pay for the next one, and WorkStopped when nobody
    answers any more, after all answers that were under way: the requests left are still owed, and nothing was recorded
    for them but what they may have cost.
    """
    alone = len(requests) == 1
    yield from _Run(ask, limits, tariff, purse or Purse(), Hold(limits.concurrency, where), alone=alone).go(requests)


class _Run(Generic[Asked]):
    """The state of one call. Only the iterating thread touches it; attempts speak through `results`."""

    def __init__(
        self, ask: Ask[Asked], limits: LimitsConfig, tariff: Tariff | None, purse: Purse, hold: Hold, *, alone: bool
    ) -> None:
        self.ask, self.limits, self.tariff, self.purse, self.alone = ask, limits, tariff, purse, alone
        self.hold = hold
        self.results: queue.SimpleQueue[tuple[_Job[Asked], Attempt, Answer | BaseException]] = queue.SimpleQueue()
        self.fresh: deque[_Job[Asked]] = deque()
        self.later: list[tuple[float, int, _Job[Asked]]] = []  # heap by the moment a job may go on
        self.flying: set[_Job[Asked]] = set()
        self.answered = 0
        self.last_answer = 0.0  # when it came
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
            paid = (job for _, _, job in self.later if any(one.usd != 0.0 for one in job.tries))
            yield from (self._given_up(job, f"{job.last} (then {self.stop.what})") for job in paid)
            raise self.stop

    # --- starting

    def _start(self) -> None:
        while self.stop is None and len(self.flying) < self._most_in_flight():
            now = time.perf_counter()
            if now < self.hold.until:
                return
            fresh_first = self.hold.absent and self.fresh  # nobody knows yet that it is not the request's own fault
            if self.later and self.later[0][0] <= now and not fresh_first:
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
        return 1 if unproven else self.hold.width

    def _put_back(self, job: _Job[Asked]) -> None:
        heapq.heappush(self.later, (time.perf_counter(), job.number, job))

    def _fly(self, job: _Job[Asked], now: float) -> None:
        if job.began is None:
            job.began, job.seen = now, self.answered
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
            if not self.flying or ready > now or self.hold.until > now:
                ends.append(max(ready, self.hold.until))
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
        self.last_answer = time.perf_counter()
        self.hold.answered()
        self._record(job, attempt, "answered", used=answer.used, billed=True, doubted=answer.doubted)
        response = answer.response
        return replace(response, billing=bill(job.tries))

    def _failed(self, job: _Job[Asked], attempt: Attempt, failed: AttemptFailed) -> Iterator[Response]:
        self._record(job, attempt, failed.kind, used=failed.used, billed=failed.billed, detail=failed.detail)
        job.same = job.same + 1 if str(failed) == job.last else 1
        job.last = str(failed)
        if failed.fatal is not None and (not self.answered or isinstance(failed.fatal, WorkStopped)):
            self.stop = self.stop or failed.fatal
            self._put_back(job)
        elif failed.busy or failed.absent:
            yield from self._held(job, attempt, failed)
        elif not failed.retry:
            yield self._given_up(job, str(failed), transient=failed.fatal is not None)  # a new key may mend it
        else:
            wait = backoff(len(job.tries)) if failed.wait_s is None else failed.wait_s
            yield from self._again(job, wait, own=not failed.free, same=job.same)

    def _held(self, job: _Job[Asked], attempt: Attempt, failed: AttemptFailed) -> Iterator[Response]:
        """Holds all requests back for one that the server could not take."""
        wait = self.hold.refused(str(failed), began=attempt.began, wait_s=failed.wait_s, absent=failed.absent)
        others, job.seen = self.answered > job.seen, self.answered
        if failed.busy and not failed.wait_s:
            wait = max(wait, backoff(len(job.tries)))  # one that is unlucky gets out of the way of others
        asked = failed.wait_s or 0.0
        if asked >= self.limits.sample_s:
            what = f"the server takes no more requests until {moment_in(asked)}: {failed}"
        elif time.perf_counter() + wait < self._deadline(job) or self.last_answer > (job.began or 0.0):
            yield from self._again(job, wait, own=failed.absent and others and reached(failed.kind))
            return
        else:
            what = f"nothing was answered for {self.limits.sample_s:g} s: {failed}"
        self.stop = self.stop or WorkStopped(what, fix="run the same command again then: it goes on where it stopped")
        self._put_back(job)

    def _again(self, job: _Job[Asked], wait: float, *, own: bool, same: int = 0) -> Iterator[Response]:
        """Tries a job again after a wait, or gives it up."""
        now = time.perf_counter()
        job.own += own
        if same >= SAME:
            yield self._given_up(job, f"{job.last} ({same} times)")
        elif job.own >= self.limits.attempts:
            yield self._given_up(job, f"{job.last} (the last of {len(job.tries)} attempts)")
        elif now + wait >= self._deadline(job):
            yield self._given_up(job, f"{job.last} (the next attempt would be after {self.limits.sample_s:g} s)")
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
