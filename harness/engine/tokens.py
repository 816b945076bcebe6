"""Texts to token ids, each distinct text encoded once and in batches."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class ScoreSequence:
    """One context and continuation as token ids.

    ids: context + continuation, cut on the left to the last `max_length + 1` tokens; the model reads `ids[:-1]`
    and the last `n_scored` of `ids` are judged.
    """

    ids: tuple[int, ...]
    n_scored: int
    truncated_left: int = 0

    @property
    def scorable(self) -> bool:
        """Whether there is a token to judge, and one before it for the model to read."""
        return 0 < self.n_scored < len(self.ids)


@dataclass(frozen=True, slots=True)
class ScoredSequence:
    """What the model thinks of one ScoreSequence.

    logprob: sum over the scored tokens of ln p(token | before), nats. greedy: each was the most likely token.
    prefill_s: this sequence's share of the machine seconds of its batch; shares sum to the batch.
    error: set when the model could not read the sequence; logprob is then NaN.
    """

    logprob: float
    greedy: bool
    prefill_s: float
    batch_size: int
    error: str | None = None


def encode_texts(
    tokenizer: Any, texts: Iterable[str], *, prefix_token: int | None, add_bos: bool | None = None
) -> dict[str, list[int]]:
    """Returns the ids of each distinct text.

    Special tokens are added as the tokenizer does by default (`add_bos` None) or as told, but never to a text that
    already opens with the prefix token: no text gets a second BOS.
    """
    distinct = list(dict.fromkeys(texts))
    prefix = tokenizer.decode([prefix_token]) if prefix_token is not None else ""
    opened = [text for text in distinct if prefix and text.startswith(prefix)]
    plain = [text for text in distinct if not (prefix and text.startswith(prefix))]
    ids: dict[str, list[int]] = {}
    for group, special in ((opened, False), (plain, add_bos is not False)):
        if group:
            encoded = tokenizer(group, add_special_tokens=special, return_attention_mask=False, verbose=False)
            ids.update(zip(group, encoded["input_ids"], strict=True))
    return ids


def encode_pairs(
    tokenizer: Any,
    pairs: Sequence[tuple[str, str]],
    *,
    max_length: int,
    prefix_token: int | None,
    add_bos: bool | None = None,
) -> list[ScoreSequence]:
    """Returns one ScoreSequence for each (context, continuation).

    White space at the end of the context moves to the continuation. The context's ids are those it has alone; the
    continuation's are those of the whole text after as many ids, also where the tokenizer merges across the boundary
    and the two do not make up the whole text's ids. An empty context becomes the prefix token. Longer sequences than
    the model reads lose tokens on the left, BOS first. The same as lm-eval 0.4.13 `TemplateLM._encode_pair` and
    `loglikelihood`. Where the continuation has no token of its own, or fills the whole window, the result is not
    `scorable`.
    """
    split = [_move_white_space(context, continuation) for context, continuation in pairs]
    whole = [c + t for (given, _), (c, t) in zip(pairs, split) if given]
    ids = encode_texts(tokenizer, [*(c for c, _ in split if c), *whole], prefix_token=prefix_token, add_bos=add_bos)
    # An empty context gets the prefix token from us, so its continuation must not get another from the tokenizer.
    bare_texts = list(dict.fromkeys(text for (context, _), (_, text) in zip(pairs, split) if not context and text))
    bare = _encode_bare(tokenizer, bare_texts)
    # Only white space before the continuation: lm-eval splits off what the tokenizer makes of an empty text.
    opening = tokenizer("", return_attention_mask=False)["input_ids"] if add_bos is not False else []

    sequences = []
    for (given, _), (context, continuation) in zip(pairs, split):
        if given == "":
            before, scored = [], bare.get(continuation, [])
        else:
            before = ids[context] if context else opening
            scored = ids[context + continuation][len(before) :]
        if not before and prefix_token is not None:
            if scored and scored[0] == prefix_token:
                before, scored = scored[:1], scored[1:]
            else:
                before = [prefix_token]
        kept = (before + scored)[-(max_length + 1) :]
        cut = len(before) + len(scored) - len(kept)
        sequences.append(ScoreSequence(ids=tuple(kept), n_scored=len(scored), truncated_left=cut))
    return sequences


def _move_white_space(context: str, continuation: str) -> tuple[str, str]:
    bare = context.rstrip()
    return bare, context[len(bare) :] + continuation


def _encode_bare(tokenizer: Any, texts: list[str]) -> dict[str, list[int]]:
    if not texts:
        return {}
    encoded = tokenizer(texts, add_special_tokens=False, return_attention_mask=False, verbose=False)
    return dict(zip(texts, encoded["input_ids"], strict=True))
