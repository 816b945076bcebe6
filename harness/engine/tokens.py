"""Texts to token ids, each distinct text encoded once."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ScoreSequence:
    """One context and continuation as token ids.

    ids: context + continuation, cut on the left to the last `max_length + 1` tokens; the model reads `ids[:-1]`
    and the last `n_scored` of `ids` are judged.
    """

    ids: tuple[int, ...]
    n_scored: int
    truncated_left: int = 0


@dataclass(frozen=True, slots=True)
class ScoredSequence:
    """What the model thinks of one ScoreSequence.

    logprob: sum over the scored tokens of ln p(token | before), nats. greedy: each was the most likely token.
    prefill_s: this sequence's share of the machine seconds of its batch; shares sum to the batch.
    """

    logprob: float
    greedy: bool
    prefill_s: float
    batch_size: int
