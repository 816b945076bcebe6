"""One answer as it arrives: its text, its tokens, and the moments of the first text, the last text and the end.

The moments are stamped here and nowhere else, and the tokens that came between them are told here and nowhere else, for
a run and for a load alike.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from itertools import pairwise

from harness.backends.servers.endings import Ending, ending
from harness.backends.servers.replies import BadReply, Piece, Told
from harness.cost.prices import TokenCount
from harness.engine.text.thinking import Markers, split_text
from harness.values import Elapsed, GenerateRequest, Provider

SLACK = 8  # tokens a server may count beyond those that were allowed: the ones that end an answer
CHARACTERS = 20  # of a token on average, at most: of any text but runs of one character, which are left out
DISBELIEF = 0.10  # share by which a server's count of tokens may differ from ours before ours is taken


class Reading:
    """What has arrived of one answer. `began` is when it was sent, on the clock `now`."""

    __slots__ = (
        "began",
        "chunks",
        "done",
        "ended",
        "fingerprint",
        "finish",
        "first",
        "first_answer",
        "first_characters",
        "first_chunks",
        "gaps",
        "last",
        "logprobs",
        "model",
        "now",
        "opened",
        "others",
        "refusal",
        "stop_string",
        "text",
        "thinking",
        "told",
        "unseen",
    )

    def __init__(self, began: float, now: Callable[[], float] = time.perf_counter) -> None:
        self.began, self.now = began, now
        self.text: list[str] = []
        self.thinking: list[str] = []  # as the server tells it apart
        self.refusal = ""  # by the provider's own signal
        self.logprobs: list[float] | None = []  # None: one of them is no number
        self.chunks = 0  # with tokens
        self.first: float | None = None  # moment of the first token of any kind
        self.first_chunks = self.first_characters = 0  # that came at that moment
        self.first_answer: float | None = None  # of the first that is not thinking
        self.last: float | None = None
        self.ended: float | None = None
        self.gaps: list[float] = []  # seconds between chunks
        self.finish: str | None = None  # in the server's own word
        self.opened = False  # the server has begun to answer
        self.done = False  # it has said that nothing follows
        self.unseen = False  # tokens came without a text of their own
        self.others = False  # it sent further answers to the same request
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
        """Returns what its finish reason means. One that ended without a reason is a stop."""
        return Ending.STOP if self.finish is None else ending(self.finish)

    def take(self, piece: Piece) -> None:
        """Takes in a piece."""
        self.model = self.model or piece.model
        self.fingerprint = self.fingerprint or piece.fingerprint
        self.opened, self.done = True, self.done or piece.done
        self.others = self.others or piece.others > 0
        if piece.told is not None:
            self.told = piece.told if self.told is None else self.told.then(piece.told)
        if piece.holds_tokens:
            self._stamp(piece)
        self.refusal += piece.refusal
        if piece.logprobs is None:
            self.logprobs = None
        elif self.logprobs is not None:
            self.logprobs += piece.logprobs
        self.stop_string = piece.stop_string or self.stop_string
        self.finish = telling(self.finish, piece.finish)
        if self.finish is not None and self.ending is Ending.WITHHELD:
            self.refusal = self.refusal or self.finish

    def _stamp(self, piece: Piece) -> None:
        moment = self.now() if piece.t is None else piece.t
        if self.last is not None:
            self.gaps.append(moment - self.last)
        self.first = moment if self.first is None else self.first
        if moment == self.first:
            self.first_chunks += 1
            self.first_characters += len(piece.text) + len(piece.thinking)
        if self.first_answer is None and not piece.thinking:
            self.first_answer = moment
        self.last = moment
        self.chunks += 1
        self.unseen = self.unseen or piece.unseen
        self.text.append(piece.text)
        if piece.thinking:
            self.thinking.append(piece.thinking)

    def close(self) -> None:
        """Stamps the end. Raises BadReply if the answer has not ended, or the server gave it up."""
        self.ended = self.now()
        complete(self.finish, done=self.done)

    def parts(self, markers: tuple[str, str] | None) -> tuple[str, str | None, bool]:
        """Returns answer, thought (None: none was told) and whether it ended while thinking, as `split_text` does."""
        text = "".join(self.text)
        if self.thinking:
            return text, "".join(self.thinking), False
        return split_text(text, None if markers is None else Markers(*markers))

    def shown(self, counted: int | None) -> int | None:
        """Returns how many tokens came as text between the first moment and the last; None: nobody knows.

        The server's count, less thinking that it kept to itself, unless ours (`counted`) says it cannot be true, or
        there are fewer bytes than that.
        """
        used = self.used
        if used is None or self.told is None or self.told.contradiction is not None or self.others:
            return counted
        claimed = used.output if self.thinking else used.output - used.reasoning
        if counted is not None and disbelieved(claimed, counted):
            return counted
        size = len("".join((*self.text, *self.thinking)).encode("utf-8", "surrogatepass"))
        return claimed if self.unseen or claimed <= size + SLACK else counted

    def after_first(self, counted: int | None) -> int:
        """Returns how many of the shown tokens came after the first moment; 0: none, or nobody knows.

        A chunk has at least one token, and those of the first moment as large a share of the tokens as of the text.
        """
        shown = self.shown(counted)
        if shown is None or self.first == self.last:
            return 0
        characters = sum(map(len, self.text)) + sum(map(len, self.thinking))
        share = round(shown * self.first_characters / characters) if characters else 0
        later = self.chunks - self.first_chunks
        return shown - max(1, min(max(share, self.first_chunks), shown - later))

    def times(self, counted: int | None = None) -> Elapsed:
        """Returns seconds since the request was sent; an answer in one piece has no first token."""
        streamed = self.chunks > 1

        def since(moment: float | None) -> float | None:
            return None if moment is None else moment - self.began

        return Elapsed(
            first_token_s=since(self.first) if streamed else None,
            last_token_s=since(self.last) if streamed else None,
            e2e_s=since(self.ended),
            after_first=self.after_first(counted) if streamed else None,
            chunks=self.chunks if streamed else None,
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
            token_logprobs=tuple(self.logprobs or ()) or None,
        )


UNKNOWN_END = "unknown ending"  # a kind of failure


def telling(before: str | None, now: str | None) -> str | None:
    """Returns which of two finish reasons of one answer counts: one that is no stop, since some servers tell a stop
    with every chunk."""
    if now is None or (before is not None and ending(before) is not Ending.STOP):
        return before
    return now


def complete(finish: str | None, *, done: bool) -> None:
    """Raises BadReply for an answer that has not ended, that the server gave up, or that ended nobody knows how.

    `done`: the server has said that nothing follows, or the answer came in one piece. Then it needs no reason.
    """
    if finish is None:
        if not done:
            raise BadReply("cut", "the answer ended without a finish reason")
        return
    if ending(finish) is Ending.BROKEN:
        raise BadReply("server error", f"the answer ended by '{finish}'")
    if ending(finish) is Ending.UNKNOWN:
        raise BadReply(UNKNOWN_END, f"'{finish}' is not known here: the answer may be whole or not")


def disbelieved(claimed: int, counted: int) -> bool:
    """Returns whether a server's count of tokens and ours differ too much for both to be of one text."""
    return abs(claimed - counted) > max(2, DISBELIEF * counted)


