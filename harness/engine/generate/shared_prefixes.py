"""What several prompts begin with, kept once; and the buffers that hold the keys and values of running rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import torch

ROOM = 64  # columns are added in steps of this many tokens, and by a half of what is there
SHARED_LENGTH = 256  # a shared prefix shorter than this is copied to each row: reading it apart costs more


@dataclass(slots=True, eq=False)
class Segment:
    """Tokens that begin the prompts of several rows, after those of `parent`."""

    ids: tuple[int, ...]
    parent: Segment | None
    users: int  # rows that begin with it
    left: int = 0  # of those, the rows that are not done
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
    order = sorted(range(len(prompts)), key=lambda i: tuple(prompts[i]))
    # What each prompt can share with the one before it in this order, the last token of either left out.
    common = [0, *(_common(prompts[a][:-1], prompts[b][:-1]) for a, b in pairwise(order))]
    todo: list[tuple[int, int, Segment | None]] = [(0, len(order), None)]
    while todo:
        low, high, parent = todo.pop()
        depth = parent.end if parent else 0
        shared = min(common[low + 1 : high], default=0)
        if shared - depth >= least:
            parent = Segment(tuple(prompts[order[low]][depth:shared]), parent, users=high - low, left=high - low)
            depth = shared
            for i in order[low:high]:
                deepest[i] = parent
        cuts = [low, *(k for k in range(low + 1, high) if common[k] < depth + least), high]
        todo.extend((a, b, parent) for a, b in pairwise(cuts) if b - a > 1)
    return deepest


def _common(a: Sequence[int], b: Sequence[int]) -> int:
    return next((k for k, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))


class Buffers:
    """Keys and values of the running rows, a tensor a layer, [places, heads, columns, size]; it grows as needed."""

    def __init__(self, device: Any) -> None:
        self.device = device
        self.keys: list[torch.Tensor] = []
        self.values: list[torch.Tensor] = []

    def reserve(self, places: int, columns: int, like: tuple[Sequence[torch.Tensor], Sequence[torch.Tensor]]) -> None:
        """Makes room for this many places and columns; what is there stays where it is."""
        if self.keys and self.keys[0].shape[0] >= places and self.keys[0].shape[2] >= columns:
            return
        old_places, old_columns = (self.keys[0].shape[0], self.keys[0].shape[2]) if self.keys else (0, 0)
        places = max(places, old_places)
        columns = old_columns if columns <= old_columns else -(-max(columns, old_columns * 3 // 2) // ROOM) * ROOM
        for name, layers in zip(("keys", "values"), like):
            grown = []
            for layer, sample in enumerate(layers):
                new = sample.new_zeros(places, sample.shape[1], columns, sample.shape[3])
                if old_places:
                    new[:old_places, :, :old_columns] = getattr(self, name)[layer]
                grown.append(new)
            setattr(self, name, grown)

    def move(self, source: int, target: int) -> None:
        for layer in (*self.keys, *self.values):
            layer[target] = layer[source]
