"""What runs a model: whatever answers requests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from harness.values import GenerateRequest, LoglikelihoodRequest, Request, Response


def by_mode(requests: Sequence[Request]) -> tuple[list[GenerateRequest], list[LoglikelihoodRequest]]:
    """Returns the requests for texts, and those for log-likelihoods."""
    texts = [request for request in requests if isinstance(request, GenerateRequest)]
    return texts, [request for request in requests if isinstance(request, LoglikelihoodRequest)]


class Backend(Protocol):
    """Something that answers requests. Settings go to the constructor, never to a call.

    A request that cannot be answered yields a response with `error` set; the others go on. What no request could
    survive (weights that do not load, a server that is not there) raises a HarnessError from the constructor.
    """

    def answer(self, requests: Sequence[Request]) -> Iterator[Response]:
        """Yields one response a request, as they finish and in any order.

        Of a GenerateRequest the text after its prompt; of a LoglikelihoodRequest the summed log-probability (nats) of
        each continuation after its prompt and what is `given`.
        """
        ...

    def describe(self) -> Mapping[str, Any]:
        """Returns what is known of the model and where it runs, as JSON values; unknown is None."""
        ...

    def close(self) -> None:
        """Frees what the model holds. Closing twice is allowed; no other call is, afterwards."""
        ...
