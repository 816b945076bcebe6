"""How often the 95 % intervals hold the truth, beside those that they replaced. Run by hand:

    python -m tests.benchmarks.coverage --draws 300

Each line of the table is one method over its cases: the lowest and the highest share of draws whose interval holds the
truth, and the mean width, before and after. The standard error of a share of 300 draws at 95 % is 1.3 points.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
from scipy import special

from harness.stats import (
    accuracy,
    bootstrap_sums,
    cohen_kappa,
    fleiss_kappa,
    krippendorff_alpha,
    paired_difference,
    ppi_mean,
    ratio_of_sums,
    rogan_gladen,
    single_label,
)
from harness.values import Estimate

Interval = tuple[float | None, float | None]
Draw = Callable[[np.random.Generator], tuple[Interval, Interval]]  # after, before; (None, None): refused


@dataclass(frozen=True, slots=True)
class Case:
    """One setting of a method: its name, what is true, and how a draw is judged."""

    method: str
    setting: str
    truth: float
    draw: Draw


def ends(found: Estimate) -> Interval:
    return found.low, found.high


def t_ends(values: np.ndarray, codes: np.ndarray | None = None) -> Interval:
    """Returns Student's t interval, clustered (CR1, C - 1 degrees of freedom) where codes are given."""
    n = values.size
    codes = np.arange(n) if codes is None else codes
    sums = np.bincount(codes, weights=values - values.mean())
    count = sums.size
    half = special.stdtrit(count - 1, 0.975) * math.sqrt((sums**2).sum() * count / (count - 1)) / n
    return (values.mean() - half, values.mean() + half) if half > 0 else (None, None)


def means() -> Iterator[Case]:
    for n, share in product((10, 30, 100, 300), (0.6, 0.9, 0.97)):

        def graded(rng: np.random.Generator, n: int = n, share: float = share) -> tuple[Interval, Interval]:
            values = np.where(rng.uniform(size=n) < share, 1.0, rng.uniform(size=n))
            return ends(accuracy(values)), t_ends(values)

        def pairs(rng: np.random.Generator, n: int = n, share: float = share) -> tuple[Interval, Interval]:
            a, b = (np.where(rng.uniform(size=n) < share, 1.0, rng.uniform(size=n)) for _ in range(2))
            return ends(paired_difference(a, b).difference), t_ends(a - b)

        def solved(rng: np.random.Generator, n: int = n, share: float = share) -> tuple[Interval, Interval]:
            right = rng.binomial(4, rng.beta(4 * share, 4 * (1 - share), size=n))
            values = 1 - (4 - right) * (3 - right) / 12.0  # pass@2 of 4 answers
            table = np.stack([values, np.ones(n)], axis=1)
            return ends(accuracy(values)), ends(bootstrap_sums(table, lambda s: s[:, 0] / s[:, 1], resamples=499))

        failed = 1 - share
        yield Case("graded scores", f"n={n} p={share}", share + failed / 2, graded)
        yield Case("paired graded difference", f"n={n} p={share}", 0.0, pairs)
        yield Case("pass@k", f"n={n} p={share}", 1 - failed * (4 * failed + 1) / 5, solved)


def clustered() -> Iterator[Case]:
    for count, p, even in product((10, 30, 100), (0.5, 0.85, 0.97), (True, False)):

        def codes_of(rng: np.random.Generator, count: int = count, even: bool = even) -> np.ndarray:
            sizes = np.full(count, 5) if even else np.maximum(1, rng.lognormal(1.5, 1, size=count)).astype(int)
            return np.arange(count).repeat(sizes)

        def share(rng: np.random.Generator, p: float = p, codes_of=codes_of) -> tuple[Interval, Interval]:
            codes = codes_of(rng)
            right = rng.beta(4 * p, 4 * (1 - p), size=codes[-1] + 1)[codes]
            values = (rng.uniform(size=codes.size) < right) * 1.0
            return ends(accuracy(values, codes.tolist())), t_ends(values, codes)

        def pair(rng: np.random.Generator, p: float = p, codes_of=codes_of) -> tuple[Interval, Interval]:
            codes = codes_of(rng)
            right = rng.beta(4 * p, 4 * (1 - p), size=codes[-1] + 1)[codes]
            a, b = ((rng.uniform(size=codes.size) < right) * 1.0 for _ in range(2))
            return ends(paired_difference(a, b, codes.tolist()).difference), t_ends(a - b, codes)

        setting = f"C={count} p={p} {'even' if even else 'uneven'}"
        yield Case("clustered right or wrong", setting, p, share)
        yield Case("paired clustered difference", setting, 0.0, pair)


