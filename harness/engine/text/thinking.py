"""The thinking of a reasoning model, told apart from its answer.

A model thinks between two markers, `<think>` and `</think>` or others of its own; a chat template may already have
written the first one at the end of the prompt. Thinking is kept and counted, and is never part of the answer.
`split_text` and `ThinkingTracker` part a text alike: the one a whole text, the other token by token.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from harness.engine.text.stop_strings import UNFINISHED, StopScanner, raw_text, visible_text


@dataclass(frozen=True, slots=True)
class Markers:
    """The texts between which a model thinks."""

    start: str
    end: str


KNOWN = (  # looked for in this order
    Markers("<think>", "</think>"),
    Markers("[THINK]", "[/THINK]"),
    Markers("<thinking>", "</thinking>"),
    Markers("<reasoning>", "</reasoning>"),
    Markers("<|START_THINKING|>", "<|END_THINKING|>"),
    Markers("<|begin_of_thought|>", "<|end_of_thought|>"),
    Markers("<seed:think>", "</seed:think>"),
    Markers("<unused94>thought", "<unused95>"),
    Markers("◁think▷", "◁/think▷"),
)
# Prompts ask models to write between these two: they are a thought only as tokens of the model's own.
ASKED_FOR = ("<thinking>", "<reasoning>")
AS_TEXT = tuple(markers for markers in KNOWN if markers.start not in ASKED_FOR)


@dataclass(frozen=True, slots=True)
class Thinking:
    """How one answer's thinking is treated: its markers, and how many tokens it may take (None: no limit).

    Markers None: the tokenizer has none of its own, so those of `AS_TEXT` are looked for in the text.
    """

    markers: Markers | None
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


def split_text(text: str, markers: Markers | None, *, opened: Markers | None = None) -> tuple[str, str | None, bool]:
    """Returns answer, thought (None: there was none) and whether the text ended while still thinking.

    A thought begins a text: markers further down are the answer's own. `markers` None: those of `AS_TEXT`. `opened`:
    those whose first stands at the end of the prompt. It may also be missing where nobody knows of it, as at a server
    whose chat template writes it.
    """
    lead = text.lstrip()
    begun = opened or next((known for known in _candidates(markers) if lead.startswith(known.start)), None)
    if begun is not None:
        thought, ended, answer = lead.removeprefix(begun.start).partition(begun.end)
        return answer.lstrip() if ended else "", thought.strip(), not ended
    ends = [(lead.index(known.end), known) for known in _candidates(markers) if known.end in lead]
    at, known = min(ends, key=lambda found: found[0], default=(0, None))
    if known is None or known.start in lead[:at]:
        return text, None, False
    return lead[at + len(known.end) :].lstrip(), lead[:at].strip(), False


def _candidates(markers: Markers | None) -> tuple[Markers, ...]:
    return AS_TEXT if markers is None else (markers,)


def opened_by(prompt: str, markers: Markers | None) -> Markers | None:
    """Returns the markers whose first one stands at the end of a prompt, or None."""
    end = prompt.rstrip()
    return next((known for known in _candidates(markers) if end.endswith(known.start)), None)


def markers_of(tokenizer: Any) -> Markers | None:
    """Returns the known markers that the tokenizer has as tokens of their own, or None."""
    own = set(tokenizer.get_added_vocab())
    return next((m for m in KNOWN if m.start in own and m.end in own), None)


class ThinkingTracker:
    """Follows one row's tokens: is the model thinking, for how many tokens, and where did it end."""

    def __init__(self, tokenizer: Any, thinking: Thinking, prompt: Sequence[int]) -> None:
        self.tokenizer, self.budget = tokenizer, thinking.budget
        self.known = _candidates(thinking.markers)
        longest = max(len(known.start) for known in self.known)
        self.opened = opened_by(raw_text(tokenizer, prompt[-2 * longest :]), thinking.markers)
        self.markers = self.opened  # of the thought, once there is one
        self.active = self.opened is not None
        self.tokens = 0  # of the thinking, its markers among them
        self.answer_from: int | None = None  # tokens generated when the thinking ended
        self.forced = False
        self.ids: list[int] = []
        self.looks = True  # for the end of a thought
        self.undecided = not self.active  # what stands so far may yet become the first marker
        self.ends = StopScanner(tokenizer, [known.end for known in ((self.opened,) if self.opened else self.known)])

    @property
    def begun(self) -> bool:
        """Returns whether there is a thought, ended or not."""
        return self.markers is not None

    @property
    def holds_back(self) -> bool:
        """Returns whether what stands so far is a part of a first marker: neither thought nor answer yet."""
        return self.undecided and bool(self._text().strip())

    @property
    def opening(self) -> list[int]:
        """Returns the tokens with which the model may open its thinking; none where the prompt has done so."""
        if self.begun or len(self.known) > 1:
            return []
        marker: list[int] = self.tokenizer.encode(self.known[0].start, add_special_tokens=False)
        return marker

    def push(self, token: int) -> None:
        """Takes note of one more generated token."""
        self.ids.append(token)
        self.tokens += self.active
        if self.answer_from is not None:
            return
        if self.undecided:
            self._decide()
        end = self.ends.push(token) if self.looks else None
        if end is not None and not (self.active or self._began_before(end)):
            self.looks = False  # a marker of the answer's own
        elif end is not None:
            self.markers = next(known for known in self.known if known.end == end)
            self.active, self.undecided, self.answer_from = False, False, len(self.ids)
            self.tokens = self.tokens if self.opened or self.tokens else len(self.ids)

    def _decide(self) -> None:
        text = self._text()
        found = next((known for known in self.known if text.startswith(known.start)), None)
        if found is not None:
            self.markers, self.active, self.tokens = found, True, len(self.ids)
            self.ends.stop = (found.end,)
        self.undecided = found is None and any(known.start.startswith(text) for known in self.known)

    def _text(self) -> str:
        return raw_text(self.tokenizer, self.ids).lstrip().rstrip(UNFINISHED)

    def _began_before(self, end: str) -> bool:
        """Returns whether all that stands before an end marker is a thought that nothing here opened."""
        known = next(known for known in self.known if known.end == end)
        return known.start not in self._text()

    def to_force(self) -> list[int]:
        """Returns the tokens of the end marker once the budget is spent while thinking, else nothing."""
        if self.markers is None or not self.active or self.forced or self.budget is None or self.tokens < self.budget:
            return []
        self.forced = True
        marker: list[int] = self.tokenizer.encode(self.markers.end, add_special_tokens=False)
        return marker

    @property
    def rest(self) -> str:
        """Returns what the token that ended the thinking holds of the answer."""
        if self.markers is None or self.answer_from is None:
            return ""
        before = raw_text(self.tokenizer, self.ids[: self.answer_from]).lstrip().removeprefix(self.markers.start)
        return before.partition(self.markers.end)[2]

    def split(self, ids: Sequence[int], stop: Sequence[str]) -> tuple[str, Thought]:
        """Returns the answer's text, cut at a stop string, and the thought."""
        if self.markers is None:
            return visible_text(self.tokenizer, ids, stop), Thought(None, 0, False)
        end = len(ids) if self.answer_from is None else self.answer_from
        raw = raw_text(self.tokenizer, ids[:end])
        _, thought, _ = split_text(raw, self.markers, opened=self.markers)
        if self.answer_from is None:
            return "", Thought(thought, self.tokens, True, self.forced)
        answer = visible_text(self.tokenizer, ids[end:], stop, after=self.rest)
        return answer, Thought(thought, self.tokens, False, self.forced)
