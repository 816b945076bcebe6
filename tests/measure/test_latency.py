from __future__ import annotations

import numpy as np
import pytest
from pytest import approx

from harness.measure.latency import percentile, tpot
from harness.store.schema.measurements import TimedAlone


def answer(*, tokens: int = 11, after_first: int | None = None) -> TimedAlone:
    return TimedAlone("k", 7, tokens, ttft_s=0.1, last_token_s=1.1, e2e_s=1.2, error=None, after_first=after_first)


@pytest.mark.parametrize("q", [0.5, 0.9, 0.95, 0.99])
def test_percentiles_interpolate_as_numpy_does(q):
    values = np.random.default_rng(0).lognormal(size=1000)
    assert percentile(list(values), q).value == approx(np.quantile(values, q))


@pytest.mark.parametrize(("q", "needed"), [(0.5, 20), (0.9, 100), (0.95, 200), (0.99, 1000)])
def test_a_percentile_needs_ten_values_beyond_it(q, needed):
    short = percentile(range(needed - 1), q)
    assert short.value is None
    assert short.reason == f"p{q * 100:g} needs {needed} values, there are {needed - 1}"
    assert percentile(range(needed), q).value is not None


def test_no_values_have_no_percentile():
    assert percentile([], 0.5).reason == "p50 needs 20 values, there are 0"


def test_the_interval_of_a_median_of_twenty_is_the_textbook_pair_of_ranks():
    # sign-test interval for n = 20: ranks 6 and 15, coverage 0.9586
    found = percentile(list(range(1, 21)), 0.5)
    assert (found.low, found.value, found.high) == (6, 10.5, 15)


def test_the_interval_covers_the_true_percentile_at_least_as_often_as_it_says():
    # 1000 draws, coverage >= 0.95: below 930 with probability < 0.004
    rng = np.random.default_rng(1)
    truth = -np.log(0.05)  # p95 of the exponential
    hits = 0
    for _ in range(1000):
        found = percentile(list(rng.exponential(size=400)), 0.95)
        hits += found.low <= truth <= found.high
    assert 930 <= hits <= 990


def test_tpot_starts_after_the_first_token():
    assert tpot(answer()) == approx(0.1)


def test_one_token_has_no_tpot():
    assert tpot(answer(tokens=1)) is None
    assert tpot(answer(tokens=0)) is None


def test_tpot_of_a_stream_is_of_the_tokens_that_came_later():
    assert tpot(answer(tokens=911, after_first=20)) == approx(0.05)
    assert tpot(answer(after_first=0)) is None
