"""How long one request takes when it runs alone: percentiles of the first token, the token rate and the whole.

    TTFT = t_first − t_send        TPOT = (t_last − t_first)/(O − 1), O ≥ 2        E2E = t_end − t_send

Seconds. A percentile q of n values is given only where n(1−q) ≥ 10, with an order-statistic interval: the values
between two ranks that hold the true percentile with 95 % confidence, whatever the distribution. Definitions:
reference/latency_and_cost.md §1.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from harness.values import Estimate, Response

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


def tpot(response: Response) -> float | None:
    """Returns seconds per output token after the first; None for fewer than two tokens or without times."""
    if (response.output_tokens or 0) < 2 or response.ttft_s is None or response.last_token_s is None:
        return None
    return (response.last_token_s - response.ttft_s) / (response.output_tokens - 1)


def latency_summary(responses: Iterable[Response], *, warmup: int = 0) -> dict[str, Any]:
    """Returns the summary of requests that ran alone: seconds, `n`, and how many warm-up requests came before.

    Failed requests are left out and counted. A key is None where it is unknown; `reasons` has why, by key, and
    `intervals` the 95 % interval of each known one.
    """
    every = list(responses)
    good = [r for r in every if r.error is None and r.e2e_s is not None]
    measured = {
        "ttft": [r.ttft_s for r in good if r.ttft_s is not None],
        "tpot": [t for t in map(tpot, good) if t is not None],
        "e2e": [r.e2e_s for r in good],
    }
    wanted = {
        "ttft_p50_s": ("ttft", 0.50),
        "ttft_p95_s": ("ttft", 0.95),
        "tpot_p50_s": ("tpot", 0.50),
        "e2e_p50_s": ("e2e", 0.50),
        "e2e_p95_s": ("e2e", 0.95),
    }
    found = {key: percentile(measured[what], q) for key, (what, q) in wanted.items()}
    return {
        **{key: estimate.value for key, estimate in found.items()},
        "n": len(good),
        "failed": len(every) - len(good),
        "warmup": warmup,
        "intervals": {key: [e.low, e.high] for key, e in found.items() if e.value is not None},
        "reasons": {key: e.reason for key, e in found.items() if e.value is None},
    }
