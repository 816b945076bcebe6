"""What servers send, read once for all who ask: the JSON of a chunk, or of a whole answer, to a `Piece`.

    OpenAI's interface   openai_piece(chunk)      a chunk of a stream, or the answer in one piece
    Anthropic's          anthropic_piece(event)   an event of a stream; `anthropic_events` of an answer in one piece
    Google's             google_piece(chunk)

Only what is known is read: new and missing fields are no failure. What cannot be read raises `BadReply`.
"""

from __future__ import annotations

import errno
import socket
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Protocol

from harness.backends.servers.meanings import Refused, refusal
from harness.cost.prices import TokenCount

JSON = Mapping[str, Any]  # as a server sent it


class BadReply(Exception):
    """A reply that is no complete answer. `kind` is short and fixed, so that failures can be counted by it."""

    def __init__(self, kind: str, detail: str = "", refused: Refused | None = None) -> None:
        super().__init__(f"{kind}: {detail}" if detail else kind)
        self.kind, self.detail = kind, detail
        self.refused = refused  # where the server told of an error in a stream that it had begun


@dataclass(frozen=True, slots=True)
class Told:
    """Tokens as a server tells them, so far. None: not told."""

    input: int | None = None  # of the prompt, those from a cache included
    output: int | None = None  # of the answer, thinking included
    cache_read: int | None = None
    cache_write: int | None = None
    cache_write_1h: int | None = None  # of them, those kept for an hour
    reasoning: int | None = None
    fresh: int | None = None  # of the prompt, those from a cache left out: some tell it so

    def then(self, later: Told) -> Told:
        """Returns what is known after `later`: counts are cumulative, and what it does not tell is as before."""
        both = ((getattr(later, field.name), getattr(self, field.name)) for field in fields(Told))
        return Told(*(before if now is None else now for now, before in both))

    def count(self) -> TokenCount | None:
        """Returns the tokens; None unless both input and output are told, and nothing is below zero."""
        read, write = self.cache_read or 0, self.cache_write or 0
        inputs = self.input if self.fresh is None else self.fresh + read + write
        if inputs is None or self.output is None:
            return None
        return TokenCount(inputs, self.output, read, write, self.reasoning or 0, self.cache_write_1h or 0)


@dataclass(frozen=True, slots=True)
class Piece:
    """What one chunk, or a whole answer, holds. One with neither text nor thinking (a role, the usage) is no token."""

    text: str = ""
    thinking: str = ""  # as the server tells it apart
    unseen: bool = False  # tokens came, with no text of their own
    refusal: str = ""  # by the provider's own signal
    logprobs: tuple[float, ...] = ()  # of its tokens, nats
    finish: str | None = None  # in the server's own word
    stop_string: str | None = None  # that ended it, where the server names it
    told: Told | None = None
    model: str | None = None
    fingerprint: str | None = None
    t: float | None = None  # the moment it came, on the clock of whoever reads; None: the one at which it is taken in

    @property
    def holds_tokens(self) -> bool:
        return bool(self.text or self.thinking or self.unseen)


class Read(Protocol):
    """Reads the JSON of a chunk, which came at `t`."""

    def __call__(self, body: JSON, t: float | None = None, /) -> Piece: ...


def _reader(read: Read) -> Read:
    """Returns a reader that says `invalid` of whatever has another shape than it expects."""

    def guarded(body: JSON, t: float | None = None) -> Piece:
        try:
            if isinstance(fault := body.get("error"), Mapping | str) and fault:
                raise BadReply("server error", str(fault)[:500], refusal(None, {}, body))
            piece = read(body, t)
            if not (isinstance(piece.text, str) and isinstance(piece.thinking, str)):
                raise TypeError("an answer that is no text")
        except (ValueError, AttributeError, TypeError, IndexError, KeyError) as error:
            raise BadReply("invalid", f"{type(error).__name__}: {error}: {str(body)[:200]}") from error
        return piece

    return guarded


# --- OpenAI's interface ----------------------------------------------------------------------------------------------


@_reader
def openai_piece(body: JSON, t: float | None = None) -> Piece:
    """Returns what a chunk, or a whole answer, of chat or completions holds."""
    told, model, fingerprint = _openai_usage(body.get("usage")), body.get("model"), body.get("system_fingerprint")
    choices = body.get("choices") or []
    if not choices:
        return Piece(told=told, model=model, fingerprint=fingerprint, t=t)
    choice = choices[0]
    part = choice.get("delta") or choice.get("message") or {}
    finish, ended_by = choice.get("finish_reason"), choice.get("stop_reason")
    return Piece(
        text=part.get("content") or choice.get("text") or "",
        thinking=part.get("reasoning_content") or part.get("reasoning") or "",
        refusal=str(part.get("refusal") or ""),
        logprobs=_openai_logprobs(choice.get("logprobs")),
        finish=str(finish) if finish else None,
        stop_string=ended_by if isinstance(ended_by, str) else None,  # vLLM names the string
        told=told,
        model=model,
        fingerprint=fingerprint,
        t=t,
    )


def openai_usage(told: Any) -> TokenCount | None:
    """Returns the tokens a server says it used; None if it says nothing that can be read."""
    found = _openai_usage(told)
    return None if found is None else found.count()


def _openai_usage(told: Any) -> Told | None:
    if not isinstance(told, Mapping):
        return None
    parts = [told.get(name) or {} for name in ("prompt_tokens_details", "completion_tokens_details")]
    prompt, completion = (part if isinstance(part, Mapping) else {} for part in parts)
    return _told(
        input=told.get("prompt_tokens"),
        output=told.get("completion_tokens"),
        cache_read=prompt.get("cached_tokens"),
        reasoning=completion.get("reasoning_tokens"),
    )


