"""How rows of tokens are run through a model together: two decoders with one interface.

A decoder holds the keys and values of the rows that are running, at places 0..n-1. `prefill` adds rows after the
last place, `step` runs one token of every row, `remove` frees a place and moves the last row there. Nothing that was
computed is computed again. Both return the logits [rows, vocabulary] of the position that is read, and no others.

- `PackedDecoder`: no padding at all. The tokens of all rows lie behind one another in one sequence, and the model's
  attention is replaced by one that knows which row each belongs to. A prefix that rows share is kept once and read
  once for all of them. For models that take their attention from transformers' attention interface.
- `PaddedDecoder`: rows are aligned on the right, as in `generate`. For any model whose cache is keys and values.

`works` tries a decoder on a few tokens against the model alone: what a model can do is measured, never looked up.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, DynamicCache
from transformers.cache_utils import Cache, DynamicLayer

from harness.engine.loaded import LoadedModel

ROOM = 64  # columns and places are added in steps of this many tokens, and by a half of what is there
SHARED_LENGTH = 256  # a shared prefix shorter than this is copied to each row: reading it apart costs more
PREFILL_TOKENS = 4096  # tokens run at once when rows are prefilled (one longer prompt runs alone)
PACKED = "harness_packed"  # the name of our attention in transformers' attention interface


@dataclass(slots=True, eq=False)
class Segment:
    """Tokens that begin the prompts of several rows, after those of `parent`."""

    ids: tuple[int, ...]
    parent: Segment | None
    users: int  # rows that begin with it
    seconds: float = 0.0  # machine seconds to compute it; every user bears an equal share
    keys: list[torch.Tensor] = field(default_factory=list)  # a layer each: [1, heads, tokens, size]
    values: list[torch.Tensor] = field(default_factory=list)

    @property
    def end(self) -> int:
        """Tokens from the beginning of the prompt to the end of this segment."""
        return len(self.ids) + (self.parent.end if self.parent else 0)

    def chain(self) -> list[Segment]:
        """Returns the segments from the root to this one."""
        return [*(self.parent.chain() if self.parent else []), self]


def shared_segments(prompts: Sequence[Sequence[int]], least: int = 32) -> list[Segment | None]:
    """Returns for each prompt the deepest segment it begins with: a prefix tree of what at least two prompts share.

    A segment has `least` tokens or more. The last token of a prompt is never in one, for its logits are read.
    """
    deepest: list[Segment | None] = [None] * len(prompts)
    order = sorted(range(len(prompts)), key=lambda i: prompts[i])
    # What each prompt can share with the one before it in this order, the last token of either left out.
    common = [0, *(_common(prompts[a][:-1], prompts[b][:-1]) for a, b in zip(order, order[1:]))]
    todo: list[tuple[int, int, Segment | None]] = [(0, len(order), None)]
    while todo:
        low, high, parent = todo.pop()
        depth = parent.end if parent else 0
        shared = min(common[low + 1 : high], default=0)
        if shared - depth >= least:
            parent = Segment(tuple(prompts[order[low]][depth:shared]), parent, users=high - low)
            depth = shared
            for i in order[low:high]:
                deepest[i] = parent
        cuts = [low, *(k for k in range(low + 1, high) if common[k] < depth + least), high]
        todo.extend((a, b, parent) for a, b in zip(cuts, cuts[1:]) if b - a > 1)
    return deepest


def _common(a: Sequence[int], b: Sequence[int]) -> int:
    return next((k for k, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))


# --- attention over parts --------------------------------------------------------------------------------------------


def attend(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    scale: float,
    hidden: torch.Tensor | None = None,
    softcap: float | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns attention over one part of the keys and the log of its weights' sum, [b, h, q, size] and [b, h, q].

    query: [b, h, q, size]; key and value: [b, h, k, size]; hidden: what is not to be seen, bool, broadcast to
    [b, h, q, k]. A query that sees nothing gets zeros and -inf.
    """
    if query.device.type == "cpu" and softcap is None and hidden is None:
        return torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(query, key, value, 0.0, False, scale=scale)
    scores = (query @ key.transpose(-1, -2)).float() * scale
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    if hidden is not None:
        scores = scores.masked_fill(hidden, -torch.inf)
    total = scores.logsumexp(-1, keepdim=True)
    weights = (scores - total.clamp(min=torch.finfo(torch.float32).min)).exp()
    return weights.to(value.dtype) @ value, total.squeeze(-1)
