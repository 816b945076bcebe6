"""How rows of tokens are run through a model together: two decoders with one interface.

A decoder holds the keys and values of the rows that are running, at places 0..n-1. `prefill` adds rows after the
last place, `step` runs one token of every row, `remove` frees a place and moves the last row there. Nothing that was
computed is computed again. Both return the logits [rows, vocabulary] of the position that is read, and no others.

- `PackedDecoder`: no padding at all. The tokens of all rows lie behind one another in one sequence, and the model's
  attention is replaced by one that knows which row each belongs to. A prefix that rows share is kept once and read
  once for all of them. For models that take their attention from transformers' attention interface.
- `PaddedDecoder`: rows are aligned on the right, as in `generate`. For any model whose cache is keys and values.

`works` tries a decoder on a few tokens against the model alone: what a model can do is measured, never looked up.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, DynamicCache
from transformers.cache_utils import Cache, DynamicLayer

from harness.engine.loaded import LoadedModel

log = logging.getLogger(__name__)

ROOM = 64  # columns and places are added in steps of this many tokens, and by a half of what is there
SHARED_LENGTH = 256  # a shared prefix shorter than this is copied to each row: reading it apart costs more
PREFILL_TOKENS = 4096  # tokens run at once when rows are prefilled (one longer prompt runs alone)
PACKED = "harness_packed"  # the name of our attention in transformers' attention interface


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
    order = sorted(range(len(prompts)), key=lambda i: prompts[i])
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


# --- attention over parts --------------------------------------------------------------------------------------------


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
    if query.device.type == "cpu" and softcap is None and hidden is None:
        return torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(query, key, value, 0.0, False, scale=scale)
    scores = (query @ key.transpose(-1, -2)).float() * scale
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    if hidden is not None:
        scores = scores.masked_fill(hidden, -torch.inf)
    total = scores.logsumexp(-1, keepdim=True)
    weights = (scores - total.clamp(min=torch.finfo(torch.float32).min)).exp()
    return weights.to(value.dtype) @ value, total.squeeze(-1)


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
    dropout: float = 0.0,
    packed: _Pass | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    **more: Any,
) -> tuple[torch.Tensor, None]:
    """Our attention in transformers' interface: [1, heads, tokens, size] to [1, tokens, heads, size]."""
    strange = [name for name, given in more.items() if name in CHANGES_ATTENTION and given is not None]
    if packed is None or strange or dropout:
        raise NotImplementedError(f"attention with {', '.join(strange) or 'arguments that are not passed on'}")
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    return packed.attention(query, key, value, scale, sliding_window, softcap), None


CHANGES_ATTENTION = ("s_aux", "position_bias", "alibi", "head_mask", "cache", "indices")  # we know no meaning for these

AttentionInterface.register(PACKED, _packed_attention)


class _Pass(Cache):
    """One forward through the model: what it stores where, and what each of its tokens sees."""

    def __init__(self) -> None:
        super().__init__(layers=[])
        self.layer = 0

    def get_seq_length(self, layer_idx: int = 0) -> int:
        return 0


@dataclass(slots=True, eq=False)
class _Chunk:
    """New tokens of one row or one segment, after those of a chain of segments."""

    ids: Sequence[int]
    parent: Segment | None
    keys: list[torch.Tensor] = field(default_factory=list)  # a layer each: [1, heads, tokens, size]
    values: list[torch.Tensor] = field(default_factory=list)


class _PrefillPass(_Pass):
    """Chunks behind one another in one sequence."""

    def __init__(self, chunks: Sequence[_Chunk]) -> None:
        super().__init__()
        self.chunks = chunks

    def update(self, key: torch.Tensor, value: torch.Tensor, layer_idx: int, *args: Any, **kwargs: Any) -> tuple:
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


class _StepPass(_Pass):
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

    def update(self, key: torch.Tensor, value: torch.Tensor, layer_idx: int, *args: Any, **kwargs: Any) -> tuple:
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
        if not self.shared and softcap is None:
            bias = (
                None if hidden is None else torch.zeros_like(hidden, dtype=query.dtype).masked_fill(hidden, -torch.inf)
            )
            out = scaled_dot_product_attention(query, keys, values, attn_mask=bias, scale=scale)
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


# --- decoders --------------------------------------------------------------------------------------------------------


@dataclass(slots=True, eq=False)
class _Place:
    """One running row: used columns of its own, tokens in all, and the segments it reads where they are."""

    used: int
    length: int
    shared: tuple[Segment, ...] = ()


class _Buffers:
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


class PackedDecoder(_Buffers):
    """Rows without padding, shared prefixes kept once. See the top of this file."""

    def __init__(self, loaded: LoadedModel, *, shared_length: int = SHARED_LENGTH) -> None:
        super().__init__(loaded.device)
        self.model, self.shared_length = loaded.model, shared_length
        self.rows: list[_Place] = []
        self.positions = torch.zeros(0, 0, dtype=torch.long, device=loaded.device)  # of each column's token

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
            for part in (*own, chunk):
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
        self, layout: _Pass, ids: Sequence[int], positions: Sequence[int], read: torch.Tensor | None
    ) -> torch.Tensor:
        """Returns the logits [positions read, vocabulary] of one forward; read None: all."""
        options: dict[str, Any] = {}
        if read is not None and "logits_to_keep" in inspect.signature(self.model.forward).parameters:
            options["logits_to_keep"], read = read.to(self.device), None
        with _attention(self.model, PACKED):
            logits = self.model(
                input_ids=torch.tensor([ids], device=self.device),
                position_ids=torch.tensor([positions], device=self.device),
                past_key_values=layout,
                use_cache=True,
                packed=layout,
                **options,
            ).logits[0]
        return logits if read is None else logits[read.to(self.device)]


