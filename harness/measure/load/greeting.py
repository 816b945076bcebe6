"""The request before all others: whether a target answers at all, and how long it takes at first."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from harness.backends.servers.meanings import Meaning
from harness.backends.servers.reading import Reading
from harness.errors import BackendError
from harness.measure.load.target import RequestFailed, Target, usage_of
from harness.measure.load.timed import Usage
from harness.values import Request


@dataclass(frozen=True, slots=True)
class Greeting:
    """How long the request before all others took (a cold start), and its tokens, as the server counts them."""

    seconds: float
    usage: Usage | None
    left_out: Mapping[str, str]  # parameters that are not sent, as the server refuses them -> in its own words


def greet(target: Target, request: Request) -> Greeting:
    """Sends one request, so that no series of failures begins where nobody answers. Raises RequestFailed.

    It is sent again without each parameter that is refused, as in a run: what the load is asked is settled before it.
    """
    left_out: dict[str, str] = {}

    async def first() -> Greeting:
        loop = asyncio.get_running_loop()
        async with target:
            reading = Reading(loop.time(), loop.time)
            try:
                async for piece in target.send(request):
                    reading.take(piece)
            except RequestFailed:
                if reading.finish is None:
                    raise  # else it answers to the end, if badly: that is for the load to count
            return Greeting(loop.time() - reading.began, usage_of(reading.told), left_out)

    while True:
        try:
            return asyncio.run(first())
        except RequestFailed as failed:
            name = target.leave_out(request, failed)
            if not name or name in left_out:
                raise
            left_out[name] = failed.detail


def no_answer(target: Target, failed: RequestFailed, to: str = "to the first request") -> BackendError:
    """Returns what a user is told where a target does not answer a single request."""
    where = getattr(target, "url", "the model")
    return BackendError(f"no answer {to}: {failed}", where=where, fix=_fix(failed))


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
