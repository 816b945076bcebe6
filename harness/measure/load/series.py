"""A series of loads on one target: what a benchmark file asks for, one summary after another.

A series ends early where going on would teach nothing: more concurrency that brings no more throughput, a higher rate
after one that was saturated or hopeless.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import overload

from harness.backends.servers.meanings import Meaning
from harness.errors import BackendError
from harness.measure.load.drive import Scenario, run_load
from harness.measure.load.summary import LoadSummary, Tally, load_summary
from harness.measure.load.target import RequestFailed, Target
from harness.measure.load.timed import Slo, Timed
from harness.values import GenerateRequest, Message, Prompt, Request

GAIN = 1.05  # throughput that the next level of concurrency must bring to be worth another
FULL = 0.95  # share of the saturated rate up to which a sweep goes: at the rate itself a queue grows without end
SWEEP = 5  # rates of a sweep
PATIENCE_S = 30.0  # of arrivals that may be out at a rate before it is saturated


@dataclass(frozen=True, slots=True)
class Series:
    """What to measure. Every scenario has the same number of requests, bounds and seed."""

    single: bool = True
    concurrency: tuple[int, ...] = ()
    rate: tuple[float, ...] = ()
    offline: bool = False
    sweep: bool = False  # single, then all at once, then rates between the two
    requests: int = 100
    seconds: float = 0.0
    max_seconds: float = 600.0
    warmup: int = 5
    slo: Slo | None = None
    seed: int = 0


def bench(
    target: Target,
    requests: Sequence[Request],
    series: Series,
    *,
    count: Callable[[str], int] | None = None,
    judge: Callable[[Request, str], float | None] | None = None,
    keep: Callable[[str, Timed], None] | None = None,
) -> Iterator[LoadSummary]:
    """Yields the summary of each scenario as it ends. `keep` gets every timed request, with its scenario's name.

    The first of them alone has `first_request_s`: how long a request took that came before any other (a cold start).
    Raises `BackendError` if the target does not answer that request at all.
    """
    if not requests:
        raise BackendError("there is nothing to send", where="bench", fix="give a task with samples, or lengths")
    first_s = _greet(target, requests[0])

    def measure(scenario: Scenario) -> LoadSummary:
        tally = Tally(scenario)

        def sink(timed: Timed) -> None:
            tally.add(timed)
            if keep is not None:
                keep(scenario.name, timed)

        run = run_load(target, requests, scenario, count=count, judge=judge, sink=sink)
        return load_summary(run, tally)

    for i, found in enumerate(_measured(series, measure)):
        yield found if i else replace(found, first_request_s=first_s)


def _measured(series: Series, measure: Callable[[Scenario], LoadSummary]) -> Iterator[LoadSummary]:
    """Yields the summary of each scenario; which comes next, and whether any does, follows from those before."""
    base = Scenario(
        "concurrency",
        requests=series.requests,
        seconds=series.seconds,
        max_seconds=series.max_seconds,
        warmup=series.warmup,
        slo=series.slo,
        seed=series.seed,
    )
    single = None
    if series.single or series.sweep:
        single = measure(base)
        yield single
    best = 0.0
    for level in sorted(series.concurrency):
        if level == 1 and single is not None:
            found = single
        else:
            found = measure(replace(base, level=level, warmup=max(base.warmup, level), cooldown=level))
            yield found
        speed = found.requests_per_s or 0.0
        if _over(found) or speed < best * GAIN:
            break
        best = speed
    rates = list(series.rate)
    if series.offline or series.sweep:
        # warm already if anything ran before; a warm-up among requests sent at once would be no warm-up
        flood = measure(replace(base, kind="offline", warmup=0, slo=None))
        yield flood
        if series.sweep and single is not None and single.requests_per_s and flood.requests_per_s:
            rates += sweep_rates(single.requests_per_s, flood.requests_per_s)
    for rate in sorted(rates):
        most = max(base.max_out, int(rate * PATIENCE_S))
        found = measure(replace(base, kind="rate", level=rate, max_out=most))
        yield found
        if _over(found):
            break


def _over(found: LoadSummary) -> bool:
    """Returns whether the target could not keep up, or the scenario was ended for more than its time."""
    return bool(found.saturated) or (found.stopped is not None and not found.stopped.startswith("time:"))


def sweep_rates(single_per_s: float, saturated_per_s: float, n: int = SWEEP) -> list[float]:
    """Returns `n` rates, evenly spaced, up to just below saturation; half the single stream's rate is the lowest."""
    low, high = single_per_s / 2.0, max(saturated_per_s, single_per_s) * FULL
    return [float(f"{low + (high - low) * i / (n - 1):.3g}") for i in range(n)]


