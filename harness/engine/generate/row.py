"""One answer while it is written: what is asked, what stands so far and when it is complete, and what comes of it."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from harness.engine.generate.constrained import Constraint
from harness.engine.generate.shared_prefixes import Segment
from harness.engine.loaded import LoadedModel
from harness.engine.plain_method import Generated, GenerationInput
from harness.engine.text.answer import GrowingAnswer
from harness.values import Confidence, Finish


@dataclass(frozen=True, slots=True)
class RowInput(GenerationInput):
    """A prompt with all that the engine can do for it."""

    constraint: Constraint | None = None  # what the answer is held to
    logprobs: bool = False


@dataclass(frozen=True, slots=True)
class RowGenerated(Generated):
    """What the model wrote, and when. `first_token_s` and `last_token_s` count from this row's own prefill.

    prefill_s and decode_s are shares of machine seconds; those of all rows add up to the run's, unless time ran out
    before a row began. batch_size: the most rows that ran beside this one, itself included; 2 or more also where a
    shared part of the prompt was computed for others: then no time here is a latency.
    """

    queued_s: float = 0.0  # from the start of the run to this row's prefill
    token_s: tuple[float, ...] = ()  # when each token was known, from this row's prefill
    shared_tokens: int = 0  # tokens of the prompt that were computed once for several rows
    confidence: Confidence | None = None  # before any setting is applied; None: nobody asked, or there is no answer


class Row:
    """One answer while it grows. `next_tokens` reads sampling, seed, history and step."""

    def __init__(self, loaded: LoadedModel, index: int, prompt: GenerationInput, start: float) -> None:
        self.index, self.prompt, self.start = index, prompt, start
        self.segment: Segment | None = None  # the deepest shared part of the prompt
        self.eos = loaded.eos_tokens
        self.sampling, self.seed = prompt.sampling, prompt.seed
        self.greedy = prompt.sampling.temperature == 0 and prompt.sampling.repetition_penalty == 1
        self.limit = min(prompt.max_tokens, loaded.max_length - len(prompt.ids))
        self.history = list(prompt.ids)
        self.written: list[int] = []
        self.stop_string: str | None = None
        self.finish: Finish | None = None
        self.error: str | None = None
        self.began: float | None = None  # clock seconds
        self.stamps: list[float] = []  # clock seconds
        self.prefill_s = self.decode_s = 0.0
        self.batch_size = 1
        self.logprobs: list[float] | None = [] if getattr(prompt, "logprobs", False) else None
        constraint = getattr(prompt, "constraint", None)
        self.answer = GrowingAnswer(loaded.tokenizer, prompt.stop, prompt.thinking, prompt.ids)
        self.matcher = constraint.start() if constraint else None
        self.forced: deque[int] = deque()
        # A model that opens its thinking itself may do so before an answer that is held to a grammar.
        opening = self.answer.thinking.opening if self.answer.thinking and self.matcher else []
        self.opening = opening[0] if len(opening) == 1 else None

    @property
    def step(self) -> int:
        return len(self.written)

    @property
    def in_answer(self) -> bool:
        return not self.answer.thinks

    def push(self, token: int, now: float, logprob: float | None = None) -> None:
        """Adds a token and decides whether the row is complete."""
        answering = self.in_answer and not (self.step == 0 and token == self.opening)
        self.history.append(token)
        self.written.append(token)
        self.stamps.append(now)
        complete = False
        if answering:
            if self.logprobs is not None and logprob is not None:
                self.logprobs.append(logprob)
            if self.matcher is not None:
                complete = self.matcher.push(token)
        self.stop_string = self.answer.push(token)
        if self.answer.thinking is not None:
            if self.answer.thinking.answer_from == self.step and self.logprobs:
                self.logprobs.clear()  # all so far was thought
            self.forced.extend(self.answer.thinking.to_force())
        if complete or self.stop_string is not None or token in self.eos:
            self.finish = "stop"
        elif len(self.written) >= self.limit:
            self.finish = "length"

    def finished(self, finish: Finish | None = None) -> RowGenerated:
        """Returns the row as a value, with the finish reason it has or the one given."""
        ids = self.written[:-1] if self.written and self.written[-1] in self.eos else self.written
        text, thought = self.answer.read(ids)
        began = self.start if self.began is None else self.began
        since = tuple(stamp - began for stamp in self.stamps)
        logprobs = self.logprobs
        return RowGenerated(
            text=text,
            ids=tuple(self.written),
            finish_reason=self.finish or finish or "error",
            stop_string=self.stop_string,
            prefill_s=self.prefill_s,
            decode_s=self.decode_s,
            first_token_s=since[0] if since else 0.0,
            last_token_s=since[-1] if since else 0.0,
            batch_size=self.batch_size,
            error=self.error,
            queued_s=began - self.start,
            token_s=since,
            shared_tokens=self.segment.end if self.segment else 0,
            thought=thought,
            confidence=Confidence(sum(logprobs) / len(logprobs), min(logprobs), logprobs[0]) if logprobs else None,
        )
