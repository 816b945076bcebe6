"""Texts that are nearly the same: shared runs of three words, found through minhash signatures.

Broder 1997 (the resemblance of documents); banding as in Leskovec et al., Mining of Massive Datasets, chapter 3.
A pair that shares 80 % of its runs is found with probability 1 - (1 - 0.8^4)^8 = 0.985; what is found is then counted
exactly, so there are no false alarms. Results are the same in every process.
"""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

RUN = 3  # words; a shorter text is one run
BANDS, WIDTH = 8, 4
MAX_WORDS = 2000  # of a text that are compared
MAX_TRIED = 5  # texts of one bucket that are compared: rows from one template all fall into one
CHUNK = 5000  # texts whose runs are in memory at once


def near_pairs(texts: Sequence[str], others: Sequence[str], least: float = 0.8) -> list[tuple[int, int]]:
    """Returns (i, j) for each text that shares at least `least` of its runs of words with one of `others`.

    j is the first such text. Share: runs in both / runs in either. Expects words parted by single spaces
    (`reading.fold`). Empty texts are like nothing.
    """
    first, second = _keys(texts), _keys(others)
    candidates: dict[int, set[int]] = defaultdict(set)
    for band in range(BANDS):
        shared = np.intersect1d(first[:, band], second[:, band])
        buckets: dict[int, list[int]] = defaultdict(list)
        for j in np.flatnonzero(np.isin(second[:, band], shared)).tolist():
            if others[j] and len(held := buckets[int(second[j, band])]) < MAX_TRIED:
                held.append(j)
        for i in np.flatnonzero(np.isin(first[:, band], shared)).tolist():
            candidates[i].update(buckets[int(first[i, band])])
    found = []
    for i in sorted(candidates):
        match = next((j for j in sorted(candidates[i]) if _shared(texts[i], others[j]) >= least), None)
        if match is not None and texts[i]:
            found.append((i, match))
    return found


def _runs(text: str) -> set[tuple[str, ...]]:
    words = text.split(" ")[:MAX_WORDS]
    return {tuple(words[i : i + RUN]) for i in range(max(1, len(words) - RUN + 1))}


def _shared(one: str, other: str) -> float:
    a, b = _runs(one), _runs(other)
    return len(a & b) / len(a | b)


def _keys(texts: Sequence[str]) -> np.ndarray:
    """Returns one number for each band of each text's signature, (n, BANDS) uint64."""
    parts = [_chunk(texts[start : start + CHUNK]) for start in range(0, len(texts), CHUNK)]
    return np.concatenate(parts) if parts else np.empty((0, BANDS), dtype=np.uint64)


def _chunk(texts: Sequence[str]) -> np.ndarray:
    rng = np.random.default_rng(0)
    factors = rng.integers(1, 2**63, size=BANDS * WIDTH, dtype=np.uint64) | np.uint64(1)
    weights = rng.integers(1, 2**63, size=RUN, dtype=np.uint64) | np.uint64(1)
    known: dict[str, int] = {}
    hashes: list[int] = []
    starts: list[int] = []
    for text in texts:
        starts.append(len(hashes))
        words = text.split(" ")[:MAX_WORDS]
        words += [""] * (RUN - len(words))
        hashes += [
            known[word] if word in known else known.setdefault(word, zlib.crc32(word.encode())) for word in words
        ]
    codes = np.array([*hashes, *[0] * RUN], dtype=np.uint64)
    ends = np.array([*starts[1:], len(hashes)]) - RUN + 1  # one past the last run of each text
    inside = np.zeros(len(hashes), dtype=np.int64)
    np.add.at(inside, starts, 1)
    np.add.at(inside, ends, -1)
    runs = sum(codes[i : i + len(hashes)] * weights[i] for i in range(RUN))
    runs ^= runs >> np.uint64(29)
    runs[np.cumsum(inside) == 0] = 0
    keys = np.zeros((len(texts), BANDS), dtype=np.uint64)
    for k, factor in enumerate(factors):
        mixed = (runs * factor) >> np.uint64(16)
        mixed[runs == 0] = np.iinfo(np.uint64).max  # runs across two texts
        keys[:, k // WIDTH] = keys[:, k // WIDTH] * weights[0] + np.minimum.reduceat(mixed, starts)
    return keys
