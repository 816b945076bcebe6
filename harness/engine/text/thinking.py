"""The thinking of a reasoning model, told apart from its answer.

A model thinks between two markers, `<think>` and `</think>` or others of its own; a chat template may already have
written the first one at the end of the prompt. Thinking is kept and counted, and is never part of the answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from harness.engine.text.stop_strings import StopScanner, raw_text, visible_text


@dataclass(frozen=True, slots=True)
class Markers:
    """The texts between which a model thinks."""

    start: str
    end: str


KNOWN = (  # looked for in this order among the tokenizer's tokens
    Markers("<think>", "</think>"),
    Markers("[THINK]", "[/THINK]"),
    Markers("<thinking>", "</thinking>"),
    Markers("<reasoning>", "</reasoning>"),
    Markers("<|START_THINKING|>", "<|END_THINKING|>"),
    Markers("<|begin_of_thought|>", "<|end_of_thought|>"),
    Markers("<seed:think>", "</seed:think>"),
    Markers("<unused94>thought", "<unused95>"),
)


@dataclass(frozen=True, slots=True)
class Thinking:
    """How one answer's thinking is treated: its markers, and how many tokens it may take (None: no limit)."""

    markers: Markers
    budget: int | None = None


@dataclass(frozen=True, slots=True)
class Thought:
    """A generated text in its two parts. `text` is None where the model did not think.

    cut: it ended while still thinking. forced: the budget ended it, so the end marker is not the model's own.
    """

    text: str | None
    tokens: int
    cut: bool
    forced: bool = False


def split_text(text: str, markers: Markers | None) -> tuple[str, str | None, bool]:
    """Returns answer, thought (None: there was none) and whether the text ended while still thinking.

    For a text without tokens, as a server sends it. `markers` None: those of `KNOWN` that no prompt asks a model for.
    The first marker may be missing: a chat template has then written it at the end of the prompt.
    """
    for known in KNOWN[:2] if markers is None else (markers,):
        begun = text.lstrip().startswith(known.start)
        thought, found, answer = text.partition(known.end)
        if found and (begun or known.start not in thought):
            return answer.lstrip(), thought.lstrip().removeprefix(known.start).strip(), False
        if begun:
            return "", thought.lstrip().removeprefix(known.start).strip(), True
    return text, None, False


def markers_of(tokenizer: Any) -> Markers | None:
    """Returns the known markers that the tokenizer has as tokens of their own, or None."""
    own = set(tokenizer.get_added_vocab())
    return next((m for m in KNOWN if m.start in own and m.end in own), None)


class ThinkingTracker:
    """Follows one row's tokens: is the model thinking, for how many tokens, and where did it end."""

    def __init__(self, tokenizer: Any, thinking: Thinking, prompt: Sequence[int]) -> None:
        self.tokenizer, self.markers, self.budget = tokenizer, thinking.markers, thinking.budget
        before = raw_text(tokenizer, prompt[-2 * len(self.markers.start) :]).rstrip()
        self.active = before.endswith(self.markers.start)
        self.begun = self.active
        self.tokens = 0  # of the thinking, its markers among them
        self.answer_from: int | None = None  # tokens generated when the thinking ended
        self.forced = False
        self.pushed = 0
        self.scanner = self._scanner()

    def _scanner(self) -> StopScanner:
        return StopScanner(self.tokenizer, [self.markers.end if self.active else self.markers.start])

    @property
    def opening(self) -> list[int]:
        """Returns the tokens with which the model may open its thinking; none where the prompt has done so."""
        return [] if self.begun else self.tokenizer.encode(self.markers.start, add_special_tokens=False)

    def push(self, token: int) -> None:
        """Takes note of one more generated token."""
        self.pushed += 1
        self.tokens += self.active
        if self.answer_from is not None or self.scanner.push(token) is None:
            return
        if self.active:
            self.active, self.answer_from = False, self.pushed
        else:
            self.active = self.begun = True
            self.tokens = self.pushed
            self.scanner = self._scanner()

    def to_force(self) -> list[int]:
        """Returns the tokens of the end marker once the budget is spent while thinking, else nothing."""
        if not self.active or self.forced or self.budget is None or self.tokens < self.budget:
            return []
        self.forced = True
        marker: list[int] = self.tokenizer.encode(self.markers.end, add_special_tokens=False)
        return marker

    def split(self, ids: Sequence[int], stop: Sequence[str]) -> tuple[str, Thought]:
        """Returns the answer's text, cut at a stop string, and the thought."""
        if not self.begun:
            return visible_text(self.tokenizer, ids, stop), Thought(None, 0, False)
        end = len(ids) if self.answer_from is None else self.answer_from
        raw = raw_text(self.tokenizer, ids[:end]).lstrip().removeprefix(self.markers.start)
        text, _, rest = raw.partition(self.markers.end)
        if self.answer_from is None:
            return "", Thought(text.strip(), self.tokens, True, self.forced)
        # A token may hold the last of a marker and the first of the answer: `rest` is what such a token adds.
        answer = rest + visible_text(self.tokenizer, ids[end:], stop)
        return answer.lstrip(), Thought(text.strip(), self.tokens, False, self.forced)