def doubt(request: GenerateRequest, reading: Reading, counted: int | None = None) -> str | None:
    """Returns why the usage a server tells cannot be of this answer; None if it can, or there is none.

    `counted`: the tokens of what came, by our own count.
    """
    used, text = reading.used, "".join((*reading.text, *reading.thinking))
    if used is None or reading.told is None:
        return None
    if (contradiction := reading.told.contradiction) is not None:
        return contradiction
    if beyond(request, reading) and used.output - used.reasoning > len(text.encode("utf-8", "surrogatepass")):
        return f"{used.output} output tokens, and {request.max_tokens} were allowed"
    if used.output == 0 and text.strip():
        return "no output tokens for an answer that has text"
    if used.input == 0 and request.prompt.characters:
        return "no input tokens for a prompt that has text"
    few = f"{used.output} output tokens for {len(text)} characters"
    if counted is not None and used.output < counted / 2 - SLACK:
        return few
    return few if _changes(text) > CHARACTERS * (used.output + 2) else None


def _changes(text: str) -> int:
    """Returns the characters of a text that differ from the one before: a long run of one may be a single token."""
    return sum(a != b for a, b in pairwise(text))


def beyond(request: GenerateRequest, reading: Reading) -> bool:
    """Returns whether the server tells more tokens than were allowed; thinking is not bounded everywhere."""
    return reading.used is not None and reading.used.output - reading.used.reasoning > request.max_tokens + SLACK
