"""One answer as its tokens arrive: what of it is thought, and the stop string that ends it.

Every way of generating asks this, so that a stop string ends an answer and never a thought.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.engine.text.stop_strings import StopScanner, visible_text
from harness.engine.text.thinking import Thinking, ThinkingTracker, Thought


class GrowingAnswer:
    """The text of one row while it grows."""

    def __init__(self, tokenizer: Any, stop: Sequence[str], thinking: Thinking | None, prompt: Sequence[int]) -> None:
        self.tokenizer, self.stop = tokenizer, tuple(stop)
        self.thinking = ThinkingTracker(tokenizer, thinking, prompt) if thinking else None
        self._scanner = StopScanner(tokenizer, stop) if stop else None
        self._held: list[int] = []  # tokens that may yet belong to a marker

    @property
    def thinks(self) -> bool:
        """Returns whether the next token belongs to a thought."""
        return self.thinking is not None and self.thinking.active

    def push(self, token: int) -> str | None:
        """Takes note of a token; returns the stop string that ends the answer with it, or None."""
        if self.thinking is None:
            return None if self._scanner is None else self._scanner.push(token)
        ended = self.thinking.answer_from
        self.thinking.push(token)
        if self.thinks:
            self._held = []
            return None
        if self.thinking.answer_from != ended:
            self._held = []
            self._scanner = StopScanner(self.tokenizer, self.stop, self.thinking.rest) if self.stop else None
            return None
        self._held.append(token)
        if self._scanner is None or self.thinking.holds_back:
            return None
        held, self._held = self._held, []
        return next((found for one in held if (found := self._scanner.push(one)) is not None), None)

    def read(self, ids: Sequence[int]) -> tuple[str, Thought | None]:
        """Returns the answer in `ids` (the row's tokens, its end-of-text token left out) and the thought.

        The thought is None where nobody looks for one.
        """
        if self.thinking is not None:
            return self.thinking.split(ids, self.stop)
        return (visible_text(self.tokenizer, ids, self.stop) if ids else ""), None
