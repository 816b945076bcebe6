from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from pytest import approx

from harness.cost.attribution import CostBreakdown, Pass, attribute

PASS = {
    "wall_s": 100.0,
    "prefill_s": 60.0,
    "decode_s": 20.0,
    "input_tokens": 1_000_000,
    "output_tokens": 50_000,
    "samples": 200,
    "correct": 150.0,
}
PRICE = {"usd_per_hour": 3.6, "utilisation": 0.5}


def cost(**changes: Any) -> CostBreakdown:
    price = {name: changes.pop(name, value) for name, value in PRICE.items()}
    return attribute(Pass(**{**PASS, **changes}), **price)


def test_a_pass_worked_by_hand():
    # 100 s at USD 3.60 an hour is USD 0.10, at half utilisation 0.20; three quarters of the busy time is prefill
    found = cost()
    assert found.usd == approx(0.20)
    assert found.parts == {"input": approx(0.15), "output": approx(0.05)}
    assert found.usd_per_1m_input == approx(0.15)
    assert found.usd_per_1m_output == approx(1.00)
    assert found.usd_per_1k_samples == approx(1.00)
    assert found.usd_per_correct == approx(0.20 / 150)
    assert found.reasons == {}


seconds = st.floats(1e-3, 1e6)


@given(wall=seconds, prefill=seconds, decode=seconds, price=st.floats(1e-3, 1e3), share=st.floats(0.01, 1.0))
def test_the_parts_sum_to_the_bill_and_the_machine_is_charged_once(wall, prefill, decode, price, share):
    found = cost(wall_s=wall, prefill_s=prefill, decode_s=decode, usd_per_hour=price, utilisation=share)
    bill = wall / 3600 * price / share
    assert sum(found.parts.values()) == approx(bill, rel=1e-9)
    tokens = found.usd_per_1m_input * PASS["input_tokens"] + found.usd_per_1m_output * PASS["output_tokens"]
    assert tokens / 1e6 == approx(bill, rel=1e-9)


def test_a_task_that_only_scores_pays_for_input_alone():
    found = cost(decode_s=0.0, output_tokens=0)
    assert found.usd_per_1m_input == approx(0.20)
    assert found.usd_per_1m_output is None
    assert found.reasons == {"usd_per_1m_output": "no output tokens"}


def test_no_correct_answer_has_no_price():
    found = cost(correct=0.0)
    assert found.usd_per_correct is None
    assert found.reasons == {"usd_per_correct": "no correct answer"}


def test_a_split_that_was_not_measured_leaves_the_bill_and_drops_the_split():
    found = cost(prefill_s=None, decode_s=None)
    assert found.usd == approx(0.20) and found.usd_per_1k_samples == approx(1.00)
    assert found.usd_per_1m_input is None and found.usd_per_1m_output is None
    assert found.reasons["usd_per_1m_input"] == "the seconds of prefill and decode were not measured"


def test_without_a_price_everything_is_unknown_and_says_why():
    found = cost(usd_per_hour=None)
    unknown = replace(found, reasons={})
    assert unknown == CostBreakdown(None, {"input": None, "output": None}, None, None, None, None)
    assert set(found.reasons.values()) == {"no price for the machine is known"}


def test_a_pass_of_unknown_duration_has_no_bill():
    assert cost(wall_s=None).reasons["usd_per_1k_samples"] == "the duration of the pass was not measured"