def agreement() -> Iterator[Case]:
    for n, rate, kappa in product((30, 100, 300), (0.5, 0.1, 0.03), (0.4, 0.8, 0.95)):

        def two(rng: np.random.Generator, n: int, rate: float, kappa: float) -> tuple[list[int], list[int]]:
            first = rng.uniform(size=n) < rate
            second = np.where(rng.uniform(size=n) < kappa, first, rng.uniform(size=n) < rate)
            return first.astype(int).tolist(), second.astype(int).tolist()

        def cohen(rng: np.random.Generator, n=n, rate=rate, kappa=kappa, two=two) -> tuple[Interval, Interval]:
            found = cohen_kappa(*two(rng, n, rate, kappa))
            half = None if found.stderr is None else 1.959964 * found.stderr
            normal = (None, None) if half is None else (found.value - half, found.value + half)
            return ends(found), normal

        def fleiss(rng: np.random.Generator, n=n, rate=rate, kappa=kappa, two=two) -> tuple[Interval, Interval]:
            a, b = two(rng, n, rate, kappa)
            return ends(fleiss_kappa([[2 - x - y, x + y] for x, y in zip(a, b)])), (None, None)

        def alpha(rng: np.random.Generator, n=n, rate=rate, kappa=kappa, two=two) -> tuple[Interval, Interval]:
            return ends(krippendorff_alpha(two(rng, n, rate, kappa))), (None, None)

        for name, draw in (("Cohen's kappa", cohen), ("Fleiss' kappa", fleiss), ("Krippendorff's alpha", alpha)):
            yield Case(name, f"n={n} rate={rate} kappa={kappa}", kappa, draw)


def judged() -> Iterator[Case]:
    for labels, p, right in product((20, 30, 60, 200), (0.5, 0.8, 0.95), (0.7, 0.9, 0.97)):

        def ppi(rng: np.random.Generator, n=labels, p=p, right=right) -> tuple[Interval, Interval]:
            y = (rng.uniform(size=n + 500) < p) * 1.0
            f = np.where(rng.uniform(size=y.size) < right, y, 1 - y)
            found = ppi_mean(y[:n], f[:n], f[n:])
            half = 1.959964 * (found.stderr or 0.0)
            return ends(found), (found.value - half, found.value + half) if half else (None, None)

        def melded(rng: np.random.Generator, n=labels, p=p, right=right) -> tuple[Interval, Interval]:
            passed = rng.binomial(500, p * right + (1 - p) * (1 - right))
            found = rogan_gladen(
                int(passed), 500, *(int(x) for x in (rng.binomial(n, right), n, rng.binomial(n, right), n))
            )
            half = 1.959964 * (found.stderr or 0.0)
            return ends(found), (found.value - half, found.value + half) if half else (None, None)

        yield Case("PPI", f"labels={labels} p={p} judge={right}", p, ppi)
        yield Case("Rogan-Gladen", f"labels={labels} p={p} judge={right}", p, melded)