@contextmanager
def _attention(model: Any, name: str) -> Iterator[None]:
    before = model.config._attn_implementation
    if not model._can_set_attn_implementation():
        raise NotImplementedError("a model with an attention of its own")
    model.config._attn_implementation = name
    try:
        yield
    finally:
        model.config._attn_implementation = before


class _PaddedLayer(DynamicLayer):
    """One layer of the padded decoder's buffers, as transformers sees it: columns first..end, the new one last."""

    def __init__(self, decoder: PaddedDecoder, layer: int) -> None:
        super().__init__()
        self.decoder, self.layer = decoder, layer

    def update(self, key: torch.Tensor, value: torch.Tensor, *args: Any, **kwargs: Any) -> tuple:
        d = self.decoder
        count, first, end = len(d.lengths), d.first, d.end
        for buffer, new in ((d.keys[self.layer], key), (d.values[self.layer], value)):
            buffer[:count, :, end] = new[:, :, 0]
        return d.keys[self.layer][:count, :, first : end + 1], d.values[self.layer][:count, :, first : end + 1]

    def get_seq_length(self) -> int:
        return self.decoder.end - self.decoder.first


class PaddedDecoder(_Buffers):
    """Rows aligned on the right; the model's own attention sees them under a mask. See the top of this file."""

    def __init__(self, loaded: LoadedModel, *, shared_length: int = SHARED_LENGTH) -> None:
        super().__init__(loaded.device)
        self.model = loaded.model  # shared_length is the packed decoder's: here every prefix is copied
        self.takes = inspect.signature(loaded.model.forward).parameters
        self.lengths: list[int] = []  # tokens of each row, in columns end - length ... end - 1
        self.end = 0

    @property
    def first(self) -> int:
        return self.end - max(self.lengths)

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

    def _run_alone(self, ids: Sequence[int], parent: Segment | None) -> tuple[torch.Tensor, list, list]:
        """Returns the logits after `ids`, and the keys and values a layer each of the chain and of `ids`."""
        cache, before = DynamicCache(), parent.end if parent else 0
        chain = parent.chain() if parent else []
        for layer in range(len(chain[0].keys) if chain else 0):
            keys = torch.cat([s.keys[layer] for s in chain], dim=2)
            cache.update(keys, torch.cat([s.values[layer] for s in chain], dim=2), layer)
        mask = torch.ones(1, before + len(ids), dtype=torch.long, device=self.device)
        logits = self._forward([ids], mask, [before], cache)[0]
        if any(type(layer) is not DynamicLayer for layer in cache.layers):
            raise NotImplementedError("a cache of more than keys and values")
        return logits, [layer.keys for layer in cache.layers], [layer.values for layer in cache.layers]

    def _forward(self, rows: Sequence[Sequence[int]], mask: torch.Tensor, starts: Sequence[int], cache: Cache) -> Any:
        if not {"past_key_values", "attention_mask"} <= set(self.takes):
            raise NotImplementedError("a model without a cache or a mask")
        positions = torch.tensor([[s + k for k in range(len(ids))] for s, ids in zip(starts, rows)], device=self.device)
        options = {"position_ids": positions, "logits_to_keep": 1}
        return self.model(
            input_ids=torch.tensor([list(ids) for ids in rows], device=self.device),
            attention_mask=mask,
            past_key_values=cache,
            use_cache=True,
            **{name: given for name, given in options.items() if name in self.takes},
        ).logits[:, -1]


# --- what a model can do ---------------------------------------------------------------------------------------------


@torch.inference_mode()
def works(kind: type[PackedDecoder] | type[PaddedDecoder], loaded: LoadedModel) -> bool:
    """Returns whether this decoder gives the model's own logits while rows join, share prefixes, step and leave."""
    vocabulary = loaded.model.get_input_embeddings().weight.shape[0]
    long = [(11 * k + 5) % vocabulary for k in range(11)]
    short = [*long[:3], (3 * long[3] + 1) % vocabulary]
    root = Segment(tuple(long[:2]), None, users=2)  # copied to each row
    child = Segment(tuple(long[2:7]), root, users=1)  # read where it is
    rows: list[list[int]] = []
    seen: list[tuple[list[int], int, torch.Tensor]] = []  # a row, how many of its tokens were read, the logits after

    def note(logits: torch.Tensor, which: Sequence[list[int]]) -> None:
        seen.extend((ids, len(ids), after) for ids, after in zip(which, logits, strict=True))

    def step() -> None:
        for place, ids in enumerate(rows):
            ids.append((7 * len(ids) + place) % vocabulary)
        note(decoder.step([ids[-1] for ids in rows]), rows)

    def join(ids: list[int], after: Segment | None) -> None:
        rows.append(list(ids))
        note(decoder.prefill([ids], [after]), rows[-1:])

    try:
        decoder = kind(loaded, shared_length=3)
        decoder.compute([root])
        join(short, root)
        step()
        decoder.compute([child])
        join(long, child)
        step()
        join(long[3:], None)
        decoder.remove(0)
        rows[0] = rows.pop()
        step()
        alone = {id(ids): loaded.model(torch.tensor([ids], device=loaded.device)).logits[0] for ids, _, _ in seen}
    except Exception as error:  # a model may fail in any way when it is run in a way it was not written for
        log.info("%s does not fit this model: %s", kind.__name__, error)
        return False
    return all(_same(after, alone[id(ids)][read - 1]) for ids, read, after in seen)


def _same(got: torch.Tensor, expected: torch.Tensor) -> bool:
    exact = expected.dtype == torch.float32
    allowed = (1e-4 if exact else 3e-2) * float(expected.float().abs().max().clamp(min=1.0))
    return float((got.float() - expected.float()).abs().max()) <= allowed  # NaN is not
