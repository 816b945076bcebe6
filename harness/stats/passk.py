"""Several answers to one problem: what k of them achieve. Chen et al. 2021 (arXiv 2107.03374); Yao et al. 2024.

The three rules give one number for one problem, unbiased for any k up to the number of answers drawn. Their mean over
problems is a mean of graded scores, and so is its interval: the problem is what varies, never the single answer.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from math import comb

import numpy as np

from harness.stats.arrays import as_values


def pass_at_k(n: int, c: int, k: int) -> float:
    """Returns the chance that at least one of k answers is right, drawn from n of which c are right."""
    _check_draw(n, c, k)
    return 1.0 - comb(n - c, k) / comb(n, k)


def pass_hat_k(n: int, c: int, k: int) -> float:
    """Returns the chance that all k answers are right (pass^k), drawn from n of which c are right."""
    _check_draw(n, c, k)
    return comb(c, k) / comb(n, k)


def maj_at_k(answers: Sequence[Hashable | None], values: Sequence[float], k: int) -> float:
    """Returns the expected score of the most frequent of k answers drawn from `answers`, all draws counted exactly.

    `values` holds the score of each answer. Tied answers share the win; None does not vote; no vote at all scores 0.
    """
    scores = as_values(values)
    if len(answers) != scores.size:
        raise ValueError(f"{len(answers)} answers and {scores.size} values")
    _check_draw(scores.size, 0, k)
    votes: dict[Hashable, list[float]] = {}
    for answer, score in zip(answers, scores):
        votes.setdefault(answer, []).append(float(score))
    silent = len(votes.pop(None, []))
    counts = [len(given) for given in votes.values()]
    ways = [
        float(np.mean(given)) * _winning_draws(len(given), counts[:i] + counts[i + 1 :], silent, k)
        for i, given in enumerate(votes.values())
        if any(given)
    ]
    return float(sum(ways) / comb(scores.size, k))


def _winning_draws(own: int, others: list[int], silent: int, k: int) -> float:
    """Returns the number of k-subsets in which the answer given `own` times wins; a tie of t counts 1 / t."""
    total = 0.0
    for x in range(1, min(own, k) + 1):
        # ways[d, t]: draws of d answers in which t others also have x votes, and none has more
        ways = np.zeros((k - x + 1, len(others) + 1))
        ways[0, 0] = float(comb(own, x))
        for count in others:
            grown = np.zeros_like(ways)
            for y in range(min(count, x, k - x) + 1):
                shifted = ways[: k - x + 1 - y] * float(comb(count, y))
                if y == x:
                    grown[y:, 1:] += shifted[:, :-1]
                else:
                    grown[y:] += shifted
            ways = grown
        ties = ways @ (1 / np.arange(1, len(others) + 2))
        total += sum(ties[d] * float(comb(silent, k - x - d)) for d in range(k - x + 1))
    return total


def _check_draw(n: int, c: int, k: int) -> None:
    if not (1 <= k <= n and 0 <= c <= n):
        raise ValueError(f"cannot draw {k} answers from {n} of which {c} are right")
