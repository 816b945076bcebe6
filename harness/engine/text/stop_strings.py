"""When a row of generated tokens ends, found as the tokens arrive, and what text is left of it.

A row ends at an end-of-sequence token, at a stop string, at its own token limit, or when time is up. Stop strings are
looked for in the new text only, and only at tokens that can complete one: each costs one decode of the tokens since
the last.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from harness.config.task import STOP_LIMIT
from harness.errors import TaskError

WINDOW = 8  # tokens decoded together before the window moves on
UNFINISHED = "\ufffd"  # what a decoder gives for the first bytes of a character that is not complete yet


def check_stop(stop: Sequence[str], where: str = "") -> None:
    """Raises TaskError for a stop string that is empty or longer than STOP_LIMIT characters."""
    for text in stop:
        if not text:
            raise TaskError(
                "a stop string is empty: it would end every answer before its first character",
                where=where,
                fix="remove it from 'stop'",
            )
        if len(text) > STOP_LIMIT:
            raise TaskError(
                f"a stop string has {len(text)} characters, the limit is {STOP_LIMIT}: {text[:30]!r}...",
                where=where,
                fix="use the first words of it",
            )


class StopScanner:
    """Finds the first of `stop` in one row's text, token by token.

    Special tokens are read as their text, so a stop string that equals one is found. The text of a window of tokens
    is compared with the part of it already seen; the first token of a window is one that was seen before, because
    some decoders drop a leading space. Bytes of an unfinished character wait until the character is complete. A token
    without the last character of any stop string completes none, and waits until one may. A window never begins within
    a run of bytes, which some decoders read as a whole or not at all.

    after: what is known to stand before the first token, of an answer that follows a thought; white space at the
    beginning of such an answer belongs to neither, and ends nothing. None: the text begins with the first token.
    """

    def __init__(self, tokenizer: Any, stop: Sequence[str], after: str | None = None) -> None:
        self.tokenizer = tokenizer
        self.stop = tuple(stop)
        self.ends = {text[-1] for text in self.stop}
        self.reach = max(map(len, self.stop), default=1) - 1  # characters of a stop string that older text may hold
        self.window: list[int] = []
        self.seen = 0  # characters of the window's text already looked at
        self.tail = "" if after is None else after.lstrip()
        self.blank = after is not None and not self.tail  # nothing but white space stands so far, which is left out

    def push(self, token: int) -> str | None:
        """Returns the stop string that this token completes, or None; of several the one that begins first."""
        self.window.append(token)
        own = _own_text(self.tokenizer, token)
        if not any(end in own or end == " " for end in self.ends) and UNFINISHED not in own:
            return None
        text = raw_text(self.tokenizer, self.window)
        finished = text.rstrip(UNFINISHED)
        fresh = self.tail + finished[self.seen :]
        if self.blank:
            fresh = fresh.lstrip()
            self.blank = not fresh
        self.seen = max(self.seen, len(finished))
        self.tail = fresh[-self.reach :] if self.reach else ""
        if len(self.window) > WINDOW and finished == text and UNFINISHED not in own:
            self.window, self.seen = [token], len(own)
        return cut(fresh, self.stop)[1]


@lru_cache(maxsize=1 << 17)
def _own_text(tokenizer: Any, token: int) -> str:
    """Returns the text of one token. After others it adds no more than this, but for spaces and parts of characters."""
    return raw_text(tokenizer, [token])


def cut(text: str, stop: Sequence[str]) -> tuple[str, str | None]:
    """Returns the text before the stop string that begins first (the longest of those at one place), and that string.

    The whole text and None if there is none.
    """
    found = [(text.index(s), -len(s), s) for s in stop if s in text]
    if not found:
        return text, None
    at, _, first = min(found)
    return text[:at], first


def raw_text(tokenizer: Any, ids: Sequence[int]) -> str:
    """Returns the text of `ids` with special tokens written out."""
    text: str = tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False)
    return text


def visible_text(tokenizer: Any, ids: Sequence[int], stop: Sequence[str] = (), after: str | None = None) -> str:
    """Returns the text of `ids` without special tokens, cut before the stop string that begins first.

    A stop string that contains a special token's text is looked for before the special tokens are removed. `after` is
    as in `StopScanner`.
    """
    text: str = tokenizer.decode(list(ids), skip_special_tokens=True)
    raw = raw_text(tokenizer, ids)
    if after is not None:
        text, raw = (after + text).lstrip(), (after + raw).lstrip()
    before, found = cut(text, stop)
    if found is not None:
        return before
    before, found = cut(raw, stop)
    if found is None:
        return text
    for special in tokenizer.all_special_tokens:
        before = before.replace(special, "")
    return before
