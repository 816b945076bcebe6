"""What runs rows of tokens through a model together.

A decoder holds the keys and values of the rows that are running, at places 0..n-1. `prefill` adds rows after the
last place, `step` runs one token of every row, `remove` frees a place and moves the last row there. Nothing that was
computed is computed again. Both return the logits [rows, vocabulary] of the position that is read, and no others.
`compute` fills segments, the beginnings that rows share; `columns` says what a prompt takes of the buffers. `running`
is the context in which all of these run the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Protocol

import torch

from harness.engine.generate.shared_prefixes import Segment


class Decoder(Protocol):
    """Holds the keys and values of the rows that are running, at places 0..n-1."""

    def running(self) -> AbstractContextManager[None]:
        """Returns what the model runs in."""
        ...

    def compute(self, segments: Sequence[Segment]) -> None:
        """Computes segments whose parents are computed."""
        ...

    def prefill(self, prompts: Sequence[Sequence[int]], segments: Sequence[Segment | None]) -> torch.Tensor:
        """Adds rows, each beginning with its segment's chain; returns the logits after each, [rows, vocabulary]."""
        ...

    def columns(self, tokens: int, segment: Segment | None) -> int:
        """Returns how many columns of the buffers a prompt of this many tokens takes."""
        ...

    def step(self, tokens: Sequence[int]) -> torch.Tensor:
        """Runs one token of every row; returns the logits after it, [rows, vocabulary]."""
        ...

    def remove(self, place: int) -> None:
        """Frees a place; the last row moves there."""
        ...
