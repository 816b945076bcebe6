"""Which method scores a model: the tree where it is shown to give the plain method's numbers, else the plain one."""

from __future__ import annotations

import inspect
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch

from harness.engine import plain_method
from harness.engine.cache import LONGEST_TRIED, attention_kinds, reaches
from harness.engine.loaded import LoadedModel, cache_argument
from harness.engine.memory import peak_bytes
from harness.engine.score import prefix_walk
from harness.engine.score.prefix_readers import PackedReader, PaddedReader
from harness.engine.tokens import ScoredSequence, ScoreSequence

log = logging.getLogger(__name__)

Scorer = Callable[..., Iterator[tuple[int, ScoredSequence]]]

NEEDED = ("attention_mask", "position_ids", "use_cache")
TRIAL_PREFIX, TRIAL_BRANCHES = 20, (8, 5, 9)  # tokens
TRIAL_BUDGETS = (12, 512)  # tokens a batch: a prefix read in two parts and kept; everything in one row
# Nats a judged token may differ by, on average. In half precision rounding depends on the model's depth: it is measured
# on one sequence at a time, and branches that share may differ by a few times that.
ALLOWED = 1e-4
ALLOWED_HALF, ROUNDING_HALF, TIMES_ROUNDING = 0.05, 2e-3, 6


def scorer_for(loaded: LoadedModel, engine: str = "auto") -> Scorer:
    """Returns the `score` function to use: `tree.score` or `plain_score`, both with the same arguments.

    engine "plain" asks for the reference method; "auto" tries the tree on a short text first. Where the model cannot do
    it, one line of the log says so, and every result.
    """
    if engine == "plain":
        return plain_score
    why = None
    for reader in (PackedReader, PaddedReader):
        why = obstacle(loaded, reader)
        if why is None:
            limit = rescaled_beyond(loaded.model.config)
            shared = partial(prefix_walk.score, reader=reader)
            return shared if limit is None else partial(_by_length, limit, shared)
        log.debug("not with %s: %s", reader.__name__, why)
    log.info("scoring with the plain method: %s", why)
    return partial(plain_score, instead=why)


def plain_score(
    loaded: LoadedModel,
    sequences: Sequence[ScoreSequence],
    *,
    batch_tokens: int | None = None,
    on_stats: Callable[[prefix_walk.EngineStats], None] | None = None,
    instead: str | None = None,
) -> Iterator[tuple[int, ScoredSequence]]:
    """Yields what `plain_method.score` does, and tells `on_stats` what it took, as far as that is known.

    instead: why it is not the tree that scores, None where the tree was not wanted; each result says so.
    """
    start, seconds = time.perf_counter(), 0.0
    for index, scored in plain_method.score(loaded, sequences, batch_tokens=batch_tokens):
        seconds += scored.prefill_s
        yield index, scored if instead is None else replace(scored, fallback=instead)
    if on_stats is not None:
        on_stats(
            prefix_walk.EngineStats(
                sequences=len(sequences),
                prompt_tokens=sum(len(one.ids) for one in sequences),
                forwarded_tokens=sum(map(len, {one.ids[:-1] for one in sequences})),
                forward_s=seconds,
                total_s=time.perf_counter() - start,
                peak_memory_bytes=peak_bytes(loaded.device),
            )
        )


def rescaled_beyond(config: Any) -> int | None:
    """Returns the length from which on a model turns all its positions by other angles, or None if it never does."""
    text = config.get_text_config(decoder=True)
    rope = getattr(text, "rope_parameters", None) or {}
    if rope.get("rope_type") not in ("dynamic", "longrope"):
        return None
    stated = rope.get("original_max_position_embeddings") or getattr(text, "original_max_position_embeddings", None)
    longest: int | None = stated or text.max_position_embeddings
    return longest


def beyond(limit: int) -> str:
    """Returns why texts beyond `limit` tokens are run by the plain method."""
    return f"beyond {limit} tokens the model turns all its positions otherwise"


def _by_length(
    limit: int,
    shared: Scorer,
    loaded: LoadedModel,
    sequences: Sequence[ScoreSequence],
    *,
    batch_tokens: int | None = None,
    on_stats: Callable[[prefix_walk.EngineStats], None] | None = None,
) -> Iterator[tuple[int, ScoredSequence]]:
    """Yields what any scorer does, where sequences beyond `limit` tokens cannot share a prefix with shorter ones."""
    took: list[prefix_walk.EngineStats] = []
    long = [len(sequence.ids) - 1 > limit for sequence in sequences]
    plain = partial(plain_score, instead=beyond(limit))
    for run, wanted in ((shared, False), (plain, True)):
        indices = [index for index, is_long in enumerate(long) if is_long == wanted]
        if indices:
            part = [sequences[index] for index in indices]
            for index, scored in run(loaded, part, batch_tokens=batch_tokens, on_stats=took.append):
                yield indices[index], scored
    if on_stats is not None:
        on_stats(prefix_walk.together(took) if took else prefix_walk.EngineStats(0, 0))


