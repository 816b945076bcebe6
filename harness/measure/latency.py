"""How long one request takes when it runs alone: percentiles of the first token, the token rate and the whole.

    TTFT = t_first − t_send        TPOT = (t_last − t_first)/(O − 1), O ≥ 2        E2E = t_end − t_send

Of a stream, O − 1 are the tokens that came after the first moment: the first chunk may hold several, and a thought that
the server keeps to itself is billed and never comes.

Seconds. A percentile q of n values is given only where n(1−q) ≥ 10, with an order-statistic interval: the values
between two ranks that hold the true percentile with 95 % confidence, whatever the distribution. Definitions:
reference/latency_and_cost.md §1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from harness.values import Estimate

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

TAIL = 10  # values that must lie beyond a percentile before it is given


def percentile(values: Sequence[float] | NDArray[np.float64], q: float, confidence: float = 0.95) -> Estimate:
    """Returns the q-th percentile (0 < q < 1, linear interpolation as numpy's) of `values` with its interval.

    Unknown, with the reason, when fewer than `TAIL` values lie beyond it on either side. Where the ranks of the
    interval fall outside the sample that end is None.
    """
    n = len(values)
    needed = math.ceil(TAIL / min(q, 1.0 - q) - 1e-6)
    if n < needed:
        return Estimate(value=None, n=n, reason=f"p{q * 100:g} needs {needed} values, there are {n}")
    import numpy as np
    from scipy.stats import binom

    ordered = np.sort(np.asarray(values, dtype=float))
    place = (n - 1) * q
    below = math.floor(place)
    above = min(below + 1, n - 1)
    value = ordered[below] + (place - below) * (ordered[above] - ordered[below])
    miss = (1.0 - confidence) / 2.0
    first = int(binom.ppf(miss, n, q))  # ranks count from 1
    last = int(binom.ppf(1.0 - miss, n, q)) + 1
    return Estimate(
        value=float(value),
        low=float(ordered[first - 1]) if first >= 1 else None,
        high=float(ordered[last - 1]) if last <= n else None,
        n=n,
        method="order statistics",
    )


class Times(Protocol):
    """What is known of one request that ran alone, in seconds from the moment it was handed over."""

    @property
    def output_tokens(self) -> int | None: ...
    @property
    def ttft_s(self) -> float | None: ...
    @property
    def last_token_s(self) -> float | None: ...
    @property
    def after_first(self) -> int | None: ...


def tpot(timed: Times) -> float | None:
    """Returns seconds per output token after the first; None where none came later, or without times."""
    later = (timed.output_tokens or 0) - 1 if timed.after_first is None else timed.after_first
    if later < 1 or timed.ttft_s is None or timed.last_token_s is None:
        return None
    return (timed.last_token_s - timed.ttft_s) / later
