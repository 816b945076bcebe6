"""What a load generator sends to, and what comes back: pieces of an answer with the moment they arrived.

A target streams: `send(request)` yields `Piece`s and ends when the answer is complete. A request that fails raises
`RequestFailed`, which the generator writes down and never retries: a retry would hide the failure from the numbers.
All moments are seconds on the clock of the running event loop (monotonic, so a wall clock that steps back is not seen).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, Self

from harness.backends.servers.meanings import Refused
from harness.backends.servers.replies import Piece, Told, reached
from harness.measure.load.timed import Usage
from harness.security.secrets import redact
from harness.values import Request, Response

LONGEST_DETAIL = 200  # characters


class RequestFailed(Exception):
    """A request without a complete answer. `kind` is short and fixed, so that failures can be counted by it.

    `detail` is made one short line: it may be a whole page of a server, and it ends in a message.
    """

    def __init__(self, kind: str, detail: str = "", refused: Refused | None = None) -> None:
        detail = redact(" ".join(detail.split()))[:LONGEST_DETAIL]
        super().__init__(f"{kind}: {detail}" if detail else kind)
        self.kind, self.detail, self.refused = kind, detail, refused

    @property
    def billed(self) -> bool:
        """Returns whether a server may have worked on it, and so charge for it."""
        return reached(self.kind) and (self.refused is None or self.refused.status is None)

    @property
    def retry_after_s(self) -> float | None:
        """Returns the seconds the server asks to wait; None where it does not."""
        return None if self.refused is None else self.refused.wait_s


def usage_of(told: Told | None) -> Usage | None:
    """Returns the tokens as a server tells them, what it does not tell left open; None without input and output."""
    count = None if told is None else told.count()
    return None if told is None or count is None else Usage(count.input, count.output, told.cache_read, told.reasoning)


class Target(Protocol):
    """Anything that answers one request as a stream. Entered once for each scenario, inside its event loop."""

    streams: bool  # False: chunks are not sent as they are made, so the gaps between them mean nothing

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *exc: object) -> None: ...

    def send(self, request: Request) -> AsyncGenerator[Piece, None]: ...

    def leave_out(self, request: Request, failed: RequestFailed) -> str:
        """Leaves out of all later requests the parameter that a refusal is about; returns its name, or ""."""
        ...

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

    async def send(self, request: Request) -> AsyncGenerator[Piece, None]:
        """Yields the first token at its moment and the rest at the last one's: no more is known afterwards."""
        loop = asyncio.get_running_loop()

        def run() -> tuple[float, Response]:
            return loop.time(), self._ask(request)

        began, response = await loop.run_in_executor(self._thread, run)
        if response.error is not None:
            raise RequestFailed("backend error", response.error)
        written = response.output_tokens or 0
        first = loop.time() if response.ttft_s is None else began + response.ttft_s
        last = first if response.last_token_s is None else began + response.last_token_s
        if written:
            yield Piece(t=first, text=response.text or "", unseen=True)
        if written > 1:
            yield Piece(t=last, unseen=True)
        yield Piece(t=last, told=Told(response.input_tokens, response.output_tokens))

    def leave_out(self, request: Request, failed: RequestFailed) -> str:
        return ""

    async def round_trip(self) -> None:
        return None
