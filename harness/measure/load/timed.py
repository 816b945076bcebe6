"""One request under load: its moments, its tokens, and whether it met what was wanted of it. Sends nothing."""

from __future__ import annotations

from dataclasses import dataclass

DISBELIEF = 0.10  # share by which a server's count of tokens may differ from ours before ours is taken


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens as the server counts them: what an API bills. `output_tokens` includes the reasoning ones."""

    input_tokens: int
    output_tokens: int
    cached_tokens: int | None = None  # part of input_tokens, read from a cache
    reasoning_tokens: int | None = None  # part of output_tokens

    @property
    def contradicts_itself(self) -> bool:
        """Whether a part is below zero or larger than its whole."""
        parts = ((self.cached_tokens, self.input_tokens), (self.reasoning_tokens, self.output_tokens))
        return any(part is not None and not 0 <= part <= whole for part, whole in parts)


@dataclass(frozen=True, slots=True)
class Slo:
    """What a request must meet, and the share of requests that must meet all of it. None: no bound."""

    ttft_s: float | None = None
    tpot_s: float | None = None
    response_s: float | None = None
    attainment: float = 0.9


@dataclass(frozen=True, slots=True)
class Timed:
    """One request under load. Moments are seconds since the scenario began; None: it never came to that."""

    index: int  # order of due moments
    key: str
    sample_id: str
    t_sched: float
    t_send: float
    t_first: float | None = None  # first token of any kind
    t_first_answer: float | None = None  # first token that is not thinking
    t_last: float | None = None
    t_end: float | None = None
    chunks: int = 0
    gaps_s: tuple[float, ...] = ()  # between chunks
    usage: Usage | None = None  # the server's count
    counted: int | None = None  # our own count of the output that was streamed
    error: str | None = None
    retry_after_s: float | None = None
    correct: float | None = None  # in [0, 1]; None: not judged
    billed: bool = True  # False: it was refused, or never sent, and costs nothing
    after_first: int | None = None  # output tokens that came after t_first, of a stream; 0: none is known

    @property
    def ttft_s(self) -> float | None:
        return None if self.t_first is None else self.t_first - self.t_send

    @property
    def service_s(self) -> float | None:
        """Seconds from sending to the end (E2E)."""
        return None if self.t_end is None else self.t_end - self.t_send

    @property
    def response_s(self) -> float | None:
        """Seconds from when it was due to the end."""
        return None if self.t_end is None else self.t_end - self.t_sched

    @property
    def streamed(self) -> int | None:
        """Output tokens between t_first and t_last. None: nobody counted them; chunks are no tokens.

        The server's count, less reasoning it kept to itself, unless ours says it cannot be true.
        """
        if self.usage is None:
            return self.counted
        if self.usage.contradicts_itself:
            return self.counted
        claimed = self.usage.output_tokens
        hidden = self.usage.reasoning_tokens or 0
        if hidden and self.t_first == self.t_first_answer:
            claimed -= hidden
        return self.counted if self._disbelieved(claimed) else claimed

    @property
    def usage_differs(self) -> bool:
        """Whether the server's count and ours differ too much for both to be of this answer, or its own parts do."""
        if self.usage is None:
            return False
        if self.usage.contradicts_itself:
            return True
        claimed = self.usage.output_tokens
        return self._disbelieved(claimed) and self._disbelieved(claimed - (self.usage.reasoning_tokens or 0))

    def _disbelieved(self, claimed: int) -> bool:
        return self.counted is not None and abs(claimed - self.counted) > max(2, DISBELIEF * self.counted)

    @property
    def tpot_s(self) -> float | None:
        later = (self.streamed or 0) - 1 if self.after_first is None else self.after_first
        if later < 1 or self.t_first is None or self.t_last is None or self.at_once:
            return None
        return (self.t_last - self.t_first) / later

    @property
    def at_once(self) -> bool:
        """Whether several tokens came at one moment: how long each took is unknown, and not 0."""
        return self.t_first is not None and self.t_first == self.t_last and (self.streamed or 0) > 1

    def meets(self, slo: Slo) -> bool:
        """Returns whether it was answered within every bound. An answer without a TPOT cannot miss the bound of it."""
        if self.error is not None or self.ttft_s is None:
            return False
        bounds = ((self.ttft_s, slo.ttft_s), (self.tpot_s, slo.tpot_s), (self.response_s, slo.response_s))
        return all(bound is None or value is None or value <= bound for value, bound in bounds)