def _openai_logprobs(told: Any) -> tuple[float, ...]:
    """Returns the log-probabilities of a chunk's tokens, of either interface."""
    if not isinstance(told, Mapping):
        return ()
    if told.get("content"):
        return tuple(float(item["logprob"]) for item in told["content"])
    return tuple(float(value) for value in told.get("token_logprobs") or [] if value is not None)


# --- Anthropic's -----------------------------------------------------------------------------------------------------


@_reader
def anthropic_piece(event: JSON, t: float | None = None) -> Piece:
    """Returns what an event of a stream holds."""
    kind, delta = event.get("type"), event.get("delta") or {}
    if kind == "message_start":
        message = event.get("message") or {}
        return Piece(model=message.get("model"), told=_anthropic_usage(message.get("usage")), t=t)
    if kind == "content_block_delta":
        return Piece(text=delta.get("text") or "", thinking=delta.get("thinking") or "", t=t)
    if kind != "message_delta":
        return Piece()
    finish = delta.get("stop_reason")
    details = delta.get("stop_details") or {}
    return Piece(
        finish=str(finish) if finish else None,
        refusal=str(details.get("category") or "") if finish == "refusal" else "",
        stop_string=delta.get("stop_sequence"),
        told=_anthropic_usage(event.get("usage")),
    )


def anthropic_events(message: JSON) -> Iterator[JSON]:
    """Yields a message that came in one piece as the events it would have come in."""
    yield {"type": "message_start", "message": message}
    for block in message.get("content") or []:
        yield {"type": "content_block_delta", "delta": block}
    yield {"type": "message_delta", "delta": message, "usage": message.get("usage")}


def _anthropic_usage(told: Any) -> Told | None:
    """Anthropic counts input without what was cached."""
    if not isinstance(told, Mapping):
        return None
    return _told(
        fresh=told.get("input_tokens"),
        output=told.get("output_tokens"),
        cache_read=told.get("cache_read_input_tokens"),
        cache_write=told.get("cache_creation_input_tokens"),
        cache_write_1h=(told.get("cache_creation") or {}).get("ephemeral_1h_input_tokens"),
        reasoning=(told.get("output_tokens_details") or {}).get("thinking_tokens"),
    )


# --- Google's --------------------------------------------------------------------------------------------------------


@_reader
def google_piece(body: JSON, t: float | None = None) -> Piece:
    """Returns what a chunk holds, with the SDK's names of fields."""
    about = Piece(model=body.get("model_version"), told=_google_usage(body.get("usage_metadata")), t=t)
    if blocked := (body.get("prompt_feedback") or {}).get("block_reason"):
        return replace(about, finish=str(blocked), refusal=f"prompt: {blocked}")
    candidates = body.get("candidates") or []
    if not candidates:
        return about
    candidate = candidates[0]
    parts = (candidate.get("content") or {}).get("parts") or []
    chosen = (candidate.get("logprobs_result") or {}).get("chosen_candidates") or []
    finish = candidate.get("finish_reason")
    return replace(
        about,
        text="".join(part.get("text") or "" for part in parts if not part.get("thought")),
        thinking="".join(part.get("text") or "" for part in parts if part.get("thought")),
        logprobs=tuple(float(p) for one in chosen if (p := one.get("log_probability")) is not None),
        finish=str(finish) if finish else None,
    )


def _google_usage(told: Any) -> Told | None:
    """Google counts thinking beside the answer; here it is part of it."""
    if not isinstance(told, Mapping) or "prompt_token_count" not in told:
        return None
    thought, said = told.get("thoughts_token_count"), told.get("candidates_token_count")
    try:
        both = int(said or 0) + int(thought or 0)
    except (TypeError, ValueError, OverflowError):
        return None
    cached = told.get("cached_content_token_count")
    return _told(input=told.get("prompt_token_count"), output=both, cache_read=cached, reasoning=thought)


# --- all -------------------------------------------------------------------------------------------------------------


def _told(**counts: Any) -> Told | None:
    """Returns counts of tokens; None if one cannot be read or is below zero: then none of them is believed."""
    try:
        whole = {name: None if count is None else int(count) for name, count in counts.items()}
    except (TypeError, ValueError, OverflowError):
        return None
    return None if any(count is not None and count < 0 for count in whole.values()) else Told(**whole)


NO_WAY: Mapping[int, str] = {  # why no connection came about, where it was not the server that refused it
    errno.ECONNREFUSED: "refused",
    errno.ENETUNREACH: "unreachable",
    errno.EHOSTUNREACH: "unreachable",
    errno.EMFILE: "no socket left",
    errno.ENFILE: "no socket left",
    errno.EADDRNOTAVAIL: "no socket left",
}
NEVER_SENT = frozenset({"tls", "dns", "refused", "unreachable", "no socket left", "connection"})


def reached(failure: str) -> bool:
    """Returns whether a server may have worked on a request that failed so."""
    return failure not in NEVER_SENT


def transport_failure(error: BaseException, *, answering: bool) -> str:
    """Returns the kind of failure of a connection, by what led to it; `answering`: a server had been reached.

    Of `NEVER_SENT` nothing was sent: no server can have worked on it.
    """
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, ssl.SSLError):
            return "tls"
        if isinstance(seen, socket.gaierror):
            return "dns"
        if isinstance(seen, OSError) and not answering and (kind := NO_WAY.get(seen.errno or 0)):
            return kind
        seen = seen.__cause__ or seen.__context__
    return "cut" if answering else "connection"
