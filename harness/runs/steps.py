"""What one step of a run is, and what is written down of it: measurements, characters, bytes that leave."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from harness.runs.requests import Cell
from harness.security.secrets import redacted
from harness.store.files import append_jsonl
from harness.store.folder import RunFolder
from harness.store.paths import portable
from harness.store.schema import MEASUREMENTS, Measurement, TimedAlone
from harness.values import GenerateRequest, LoglikelihoodRequest, Request, Response

Phase = Literal["answers", "latency", "verdicts"]


@dataclass(frozen=True, slots=True)
class Step:
    """One thing done: an answer recorded, a request timed alone, or a verdict of the judge recorded."""

    cell: Cell
    phase: Phase
    response: Response


def measure(folder: RunFolder, line: Measurement) -> None:
    """Adds a line to `measurements.jsonl`."""
    append_jsonl(folder.path / "measurements.jsonl", redacted(portable(MEASUREMENTS.write(line))))


def _sent(cell: Cell, asked: Mapping[str, Request], responses: Sequence[Response]) -> int:
    """Returns the bytes of text that left this machine for these responses, in all their attempts."""
    if cell.model.place.egress is None:
        return 0
    sent = [response for response in responses if response.key in asked]
    attempts = (len(response.attempts) or 1 for response in sent)
    return sum(tries * _bytes(asked[response.key]) for tries, response in zip(attempts, sent))


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


def _times(response: Response) -> TimedAlone:
    return TimedAlone(
        key=response.key,
        input_tokens=response.input_tokens,
        output_tokens=response.output_tokens,
        ttft_s=response.ttft_s,
        last_token_s=response.last_token_s,
        e2e_s=response.e2e_s,
        error=response.error,
    )
