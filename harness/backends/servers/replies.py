"""What servers send, read once for all who ask: the JSON of a chunk, or of a whole answer, to a `Piece`.

    OpenAI's interface   openai_piece(chunk)      a chunk of a stream, or the answer in one piece
    Anthropic's          anthropic_piece(event)   an event of a stream; `anthropic_events` of an answer in one piece
    Google's             google_piece(chunk)

Only what is known is read: new and missing fields are no failure. What cannot be read raises `BadReply`.
"""

from __future__ import annotations

import errno
import math
import socket
import ssl
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Protocol

from harness.backends.servers.meanings import Refused, refusal
from harness.cost.prices import TokenCount

JSON = Mapping[str, Any]  # as a server sent it
LONGEST_NAME = 200  # characters of a name or a reason that a server tells; longer ones are cut


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
    total: int | None = None  # input and output together, by the server's own sum

    def then(self, later: Told) -> Told:
        """Returns what is known after `later`: counts are cumulative, and what it does not tell is as before."""
        both = ((getattr(later, field.name), getattr(self, field.name)) for field in fields(Told))
        return Told(*(before if now is None else now for now, before in both))

    def count(self) -> TokenCount | None:
        """Returns the tokens; None unless both input and output are told, and nothing is below zero.

        Some servers count thinking beside the answer: their total tells, since it is more than input and output.
        """
        read, write = self.cache_read or 0, self.cache_write or 0
        inputs = self.input if self.fresh is None else self.fresh + read + write
        if inputs is None or self.output is None:
            return None
        beside = max(0, (self.total or 0) - inputs - self.output)
        reasoning = max(self.reasoning or 0, beside)
        return TokenCount(inputs, self.output + beside, read, write, reasoning, self.cache_write_1h or 0)

    @property
    def contradiction(self) -> str | None:
        """Returns why the counts cannot all be true; None if they can."""
        count = self.count()
        if count is None:
            return None
        if self.total and self.total < count.input + count.output:
            return f"{self.total} tokens in all, of {count.input} and {count.output}"
        if count.cache_read + count.cache_write > count.input:
            return f"{count.cache_read + count.cache_write} cached tokens of {count.input}"
        if count.reasoning > count.output:
            return f"{count.reasoning} tokens of thinking, of {count.output} in all"
        return None


@dataclass(frozen=True, slots=True)
class Piece:
    """What one chunk, or a whole answer, holds. One with neither text nor thinking (a role, the usage) is no token."""

    text: str = ""
    thinking: str = ""  # as the server tells it apart
    unseen: bool = False  # tokens came, with no text of their own
    refusal: str = ""  # by the provider's own signal
    logprobs: tuple[float, ...] | None = ()  # of its tokens, nats; None: they were told, and one is no number
    finish: str | None = None  # in the server's own word
    stop_string: str | None = None  # that ended it, where the server names it
    told: Told | None = None
    model: str | None = None
    fingerprint: str | None = None
    others: int = 0  # of the server's answers to the same request: only the first is read
    done: bool = False  # the server says that nothing follows, or it came in one piece
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
                found = refusal(None, {}, body)
                raise BadReply("server error", found.said[:500], found)
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
    about = Piece(
        told=_openai_usage(body.get("usage")),
        model=_name(body.get("model")),
        fingerprint=_name(body.get("system_fingerprint")),
        t=t,
    )
    choices = body.get("choices") or []
    first = [choice for choice in choices if not choice.get("index")]
    about = replace(about, others=len(choices) - len(first[:1]))
    if not first:
        return about
    choice = first[0]
    part = choice.get("delta") or choice.get("message") or {}
    said, thought = _text_of(part.get("content") or choice.get("text"))
    ended_by = choice.get("stop_reason")
    return replace(
        about,
        text=said,
        thinking=thought or "".join(_text_of(part.get("reasoning_content") or part.get("reasoning"))),
        refusal=str(part.get("refusal") or ""),
        logprobs=_openai_logprobs(choice.get("logprobs")),
        finish=_name(choice.get("finish_reason")),
        stop_string=ended_by if isinstance(ended_by, str) else None,  # vLLM names the string
    )


def _text_of(content: Any) -> tuple[str, str]:
    """Returns answer and thinking of a content, which is a text or a list of parts. Raises TypeError for others."""
    if content is None or isinstance(content, str):
        return content or "", ""
    said: list[str] = []
    thought: list[str] = []
    for part in content if isinstance(content, list) else (content,):
        if isinstance(part, str):
            said.append(part)
        elif isinstance(part, Mapping):
            of = str(part.get("type") or "text")
            inner = "".join(_text_of(part.get(of if of in part else "text")))
            (thought if of in {"thinking", "reasoning"} else said).append(inner)
        else:
            raise TypeError("an answer that is no text")
    return "".join(said), "".join(thought)


def openai_whole(body: Mapping[str, object]) -> tuple[Piece, ...]:
    """Returns what an answer in one piece holds. Raises BadReply for JSON that is none."""
    if not body.get("choices") and not body.get("error"):
        raise BadReply("invalid", f"no answer: {str(dict(body))[:LONGEST_NAME]}")
    return (openai_piece(body),)


def openai_usage(told: Any) -> TokenCount | None:
    """Returns the tokens a server says it used; None if it says nothing that can be read."""
    found = _openai_usage(told)
    return None if found is None else found.count()


