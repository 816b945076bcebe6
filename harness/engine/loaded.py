"""A model in memory with what every method of running it needs to know."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from functools import cache
from typing import Any


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """Weights, tokenizer and limits of one model, ready to run."""

    model: Any  # transformers.PreTrainedModel, in eval mode
    tokenizer: Any  # transformers.PreTrainedTokenizerBase
    device: Any  # torch.device where inputs go
    max_length: int  # the longest sequence the model can read, in tokens
    prefix_token: int | None  # BOS, else EOS: what an empty context becomes
    eos_tokens: tuple[int, ...]  # tokenizer's and generation config's
    opening: tuple[int, ...] = ()  # special tokens that stand before a text, as the tokenizer puts them there

    @property
    def takes(self) -> frozenset[str]:
        """Returns what the model may be given, by name."""
        kind: Any = type(self.model)
        return _takes(kind)

    @property
    def cache_argument(self) -> str:
        """Returns by which name the model takes its keys and values, and gives them back."""
        return cache_argument(type(self.model))


@cache
def _takes(kind: Any) -> frozenset[str]:
    # Looking it up takes a tenth of a small model's step.
    return frozenset(inspect.signature(kind.forward).parameters)


def cache_argument(kind: Any) -> str:
    """Returns by which name a class of models takes its keys and values: `cache` since transformers 5.24."""
    return "cache" if "cache" in _takes(kind) and "past_key_values" not in _takes(kind) else "past_key_values"
