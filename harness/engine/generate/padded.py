"""The padded decoder: rows aligned on the right, as in `generate`, for any model whose cache is keys and values.

The model's own attention sees the rows under a mask; others raise NotImplementedError. See `decoder` for what a
decoder does.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from transformers import DynamicCache
from transformers.cache_utils import Cache, DynamicLayer

from harness.engine.generate.shared_prefixes import ROOM, SHARED_LENGTH, Buffers, Segment
from harness.engine.loaded import LoadedModel


class _PaddedLayer(DynamicLayer):
    """One layer of the padded decoder's buffers, as transformers sees it: columns first..end, the new one last."""

    def __init__(self, decoder: PaddedDecoder, layer: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # of transformers, which gives it no types
        self.decoder, self.layer = decoder, layer

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        d = self.decoder
        count, first, end = len(d.lengths), d.first, d.end
        for buffer, new in ((d.keys[self.layer], key_states), (d.values[self.layer], value_states)):
            buffer[:count, :, end] = new[:, :, 0]
        return d.keys[self.layer][:count, :, first : end + 1], d.values[self.layer][:count, :, first : end + 1]

    def get_seq_length(self) -> int:
        return self.decoder.end - self.decoder.first


class PaddedDecoder(Buffers):
    """Rows aligned on the right; the model's own attention sees them under a mask. See the top of this file."""

    def __init__(self, loaded: LoadedModel, *, shared_length: int = SHARED_LENGTH) -> None:
        super().__init__(loaded.device)
        self.model = loaded.model  # shared_length is the packed decoder's: here every prefix is copied
        self.takes, self.cache_argument = loaded.takes, loaded.cache_argument
        self.lengths: list[int] = []  # tokens of each row, in columns end - length ... end - 1
        self.end = 0

    @property
    def first(self) -> int:
        return self.end - max(self.lengths)

    def running(self) -> AbstractContextManager[None]:
        """Returns what the model runs in: nothing but itself."""
        return nullcontext()

    def compute(self, segments: Sequence[Segment]) -> None:
        """Computes segments whose parents are computed."""
        for segment in segments:
            _, keys, values = self._run_alone(segment.ids, segment.parent)
            start = segment.end - len(segment.ids)
            segment.keys = [k[:, :, start:].clone() for k in keys]
            segment.values = [v[:, :, start:].clone() for v in values]

    def prefill(self, prompts: Sequence[Sequence[int]], segments: Sequence[Segment | None]) -> torch.Tensor:
        """Adds rows, each prompt beginning with its segment's chain; returns the logits after each prompt."""
        logits = []
        for ids, segment in zip(prompts, segments, strict=True):
            after, keys, values = self._run_alone(ids[segment.end if segment else 0 :], segment)
            self._make_room(len(ids), (keys, values))
            self.lengths.append(len(ids))
            place = len(self.lengths) - 1
            for layer in range(len(keys)):
                self.keys[layer][place, :, self.end - len(ids) : self.end] = keys[layer][0]
                self.values[layer][place, :, self.end - len(ids) : self.end] = values[layer][0]
            logits.append(after)
        return torch.stack(logits)

    def columns(self, tokens: int, segment: Segment | None) -> int:
        """Returns how many columns a prompt of this many tokens takes: all its own."""
        return tokens

    def step(self, tokens: Sequence[int]) -> torch.Tensor:
        """Runs one token of every row; returns the logits after it, [rows, vocabulary]."""
        self.reserve(len(self.lengths), self.end + 1, (self.keys, self.values))
        column = torch.arange(self.first, self.end + 1, device=self.device)
        starts = torch.tensor([self.end - length for length in self.lengths], device=self.device)
        cache = Cache(layers=[_PaddedLayer(self, layer) for layer in range(len(self.keys))])
        logits = self._forward([[t] for t in tokens], (column >= starts[:, None]).long(), self.lengths, cache)
        self.lengths = [length + 1 for length in self.lengths]
        self.end += 1
        return logits

    def remove(self, place: int) -> None:
        """Frees a place; the last row moves there."""
        last = len(self.lengths) - 1
        if place != last:
            self.move(last, place)
            self.lengths[place] = self.lengths[last]
        self.lengths.pop()

    def _make_room(self, length: int, like: tuple[Sequence[torch.Tensor], Sequence[torch.Tensor]]) -> None:
        """Moves all rows together, so that the longest of them and the new one begin at column 0."""
        longest = max([length, *self.lengths])
        if longest > self.end or self.end > 2 * longest + ROOM:
            self.reserve(len(self.lengths) + 1, longest, like)
            kept = max(self.lengths, default=0)
            for layer in (*self.keys, *self.values):
                layer[:, :, longest - kept : longest] = layer[:, :, self.end - kept : self.end].clone()
            self.end = longest
        self.reserve(len(self.lengths) + 1, self.end, like)

    def _run_alone(
        self, ids: Sequence[int], parent: Segment | None
    ) -> tuple[torch.Tensor, list[torch.Tensor], list[torch.Tensor]]:
        """Returns the logits after `ids`, and the keys and values a layer each of the chain and of `ids`."""
        cache, before = DynamicCache(), parent.end if parent else 0
        chain = parent.chain() if parent else []
        for layer in range(len(chain[0].keys) if chain else 0):
            keys = torch.cat([s.keys[layer] for s in chain], dim=2)
            cache.update(keys, torch.cat([s.values[layer] for s in chain], dim=2), layer)
        mask = torch.ones(1, before + len(ids), dtype=torch.long, device=self.device)
        logits = self._forward([ids], mask, [before], cache)[0]
        pairs = [_both(layer) for layer in cache.layers]
        return logits, [key for key, _ in pairs], [value for _, value in pairs]

    def _forward(
        self, rows: Sequence[Sequence[int]], mask: torch.Tensor, starts: Sequence[int], cache: Cache
    ) -> torch.Tensor:
        if not {self.cache_argument, "attention_mask"} <= self.takes:
            raise NotImplementedError("a model without a cache or a mask")
        positions = torch.tensor([[s + k for k in range(len(ids))] for s, ids in zip(starts, rows)], device=self.device)
        options = {"position_ids": positions, "logits_to_keep": 1}
        logits: torch.Tensor = self.model(
            input_ids=torch.tensor([list(ids) for ids in rows], device=self.device),
            attention_mask=mask,
            use_cache=True,
            **{self.cache_argument: cache},
            **{name: given for name, given in options.items() if name in self.takes},
        ).logits
        return logits[:, -1]


def _both(layer: object) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns the keys and the values of a layer of the library's cache that holds nothing else."""
    if type(layer) is not DynamicLayer or layer.keys is None or layer.values is None:
        raise NotImplementedError("a cache of more than keys and values")
    return layer.keys, layer.values
