"""chrF2 of two texts (Popović 2015), as sacrebleu computes it for a sentence, several times sooner.

Every run of one to six characters is a whole number: its characters are the digits, in a base larger than any of them,
and no digit is 0, so runs of different lengths never meet. Counting runs is then sorting numbers. The values are
sacrebleu's to the last bit; `tests/scorers/test_chrf.py` compares them on thousands of pairs.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

ORDER = 6  # characters of the longest run
RECALL_WEIGHT = 2**2  # beta squared
LARGEST_BASE = 1448  # the largest whose sixth power is below 2^63


def chrf2(expected: str, answer: str) -> float | None:
    """Returns the score in [0, 1], white space left out; None for texts of too many different characters to count.

    Too many are about 1,400 (`LARGEST_BASE`), as in a long document in Chinese.
    """
    reference, given = (_codes(text) for text in (expected, answer))
    base = int(max(reference.max(initial=0), given.max(initial=0))) + 1
    if base > LARGEST_BASE:
        known, both = np.unique(np.concatenate([reference, given]), return_inverse=True)
        base = len(known) + 1
        if base > LARGEST_BASE:
            return None
        reference, given = both[: reference.size] + 1, both[reference.size :] + 1
    shared = _shared(_runs(reference, base), _runs(given, base), base)
    return _score(given.size, reference.size, shared)


def _codes(text: str) -> np.ndarray:
    """Returns the code point plus one of each character that is no white space, (characters,) int64."""
    encoded = "".join(text.split()).encode("utf-32-le", "surrogatepass")
    return np.frombuffer(encoded, dtype=np.uint32).astype(np.int64) + 1


def _runs(codes: np.ndarray, base: int) -> np.ndarray:
    """Returns every run of 1 to ORDER characters as a number, in any order."""
    runs = [codes]
    for n in range(1, ORDER):
        runs.append(runs[-1][:-1] * base + codes[n:])
    return np.concatenate(runs)


def _shared(reference: np.ndarray, given: np.ndarray, base: int) -> Sequence[int]:
    """Returns how many runs of each length two texts share, repeats counted, (ORDER,)."""
    runs, counts = np.unique(given, return_counts=True)
    wanted, wanted_counts = np.unique(reference, return_counts=True)
    if not runs.size or not wanted.size:
        return [0] * ORDER
    place = np.searchsorted(wanted, runs)
    place[place == wanted.size] = 0
    both = np.where(wanted[place] == runs, np.minimum(counts, wanted_counts[place]), 0)
    ends = np.searchsorted(runs, [base**n for n in range(ORDER)])  # the shortest runs are the smallest numbers
    sums = np.concatenate([[0], np.cumsum(both)])
    shared: list[int] = np.diff(sums[[*ends, runs.size]]).tolist()
    return shared


def _score(given: int, reference: int, shared: Sequence[int]) -> float:
    """Returns the F2 of the mean precision and the mean recall over the lengths that both texts have."""
    orders = [n for n in range(ORDER) if given > n and reference > n]
    if not orders:
        return 0.0
    precision = recall = 0.0
    for n in orders:  # `sum` rounds otherwise, and the last bit would differ
        precision += shared[n] / (given - n)
        recall += shared[n] / (reference - n)
    precision, recall = precision / len(orders), recall / len(orders)
    if not precision + recall:
        return 0.0
    score = (1 + RECALL_WEIGHT) * precision * recall
    return 100 * (score / (RECALL_WEIGHT * precision + recall)) / 100
