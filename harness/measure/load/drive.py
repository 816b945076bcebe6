"""Puts a stated load on a target and writes down when each request was due, sent, begun and ended.

    concurrency c   closed loop: the next request goes when one ends (1: single stream). Not an arrival rate.
    rate r          open loop: Poisson arrivals at r a second. A request is due at its scheduled moment, and is sent
                    then however many are still out: a slow server makes waiting visible instead of slowing the load.
                    The gaps of the measured requests are stretched so that n of them last n/r seconds: a short run
                    then has the rate it is named after, not one drawn by chance. Arrivals go on, uncounted, until the
                    measured requests have ended, or as many again were sent: the last ones meet the load of the first.
    offline         all requests are due at once.

Response time counts from the scheduled moment, so a stall is seen by every request it delayed (no coordinated
omission). Definitions: reference/latency_and_cost.md §1. One thread, one event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import random
from collections.abc import Callable, Collection, Coroutine, Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from harness.backends.servers.reading import Reading
from harness.errors import LimitReached
from harness.measure.load.scenario import Scenario
from harness.measure.load.target import RequestFailed, Target, usage_of
from harness.measure.load.timed import Slo, Timed
from harness.values import Request

Found = TypeVar("Found")
Told = TypeVar("Told")

OPEN_CONNECTIONS = 512  # offline: sent at once; the others are due as well, and wait
FAILURES_IN_A_ROW = 20  # after so many a scenario ends: the server is not there
TOLD_EVERY_S = 1.0  # how a load goes on
GIVEN_UP_S = 10.0  # that a load that is given up may take to end


@dataclass(frozen=True, slots=True)
class LoadRun:
    """What one scenario did.

    `stopped` says why it ended early, beginning with saturated, hopeless, failing or time; None: it did not.
    """

    scenario: Scenario
    timed: tuple[Timed, ...]  # empty when a sink took them
    issued: int
    measured: range  # of the indices: between warm-up and cool-down
    stopped: str | None
    streams: bool  # whether gaps between chunks mean anything
    round_trips_s: tuple[float, ...] = ()  # of the network, about one a second while it ran


def run_load(
    target: Target,
    requests: Sequence[Request],
    scenario: Scenario,
    *,
    count: Callable[[str], int] | None = None,
    judge: Callable[[Request, str], float | None] | None = None,
    sink: Callable[[Timed], None] | None = None,
) -> LoadRun:
    """Puts `scenario` on `target` with `requests`, taken in turn, and returns what was timed.

    `count` is our own count of a text's tokens, `judge` the value of an answer in [0, 1]; both run after the answer's
    last moment was stamped. With a `sink` each timed request goes there and none is kept, so memory does not grow.
    """
    steps = in_steps(drive(target, requests, scenario, count=count, judge=judge, sink=sink), lambda: None)
    while True:
        try:
            next(steps)
        except StopIteration as ended:
            run: LoadRun = ended.value
            return run


def in_steps(load: Coroutine[Any, Any, Found], tell: Callable[[], Told]) -> Generator[Told, None, Found]:
    """Returns what a load finds. Once a second it yields what `tell` returns: as long as that is looked at, it stands.

    Closed before its end, the load is given up: what is out is cancelled, and told as unfinished.
    """
    gc.collect()
    gc.freeze()  # a collection then looks at what the load made, not at all of torch: every request would wait for it
    try:
        with asyncio.Runner() as runner:
            task = runner.get_loop().create_task(load)
            try:
                while not runner.run(_ended(task, TOLD_EVERY_S)):
                    yield tell()
                return task.result()
            finally:
                if task.cancel():  # interrupted, or nobody listens any more
                    runner.run(_ended(task, GIVEN_UP_S))
    finally:
        gc.unfreeze()


async def _ended(task: asyncio.Task[Any], seconds: float) -> bool:
    """Returns whether a task ended within so many seconds."""
    done, _ = await asyncio.wait({task}, timeout=seconds)
    return bool(done)


async def drive(
    target: Target,
    requests: Sequence[Request],
    scenario: Scenario,
    *,
    count: Callable[[str], int] | None = None,
    judge: Callable[[Request, str], float | None] | None = None,
    sink: Callable[[Timed], None] | None = None,
    allow: Callable[[int, Request], None] | None = None,
) -> LoadRun:
    """`run_load` inside a running event loop.

    `allow` is asked about each request, with its index, before it is sent. Once it raises LimitReached no more is sent,
    and when those that are out have come back that is raised: the load was not what it was to be.
    """
    kept: list[Timed] = []
    watch = _Watch(scenario, sink or kept.append)
    loop = asyncio.get_running_loop()

    async with target:
        origin = loop.time()
        round_trips: list[float] = []
        probe = loop.create_task(_probe(target, round_trips))

        async def ask(index: int, due: float) -> None:
            request = requests[index % len(requests)]
            if allow is not None and not watch.pays(allow, index, request):
                return
            watch.out += 1
            try:
                watch.see(await _timed(target, request, index, origin, due, count, judge))
            finally:
                watch.out -= 1

        try:
            await (_open_loop if scenario.kind == "rate" else _closed_loop)(ask, scenario, watch, origin)
        except asyncio.CancelledError:
            watch.stopped = "interrupted"  # nothing more is sent, and what is out is written down as unfinished
            await _cancelled(watch.tasks)
            raise
        finally:
            probe.cancel()
    if watch.reached is not None:
        raise watch.reached
    return LoadRun(
        scenario, tuple(kept), watch.issued, watch.measured(), watch.stopped, target.streams, tuple(round_trips)
    )


async def _probe(target: Target, into: list[float]) -> None:
    while (seconds := await target.round_trip()) is not None:
        into.append(seconds)
        await asyncio.sleep(1.0)


class _Watch:
    """What is known while a scenario runs, and whether it should go on."""

    def __init__(self, scenario: Scenario, sink: Callable[[Timed], None]) -> None:
        self.scenario, self.sink = scenario, sink
        self.issued = self.out = self.failed_in_a_row = self.missed = 0
        self.owed = scenario.warmup + self.planned()  # rate: those that are measured or before them, and not back yet
        self.back = asyncio.Event()  # none of those is out any more
        self.tasks: set[asyncio.Task[None]] = set()  # that send
        self.stopped: str | None = None
        self.reached: LimitReached | None = None

    def pays(self, allow: Callable[[int, Request], None], index: int, request: Request) -> bool:
        """Returns whether one more request may be sent for what it can cost; if not, none is from here on."""
        try:
            allow(index, request)
        except LimitReached as reached:
            self.reached = self.reached or reached
        return self.reached is None

    async def until(self, moment: float) -> None:
        """Sleeps until a moment of the loop's clock; when all are sent that are measured, until they are back."""
        left = max(0.0, moment - asyncio.get_running_loop().time())
        if self.issued < self.scenario.warmup + self.planned():
            await asyncio.sleep(left)
        else:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.back.wait(), left)

    def planned(self) -> int:
        """Returns how many requests are meant to be measured; in a closed loop at least so many."""
        wanted = self.scenario
        return max(wanted.requests, int(wanted.level * wanted.seconds)) if wanted.kind == "rate" else wanted.requests

    def measured(self) -> range:
        """Returns the indices of the requests that count, of those sent so far."""
        plan = self.scenario
        end = min(self.issued, plan.warmup + self.planned()) if plan.kind == "rate" else self.issued - plan.cooldown
        return range(plan.warmup, max(plan.warmup, end))

    def wanted(self, elapsed: float) -> bool:
        """Returns whether one more request is to be sent, `elapsed` seconds after the beginning."""
        plan = self.scenario
        if self.stopped is not None or self.reached is not None:
            return False
        sent = self.issued - plan.warmup - plan.cooldown
        if plan.kind == "rate":
            more = sent < self.planned() or (self.owed > 0 and sent < 2 * self.planned())
        else:
            more = sent < plan.requests or (plan.kind == "concurrency" and elapsed < plan.seconds)
        if more and elapsed > plan.max_seconds:
            self.stopped = f"time: {plan.max_seconds:g} s are over"
        elif more and plan.kind == "rate" and self.out > plan.max_out:
            self.stopped = f"saturated: more than {plan.max_out} requests are out"
        return more and self.stopped is None

    def see(self, timed: Timed) -> None:
        """Writes one request down."""
        self.sink(timed)
        self.owed -= timed.index < self.scenario.warmup + self.planned()
        if self.owed <= 0:
            self.back.set()
        self.failed_in_a_row = self.failed_in_a_row + 1 if timed.error else 0
        if self.failed_in_a_row >= FAILURES_IN_A_ROW and self.stopped is None:
            self.stopped = f"failing: {FAILURES_IN_A_ROW} requests in a row, the last with {timed.error}"
        if self.scenario.slo is not None and self.scenario.warmup <= timed.index:
            self._see_bounds(timed, self.scenario.slo)

    def _see_bounds(self, timed: Timed, slo: Slo) -> None:
        """Ends the scenario once too many have missed the bounds, however the rest will do."""
        plan = self.scenario
        if timed.index >= plan.warmup + self.planned() and plan.kind == "rate":
            return
        self.missed += not timed.meets(slo)
        if plan.kind == "concurrency" and (timed.t_end or 0.0) < plan.seconds:
            return  # nobody knows yet of how many
        of = max(self.planned(), len(self.measured()))
        if self.missed > (1.0 - slo.attainment) * of + 1e-9 and self.stopped is None:
            self.stopped = f"hopeless: {self.missed} requests have missed the bounds already"


