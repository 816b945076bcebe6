from __future__ import annotations

import pytest
from pytest import approx

from harness.cost.capacity import Capacity, Shape, fit, split_fleet, token_price
from harness.errors import ConfigError
from tests.support.public_tables import LENGTHS, LLAMA_8B_H100, LLAMA_8B_H200, LLAMA_70B_2_H100, LLAMA_70B_H200, table

SHORT = slice(0, 9)  # without the shape of 20,000 tokens, as the reference fits its coefficients

H200 = Capacity(a=1 / 8421, b=1 / 8194, c=8.5e-8, label="measured")  # Llama-3.3-70B FP8 on one H200


def test_planted_coefficients_are_recovered_and_no_shape_is_missed():
    planted = Capacity(a=1e-4, b=2e-4, c=3e-8, label="measured")
    found = fit([Shape(i, o, planted.gpu_s(i, o)) for i, o in LENGTHS])
    assert (found.a, found.b, found.c) == (approx(1e-4), approx(2e-4), approx(3e-8))
    assert found.error_max == approx(0.0, abs=1e-9) and found.label == "measured"


def test_a_term_that_costs_nothing_is_zero_and_never_negative():
    found = fit([Shape(i, o, 1e-4 * i + 2e-4 * o) for i, o in LENGTHS])
    assert found.c == approx(0.0, abs=1e-15) and found.c >= 0


@pytest.mark.parametrize(
    ("speeds", "gpus", "per_a", "per_b", "c", "mean", "worst"),
    [
        (LLAMA_70B_H200, 1, 8_421, 8_194, 8.5e-8, 0.07, 0.13),
        (LLAMA_70B_2_H100, 2, 7_337, 6_656, 1.3e-7, 0.04, 0.10),
        (LLAMA_8B_H200, 1, 69_294, 55_130, 1.7e-8, 0.03, 0.07),
        (LLAMA_8B_H100, 1, 70_747, 62_845, 2.5e-8, 0.04, 0.14),
    ],
)
def test_public_tables_give_the_published_fits(speeds, gpus, per_a, per_b, c, mean, worst):
    shapes = table(speeds, gpus)
    short = fit(shapes[SHORT])
    assert 1 / short.a == approx(per_a, rel=1e-4)
    assert 1 / short.b == approx(per_b, rel=1e-4)
    assert short.c == approx(c, rel=0.03)
    every = fit(shapes)
    assert every.error_mean == approx(mean, abs=0.005)
    assert every.error_max == approx(worst, abs=0.005)


def test_too_few_shapes_are_refused():
    with pytest.raises(ConfigError, match="5 shapes are too few"):
        fit(table(LLAMA_8B_H100)[:5])


def test_shapes_of_one_length_are_refused():
    same = [Shape(1000, 100 + i / 1e9, 0.2) for i in range(6)]
    with pytest.raises(ConfigError, match="cannot tell prompt, answer and context apart"):
        fit(same)


def test_the_worked_example_of_one_h200_comes_out_to_two_digits():
    # reference/latency_and_cost.md 3.4: USD 2.60 an hour, 1000 tokens in, 300 out
    assert H200.gpu_s(1000, 300) == approx(0.185, abs=5e-4)
    full = token_price(H200, 1000, 300, usd_per_gpu_hour=2.60)
    assert full.usd_per_request == approx(0.000133, abs=1e-6)
    assert full.input_share == approx(0.64, abs=0.005)
    assert full.usd_per_1m_input == approx(0.086, abs=5e-4)
    assert full.usd_per_1m_output == approx(0.159, abs=5e-4)
    assert token_price(H200, 1000, 300, 2.60, utilisation=0.3).usd_per_request == approx(0.000445, abs=1e-6)


def test_the_parts_sum_to_the_request_so_the_machine_is_charged_once():
    price = token_price(H200, 1000, 300, 2.60)
    parts = (1000 * price.usd_per_1m_input + 300 * price.usd_per_1m_output) / 1e6
    assert parts == approx(price.usd_per_request, rel=1e-12)


def test_the_published_fleet_of_deepseek_comes_out_to_three_digits():
    fleet = split_fleet(
        input_tokens=608e9,
        output_tokens=168e9,
        input_tokens_per_s=73.7e3,
        output_tokens_per_s=14.8e3,
        hours=24,
        usd_per_node_hour=16,
    )
    assert fleet.prefill_nodes == approx(95.5, abs=0.05)
    assert fleet.decode_nodes == approx(131.4, abs=0.05)
    assert fleet.prefill_nodes + fleet.decode_nodes == approx(226.75, rel=1e-3)  # as they report
    assert fleet.usd_per_1m_input == approx(0.060, abs=5e-4)
    assert fleet.usd_per_1m_output == approx(0.300, abs=5e-4)
    assert fleet.usd_per_1m == approx(0.112, abs=5e-4)
