"""Keys and values of a shared prefix, and which position may look at which: what the library's caches do not have.

`PrefixCache` is one of transformers' caches: a model fills and reads it as it does any other.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from transformers import Cache, DynamicCache
from transformers.cache_utils import DynamicLayer

FULL = "full_attention"
SLIDING = "sliding_attention"
LONGEST_TRIED = 512  # positions: a mask that reaches no further is tried beyond its reach before a method is used


class _PrefixLayer(DynamicLayer):
    """Keys and values of one row, (1, heads, length, width); many rows may be read after it without being kept."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # of transformers, which gives it no types
        self.keeps = True

    def update(self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        if self.keeps:
            return super().update(key_states, value_states)
        rows = (key_states.shape[0], -1, -1, -1)
        keys, values = self.keys, self.values
        assert keys is not None and values is not None  # a row comes after a prefix
        return (
            torch.cat([keys.expand(rows), key_states], dim=-2),
            torch.cat([values.expand(rows), value_states], dim=-2),
        )


class PrefixCache(Cache):
    """The one live cache of a walk through a prefix tree: grows on the way down, is cut on the way up.

    Every layer keeps every position, also where the model slides a window over them: the masks of `sees` say what is
    in the window, so branches of different depth can share a row.
    """

    def __init__(self) -> None:
        super().__init__(layer_class_to_replicate=_PrefixLayer)

    @property
    def _own(self) -> list[_PrefixLayer]:
        return cast("list[_PrefixLayer]", self.layers)  # the library makes them, of the class it was given

    def keep(self, keeps: bool) -> None:
        """Says whether what is read next becomes part of the prefix, or is only read after it."""
        for layer in self._own:
            layer.keeps = keeps

    def cut(self, length: int) -> None:
        """Drops all positions from `length` on, in every layer, also if a failed pass left layers of unequal length."""
        for layer in self._own:
            layer.crop(-max(0, layer.get_seq_length() - length))

    @property
    def bytes(self) -> int:
        """Memory held by the keys and values."""
        sides = [side for layer in self._own for side in (layer.keys, layer.values) if side is not None]
        return sum(side.numel() * side.element_size() for side in sides)


def attention_kinds(config: Any) -> dict[str, int | None] | None:
    """Returns the kinds of attention layers a model has, and the window of each (None: all that came before).

    None where a layer keeps anything but keys and values of positions: recurrent state, convolutions, chunks.
    """
    text = config.get_text_config(decoder=True)
    declared = getattr(text, "layer_types", None)
    kinds: dict[str, int | None] = {}
    layers = DynamicCache(config=text).layers
    for number, layer in enumerate(layers):
        if not isinstance(layer, DynamicLayer):
            return None
        window = getattr(layer, "sliding_window", None) if layer.is_sliding else None
        kinds[declared[number] if declared else (SLIDING if window else FULL)] = window
    if not set(kinds) <= {FULL, SLIDING}:
        return None
    return kinds or {FULL: None}


def reaches(config: Any) -> list[int]:
    """Returns how far the masks that a configuration speaks of reach, in positions: its windows and chunks."""
    text = config.get_text_config(decoder=True).to_dict()
    named = (value for name, value in text.items() if "window" in name or "chunk" in name)
    return sorted(value for value in named if type(value) is int and value > 0)


def chunk_untried(config: Any) -> int | None:
    """Returns the positions of the chunks in which some layers attend, where they are too long to be tried."""
    text = config.get_text_config(decoder=True)
    size = getattr(text, "attention_chunk_size", None)
    return size if size is not None and size > LONGEST_TRIED and attention_kinds(config) is None else None


def sees(
    kinds: dict[str, int | None], within: torch.Tensor, depths: torch.Tensor, past: int, dtype: torch.dtype
) -> Any:
    """Returns the additive attention mask of a batch read after a shared prefix of `past` positions.

    within: (rows, n, n) bool, what a token sees of its own row. depths: (rows, n), distance of each token from the
    start of its sequence. The mask is (rows, 1, n, past + n), 0 or the smallest number of `dtype`; a model whose layers
    are of several kinds gets a dict of them.
    """
    rows, n = depths.shape
    hidden = torch.zeros((rows, n, past + n), dtype=torch.bool, device=depths.device)
    hidden[:, :, past:] = ~within
    before = torch.arange(past, device=depths.device).expand(rows, past)
    masks = {}
    for kind, window in kinds.items():
        out = hidden
        if window is not None:
            distance = depths[:, :, None] - torch.cat([before, depths], dim=1)[:, None, :]
            out = hidden | (distance >= window)
        mask = torch.zeros(out.shape, dtype=dtype, device=out.device)
        masks[kind] = mask.masked_fill_(out, torch.finfo(dtype).min)[:, None]
    return masks if len(masks) > 1 else next(iter(masks.values()))