Ask = Callable[[int, float], Coroutine[Any, Any, None]]  # sends the request of an index, due at a moment


async def _closed_loop(ask: Ask, scenario: Scenario, watch: _Watch, origin: float) -> None:
    """Keeps a number of requests out. Each is due when its turn comes; offline, all are due at the beginning."""
    loop = asyncio.get_running_loop()
    all_at_once = scenario.kind == "offline"

    async def worker() -> None:
        while watch.wanted(loop.time() - origin):
            index = watch.issued
            watch.issued += 1
            await ask(index, 0.0 if all_at_once else loop.time() - origin)

    planned = scenario.requests + scenario.warmup + scenario.cooldown
    workers = min(OPEN_CONNECTIONS, planned) if all_at_once else int(scenario.level)
    watch.tasks = {loop.create_task(worker()) for _ in range(workers)}
    await _finish(watch)


async def _open_loop(ask: Ask, scenario: Scenario, watch: _Watch, origin: float) -> None:
    """Sends at the moments of a Poisson process, whatever has become of the requests before."""
    loop = asyncio.get_running_loop()
    gaps = _gaps(scenario, watch.planned())

    def finished(task: asyncio.Task[None]) -> None:
        if task.cancelled() or task.exception() is None:
            watch.tasks.discard(task)
        else:  # a bug of ours: it is raised at the end, which is now
            watch.stopped = "failing: a bug"

    due = next(gaps)
    while watch.wanted(max(due, loop.time() - origin)):
        await watch.until(origin + due)
        if not watch.wanted(loop.time() - origin):
            break
        task = loop.create_task(ask(watch.issued, due))
        watch.issued += 1
        watch.tasks.add(task)
        task.add_done_callback(finished)
        due += next(gaps)
    await _finish(watch)


