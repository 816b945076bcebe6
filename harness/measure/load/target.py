"""What a load generator sends to, and what comes back: chunks with the moment they arrived.

A target streams: `send(request)` yields `Chunk`s and ends when the answer is complete. A request that fails raises
`RequestFailed`, which the generator writes down and never retries: a retry would hide the failure from the numbers.
All moments are seconds on the clock of the running event loop (monotonic, so a wall clock that steps back is not seen).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol, Self

from harness.security.secrets import redact
from harness.values import Request, Response

LONGEST_DETAIL = 200  # characters


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens as the server counts them: what an API bills. `output_tokens` includes the reasoning ones."""

    input_tokens: int
    output_tokens: int
    cached_tokens: int | None = None  # part of input_tokens, read from a cache
    reasoning_tokens: int | None = None  # part of output_tokens

    @property
    def contradicts_itself(self) -> bool:
        """Whether a part is below zero or larger than its whole."""
        parts = ((self.cached_tokens, self.input_tokens), (self.reasoning_tokens, self.output_tokens))
        return any(part is not None and not 0 <= part <= whole for part, whole in parts)


@dataclass(frozen=True, slots=True)
class Chunk:
    """One piece of an answer. A chunk with neither text nor thinking (a role, a usage line) is no token."""

    t: float
    text: str = ""
    thinking: str = ""
    usage: Usage | None = None
    silent: bool = False  # tokens came, with no text of their own

    @property
    def holds_tokens(self) -> bool:
        return bool(self.text or self.thinking or self.silent)


class RequestFailed(Exception):
    """A request without a complete answer. `kind` is short and fixed, so that failures can be counted by it.

    `detail` is made one short line: it may be a whole page of a server, and it ends in a message.
    """

    def __init__(self, kind: str, detail: str = "", retry_after_s: float | None = None) -> None:
        detail = redact(" ".join(detail.split()))[:LONGEST_DETAIL]
        super().__init__(f"{kind}: {detail}" if detail else kind)
        self.kind, self.detail, self.retry_after_s = kind, detail, retry_after_s


class Target(Protocol):
    """Anything that answers one request as a stream. Entered once for each scenario, inside its event loop."""

    streams: bool  # False: chunks are not sent as they are made, so the gaps between them mean nothing

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *exc: object) -> None: ...

    def send(self, request: Request) -> AsyncIterator[Chunk]: ...

    async def round_trip(self) -> float | None:
        """Returns the seconds of one network round trip; None where there is no network or nobody answers."""
        ...


class InProcess:
    """A target that asks a model in this process, one request at a time, in a thread of its own.

    `ask` gives the response of one request run alone, as `Backend.generate` does for one. Requests that come while
    another runs wait; the wait is in their response time.
    """

    streams = False

    def __init__(self, ask: Callable[[Request], Response]) -> None:
        self._ask = ask

    async def __aenter__(self) -> Self:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="harness-load")
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._thread.shutdown(wait=True, cancel_futures=True)

    async def send(self, request: Request) -> AsyncIterator[Chunk]:
        """Yields the first token at its moment and the rest at the last one's: no more is known afterwards."""
        loop = asyncio.get_running_loop()

        def run() -> tuple[float, Response]:
            return loop.time(), self._ask(request)

        began, response = await loop.run_in_executor(self._thread, run)
        if response.error is not None:
            raise RequestFailed("backend error", response.error)
        usage = Usage(response.input_tokens, response.output_tokens)
        first = loop.time() if response.ttft_s is None else began + response.ttft_s
        last = first if response.last_token_s is None else began + response.last_token_s
        if response.output_tokens:
            yield Chunk(t=first, text=response.text or "", silent=True)
        if response.output_tokens > 1:
            yield Chunk(t=last, silent=True)
        yield Chunk(t=last, usage=usage)

    async def round_trip(self) -> None:
        return None
