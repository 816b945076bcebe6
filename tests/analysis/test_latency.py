"""The latency of a row, from the requests that were timed alone."""

from __future__ import annotations

from typing import Any

from pytest import approx

from harness.analysis.resources import latency
from harness.store.schema import Latency, LatencyLine, TimedAlone


def timed(i: int = 0, **changes: Any) -> TimedAlone:
    given = {"input_tokens": 7, "output_tokens": 11, "ttft_s": 0.1, "last_token_s": 1.1, "e2e_s": 1.2, "error": None}
    return TimedAlone(key=str(i), **given | changes)


def found(*responses: TimedAlone, warmup: int = 0) -> Latency:
    return latency([LatencyLine(model="m", task="t", mode="generate", warmup=warmup, responses=responses)])


def test_planted_times_come_back():
    # 21 requests: the middle one has ttft 0.20, 0.05 s a token after it
    times = [timed(i, ttft_s=0.10 + i / 100, last_token_s=0.60 + i / 100, e2e_s=0.70 + i / 100) for i in range(21)]
    told = found(*times, warmup=3)
    assert told.ttft_p50.value == approx(0.20)
    assert told.tpot_p50.value == approx(0.05)
    assert told.e2e_p50.value == approx(0.80)
    assert (told.n, told.failed, told.warmup) == (21, 0, 3)
    assert told.e2e_p95.value is None and told.e2e_p95.reason == "p95 needs 200 values, there are 21"
    assert told.ttft_p50.low < 0.20 < told.ttft_p50.high


def test_failed_requests_are_counted_and_never_timed():
    told = found(*[timed(i) for i in range(20)], timed(20, error="out of memory", e2e_s=99.0))
    assert (told.n, told.failed) == (20, 1)
    assert told.e2e_p50.value == approx(1.2)


def test_a_task_that_only_scores_has_the_latency_of_an_answer_and_no_token_times():
    scored = {"output_tokens": None, "ttft_s": None, "last_token_s": None, "e2e_s": 0.3}
    told = found(*[timed(i, **scored) for i in range(20)])
    assert told.e2e_p50.value == approx(0.3)
    assert told.ttft_p50.value is None and told.tpot_p50.value is None
    assert told.tpot_p50.reason == "p50 needs 20 values, there are 0"


def test_of_several_sittings_the_last_one_counts():
    sittings = [tuple(timed(i, e2e_s=seconds) for i in range(20)) for seconds in (1.0, 2.0)]
    lines = [LatencyLine(model="m", task="t", mode="generate", warmup=0, responses=times) for times in sittings]
    assert latency(lines).e2e_p50.value == 2.0 and latency([]).n == 0