def near_ties(decisions: Iterable[Sequence[tuple[float, int]]], dtype: torch.dtype) -> int:
    """Returns how many decisions between choices lie within rounding of a tie.

    decisions: of each decision's choices the log-probability (nats) and the number of tokens that it is a sum over. A
    token's is off by up to half the spacing of numbers of `dtype` where logits are (between 16 and 32: 0.125 in bf16),
    evenly spread, so by spacing / sqrt(12) on average. The errors of all tokens of two choices add up as independent
    ones do; within three times that of their difference a decision is near a tie.
    """
    spacing, near = 16 * torch.finfo(dtype).eps, 0
    for choices in decisions:
        best = max(choices, default=(float("nan"), 0))
        others = list(choices)
        if best in others:
            others.remove(best)
        near += any(best[0] - value <= 3 * spacing * ((best[1] + n) / 12) ** 0.5 for value, n in others)
    return near


def obstacle(loaded: LoadedModel, reader: Any = PaddedReader) -> str | None:
    """Returns why the tree method with a reader would not give this model's own numbers, or None if it does.

    Asks the model, never its name: which inputs it takes, what its cache keeps, and last a trial on a short text.
    """
    model = loaded.model
    if getattr(model.config, "is_encoder_decoder", False):
        return "an encoder reads the prompt apart from the continuation"
    part = prefix_walk.decoder(model)
    if part is None or model.get_output_embeddings() is None:
        return "the model has no part that ends before its vocabulary"
    needed = (*NEEDED, cache_argument(type(part)))
    lacks = [name for name in needed if name not in inspect.signature(part.forward).parameters]
    if lacks:
        return f"the model takes no {lacks[0]}"
    if attention_kinds(model.config) is None:
        return "some layers keep a state that branches cannot share"
    try:
        rounding, difference = _trial(loaded, reader)
    except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
        reason = (str(error).strip() or "no reason given").splitlines()[0][:200]
        return f"a trial failed: {type(error).__name__}: {reason}"
    exact = model.dtype in (torch.float32, torch.float64)
    allowed = ALLOWED if exact else max(ROUNDING_HALF, TIMES_ROUNDING * rounding)
    if not (difference <= allowed and rounding <= (ALLOWED if exact else ALLOWED_HALF)):  # NaN is not
        return f"on a trial a shared prefix moved log-probabilities by {max(rounding, difference):.2g} nats a token"
    return None


def _trial(loaded: LoadedModel, reader: Any) -> tuple[float, float]:
    """Returns how far the tree is from the model's own numbers, in mean nats a token:
    each sequence alone, and all together.

    The text is longer than any small window the configuration speaks of, so that a model which counts positions by
    their place in the row is found out.
    """
    prefix = TRIAL_PREFIX + max((reach for reach in reaches(loaded.model.config) if reach <= LONGEST_TRIED), default=0)
    sequences = _trial_sequences(prefix, loaded.model.get_output_embeddings().weight.shape[0], loaded.max_length)
    expected = [_model_itself(loaded, sequence) for sequence in sequences]
    score = partial(prefix_walk.score, loaded, reader=reader)
    apart = [dict(score([one], batch_tokens=TRIAL_BUDGETS[0]))[0].logprob for one in sequences]
    together = [dict(score(sequences, batch_tokens=budget)) for budget in TRIAL_BUDGETS]
    gaps = [
        [abs(got - own) / one.n_scored for got, own, one in zip(scores, expected, sequences, strict=True)]
        for scores in (apart, *([scored[i].logprob for i in range(len(sequences))] for scored in together))
    ]
    rounding, *differences = (float(np.mean(each)) for each in gaps)
    return rounding, float(np.max(differences))


def _trial_sequences(prefix: int, vocabulary: int, max_length: int) -> list[ScoreSequence]:
    """Returns branches of several lengths after one prefix; two of them part again further down."""
    ids = [(101 * place + 7 * place * place + 3) % vocabulary for place in range(prefix + sum(TRIAL_BRANCHES) + 4)]
    head, rest = tuple(ids[: max(1, min(prefix, max_length - max(TRIAL_BRANCHES)))]), ids[prefix:]
    branches = []
    for length in TRIAL_BRANCHES:
        branches.append(tuple(rest[:length]))
        rest = rest[length:]
    branches.append(branches[0][:4] + tuple(rest))
    return [ScoreSequence((*head, *branch)[-max_length:], min(4, len(branch))) for branch in branches]


@torch.inference_mode()
def _model_itself(loaded: LoadedModel, sequence: ScoreSequence) -> float:
    ids = torch.tensor([sequence.ids], device=loaded.device)
    options: dict[str, object] = {"use_cache": False}
    logits = loaded.model(input_ids=ids[:, :-1], **options).logits[0, -sequence.n_scored :].float()
    targets = ids[0, -sequence.n_scored :].to(logits.device)[:, None]
    return float((logits.gather(1, targets)[:, 0] - logits.logsumexp(dim=1)).sum())
