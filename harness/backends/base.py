"""What runs a model: three methods and what it says of itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from harness.values import Request, Response


class Backend(Protocol):
    """Something that answers requests. Settings go to the constructor, never to a call.

    `generate` and `score` yield one response a request, as they finish and in any order. A request that cannot be
    answered yields a response with `error` set; the others go on. What no request could survive (weights that do
    not load, a server that is not there) raises a HarnessError from the constructor.
    """

    def generate(self, requests: Sequence[Request]) -> Iterator[Response]:
        """Yields the text after each request's prompt."""
        ...

    def score(self, requests: Sequence[Request]) -> Iterator[Response]:
        """Yields the summed log-probability (nats) of each continuation after its prompt and what is `given`."""
        ...

    def describe(self) -> Mapping[str, Any]:
        """Returns what is known of the model and where it runs, as JSON values; unknown is None."""
        ...

    def close(self) -> None:
        """Frees what the model holds. Closing twice is allowed; no other call is, afterwards."""
        ...
