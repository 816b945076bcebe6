"""How much a request is: characters given to read, bytes of text that leave this machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.runs.requests import Cell
from harness.values import GenerateRequest, LoglikelihoodRequest, Request, Response


def sent_bytes(cell: Cell, asked: Mapping[str, Request], responses: Sequence[Response]) -> int:
    """Returns the bytes of text that left this machine for these responses, in all their attempts."""
    if cell.model.place.egress is None:
        return 0
    sent = [response for response in responses if response.key in asked]
    attempts = (len(response.attempts) or 1 for response in sent)
    return sum(tries * _bytes(asked[response.key]) for tries, response in zip(attempts, sent, strict=True))


def characters(request: Request) -> int:
    """Returns the characters a request gives to read, as its input tokens are counted: once, with the longest pair."""
    pairs = request.pairs if isinstance(request, LoglikelihoodRequest) else ()
    return request.prompt.characters + max((len(given + text) for given, text in pairs), default=0)


def _bytes(request: Request) -> int:
    """Returns the bytes of a request's text. Each continuation is scored after the prompt, and sent with it."""
    if isinstance(request, GenerateRequest):
        return request.prompt.size_bytes
    ends = "".join(request.continuations).encode("utf-8", "surrogatepass")
    return request.prompt.size_bytes * max(1, len(request.continuations)) + len(ends)
