"""Logits to the next token, each row with its own settings and its own draws.

The distribution is that of transformers' logits processors in the order `generate` applies them: repetition penalty,
temperature, top-k, top-p, min-p. A draw depends on the row's seed and the position of the token, and on nothing else:
not on the rows beside it, nor on when it joined them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import torch

from harness.errors import TaskError
from harness.values import Sampling

LIMITS: dict[str, tuple[Callable[[float], bool], str]] = {  # field: (is it allowed, what is)
    "temperature": (lambda v: 0 <= v < float("inf"), "0 (greedy) or more"),
    "top_p": (lambda v: 0 < v <= 1, "more than 0 and at most 1"),
    "top_k": (lambda v: v >= 0, "0 (all) or more"),
    "min_p": (lambda v: 0 <= v <= 1, "between 0 and 1"),
    "repetition_penalty": (lambda v: 0 < v < float("inf"), "more than 0 (1 is none)"),
}
NUCLEUS = 1024  # tokens looked at first for top-p


def check_sampling(sampling: Sampling, where: str = "") -> None:
    """Raises TaskError naming the first setting that is out of its range."""
    for name, (allowed, range_text) in LIMITS.items():
        value = getattr(sampling, name)
        if not allowed(value):
            raise TaskError(f"{name} is {value}", where=where, fix=f"{name} is {range_text}")


def row_seed(seed: int, sample_id: str, epoch: int, turn: int = 1) -> int:
    """Returns the seed of one answer: other samples, epochs and turns draw independently."""
    return _hash64(f"{seed}\0{sample_id}\0{epoch}" + (f"\0{turn}" if turn > 1 else ""))


def uniform(seed: int, step: int) -> float:
    """Returns the draw in [0, 1) of the `step`-th token of the row with this seed (53 bits of a hash)."""
    return (_hash64(f"{seed}\0{step}") >> 11) * 2.0**-53


def _hash64(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest())


def penalise_repetition(logits: torch.Tensor, ids: Sequence[int], penalty: float) -> torch.Tensor:
    """Returns logits [vocabulary] with every token of `ids` made less likely by `penalty` (Keskar et al. 2019)."""
    seen = torch.tensor(sorted(set(ids)), device=logits.device)
    old = logits[seen]
    return logits.index_copy(0, seen, torch.where(old < 0, old * penalty, old / penalty))


def warp(logits: torch.Tensor, sampling: Sampling) -> torch.Tensor:
    """Returns logits [rows, vocabulary] over temperature, with what top-k, top-p and min-p leave out at -inf."""
    logits = logits / sampling.temperature
    if 0 < sampling.top_k < logits.shape[-1]:
        kth = logits.topk(sampling.top_k).values[:, -1:]
        logits = logits.masked_fill(logits < kth, -torch.inf)
    if sampling.top_p < 1:
        logits = _nucleus(logits, sampling.top_p)
    if sampling.min_p > 0:
        probs = logits.softmax(-1)
        logits = logits.masked_fill(probs < sampling.min_p * probs.amax(-1, keepdim=True), -torch.inf)
    return logits


def _nucleus(logits: torch.Tensor, top_p: float) -> torch.Tensor:
    """Returns logits with all at -inf but the most likely tokens: those with less than `top_p` above them.

    Sorting a whole vocabulary takes longer than a step of a small model; mostly its first thousand tokens decide.
    """
    probs = logits.softmax(-1)
    for count in (min(NUCLEUS, logits.shape[-1]), logits.shape[-1]):
        best, places = probs.topk(count)
        above = best.cumsum(-1) - best
        if count == logits.shape[-1] or bool((above[:, -1] >= top_p).all()):
            break
    kept = torch.zeros_like(logits, dtype=torch.bool).scatter(1, places, above < top_p)
    kept.scatter_(1, places[:, :1], True)  # the most likely token always stays
    return logits.masked_fill(~kept, -torch.inf)


def draw(logits: torch.Tensor, sampling: Sampling, seeds: Sequence[int], steps: Sequence[int]) -> torch.Tensor:
    """Returns one token a row, [rows], from logits [rows, vocabulary] in float32; the most likely one when greedy.

    A draw is the inverse of the cumulative distribution, in float64, at the row's uniform number.
    """
    if sampling.temperature == 0:
        return logits.argmax(-1)
    total = warp(logits, sampling).softmax(-1).double().cumsum(-1)
    points = torch.tensor([uniform(*at) for at in zip(seeds, steps, strict=True)], dtype=torch.float64)
    points = points.to(logits.device)[:, None] * total[:, -1:]
    return torch.searchsorted(total, points, right=True).squeeze(1)


def next_tokens(logits: torch.Tensor, rows: Sequence[Any]) -> list[int]:
    """Returns the next token of each row from logits [rows, vocabulary] of any float type.

    A row has `sampling`, `seed`, `history` (the ids a repetition penalty looks at) and `step` (tokens drawn so far).
    Rows with the same settings are drawn together.
    """
    groups: dict[Sampling, list[int]] = {}
    for i, row in enumerate(rows):
        key = row.sampling if row.sampling.temperature > 0 else Sampling()
        groups.setdefault(key, []).append(i)
    penalised = [i for i, row in enumerate(rows) if row.sampling.repetition_penalty != 1]
    if penalised:
        logits = logits.float().clone()
        for i in penalised:
            logits[i] = penalise_repetition(logits[i], rows[i].history, rows[i].sampling.repetition_penalty)
    if len(groups) == 1:
        (sampling, _), *_ = groups.items()
        part = logits if sampling.temperature == 0 else logits.float()
        return draw(part, sampling, [r.seed for r in rows], [r.step for r in rows]).tolist()
    tokens = [0] * len(rows)
    for sampling, members in groups.items():
        part = logits[members].float()
        drawn = draw(part, sampling, [rows[i].seed for i in members], [rows[i].step for i in members])
        for i, token in zip(members, drawn.tolist(), strict=True):
            tokens[i] = token
    return tokens
