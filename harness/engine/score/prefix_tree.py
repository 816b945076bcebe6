"""All sequences of a job as one prefix tree, cut into pieces that a model reads once each.

    sequences -> Trie (sorted, neighbours compared) -> Group (a prefix worth keeping) -> Row (what is read below it)

Sorted sequences are a depth-first walk of their tree: what two neighbours share is what the tree shares. A `Group` is a
stretch of the walk with a common prefix whose key-value cache is kept while the stretch is read. A `Row` is a part of
the walk small enough to be read in one go: its tokens in depth-first order, each seeing its own ancestors only.
No torch here: plans are arrays, so they can be tested and counted without a model.
"""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.engine.tokens import ScoreSequence

# Short branches are packed into rows of this many tokens: wide enough that padding is small, narrow enough that
# little attention is spent on positions that see nothing of each other.
ROW_TOKENS = 128
# A subtree is one row if its branches together have at most this many tokens beyond the longest path: below that,
# a forward pass of its own for the shared part costs more than branches that look past each other.
SPREAD_TOKENS = 512
# The part of a row that may repeat tokens of another row, where a pass of its own would be spent on a few tokens.
REPEAT_SHARE = 0.02


@dataclass(frozen=True, slots=True)
class Trie:
    """Distinct inputs in order, and who reads what of them.

    inputs: sorted arrays of token ids, `ids[:-1]` of the sequences. shared: for each input, the number of leading
    tokens it has in common with the one before it (first: 0). readers: for each input, the indices of the sequences
    with that input. first_read: for each input, the first position whose prediction is judged.
    """

    inputs: tuple[np.ndarray, ...]
    shared: np.ndarray
    lengths: np.ndarray
    readers: tuple[tuple[int, ...], ...]
    first_read: np.ndarray

    @property
    def distinct_tokens(self) -> int:
        """Nodes of the tree: the least that any method must forward."""
        return int((self.lengths - self.shared).sum())

    def size(self, start: int, stop: int, depth: int) -> int:
        """Tokens of the subtree of inputs start..stop-1 below `depth`, which all of them share."""
        own = self.lengths[start:stop] - self.shared[start:stop]
        return int(own.sum() + self.shared[start] - depth)


