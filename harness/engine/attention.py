"""Attention over parts of the keys, put together afterwards; and how it takes the place of a model's own.

For models that take their attention from transformers' attention interface; others raise NotImplementedError.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface
from transformers.cache_utils import Cache

from harness.engine.cache import attention_kinds

PACKED = "harness_packed"  # the name of our attention in transformers' attention interface
CHANGES_ATTENTION = ("s_aux", "position_bias", "alibi", "head_mask", "cache", "indices")  # we know no meaning for these


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
    if query.device.type == "cpu" and softcap is None:
        count = query.shape[2]
        out, total = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
            _doubled(query), key, value, 0.0, False, attn_mask=_bias(hidden, query.dtype), scale=scale
        )
        out, total = out[:, :, :count], total[:, :, :count]
        # The kernel gives 0, not -inf, where all is hidden.
        return out, total if hidden is None else total.masked_fill(hidden.all(-1), -torch.inf)
    scores = (query @ key.transpose(-1, -2)).float() * scale
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    if hidden is not None:
        scores = scores.masked_fill(hidden, -torch.inf)
    total = scores.logsumexp(-1, keepdim=True)
    weights = (scores - total.clamp(min=torch.finfo(torch.float32).min)).exp()
    return weights.to(value.dtype) @ value, total.squeeze(-1)


def _bias(hidden: torch.Tensor | None, dtype: torch.dtype) -> torch.Tensor | None:
    """Returns what is added to scores so that nothing hidden is seen."""
    return None if hidden is None else torch.zeros_like(hidden, dtype=dtype).masked_fill(hidden, -torch.inf)


def _doubled(query: torch.Tensor) -> torch.Tensor:
    """Returns the query of each head [b, h, q, size], twice if it is a single one in bfloat16 on the CPU.

    Of two queries of a head the kernel makes a product of matrices, which takes half the time of a single one's.
    """
    single = query.shape[2] == 1 and query.dtype == torch.bfloat16 and query.device.type == "cpu"
    return query.expand(-1, -1, 2, -1) if single else query


def attend_step(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    scale: float,
    hidden: torch.Tensor | None = None,
    softcap: float | None = None,
) -> torch.Tensor:
    """Returns attention of one new token of each row, [rows, key heads, q, size].

    query: [rows, key heads, q, size], all queries that read one key head together; the rest is as in `attend`.
    """
    if softcap is not None:
        return attend(query, key, value, scale, hidden, softcap)[0]
    bias = _bias(hidden, query.dtype)
    out = scaled_dot_product_attention(_doubled(query), key, value, attn_mask=bias, scale=scale)
    return out[:, :, : query.shape[2]]


def attend_causal(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float, window: int | None, softcap: float | None
) -> torch.Tensor:
    """Returns attention [1, heads, q, size] of the last q of k positions, each seeing itself and what is before it.

    query: [1, heads, q, size]; key and value: [1, key heads, k, size]; window: how many positions one sees.
    """
    heads, n, total = query.shape[1], query.shape[2], key.shape[2]
    groups = heads // key.shape[1]
    if groups > 1:
        key, value = key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)
    if softcap is None and n == total and (window is None or window >= n):
        return scaled_dot_product_attention(query, key, value, is_causal=True, scale=scale)
    at = torch.arange(total, device=query.device)
    seen = at <= at[total - n :, None]
    if window is not None:
        seen &= at > at[total - n :, None] - window
    if softcap is None:
        return scaled_dot_product_attention(query, key, value, attn_mask=seen, scale=scale)
    return attend(query, key, value, scale, ~seen, softcap)[0]


def _packed_attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    packed: Pass | None = None,
    **more: Any,  # a model's own, among them dropout, sliding_window and softcap
) -> tuple[torch.Tensor, None]:
    """Our attention in transformers' interface: [1, heads, tokens, size] to [1, tokens, heads, size]."""
    strange = [name for name, given in more.items() if name in CHANGES_ATTENTION and given is not None]
    if packed is None or strange or more.get("dropout"):
        raise NotImplementedError(f"attention with {', '.join(strange) or 'arguments that are not passed on'}")
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    packed.told.add(more.get("sliding_window"))
    return packed.attention(query, key, value, scale, more.get("sliding_window"), more.get("softcap")), None


AttentionInterface.register(PACKED, _packed_attention)


class Pass(Cache):
    """One forward through the model: what it stores where, and what each of its tokens sees."""

    def __init__(self) -> None:
        super().__init__(layers=[])
        self.layer = 0
        self.told: set[int | None] = set()  # windows that the model's layers have named

    def get_seq_length(self, layer_idx: int = 0) -> int:
        return 0

    def check(self, windows: set[int | None]) -> None:
        """Raises NotImplementedError unless the layers named the windows that the configuration declares.

        A window or chunk that attention is not told of would be in the model's own mask alone, which nothing here asks.
        """
        if self.told != windows:
            raise NotImplementedError(f"attention is told of windows {self.told}, not of {windows}")

    def attention(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float, window: Any, softcap: Any
    ) -> torch.Tensor:
        """Returns attention of the layer that is computed, (1, heads, tokens, size) to (1, tokens, heads, size)."""
        raise NotImplementedError


def declared_windows(model: Any) -> set[int | None]:
    """Returns the windows of a model's layers. Raises NotImplementedError where some are limited in other ways."""
    kinds = attention_kinds(model.config)
    if kinds is None:
        raise NotImplementedError("layers that attend in chunks, or keep more than keys and values")
    return set(kinds.values())


@contextmanager
def packed_attention(model: Any) -> Iterator[None]:
    """Lets the model's layers ask the `Pass` it is given, `packed=...`, instead of their own attention."""
    before = model.config._attn_implementation
    if not model._can_set_attn_implementation():
        raise NotImplementedError("a model with an attention of its own")
    model.config._attn_implementation = PACKED
    try:
        yield
    finally:
        model.config._attn_implementation = before
