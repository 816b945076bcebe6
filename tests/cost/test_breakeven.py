from __future__ import annotations

from dataclasses import replace

import pytest
from pytest import approx

from harness.cost.breakeven import (
    HOURS_A_MONTH,
    Service,
    Workload,
    break_even,
    capacity_per_month,
    replicas,
    tornado,
    usd_per_month,
    utilisation,
)
from harness.cost.capacity import Capacity

TAU = Capacity(a=1 / 8421, b=1 / 8194, c=8.5e-8, label="measured").gpu_s(1000, 300)
H200 = Service(usd_per_hour=2.60, requests_per_s=1 / TAU)  # Llama-3.3-70B FP8, 1000 tokens in and 300 out


@pytest.mark.parametrize(
    ("price_in", "price_out", "share", "millions"),
    [(0.59, 0.79, 0.16, 2.3), (1.25, 10.0, 0.031, 0.45), (3.0, 15.0, 0.018, 0.25)],
    ids=["groq-llama-70b", "gpt-5", "claude-sonnet-4-5"],
)
def test_the_worked_example_comes_out_to_two_digits(price_in, price_out, share, millions):
    api = (1000 * price_in + 300 * price_out) / 1e6
    found = break_even(H200, api)
    assert found.utilisation == approx(share, rel=0.02)
    assert found.requests_per_month == approx(millions * 1e6, rel=0.02)
    assert found.capacity_per_month == approx(14.2e6, rel=0.01)
    assert found.utilisation == approx(found.usd_local_per_request / api)  # u* = c_local(100 %) / c_API


def test_at_the_break_even_volume_both_cost_the_same():
    service = replace(H200, usd_per_request=0.0001, redundancy=2)
    found = break_even(service, 0.004)
    assert usd_per_month(service, found.requests_per_month) == approx(0.004 * found.requests_per_month)


def test_replicas_are_whole_and_have_room_for_the_peak():
    service = Service(usd_per_hour=1, requests_per_s=10, peak_to_mean=3, headroom=0.2)
    mean = 8 * HOURS_A_MONTH * 3600  # 8 a second, 24 at the peak, 28.8 with head room
    assert replicas(service, mean) == 3
    assert replicas(replace(service, redundancy=5), mean) == 5
    assert replicas(service, 0) == 1
    assert utilisation(service, mean) == approx(8 / 30)
    assert usd_per_month(service, mean) == approx(3 * HOURS_A_MONTH)


def test_a_full_set_of_replicas_needs_no_further_one():
    service = Service(usd_per_hour=1, requests_per_s=7, peak_to_mean=2.5, headroom=0.3)
    for count in (1, 2, 7):
        assert replicas(service, capacity_per_month(service, count)) == count
        assert replicas(service, capacity_per_month(service, count) * 1.001) == count + 1


def test_a_machine_that_cannot_serve_the_volume_never_breaks_even():
    found = break_even(replace(H200, peak_to_mean=10), 0.000827)
    assert found.requests_per_month is None
    assert "it would take 2,29" in found.reason and "the machine serves 1,42" in found.reason


def test_an_api_cheaper_than_what_each_request_costs_besides_always_wins():
    found = break_even(replace(H200, usd_per_request=0.001), 0.0009)
    assert found.requests_per_month is None and "beside the machine" in found.reason


WORK = Workload(
    usd_per_hour=2.6,
    gpu_s_per_input_token=1e-4,
    gpu_s_per_output_token=2e-4,
    input_tokens=1000,
    output_tokens=300,
    utilisation=0.3,
    accuracy=0.8,
)


def test_a_tornado_has_the_textbook_elasticities():
    base = WORK.usd_per_correct()
    bars = {bar.name: bar for bar in tornado(WORK)}
    assert [bars["usd_per_hour"].usd_at_low, bars["usd_per_hour"].usd_at_high] == approx([base * 0.5, base * 1.5])
    for inverse in ("utilisation", "throughput"):
        assert [bars[inverse].usd_at_low, bars[inverse].usd_at_high] == approx([base * 2, base / 1.5])
    assert bars["output_tokens"].usd_at_high == approx(base * (0.1 + 0.09) / (0.1 + 0.06))
    assert (bars["accuracy"].high_input, bars["accuracy"].usd_at_high) == (1.0, approx(base * 0.8))


def test_the_widest_bar_stands_first():
    spans = [bar.span for bar in tornado(WORK)]
    assert spans == sorted(spans, reverse=True) and len(spans) == 5
