"""The packed decoder: rows without any padding, and a shared prefix read once for all rows that begin with it.

The tokens of all rows lie behind one another in one sequence, and the model's attention is replaced by one that knows
which row each belongs to. For models that take their attention from transformers' attention interface; others raise
NotImplementedError. See `decoder` for what a decoder does.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import torch

from harness.engine.attention import Pass, attend, attend_causal, attend_step, declared_windows, packed_attention
from harness.engine.generate.shared_prefixes import SHARED_LENGTH, Buffers, Segment
from harness.engine.loaded import LoadedModel


@dataclass(slots=True, eq=False)
class _Chunk:
    """New tokens of one row or one segment, after those of a chain of segments."""

    ids: Sequence[int]
    parent: Segment | None
    keys: list[torch.Tensor] = field(default_factory=list)  # a layer each: [1, heads, tokens, size]
    values: list[torch.Tensor] = field(default_factory=list)


class _PrefillPass(Pass):
    """Chunks behind one another in one sequence."""

    def __init__(self, chunks: Sequence[_Chunk]) -> None:
        super().__init__()
        self.chunks = chunks

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, layer_idx: int, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        key, value = key_states, value_states
        self.layer, at = layer_idx, 0
        for chunk in self.chunks:
            if len(chunk.keys) != layer_idx:
                raise NotImplementedError("layers that share keys and values")
            chunk.keys.append(key[:, :, at : at + len(chunk.ids)])
            chunk.values.append(value[:, :, at : at + len(chunk.ids)])
            at += len(chunk.ids)
        return key, value

    def attention(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float, window: Any, softcap: Any
    ) -> torch.Tensor:
        parts, at = [], 0
        for chunk in self.chunks:
            own = query[:, :, at : at + len(chunk.ids)]
            before = chunk.parent.chain() if chunk.parent else []
            keys = torch.cat([*(s.keys[self.layer] for s in before), chunk.keys[self.layer]], dim=2)
            values = torch.cat([*(s.values[self.layer] for s in before), chunk.values[self.layer]], dim=2)
            parts.append(attend_causal(own, keys, values, scale, window, softcap))
            at += len(chunk.ids)
        return torch.cat(parts, dim=2).transpose(1, 2)


class _StepPass(Pass):
    """One token of every row. The keys of a row's own tokens lie in the decoder's buffers."""

    def __init__(self, decoder: PackedDecoder) -> None:
        super().__init__()
        self.decoder, self.rows = decoder, decoder.rows
        count, self.columns = len(self.rows), max(row.used for row in self.rows) + 1
        self.at = (
            torch.arange(count, device=decoder.device),
            torch.tensor([row.used for row in self.rows], device=decoder.device),
        )
        self.position = torch.tensor([row.length for row in self.rows], device=decoder.device)
        decoder.positions[self.at] = self.position
        columns = torch.arange(self.columns, device=decoder.device)
        self.empty = columns > self.at[1][:, None]  # [rows, columns]
        self.uneven = len({row.used for row in self.rows}) > 1
        self.shared: dict[Segment, Any] = {}  # the rows that begin with it: a slice for all of them
        for segment in dict.fromkeys(s for row in self.rows for s in row.shared):
            members = [i for i, row in enumerate(self.rows) if segment in row.shared]
            everyone = len(members) == count
            self.shared[segment] = slice(None) if everyone else torch.tensor(members, device=decoder.device)
        self.masks: dict[Any, torch.Tensor | None] = {}

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, layer_idx: int, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        key, value = key_states, value_states
        self.layer = layer_idx
        rows, columns = self.at
        self.decoder.keys[layer_idx][rows, :, columns] = key[0].transpose(0, 1)
        self.decoder.values[layer_idx][rows, :, columns] = value[0].transpose(0, 1)
        return key, value

    def attention(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float, window: Any, softcap: Any
    ) -> torch.Tensor:
        count, size, heads = len(self.rows), query.shape[-1], key.shape[1]
        # All queries that read one key head lie together: [rows, key heads, queries of the head, size].
        query = query[0].transpose(0, 1).reshape(count, heads, -1, size)
        keys = self.decoder.keys[self.layer][:count, :, : self.columns]
        values = self.decoder.values[self.layer][:count, :, : self.columns]
        hidden = self._hidden(window)
        if not self.shared:
            out = attend_step(query, keys, values, scale, hidden, softcap)
            return out.reshape(1, count, -1, value.shape[-1])
        out, total = attend(query, keys, values, scale, hidden, softcap)
        out = out.float()
        for segment, members in self.shared.items():
            part = query[members]  # [members, key heads, queries, size] to [1, key heads, members x queries, size]
            flat = part.transpose(0, 1).reshape(1, heads, -1, size)
            before = self._hidden_before(window, segment, part.shape[2])
            more, also = attend(flat, segment.keys[self.layer], segment.values[self.layer], scale, before, softcap)
            more = more.view(heads, len(part), -1, more.shape[-1]).transpose(0, 1).float()
            also = also.view(heads, len(part), -1).transpose(0, 1)
            joint = torch.logaddexp(total[members], also)
            out[members] = (
                out[members] * (total[members] - joint).exp()[..., None] + more * (also - joint).exp()[..., None]
            )
            total[members] = joint
        return out.to(value.dtype).reshape(1, count, -1, value.shape[-1])

    def _hidden(self, window: int | None) -> torch.Tensor | None:
        """Returns what no row may see of its own columns, [rows, 1, 1, columns]; None where all is seen."""
        if window not in self.masks:
            hidden = self.empty
            if window is not None:
                old = self.decoder.positions[: len(self.rows), : self.columns] <= self.position[:, None] - window
                hidden = hidden | old
            self.masks[window] = hidden[:, None, None] if self.uneven or window is not None else None
        return self.masks[window]

    def _hidden_before(self, window: int | None, segment: Segment, queries: int) -> torch.Tensor | None:
        """Returns what is too far back in a segment, [members x queries, tokens]; None without a window."""
        if window is None:
            return None
        if (window, segment) not in self.masks:
            start = segment.end - len(segment.ids)
            at = torch.arange(start, segment.end, device=self.decoder.device)
            old = at <= self.position[self.shared[segment]][:, None] - window
            self.masks[window, segment] = old.repeat_interleave(queries, dim=0)
        return self.masks[window, segment]


# --- the decoder -----------------------------------------------------------------------------------------------------


@dataclass(slots=True, eq=False)
class _Place:
    """One running row: used columns of its own, tokens in all, and the segments it reads where they are."""

    used: int
    length: int
    shared: tuple[Segment, ...] = ()


class PackedDecoder(Buffers):
    """Rows without padding, shared prefixes kept once. See the top of this file."""

    def __init__(self, loaded: LoadedModel, *, shared_length: int = SHARED_LENGTH) -> None:
        super().__init__(loaded.device)
        self.model, self.takes, self.shared_length = loaded.model, loaded.takes, shared_length
        self.cache_argument, self.windows = loaded.cache_argument, declared_windows(loaded.model)
        self.rows: list[_Place] = []
        self.positions = torch.zeros(0, 0, dtype=torch.long, device=loaded.device)  # of each column's token

    def running(self) -> AbstractContextManager[None]:
        """Returns what the model runs in."""
        return packed_attention(self.model)

    def compute(self, segments: Sequence[Segment]) -> None:
        """Computes segments whose parents are computed."""
        chunks = [_Chunk(s.ids, s.parent) for s in segments]
        self._run_chunks(chunks)
        for segment, chunk in zip(segments, chunks):
            segment.keys = [k.clone() for k in chunk.keys]
            segment.values = [v.clone() for v in chunk.values]

    def prefill(self, prompts: Sequence[Sequence[int]], segments: Sequence[Segment | None]) -> torch.Tensor:
        """Adds rows, each prompt beginning with its segment's chain; returns the logits after each prompt."""
        chunks = [_Chunk(ids[s.end if s else 0 :], s) for ids, s in zip(prompts, segments, strict=True)]
        logits = self._run_chunks(chunks)
        for chunk, ids in zip(chunks, prompts):
            chain = chunk.parent.chain() if chunk.parent else []
            shared = tuple(s for s in chain if len(s.ids) >= self.shared_length)
            own = [s for s in chain if s not in shared]
            used = sum(len(s.ids) for s in own) + len(chunk.ids)
            self.rows.append(_Place(used, len(ids), shared))
            self._reserve(used, chunk)
            place, at = len(self.rows) - 1, 0
            parts: list[Segment | _Chunk] = [*own, chunk]
            for part in parts:
                end = at + len(part.ids)
                for layer in range(len(self.keys)):
                    self.keys[layer][place, :, at:end] = part.keys[layer][0]
                    self.values[layer][place, :, at:end] = part.values[layer][0]
                start = part.end - len(part.ids) if isinstance(part, Segment) else len(ids) - len(part.ids)
                self.positions[place, at:end] = torch.arange(start, start + len(part.ids), device=self.device)
                at = end
        return logits

    def columns(self, tokens: int, segment: Segment | None) -> int:
        """Returns how many columns of its own a prompt of this many tokens takes."""
        return tokens - sum(
            len(s.ids) for s in (segment.chain() if segment else []) if len(s.ids) >= self.shared_length
        )

    def step(self, tokens: Sequence[int]) -> torch.Tensor:
        """Runs one token of every row; returns the logits after it, [rows, vocabulary]."""
        self._reserve(max(row.used for row in self.rows) + 1)
        logits = self._run(_StepPass(self), tokens, [row.length for row in self.rows], None)
        for row in self.rows:
            row.used += 1
            row.length += 1
        return logits

    def remove(self, place: int) -> None:
        """Frees a place; the last row moves there."""
        last = len(self.rows) - 1
        if place != last:
            self.move(last, place)
            self.positions[place] = self.positions[last]
            self.rows[place] = self.rows[last]
        self.rows.pop()

    def _reserve(self, columns: int, chunk: _Chunk | None = None) -> None:
        self.reserve(len(self.rows), columns, (chunk.keys, chunk.values) if chunk else (self.keys, self.values))
        size = (self.keys[0].shape[0], self.keys[0].shape[2])
        if self.positions.shape != size:
            positions = torch.zeros(size, dtype=torch.long, device=self.device)
            positions[: self.positions.shape[0], : self.positions.shape[1]] = self.positions
            self.positions = positions

    def _run_chunks(self, chunks: Sequence[_Chunk]) -> torch.Tensor:
        starts = [chunk.parent.end if chunk.parent else 0 for chunk in chunks]
        ends = torch.tensor([len(chunk.ids) for chunk in chunks]).cumsum(0) - 1
        positions = [start + k for start, chunk in zip(starts, chunks) for k in range(len(chunk.ids))]
        return self._run(_PrefillPass(chunks), [i for chunk in chunks for i in chunk.ids], positions, ends)

    def _run(
        self, layout: Pass, ids: Sequence[int], positions: Sequence[int], read: torch.Tensor | None
    ) -> torch.Tensor:
        """Returns the logits [positions read, vocabulary] of one forward; read None: all."""
        options: dict[str, object] = {}
        if read is not None and "logits_to_keep" in self.takes:
            options["logits_to_keep"], read = read.to(self.device), None
        logits: torch.Tensor = self.model(
            input_ids=torch.tensor([ids], device=self.device),
            position_ids=torch.tensor([positions], device=self.device),
            use_cache=True,
            packed=layout,
            **{self.cache_argument: layout},
            **options,
        ).logits[0]
        layout.check(self.windows)
        return logits if read is None else logits[read.to(self.device)]
