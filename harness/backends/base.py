"""What runs a model: whatever answers requests, and what it says of itself before and after it is loaded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

from harness.security.egress import Place
from harness.values import GenerateRequest, LoglikelihoodRequest, Request, Response

if TYPE_CHECKING:
    from harness.engine.score.prefix_walk import EngineStats

Ask = Literal[
    "schema", "regex", "choices", "switch", "budget", "prefill", "logprobs", "model_defaults", "wall_s"
]  # what a task may ask of the writing of an answer: three forms, two of thinking, and other keys of a task
EVERYTHING: frozenset[Ask] = frozenset(
    {"schema", "regex", "choices", "switch", "budget", "prefill", "logprobs", "model_defaults", "wall_s"}
)


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What can be asked of a model, as its settings stand. Known before anything is loaded or sent."""

    loglikelihood: bool  # of given continuations; a server's first request shows whether it really does
    rolling: bool = False  # of a text of any length, read in windows of the model's own tokens
    messages: bool = False  # asked by messages, for which it has the template
    writing: frozenset[Ask] = EVERYTHING
    grammars: bool = False  # answers are held to a form by our own grammars, which do not do all of a schema
    load: bool = False  # it can be put under load
    weights: bool = False  # a folder on this machine, which is looked through before it is loaded
    file: bool = False  # all of it is a file: a plan opens it, so that a mistake in it is found at once


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What a model was when it was loaded, or reached. None: unknown, or it does not apply."""

    model: str  # as its server or file names it
    backend: str
    where: str
    folder: str | None = None
    revision: str | None = None
    architecture: str | None = None
    dtype: str | None = None
    quantization: str | None = None
    adapter: str | None = None
    device: str | None = None
    devices: tuple[str, ...] = ()  # all that it computes on, where that is more than one
    device_name: str | None = None
    threads: int | None = None
    parameters: int | None = None
    context_length: int | None = None  # tokens
    chat_template_sha256: str | None = None
    engine: str | None = None
    load_s: float | None = None
    api: str | None = None
    price: Mapping[str, object] | None = None  # as listed when it was asked
    origin: str | None = None  # of recorded answers: the tool that wrote them
    file: str | None = None  # of recorded answers
    otherwise: Mapping[str, str] = field(default_factory=dict)  # part of its files -> what is done instead
    versions: Mapping[str, str | None] = field(default_factory=dict)  # of libraries


def by_mode(requests: Sequence[Request]) -> tuple[list[GenerateRequest], list[LoglikelihoodRequest]]:
    """Returns the requests for texts, and those for log-likelihoods."""
    texts = [request for request in requests if isinstance(request, GenerateRequest)]
    return texts, [request for request in requests if isinstance(request, LoglikelihoodRequest)]


class Backend(Protocol):
    """Something that answers requests. Settings go to the constructor, never to a call.

    A request that cannot be answered yields a response with `error` set; the others go on. What no request could
    survive (weights that do not load, a server that is not there) raises a HarnessError from the constructor.
    """

    @classmethod
    def capabilities(cls, config: Any) -> Capabilities:
        """Returns what can be asked of a model with these settings. Loads nothing."""
        ...

    @classmethod
    def place(cls, config: Any) -> Place:
        """Returns where it runs. Raises ConfigError for an address that cannot be used."""
        ...

    def answer(self, requests: Sequence[Request]) -> Iterator[Response]:
        """Yields one response a request, as they finish and in any order.

        Of a GenerateRequest the text after its prompt; of a LoglikelihoodRequest the summed log-probability (nats) of
        each continuation after its prompt and what is `given`.
        """
        ...

    def describe(self) -> ModelCard:
        """Returns what is known of the model and where it runs."""
        ...

    def computed(self) -> EngineStats | None:
        """Returns what the last log-likelihoods took: tokens billed and really computed; None where nobody counts."""
        ...

    def close(self) -> None:
        """Frees what the model holds. Closing twice is allowed; no other call is, afterwards."""
        ...
