"""The decoder of one row: none of the buffers and masks that rows beside one another need.

Where the packed decoder fits a model, the keys lie in buffers with room for the next one, and the query heads that
read one key head are attended to together: a new token then reads each key once, and copies none. Where it does not,
the model has its own cache and its own attention. See `decoder` for what a decoder does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from harness.engine.attention import Pass, attend_causal, attend_step, packed_attention
from harness.engine.generate.shared_prefixes import Buffers, Segment
from harness.engine.loaded import LoadedModel


class _RowPass(Pass):
    """All passes of one row: its prompt, then its tokens one by one."""

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self.length = 0  # tokens that are kept
        self.prompt: tuple[list[torch.Tensor], list[torch.Tensor]] = ([], [])  # keys and values, a layer each
        self.kept = Buffers(device)

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, layer_idx: int, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        key, value = key_states, value_states
        if not self.length:
            for layers, new in zip(self.prompt, (key, value)):
                layers.append(new)
            return key, value
        keys, values, end = self.kept.keys[layer_idx], self.kept.values[layer_idx], self.length
        keys.narrow(2, end, 1).copy_(key)
        values.narrow(2, end, 1).copy_(value)
        return keys.narrow(2, 0, end + 1), values.narrow(2, 0, end + 1)

    def attention(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float, window: Any, softcap: Any
    ) -> torch.Tensor:
        if not self.length:
            return attend_causal(query, key, value, scale, window, softcap).transpose(1, 2)
        if window is not None and window <= self.length:
            key, value = key[:, :, -window:], value[:, :, -window:]
        query = query.reshape(1, key.shape[1], -1, query.shape[-1])
        return attend_step(query, key, value, scale, softcap=softcap).reshape(1, 1, -1, value.shape[-1])

    def ran(self, tokens: int) -> None:
        """Keeps what a pass of this many tokens has added, and makes room for the next."""
        if not self.length:
            self.kept.reserve(1, tokens + 1, self.prompt)
            for kept, layers in ((self.kept.keys, self.prompt[0]), (self.kept.values, self.prompt[1])):
                for buffer, new in zip(kept, layers, strict=True):
                    buffer[:, :, :tokens] = new
            self.prompt = ([], [])
        self.length += tokens
        self.kept.reserve(1, self.length + 1, (self.kept.keys, self.kept.values))


class LoneDecoder:
    """Runs a single row, which shares no part of its prompt."""

    def __init__(self, loaded: LoadedModel, *, packed: bool) -> None:
        """packed: the packed decoder fits the model."""
        self.model, self.device, self.packed = loaded.model, loaded.device, packed
        self.cache_argument = loaded.cache_argument
        self.last_only = {"logits_to_keep": 1} if "logits_to_keep" in loaded.takes else {}
        self.row: Any = None  # keys and values

    def running(self) -> AbstractContextManager[None]:
        """Returns what the model runs in."""
        return packed_attention(self.model) if self.packed else nullcontext()

    def compute(self, segments: Sequence[Segment]) -> None:
        """Computes nothing: a single row shares nothing."""

    def prefill(self, prompts: Sequence[Sequence[int]], segments: Sequence[Segment | None]) -> torch.Tensor:
        """Runs the prompt; returns the logits after it, [1, vocabulary]."""
        (ids,) = prompts
        self.row = _RowPass(self.device) if self.packed else None  # the model makes its own
        return self._run(ids, self.last_only)

    def step(self, tokens: Sequence[int]) -> torch.Tensor:
        """Runs the row's next token; returns the logits after it, [1, vocabulary]."""
        return self._run(tokens, {})

    def remove(self, place: int) -> None:
        """Forgets the row."""
        self.row = None

    def columns(self, tokens: int, segment: Segment | None) -> int:
        """Returns how many columns a prompt of this many tokens takes: all its own."""
        return tokens

    def _run(self, tokens: Sequence[int], options: Mapping[str, object]) -> torch.Tensor:
        ids = torch.tensor([tokens], device=self.device)
        if self.packed:
            start = self.row.length
            positions = torch.arange(start, start + len(tokens), device=self.device)[None]
            options = {**options, "position_ids": positions, "packed": self.row}
        out = self.model(input_ids=ids, use_cache=True, **{self.cache_argument: self.row}, **options)
        if self.packed:
            self.row.ran(len(tokens))
        else:
            self.row = out[self.cache_argument]
        logits: torch.Tensor = out.logits
        return logits[:, -1]
