"""How much rows are worth that are not independent: questions on one document, epochs of one sample.

Bell and McCaffrey 2002 (Survey Methodology 28:169): the cluster-robust error CR2, which is unbiased for independent
rows however unequal the clusters are, and the degrees of freedom that it has; Imbens and Kolesár 2016 (Review of
Economics and Statistics 98:701) for those of rows that are correlated within a cluster. With clusters of one size CR2
is the usual CR1 (Miller 2024, arXiv 2411.00640), and the degrees of freedom are the number of clusters less 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import special

from harness.stats.arrays import Codes, Floats


@dataclass(frozen=True, slots=True)
class ClusteredError:
    """The error of a mean of clustered rows."""

    stderr: float  # 0: the clusters have all the same mean
    df: float  # degrees of freedom
    rows: int
    clusters: int
    spread: float  # mean squared deviation of the rows

    def t(self, confidence: float) -> float:
        """Returns Student's quantile for an interval of both sides."""
        return float(special.stdtrit(self.df, (1 + confidence) / 2))

    def worth(self) -> float:
        """Returns how many independent rows have this error: never more than there are.

        Rows that are all alike show no error. Each cluster then counts as one row, which is the cautious reading.
        """
        if self.spread == 0:
            return float(self.clusters)
        return min(float(self.rows), self.spread / self.stderr**2) if self.stderr > 0 else float(self.rows)

    def worth_at(self, confidence: float) -> float:
        """Returns the same, less what the few degrees of freedom cost (Korn and Graubard 1998)."""
        if self.stderr == 0:
            return self.worth()
        return self.worth() * float(special.ndtri((1 + confidence) / 2) / self.t(confidence)) ** 2


def clustered_error(values: Floats, codes: Codes, count: int) -> ClusteredError:
    """Returns the error of the mean of `values`, `codes` being the cluster of each, of `count` > 1 clusters."""
    n, mean = values.size, float(values.mean())
    sizes = np.bincount(codes, minlength=count).astype(float)
    gaps = np.asarray(np.bincount(codes, weights=values - mean, minlength=count), dtype=float)
    spread = float(np.square(values - mean).mean())
    tiny = 1e-12 * max(1.0, float(np.abs(values).max()))
    factors = 1 / (n * np.sqrt(1 - sizes / n))
    stderr = float(np.sqrt(np.square(factors * gaps).sum()))
    df = _degrees(sizes, factors, _correlation(spread * n, gaps, sizes))
    return ClusteredError(stderr if stderr > tiny else 0.0, df, n, count, spread if spread > tiny**2 else 0.0)


def _correlation(squares: float, gaps: Floats, sizes: Floats) -> float:
    """Returns the intraclass correlation, by analysis of variance: 0 to 1."""
    n, count = float(sizes.sum()), sizes.size
    between = float((gaps**2 / sizes).sum())
    within = max(0.0, squares - between) / max(1.0, n - count)
    between /= count - 1
    size = (n - float((sizes**2).sum()) / n) / (count - 1)
    below = between + (size - 1) * within
    return min(1.0, max(0.0, (between - within) / below)) if below > 0 else 0.0


def _degrees(sizes: Floats, factors: Floats, rho: float) -> float:
    """Returns trace(B)² / trace(B²), B being the covariance of the terms whose squares CR2 sums up; at least 1.

    Rows of one cluster correlate by `rho`. All sums over pairs of clusters are products of sums over clusters.
    """
    n = float(sizes.sum())
    share = sizes / n
    own = float((share**2).sum())
    diagonal = factors**2 * ((1 - rho) * sizes * (1 - share) + rho * sizes**2 * (1 - 2 * share + own))
    # B² off the diagonal is g_c g_d (base - rho share_c - rho share_d)²
    g, base = np.square(factors * sizes), rho * own - (1 - rho) / n
    whole, first, second = float(g.sum()), float(g @ share), float(g @ share**2)
    pairs = base**2 * whole**2 + 2 * rho**2 * (second * whole + first**2) - 4 * base * rho * first * whole
    pairs -= float(np.square(g * (base - 2 * rho * share)).sum())
    return max(1.0, float(diagonal.sum()) ** 2 / (pairs + float((diagonal**2).sum())))