@dataclass(frozen=True, slots=True)
class Group:
    """A prefix kept in a cache and the rows read below it.

    The prefix is positions 0..stop-1 of any of the `members`; positions start..stop-1 are new, the others are in
    the cache already. rows: longest first, each the indices of its inputs in order. groups: longer prefixes inside.
    """

    members: range
    start: int
    stop: int
    rows: tuple[tuple[int, ...], ...]
    groups: tuple[Group, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """Part of the tree as one row of a batch.

    tokens, depths: (n,) in depth-first order; depth counts from the start of the sequence. sees: (n, n), whether a
    token sees another of the same row (itself and its ancestors). slots: for each input, the row's index of each of
    its positions below the prefix.
    """

    tokens: np.ndarray
    depths: np.ndarray
    sees: np.ndarray
    slots: tuple[np.ndarray, ...]

    @property
    def is_chain(self) -> bool:
        """Whether the row is one branch, each token seeing all before it."""
        return len(self.slots) == 1


def build(sequences: Sequence[ScoreSequence]) -> Trie:
    """Returns the tree of `sequences`, each of which must be scorable."""
    readers: dict[tuple[int, ...], list[int]] = {}
    for index, sequence in enumerate(sequences):
        readers.setdefault(sequence.ids[:-1], []).append(index)
    # Big-endian bytes sort as the ids do, and compare at memory speed.
    keyed = sorted((np.array(ids, dtype=">u4").tobytes(), indices) for ids, indices in readers.items())
    inputs = tuple(np.frombuffer(key, dtype=">u4").astype(np.int64) for key, _ in keyed)
    pairs = itertools.pairwise(inputs)
    shared = np.array([0, *(_common(a, b) for a, b in pairs)][: len(inputs)], dtype=np.int64)
    lengths = np.array([len(ids) for ids in inputs], dtype=np.int64)
    longest = [max(sequences[index].n_scored for index in indices) for _, indices in keyed]
    return Trie(
        inputs=inputs,
        shared=shared,
        lengths=lengths,
        readers=tuple(tuple(indices) for _, indices in keyed),
        first_read=lengths - np.array(longest, dtype=np.int64),
    )


def _common(a: np.ndarray, b: np.ndarray) -> int:
    n = min(len(a), len(b))
    different = np.flatnonzero(a[:n] != b[:n])
    return int(different[0]) if len(different) else n


def plan(trie: Trie, batch_tokens: int) -> Group:
    """Returns the whole tree as a group with an empty prefix. No row is longer than `batch_tokens`.

    A single sequence longer than that becomes a group without rows: its prefix can be read in parts.
    """
    return _group(trie, range(len(trie.inputs)), 0, 0, batch_tokens)


def _group(trie: Trie, members: range, start: int, stop: int, batch_tokens: int) -> Group:
    units: list[tuple[int, range]] = []  # (tokens, inputs)
    groups: list[Group] = []
    pending = [members]
    while pending:
        part = pending.pop()
        low, high = part.start, part.stop
        if part and trie.lengths[low] == stop:  # ends inside the prefix: it is read there
            low += 1
        if low == high:
            continue
        size = trie.size(low, high, stop)
        spread = size - int(trie.lengths[low:high].max() - stop)
        common = int(trie.shared[low + 1 : high].min()) if high - low > 1 else int(trie.lengths[low])
        if size <= batch_tokens and spread <= SPREAD_TOKENS:
            units.append((size, range(low, high)))
        elif high - low == 1 or common - stop > REPEAT_SHARE * ROW_TOKENS:
            groups.append(_group(trie, range(low, high), stop, common, batch_tokens))
        else:
            cuts = [low, *(low + 1 + np.flatnonzero(trie.shared[low + 1 : high] == common)).tolist(), high]
            pending += [range(a, b) for a, b in itertools.pairwise(cuts)]
    return Group(members, start, stop, _pack(units, min(ROW_TOKENS, batch_tokens)), tuple(groups))


def _pack(units: list[tuple[int, range]], capacity: int) -> tuple[tuple[int, ...], ...]:
    """Returns rows of at most `capacity` tokens, or of one larger unit: the largest first, then the best fit."""
    left = sorted(units, key=lambda unit: (unit[0], unit[1].start))
    rows = []
    while left:
        size, inputs = left.pop()
        row, room = list(inputs), capacity - size
        while left and left[0][0] <= room:
            size, inputs = left.pop(bisect_right(left, room, key=lambda unit: unit[0]) - 1)
            row += inputs
            room -= size
        rows.append(tuple(sorted(row)))
    return tuple(rows)


def forks(trie: Trie, inputs: Sequence[int], start: int) -> list[int]:
    """Returns where each of `inputs` (ascending indices) leaves the one before it in a row after `start` tokens.

    What an input shares with one further back is the least that any neighbours on the way share.
    """
    pairs = itertools.pairwise(inputs)
    return [start, *(max(start, int(trie.shared[a + 1 : b + 1].min())) for a, b in pairs)]


def width(trie: Trie, inputs: Sequence[int], start: int) -> int:
    """Returns the tokens of `row(trie, inputs, start)` without making it."""
    return sum(int(trie.lengths[index]) - fork for index, fork in zip(inputs, forks(trie, inputs, start)))


def row(trie: Trie, inputs: Sequence[int], start: int, stop: int | None = None) -> Row:
    """Returns positions start..stop-1 of `inputs` (ascending indices) as one row; what they share is there once.

    All of them share their first `start` tokens, and are longer. stop None: to the end of each.
    """
    ends = [int(trie.lengths[index]) if stop is None else stop for index in inputs]
    path = np.zeros(max(ends), dtype=np.int64)  # row index of each position of the branch being walked
    tokens, depths, slots, branches = [], [], [], []
    n = 0
    for index, end, fork in zip(inputs, ends, forks(trie, inputs, start)):
        fork = min(end, fork)
        path[fork:end] = np.arange(n, n + end - fork)
        tokens.append(trie.inputs[index][fork:end])
        depths.append(np.arange(fork, end))
        slots.append(path[start:end].copy())
        branches.append((n, n + end - fork, path[start:fork].copy()))
        n += end - fork
    sees = np.zeros((n, n), dtype=bool)
    for first, last, above in branches:
        sees[first:last, above] = True
        sees[first:last, first:last] = np.tri(last - first, dtype=bool)
    return Row(np.concatenate(tokens), np.concatenate(depths), sees, tuple(slots))