def _greet(target: Target, request: Request) -> float:
    """Sends one request and returns its seconds. If it fails the user is told why, and no series of failures begins."""

    async def first() -> float:
        loop = asyncio.get_running_loop()
        async with target:
            began = loop.time()
            async for _ in target.send(request):
                pass
            return loop.time() - began

    try:
        return asyncio.run(first())
    except RequestFailed as failed:
        where = getattr(target, "url", "the model")
        raise BackendError(f"no answer to the first request: {failed}", where=where, fix=_fix(failed)) from failed


FIXES = {  # of a failure without an answer, and of a refusal
    "refused": "start the server, or mend the address",
    "dns": "mend the host name of the address, or see whether this computer has a network",
    "unreachable": "see whether this computer has a network that leads there",
    "no socket left": "raise the limit of open files (ulimit -n)",
    "timeout": "see whether the server is busy or stuck",
    "tls": "use http:// for a server without TLS, or mend its certificate",
    Meaning.KEY: "set the variable named by api_key_env to a valid key that may use this model",
    Meaning.NO_MODEL: "mend the address (it ends in /v1) or the model's name",
    Meaning.NOT_HERE: "name an address of a region that has the model",
    Meaning.NO_CREDIT: "see to the account at the provider",
    Meaning.BUSY: "wait, or ask the provider for a higher limit",
}


def _fix(failed: RequestFailed) -> str:
    if failed.retry_after_s is not None:
        return f"wait {failed.retry_after_s:g} s, as the server asks"
    about = failed.kind if failed.refused is None else failed.refused.meaning
    return FIXES.get(about, "send the same request by hand and see what comes back")


# --- requests ---------------------------------------------------------------------------------------------------------


MARK = "[0123456789ab] "  # what `Unlike` puts before a prompt, with other digits


class Unlike(Sequence[Request]):
    """The requests again and again, each opening with a number of its own, so that no prefix cache can help.

    The number changes at each reading, so that no scenario meets the prompts of the one before. For speed alone: the
    model reads a changed prompt.
    """

    def __init__(self, requests: Sequence[Request], seed: int | str = 0) -> None:
        self._requests, self._seed, self._read = requests, seed, 0

    def __len__(self) -> int:
        return 1 << 40

    @overload
    def __getitem__(self, index: int) -> Request: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Request]: ...

    def __getitem__(self, index: int | slice) -> Request | Sequence[Request]:
        if isinstance(index, slice):
            raise TypeError("an endless sequence has no slices")
        request = self._requests[index % len(self._requests)]
        mark = f"[{random.Random(f'{self._seed}/{self._read}').getrandbits(48):012x}] "
        self._read += 1
        if request.prompt.text is not None:
            return replace(request, prompt=Prompt(mark + request.prompt.text))
        first, *others = request.prompt.messages
        return replace(request, prompt=Prompt(messages=(Message(first.role, mark + first.content), *others)))


WORDS = (
    "the of and to in for on with as by at from this that which order report price table letter number month paper "
    "water house street field river stone light paint glass metal engine signal market bridge garden window winter"
)


def synthetic_requests(
    input_tokens: int, output_tokens: int, n: int, *, count: Callable[[str], int] | None = None, seed: int | str = 0
) -> list[Request]:
    """Returns `n` requests of about so many input tokens of common words, all different from the first word on.

    With `count` the length is right to a few tokens; without one, a word is taken for a token. Output lengths need a
    server that is told not to stop early (`extra: {ignore_eos: true}` where it knows that).
    """
    made = []
    common = WORDS.split()
    for i in range(n):
        rng = random.Random(f"{seed}/{i}")
        words = rng.choices(common, k=input_tokens)
        if count is not None:
            for _ in range(3):  # the length is almost linear in the words
                words = words[: max(1, round(len(words) * input_tokens / max(1, count(" ".join(words)))))]
                words += rng.choices(common, k=max(0, input_tokens - count(" ".join(words))))
        made.append(
            GenerateRequest(
                f"synthetic-{seed}-{i}", str(i), Prompt(" ".join(words)), max_tokens=output_tokens, sensitivity="public"
            )
        )
    return made
