"""One answer as it arrives: its text, its tokens, and the moments of the first text, the last text and the end.

The moments are stamped here and nowhere else, for a run and for a load alike.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from harness.backends.servers.meanings import Ending, ending
from harness.backends.servers.replies import BadReply, Piece, Told
from harness.cost.prices import TokenCount
from harness.engine.text.thinking import Markers, split_text
from harness.values import Elapsed, GenerateRequest, Provider

SLACK = 8  # tokens a server may count beyond those that were allowed: the ones that end an answer


class Reading:
    """What has arrived of one answer. `began` is when it was sent, on the clock `now`."""

    __slots__ = (
        "began",
        "chunks",
        "ended",
        "fingerprint",
        "finish",
        "first",
        "first_answer",
        "gaps",
        "last",
        "logprobs",
        "model",
        "now",
        "refusal",
        "stop_string",
        "text",
        "thinking",
        "told",
    )

    def __init__(self, began: float, now: Callable[[], float] = time.perf_counter) -> None:
        self.began, self.now = began, now
        self.text: list[str] = []
        self.thinking: list[str] = []  # as the server tells it apart
        self.refusal = ""  # by the provider's own signal
        self.logprobs: list[float] = []
        self.chunks = 0  # with tokens
        self.first: float | None = None  # moment of the first token of any kind
        self.first_answer: float | None = None  # of the first that is not thinking
        self.last: float | None = None
        self.ended: float | None = None
        self.gaps: list[float] = []  # seconds between chunks
        self.finish: str | None = None  # in the server's own word
        self.stop_string: str | None = None
        self.told: Told | None = None
        self.model: str | None = None
        self.fingerprint: str | None = None

    @property
    def used(self) -> TokenCount | None:
        """Returns the tokens the server says it used; None if it does not say."""
        return None if self.told is None else self.told.count()

    @property
    def ending(self) -> Ending:
        """Returns what its finish reason means; one that no table knows is taken for a stop."""
        return Ending.STOP if self.finish is None else ending(self.finish) or Ending.STOP

    def take(self, piece: Piece) -> None:
        """Takes in a piece. What comes after the answer has ended is no part of it, but for the usage."""
        self.model = self.model or piece.model
        self.fingerprint = self.fingerprint or piece.fingerprint
        if piece.told is not None:
            self.told = piece.told if self.told is None else self.told.then(piece.told)
        if self.finish is not None:
            return
        if piece.holds_tokens:
            self._stamp(piece)
        self.refusal += piece.refusal
        self.logprobs += piece.logprobs
        self.stop_string = piece.stop_string or self.stop_string
        if piece.finish is not None:
            self.finish = piece.finish
            if self.ending is Ending.WITHHELD:
                self.refusal = self.refusal or piece.finish

    def _stamp(self, piece: Piece) -> None:
        moment = self.now() if piece.t is None else piece.t
        if self.last is not None:
            self.gaps.append(moment - self.last)
        self.first = moment if self.first is None else self.first
        if self.first_answer is None and not piece.thinking:
            self.first_answer = moment
        self.last = moment
        self.chunks += 1
        self.text.append(piece.text)
        if piece.thinking:
            self.thinking.append(piece.thinking)

    def close(self) -> None:
        """Stamps the end. Raises BadReply if the answer has not ended, or the server gave it up."""
        self.ended = self.now()
        complete(self.finish)

    def parts(self, markers: tuple[str, str] | None) -> tuple[str, str | None, bool]:
        """Returns answer, thought (None: none was told) and whether it ended while thinking, as `split_text` does."""
        text = "".join(self.text)
        if self.thinking:
            return text, "".join(self.thinking), False
        return split_text(text, None if markers is None else Markers(*markers))

    def times(self) -> Elapsed:
        """Returns seconds since the request was sent; an answer in one piece has no first token."""
        streamed = self.chunks > 1

        def since(moment: float | None) -> float | None:
            return None if moment is None else moment - self.began

        return Elapsed(
            first_token_s=since(self.first) if streamed else None,
            last_token_s=since(self.last) if streamed else None,
            e2e_s=since(self.ended),
        )

    def provider(self, in_flight: int | None, refused: Mapping[str, str]) -> Provider:
        """Returns what else the server told; only what it did tell."""
        return Provider(
            model_version=self.model,
            system_fingerprint=self.fingerprint,
            finish=self.finish,
            refusal=self.refusal or None,
            refused=refused,
            cached_tokens=None if self.used is None else self.used.cache_read or None,
            in_flight=in_flight,
            token_logprobs=tuple(self.logprobs) or None,
        )


def complete(finish: str | None) -> None:
    """Raises BadReply for the finish reason of an answer that has not ended, or that the server gave up."""
    if finish is None:
        raise BadReply("cut", "the answer ended without a finish reason")
    if ending(finish) is Ending.BROKEN:
        raise BadReply("server error", f"the answer ended by '{finish}'")


def doubt(request: GenerateRequest, reading: Reading) -> str | None:
    """Returns why the usage a server tells cannot be of this answer; None if it can, or there is none."""
    used, text = reading.used, "".join((*reading.text, *reading.thinking))
    if used is None:
        return None
    if beyond(request, reading) and used.output - used.reasoning > len(text.encode("utf-8", "surrogatepass")):
        return f"{used.output} output tokens, and {request.max_tokens} were allowed"
    if used.output == 0 and text.strip():
        return "no output tokens for an answer that has text"
    if used.input == 0 and request.prompt.characters:
        return "no input tokens for a prompt that has text"
    return None


def beyond(request: GenerateRequest, reading: Reading) -> bool:
    """Returns whether the server tells more tokens than were allowed; thinking is not bounded everywhere."""
    return reading.used is not None and reading.used.output - reading.used.reasoning > request.max_tokens + SLACK