_CACHED = ("cached_tokens", "prompt_cache_hit_tokens", "cache_read_input_tokens", "cache_read_tokens")
_WRITTEN = ("cache_write_tokens", "cache_creation_tokens", "cache_creation_input_tokens")
_ANTHROPICS = frozenset({"cache_read_input_tokens", "cache_creation_input_tokens"})


def _openai_usage(told: Any) -> Told | None:
    """Reads the names of OpenAI's two interfaces, and those that DeepSeek, Moonshot and gateways have beside them."""
    if not isinstance(told, Mapping):
        return None
    names = ("prompt_tokens_details", "input_tokens_details"), ("completion_tokens_details", "output_tokens_details")
    prompt, completion = (next((p for n in pair if isinstance(p := told.get(n), Mapping)), {}) for pair in names)
    found = _told(
        input=_first(("prompt_tokens", "input_tokens"), told),
        output=_first(("completion_tokens", "output_tokens"), told),
        total=told.get("total_tokens"),
        cache_read=_first(_CACHED, prompt, told),
        cache_write=_first(_WRITTEN, prompt, told),
        reasoning=_first(("reasoning_tokens", "thinking_tokens"), completion, told),
    )
    return found if found is None or not _ANTHROPICS & told.keys() else _beside(found)


def _beside(told: Told) -> Told:
    """Returns counts under Anthropic's names, which some gateways keep beside the prompt's, as Anthropic does."""
    cached, given = (told.cache_read or 0) + (told.cache_write or 0), told.input or 0
    apart = cached > given or (cached and told.total == given + (told.output or 0) + cached)
    return replace(told, input=None, fresh=told.input) if apart else told


def _first(names: tuple[str, ...], *places: Mapping[str, object]) -> Any:
    """Returns the first count that stands under one of the names; None for none."""
    return next((value for place in places for name in names if (value := place.get(name)) is not None), None)


def _openai_logprobs(told: Any) -> tuple[float, ...] | None:
    """Returns the log-probabilities of a chunk's tokens, of either interface; None if one of them is no number."""
    if not isinstance(told, Mapping):
        return ()
    if content := told.get("content"):
        return _finite([item.get("logprob") for item in content])
    return _finite(told.get("token_logprobs") or [])


def _finite(values: Sequence[Any]) -> tuple[float, ...] | None:
    """Returns log-probabilities; None unless each is a number that a probability can have."""
    told = all(isinstance(value, int | float) and math.isfinite(value) for value in values)
    return tuple(map(float, values)) if told else None


# --- Anthropic's -----------------------------------------------------------------------------------------------------


@_reader
def anthropic_piece(event: JSON, t: float | None = None) -> Piece:
    """Returns what an event of a stream holds."""
    kind, delta = event.get("type"), event.get("delta") or {}
    if kind == "message_start":
        message = event.get("message") or {}
        return Piece(model=_name(message.get("model")), told=_anthropic_usage(message.get("usage")), t=t)
    if kind == "content_block_delta":
        return Piece(text=delta.get("text") or "", thinking=delta.get("thinking") or "", t=t)
    if kind != "message_delta":
        return Piece(done=kind == "message_stop")
    finish = _name(delta.get("stop_reason"))
    details = delta.get("stop_details") or {}
    return Piece(
        finish=finish,
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


def anthropic_whole(body: Mapping[str, object]) -> tuple[Piece, ...]:
    """Returns what a message in one piece holds. Raises BadReply for JSON that is none."""
    if body.get("type") != "message" and not isinstance(body.get("content"), list):
        anthropic_piece(body)  # an error says what it is
        raise BadReply("invalid", f"no message: {str(dict(body))[:LONGEST_NAME]}")
    return tuple(anthropic_piece(event) for event in anthropic_events(body))


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
    about = Piece(model=_name(body.get("model_version")), told=_google_usage(body.get("usage_metadata")), t=t)
    if blocked := (body.get("prompt_feedback") or {}).get("block_reason"):
        return replace(about, finish=str(blocked), refusal=f"prompt: {blocked}")
    candidates = body.get("candidates") or []
    if not candidates:
        return about
    candidate = candidates[0]
    parts = (candidate.get("content") or {}).get("parts") or []
    chosen = (candidate.get("logprobs_result") or {}).get("chosen_candidates") or []
    return replace(
        about,
        text="".join(part.get("text") or "" for part in parts if not part.get("thought")),
        thinking="".join(part.get("text") or "" for part in parts if part.get("thought")),
        logprobs=_finite([one.get("log_probability") for one in chosen]),
        finish=_name(candidate.get("finish_reason")),
        others=len(candidates) - 1,
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
    inputs = told.get("prompt_token_count")
    tools = told.get("tool_use_prompt_token_count")  # part of the total, and of neither other
    total = None if tools else told.get("total_token_count")
    return _told(input=inputs, output=both, total=total, cache_read=cached, reasoning=thought)


# --- all -------------------------------------------------------------------------------------------------------------


def _name(value: Any) -> str | None:
    """Returns a name or a reason that a server tells, bounded; None for none, and for what is no text."""
    return value[:LONGEST_NAME] if isinstance(value, str) and value.strip() else None


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
