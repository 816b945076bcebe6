from __future__ import annotations

import numpy as np
import pytest
from pytest import approx

from harness.measure.latency import latency_summary, percentile, tpot
from harness.values import Response


def answer(i: int = 0, *, tokens: int = 11, ttft: float = 0.1, last: float = 1.1, e2e: float = 1.2, **rest) -> Response:
    times = {"ttft_s": ttft, "last_token_s": last, "e2e_s": e2e, **rest}
    return Response(key=str(i), prompt="p", text="t", input_tokens=7, output_tokens=tokens, **times)


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


def test_a_summary_of_planted_times_gives_them_back():
    # 21 requests: the middle one has ttft 0.20, 0.05 s a token after it
    responses = [answer(i, ttft=0.10 + i / 100, last=0.60 + i / 100, e2e=0.70 + i / 100) for i in range(21)]
    found = latency_summary(responses, warmup=3)
    assert found["ttft_p50_s"] == approx(0.20)
    assert found["tpot_p50_s"] == approx(0.05)
    assert found["e2e_p50_s"] == approx(0.80)
    assert (found["n"], found["failed"], found["warmup"]) == (21, 0, 3)
    assert found["e2e_p95_s"] is None
    assert found["reasons"]["e2e_p95_s"] == "p95 needs 200 values, there are 21"
    low, high = found["intervals"]["ttft_p50_s"]
    assert low < 0.20 < high


def test_failed_requests_are_counted_and_never_timed():
    responses = [answer(i) for i in range(20)] + [Response(key="x", prompt=None, error="out of memory", e2e_s=99.0)]
    found = latency_summary(responses)
    assert (found["n"], found["failed"]) == (20, 1)
    assert found["e2e_p50_s"] == approx(1.2)


def test_a_task_that_only_scores_has_the_latency_of_an_answer_and_no_token_times():
    scored = [Response(key=str(i), prompt="p", logprobs=(-1.0,), input_tokens=9, e2e_s=0.3) for i in range(20)]
    found = latency_summary(scored)
    assert found["e2e_p50_s"] == approx(0.3)
    assert found["ttft_p50_s"] is None and found["tpot_p50_s"] is None
    assert found["reasons"]["tpot_p50_s"] == "p50 needs 20 values, there are 0"
