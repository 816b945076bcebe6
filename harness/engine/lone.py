"""The decoder of one row: the model with its own cache and its own attention, and nothing between.

Beside other rows a row is run by the packed or the padded decoder, whose buffers take some time of each step; a row by
itself has none of it. For models that one of those two fits: see `decoding` for what a decoder does.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from functools import cache
from typing import Any

import torch

from harness.engine.loaded import LoadedModel
from harness.engine.segments import Segment


@cache
def _takes(kind: type) -> frozenset[str]:
    """Returns what a kind of model may be given. Looking it up takes a tenth of a small model's step."""
    return frozenset(inspect.signature(kind.forward).parameters)


class LoneDecoder:
    """Runs a single row, which shares no part of its prompt."""

    def __init__(self, loaded: LoadedModel) -> None:
        self.model, self.device = loaded.model, loaded.device
        self.last_only = {"logits_to_keep": 1} if "logits_to_keep" in _takes(type(loaded.model)) else {}
        self.cache: Any = None  # the model makes its own

    def prefill(self, prompts: Sequence[Sequence[int]], segments: Sequence[Segment | None]) -> torch.Tensor:
        """Runs the prompt; returns the logits after it, [1, vocabulary]."""
        (ids,) = prompts
        return self._run(ids, self.last_only)

    def step(self, tokens: Sequence[int]) -> torch.Tensor:
        """Runs the row's next token; returns the logits after it, [1, vocabulary]."""
        return self._run(tokens, {})

    def remove(self, place: int) -> None:
        """Forgets the row."""
        self.cache = None

    def columns(self, tokens: int, segment: Segment | None) -> int:
        """Returns how many columns a prompt of this many tokens takes: all its own."""
        return tokens

    def _run(self, tokens: Sequence[int], options: dict[str, Any]) -> torch.Tensor:
        ids = torch.tensor([tokens], device=self.device)
        out = self.model(input_ids=ids, past_key_values=self.cache, use_cache=True, **options)
        self.cache = out.past_key_values
        return out.logits[:, -1]
