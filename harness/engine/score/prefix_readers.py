"""How a batch of rows is read after a shared prefix: behind one another in one sequence, or side by side with padding.

A reader keeps the keys and values of the prefix it has read so far. `PackedReader` forwards real tokens only and looks
at the prefix where it is; it needs a model that takes its attention from transformers' interface, and a CPU, whose
kernel tells the sum of its weights. `PaddedReader` asks the model for nothing but masks and a cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any, Protocol

import numpy as np
import torch

from harness.engine.attention import Pass, attend, declared_windows, packed_attention
from harness.engine.cache import PrefixCache, attention_kinds, sees
from harness.engine.loaded import LoadedModel, cache_argument
from harness.engine.score.prefix_tree import Row

CACHE_SHARE = 8  # positions of keys and values a padded batch may hold for each token of its budget
PADDED_SHARE = 2  # places in attention within packed rows for each token of the budget


class Reader(Protocol):
    """What reads rows. `past` is the length of the prefix they come after, which has been read."""

    def fit(self, widths: Sequence[int], past: int, budget: int) -> int:
        """Returns how many rows of these widths (the longest first) a batch of `budget` tokens takes: at least one."""
        ...

    def read(self, rows: Sequence[Row], past: int, *, keeps: bool) -> tuple[Any, list[int]]:
        """Returns the decoder's output, and where each row begins in its hidden states, (1, places, hidden).

        keeps: the one row is a chain that becomes part of the prefix.
        """
        ...

    def cut(self, length: int) -> None:
        """Drops the prefix from `length` on, also after a pass that failed half way."""
        ...


class PaddedReader:
    """Rows side by side, the shorter ones padded; each has its own copy of the prefix while it is read."""

    def __init__(self, loaded: LoadedModel, decoder: Any) -> None:
        self.loaded, self.decoder = loaded, decoder
        self.kinds = attention_kinds(loaded.model.config) or {}
        self.cache = PrefixCache()

    def fit(self, widths: Sequence[int], past: int, budget: int) -> int:
        """Returns the rows that fit with their padding, and whose copies of the prefix stay within bounds."""
        return max(1, min(len(widths), budget // widths[0], CACHE_SHARE * budget // (past + widths[0])))

    def read(self, rows: Sequence[Row], past: int, *, keeps: bool) -> tuple[Any, list[int]]:
        """See `Reader`."""
        device, width = self.loaded.device, max(len(row.tokens) for row in rows)
        ids = np.zeros((len(rows), width), dtype=np.int64)
        # Padding comes last and goes on counting: nothing looks at it, it does not look like the start of another text,
        # and it is at no position that the model does not have.
        depths = np.tile(np.arange(past, past + width), (len(rows), 1))
        for place, row in enumerate(rows):
            ids[place, : len(row.tokens)] = row.tokens
            depths[place, : len(row.tokens)] = row.depths
        depths = np.minimum(depths, max(int(row.depths.max()) for row in rows))
        positions = torch.from_numpy(depths).to(device, non_blocking=True)
        mask = None
        if not all(row.is_chain for row in rows) or any(self.kinds.values()):
            within = torch.from_numpy(_within(rows, width)).to(device, non_blocking=True)
            mask = sees(self.kinds, within, positions, past, self.loaded.model.dtype)
        cached = past > 0 or keeps
        self.cache.keep(keeps)
        output = self.decoder(
            input_ids=torch.from_numpy(ids).to(device, non_blocking=True),
            position_ids=positions,
            attention_mask=mask,
            use_cache=cached,
            **{cache_argument(type(self.decoder)): self.cache if cached else None},
        )
        return output, [place * width for place in range(len(rows))]

    def cut(self, length: int) -> None:
        """See `Reader`."""
        self.cache.cut(length)


class PackedReader:
    """Rows behind one another; the prefix is there once, and each layer looks at it where it is."""

    def __init__(self, loaded: LoadedModel, decoder: Any) -> None:
        if loaded.device.type != "cpu":
            raise NotImplementedError("attention in parts is for the CPU")
        self.loaded, self.decoder = loaded, decoder
        self.windows = declared_windows(loaded.model)
        self.keys: list[torch.Tensor] = []  # a layer each: (1, key heads, length, size)
        self.values: list[torch.Tensor] = []

    def fit(self, widths: Sequence[int], past: int, budget: int) -> int:
        """Returns the rows that fit, token by token; attention within rows pads them, and that is bounded too."""
        totals = enumerate(accumulate(widths), start=1)
        return max(1, sum(total <= budget and n * widths[0] <= PADDED_SHARE * budget for n, total in totals))

    def read(self, rows: Sequence[Row], past: int, *, keeps: bool) -> tuple[Any, list[int]]:
        """See `Reader`."""
        layout = _RowsPass(self, rows, past, keeps)
        ids = torch.from_numpy(np.concatenate([row.tokens for row in rows]))[None]
        with packed_attention(self.loaded.model):
            output = self.decoder(
                input_ids=ids,
                position_ids=layout.depths[None],
                attention_mask=None,
                use_cache=True,
                packed=layout,
                **{cache_argument(type(self.decoder)): layout},
            )
        layout.check(self.windows)
        return output, [0, *accumulate(len(row.tokens) for row in rows)][:-1]

    def cut(self, length: int) -> None:
        """See `Reader`."""
        self.keys = [key[:, :, :length] for key in self.keys]
        self.values = [value[:, :, :length] for value in self.values]


class _RowsPass(Pass):
    """What each token of a batch of rows sees: the prefix, and its own ancestors in its row."""

    def __init__(self, reader: PackedReader, rows: Sequence[Row], past: int, keeps: bool) -> None:
        super().__init__()
        self.reader, self.past, self.keeps, self.layer = reader, past, keeps, -1
        lengths = [len(row.tokens) for row in rows]
        self.width = max(lengths)
        starts = np.array([0, *accumulate(lengths)][:-1])
        # (rows, width): which token of the sequence stands there; padding repeats the last one of its row
        places = starts[:, None] + np.minimum(np.arange(self.width), np.array(lengths)[:, None] - 1)
        self.places = torch.from_numpy(places)
        self.back = torch.from_numpy(np.concatenate([i * self.width + np.arange(n) for i, n in enumerate(lengths)]))
        self.depths = torch.from_numpy(np.concatenate([row.depths for row in rows]))
        self.even = min(lengths) == self.width
        self.chains = all(row.is_chain for row in rows)
        self.rows = rows
        self.masks: dict[int | None, torch.Tensor | None] = {}
        self.masks_before: dict[int, torch.Tensor] = {}

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, layer_idx: int, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        key, value = key_states, value_states
        if layer_idx != self.layer + 1:
            raise NotImplementedError("layers that share keys and values")
        self.layer = layer_idx
        if self.keeps:
            for kept, new in ((self.reader.keys, key), (self.reader.values, value)):
                if layer_idx == len(kept):
                    kept.append(new)
                else:
                    kept[layer_idx] = torch.cat([kept[layer_idx][:, :, : self.past], new], dim=2)
        return key, value

    def attention(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float, window: Any, softcap: Any
    ) -> torch.Tensor:
        """Returns attention, (1, tokens, heads, size): of a query's own row and of the prefix, put together."""
        if softcap is not None:
            raise NotImplementedError("scores that are capped")
        out, total = self._own(query, key, value, scale, window)
        if self.past:
            before, also = self._before(query, scale, window)
            share = torch.sigmoid(also - total)[..., None]  # of the weights that falls on the prefix
            out = torch.lerp(out.float(), before.float(), share).to(value.dtype)
        return out.transpose(0, 1)[None]

    def _own(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float, window: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns attention within rows, (heads, tokens, size) and (heads, tokens)."""
        groups = query.shape[1] // key.shape[1]
        # (rows, heads, width, size)
        query, key, value = (x[0][:, self.places].transpose(0, 1) for x in (query, key, value))
        if groups > 1:
            key, value = key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)
        mask = self._mask(window, query.dtype)
        out, total = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
            query, key, value, 0.0, mask is None, attn_mask=mask, scale=scale
        )
        heads = out.shape[1]
        out, total = out.transpose(0, 1).reshape(heads, -1, out.shape[-1]), total.transpose(0, 1).reshape(heads, -1)
        return (out, total) if self.even else (out[:, self.back], total[:, self.back])

    def _before(self, query: torch.Tensor, scale: float, window: int | None) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns attention to the prefix, (heads, tokens, size) and (heads, tokens)."""
        key, value = (kept[self.layer][:, :, : self.past] for kept in (self.reader.keys, self.reader.values))
        _, heads, tokens, size = query.shape
        # All queries that read one key head lie together, so that no head is copied.
        query = query.reshape(1, key.shape[1], -1, size)
        hidden = None
        if window is not None:
            if window not in self.masks_before:
                old = torch.arange(self.past) <= self.depths[:, None] - window
                self.masks_before[window] = old
            hidden = self.masks_before[window].repeat(heads // key.shape[1], 1)
            hidden = hidden if hidden.any() else None
        out, total = attend(query, key, value, scale, hidden)
        return out.reshape(heads, tokens, value.shape[-1]), total.reshape(heads, tokens)

    def _mask(self, window: int | None, dtype: torch.dtype) -> torch.Tensor | None:
        """Returns what is added to the scores within rows, (rows, 1, width, width); None where all is as in a text."""
        if self.chains and (window is None or window >= self.width):
            return None
        if window not in self.masks:
            hidden = ~torch.from_numpy(_within(self.rows, self.width))
            if window is not None:
                depths = self.depths[self.places]
                hidden |= depths[:, :, None] - depths[:, None, :] >= window
            mask = torch.zeros(hidden.shape, dtype=dtype).masked_fill_(hidden, torch.finfo(dtype).min)
            self.masks[window] = mask[:, None]
        return self.masks[window]


def _within(rows: Sequence[Row], width: int) -> np.ndarray:
    """Returns what a token sees of its own row, (rows, width, width); padding sees all before it."""
    within = np.tile(np.tri(width, dtype=bool), (len(rows), 1, 1))
    for place, row in enumerate(rows):
        within[place, : len(row.tokens), : len(row.tokens)] = row.sees
    return within