def _gaps(scenario: Scenario, planned: int) -> Iterator[float]:
    """Yields seconds between arrivals without end; those before the `planned` measured ones sum to planned/rate."""
    rng = random.Random(scenario.seed)
    before = [rng.expovariate(scenario.level) for _ in range(scenario.warmup)]
    measured = [rng.expovariate(scenario.level) for _ in range(planned)]
    stretch = planned / scenario.level / sum(measured)
    yield from before
    yield from (gap * stretch for gap in measured)
    while True:
        yield rng.expovariate(scenario.level)


async def _finish(watch: _Watch) -> None:
    """Waits for what is out; after an early stop, ends it and lets it be written down as unfinished."""
    pending = set(watch.tasks)
    while pending:
        done, pending = await asyncio.wait(pending, timeout=0.05 if watch.stopped is None else 0.0)
        for task in done:
            task.result()  # our own bugs keep their traceback
        if watch.stopped is not None:
            await _cancelled(pending)
            return


async def _cancelled(tasks: Collection[asyncio.Task[None]]) -> None:
    """Cancels tasks and waits until they have ended. Raises what is a bug of ours."""
    for task in tasks:
        task.cancel()
    for result in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(result, Exception):
            raise result


async def _timed(
    target: Target,
    request: Request,
    index: int,
    origin: float,
    due: float,
    count: Callable[[str], int] | None,
    judge: Callable[[Request, str], float | None] | None,
) -> Timed:
    """Sends one request and returns its moments. A failure is written down, never raised."""
    loop = asyncio.get_running_loop()
    error: str | None = None
    retry_after: float | None = None
    billed = True
    sent = loop.time()
    reading = Reading(sent, loop.time)
    try:
        async with contextlib.aclosing(target.send(request)) as stream:
            async for piece in stream:
                reading.take(piece)
    except RequestFailed as failed:
        error, retry_after, billed = failed.kind, failed.retry_after_s, failed.billed
    except asyncio.CancelledError:
        error = "unfinished"  # the scenario ended early: a long wait must not vanish from the numbers
    end = loop.time()
    text = "".join(reading.text)
    counted = count("".join(reading.thinking)) + count(text) if count and error is None else None
    value = judge(request, text) if judge and error is None else None

    def since(moment: float | None) -> float | None:
        return None if moment is None else moment - origin

    return Timed(
        index=index,
        key=request.key,
        sample_id=request.sample_id,
        t_sched=due,
        t_send=sent - origin,
        t_first=since(reading.first),
        t_first_answer=since(reading.first_answer),
        t_last=since(reading.last),
        t_end=end - origin,
        chunks=reading.chunks,
        gaps_s=tuple(reading.gaps),
        usage=usage_of(reading.told),
        counted=counted,
        error=error,
        retry_after_s=retry_after,
        correct=value,
        billed=billed,
        after_first=reading.after_first(counted) if target.streams else None,
    )
