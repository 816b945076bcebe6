"""The log-probability of given text, as open servers tell it through completions.

    {"echo": true, "logprobs": 1}    vLLM with the place of each token; SGLang without
    {"prompt_logprobs": 0}           vLLM, where echo is off: each token of the prompt with its rank

Where a server tells no places, tokens are matched with the text from its end, so that special tokens at its beginning,
and characters that are several tokens, matter only where they are scored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

WAYS: tuple[Mapping[str, Any], ...] = ({"echo": True, "logprobs": 1}, {"prompt_logprobs": 0})  # to be tried in order


class NotTold(Exception):
    """The server did not return the log-probabilities that it was asked for."""


class Misspelt(Exception):
    """The tokens do not spell the text: which of them belong to what is scored cannot be known."""


@dataclass(frozen=True, slots=True)
class _Token:
    text: str
    logprob: float | None  # nats; None: the first has none
    top: bool  # the most likely one
    end: int | None = None  # its place in the text, where that is told


def given_logprob(body: Mapping[str, Any], prompt: str, whole: str) -> tuple[float, bool]:
    """Returns the summed log-probability (nats) of what follows `prompt` in `whole`, and whether it is greedy.

    A token belongs to what follows if it ends after the prompt does; white space at the end of a prompt counts as part
    of what follows, as in process. Raises NotTold or Misspelt.
    """
    choice = (body.get("choices") or [{}])[0] or {}
    boundary = len(prompt.rstrip())
    tokens = _prompt_tokens(choice.get("prompt_logprobs") or body.get("prompt_logprobs"))
    if tokens is None:
        tokens = _echoed(choice.get("logprobs"), body, whole)
    placed = [(token, token.end) for token in tokens if token.end is not None]
    if len(placed) == len(tokens):
        mine = [token for token, end in placed if end > boundary]
    else:
        mine = _after(tokens, boundary, whole)
    values = [token.logprob for token in mine if token.logprob is not None]
    if not values or len(values) < len(mine):
        raise NotTold("the echoed text lacks log-probabilities of the continuation")
    return float(sum(values)), all(token.top for token in mine)


def _after(tokens: Sequence[_Token], boundary: int, whole: str) -> list[_Token]:
    """Returns the tokens of a text that end after `boundary`."""
    mine: list[_Token] = []
    end = len(whole)
    for token in reversed(tokens):
        if end <= boundary:
            return mine
        begin = end - len(token.text)
        if begin < 0 or whole[begin:end] != token.text:
            break
        mine.append(token)
        end = begin
    if end <= boundary:
        return mine
    raise Misspelt("the tokens that the server tells do not spell the text that is scored")


def _prompt_tokens(told: Any) -> list[_Token] | None:
    """Returns the tokens of `prompt_logprobs`: for each a mapping from its id, and those of likelier ones after it."""
    if not isinstance(told, list) or not told:
        return None
    found = []
    for one in told:
        entry: Mapping[str, Any] = next(iter(one.values())) if one else {"decoded_token": "", "logprob": None}
        found.append(_Token(str(entry.get("decoded_token") or ""), entry.get("logprob"), entry.get("rank") == 1))
    return found


def _echoed(told: Any, body: Mapping[str, Any], whole: str) -> list[_Token]:
    """Returns the tokens of an echoed text, without those that were generated after it."""
    told = told or {}
    texts, values = (told.get(key) or [] for key in ("tokens", "token_logprobs"))
    if not values or len(texts) != len(values):
        raise NotTold("no log-probabilities of the echoed text came back")
    offsets = told.get("text_offset") or []
    tops = told.get("top_logprobs") or [None] * len(values)
    ends: list[int | None] = [None] * len(values)
    if len(offsets) == len(values) and min(offsets) >= 0:
        kept = sum(offset < len(whole) for offset in offsets)
        ends = [*offsets[1:], offsets[-1] + len(texts[-1])]
    else:  # SGLang: what was generated is known by its number
        kept = len(values) - int((body.get("usage") or {}).get("completion_tokens", 1))
    return [_Token(str(texts[i]), values[i], _is_top(values[i], tops[i]), ends[i]) for i in range(max(0, kept))]


def _is_top(value: float | None, top: Any) -> bool:
    """Returns whether a value is as high as the highest that is told beside it."""
    highest = list(top.values()) if isinstance(top, Mapping) else []
    return value is not None and bool(highest) and value >= max(highest) - 1e-9