def labels() -> Iterator[Case]:
    for (k, rare), right, n in product(((2, False), (2, True), (5, True), (20, False)), (0.6, 0.85, 0.97), (30, 200)):
        shares = 1 / np.arange(1, k + 1) ** (2.5 if rare and k == 2 else 1.0 if rare else 0.0)
        shares = shares / shares.sum()
        cells = np.diag(shares * right) + (1 - np.eye(k)) * (shares * (1 - right))[:, None] / (k - 1)
        f1 = 2 * np.diag(cells) / (cells.sum(axis=0) + cells.sum(axis=1))

        def draw(rng: np.random.Generator, cells=cells, k=k, n=n):
            names = [f"{i:02d}" for i in range(k)]
            chosen = rng.choice(k * k, size=n, p=cells.ravel())
            found = single_label([names[c // k] for c in chosen], [names[c % k] for c in chosen], names)
            last = found.labels[-1]
            return found, last

        def macro(rng: np.random.Generator, draw=draw) -> tuple[Interval, Interval]:
            return ends(draw(rng)[0].macro_f1), (None, None)

        def one(rng: np.random.Generator, draw=draw) -> tuple[Interval, Interval]:
            last = draw(rng)[1]
            return (last.f1_low, last.f1_high), (None, None)

        setting = f"labels={k}{' uneven' if rare else ''} right={right} n={n}"
        yield Case("macro F1", setting, float(f1.mean()), macro)
        yield Case("F1 of a label", setting, float(f1[-1]), one)


def ratios() -> Iterator[Case]:
    for n, p in product((30, 100, 300), (0.2, 0.8)):

        def cost(rng: np.random.Generator, n=n, p=p) -> tuple[Interval, Interval]:
            found = ratio_of_sums(
                rng.lognormal(0, 0.5, size=n).tolist(), (rng.uniform(size=n) < p).astype(float).tolist()
            )
            return ends(found), ends(found)

        def bits(rng: np.random.Generator, n=n) -> tuple[Interval, Interval]:
            size = rng.lognormal(6, 1, size=n)
            table = np.stack([size * rng.normal(0.7, 0.15, size=n), size], axis=1)
            found = ends(bootstrap_sums(table, lambda s: s[:, 0] / s[:, 1], resamples=999))
            return found, found

        yield Case("cost per correct answer", f"n={n} p={p}", math.exp(0.125) / p, cost)
        if p == 0.8:
            yield Case("bits per byte", f"n={n}", 0.7, bits)


CASES = (means, clustered, agreement, judged, labels, ratios)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=100)
    parser.add_argument("--only", default="", help="methods whose name holds this")
    parser.add_argument("--each", action="store_true", help="a line for each case too")
    given = parser.parse_args()
    found: dict[str, list[tuple[float, float, float, float, float]]] = {}
    for case in (case for several in CASES for case in several() if given.only in case.method):
        rng, held, known = np.random.default_rng(0), np.zeros((2, given.draws)), np.zeros((2, given.draws), dtype=bool)
        width = np.zeros((2, given.draws))
        for i in range(given.draws):
            for j, (low, high) in enumerate(case.draw(rng)):
                if low is not None and high is not None:
                    known[j, i], width[j, i] = True, high - low
                    held[j, i] = low - 1e-9 <= case.truth <= high + 1e-9
        refused = 1 - known[0].mean()
        if refused == 1:
            continue
        after, wide = held[0][known[0]].mean(), width[0][known[0]].mean()
        before, narrow = held[1].mean(), width[1].mean()  # no interval did not hold the truth either
        found.setdefault(case.method, []).append((after, before, wide, narrow, refused))
        if given.each:
            print(f"{case.method}: {case.setting}: {100 * before:.1f} -> {100 * after:.1f}, {narrow:.3f} -> {wide:.3f}")
    print("| method | cases | held before | held now | width before | now |\n|---|---|---|---|---|---|")
    for name, rows in found.items():
        after, before, wide, narrow, _ = (np.array(column) for column in zip(*rows))
        old = f"{100 * before.min():.1f}–{100 * before.max():.1f}" if before.any() else ""
        now = f"{100 * after.min():.1f}–{100 * after.max():.1f}"
        print(f"| {name} | {len(rows)} | {old} | {now} | {f'{narrow.mean():.3f}' if old else ''} | {wide.mean():.3f} |")


if __name__ == "__main__":
    main()
