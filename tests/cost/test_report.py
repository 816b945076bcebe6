from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from pytest import approx

from harness.analysis.cost_of_row import FittedCost, Month, NoFit, Question, cost_report, fitted_report
from harness.config.machine import MachineConfig
from harness.cost.breakeven import Service
from harness.cost.capacity import Capacity
from harness.cost.prices import find_price, read_prices
from harness.store.schema import Throughput
from harness.values import Record, Turn

MACHINE = MachineConfig.model_validate(
    {"name": "m", "source": "q", "date": "2026-11-01", "utilisation": 0.5, "rented": {"per_hour": 3.6}}
)
DONE = Throughput(  # 100 s at USD 0.001 a second
    wall_s=100.0, prefill_s=60.0, decode_s=20.0, input_tokens=40_000, output_tokens=4_000, samples=200
)


def record(**known: Any) -> Record:
    fields: dict[str, Any] = dict.fromkeys(name for name in Record.__dataclass_fields__ if name not in DEFAULTS)
    return Record(**{**fields, "model": "m", "task": "t", "input_tokens": 200, "output_tokens": 20, **known})


DEFAULTS = {"metrics", "cluster", "turns", "verdicts", "thinking_tokens"}
RECORDS = [record(value=float(i % 4 != 0)) for i in range(200)]
GPT = find_price(read_prices(), "gpt-5")


def test_the_bill_at_each_utilisation_sums_from_its_parts():
    found = cost_report(DONE, RECORDS, MACHINE)
    for share, cost in found.by_utilisation.items():
        assert cost.usd == approx(0.1 / share, rel=1e-9)
        assert sum(cost.parts.values()) == approx(cost.usd, rel=1e-9)
    assert (found.stated.utilisation, found.stated.cost.usd_per_correct) == (0.5, approx(0.2 / 150))


def test_the_cost_of_a_correct_answer_has_an_interval_around_it():
    found = cost_report(DONE, RECORDS, MACHINE).usd_per_correct
    assert found.value == approx(0.2 / 150)
    assert found.low < found.value < found.high
    # costs alike: the interval is that of the accuracy turned over, 0.75 +- 0.06
    assert (found.low, found.high) == (approx(0.001 / 0.81, rel=0.02), approx(0.001 / 0.69, rel=0.02))


def test_an_api_is_priced_by_request_and_the_break_even_follows():
    found = cost_report(DONE, RECORDS, MACHINE, Question(1e6, GPT))
    each = (200 * 1.25 + 20 * 10) / 1e6
    assert found.api.usd_per_request == approx(each)
    assert found.api.usd_month == approx(each * 1e6)
    assert found.break_even.requests_per_month is None  # 2 requests a second for USD 3.60 never pay
    assert found.month == Month(1e6, 1, approx(1e6 / (2 * 730 * 3600)), approx(3.6 * 730))


def test_a_service_known_better_takes_the_place_of_the_pass():
    fast = Service(usd_per_hour=3.6, requests_per_s=50.0, redundancy=2)
    found = cost_report(DONE, RECORDS, MACHINE, Question(1e7, GPT), service=fast)
    assert found.break_even.requests_per_month == approx(2 * 3.6 * 730 / 0.00045)
    assert found.month.replicas == 2


def test_what_was_not_measured_stays_unknown():
    found = cost_report(Throughput(), RECORDS, MACHINE, Question(1e6, GPT))
    assert found.stated.cost.usd is None and found.usd_per_correct is None and found.tornado is None
    assert found.month is None and found.break_even is None
    assert found.api.usd_per_request is not None


def test_a_batch_price_that_is_not_listed_is_unknown_with_its_reason():
    groq = find_price(read_prices(), "llama-3.3-70b-versatile")
    found = cost_report(DONE, RECORDS, MACHINE, Question(price=groq, processing="batch"))
    assert found.api.usd_per_request is None and "no batch price" in found.api.reason


@pytest.mark.parametrize("name", ["utilisation", "usd_per_hour", "accuracy"])
def test_the_tornado_is_around_the_cost_of_a_correct_answer(name):
    found = cost_report(DONE, RECORDS, MACHINE)
    bar = next(bar for bar in found.tornado if bar.name == name)
    assert min(bar.usd_at_low, bar.usd_at_high) < found.stated.cost.usd_per_correct
    assert max(bar.usd_at_low, bar.usd_at_high) > found.stated.cost.usd_per_correct


FIT = Capacity(a=1e-4, b=2e-4, c=1e-7, label="measured", n=6, error_mean=0.05, error_max=0.1)


def test_a_fit_prices_each_request_at_its_own_lengths_and_its_parts_sum_to_the_bill():
    records = [record(value=1.0, input_tokens=i, output_tokens=o) for i, o in ((1000, 0), (10, 500))]
    found = fitted_report(FIT, records, MACHINE)
    seconds = [1e-4 * 1000, 1e-4 * 10 + 2e-4 * 500 + 1e-7 * (10 * 500 + 500**2 / 2)]
    for share, cost in found.by_utilisation.items():
        assert cost.usd == approx(sum(seconds) * 0.001 / share, rel=1e-9)
        assert cost.usd_per_1m_input == approx(100 * 0.001 / share)
        assert sum(cost.parts.values()) == approx(cost.usd, rel=1e-9)
    assert found.requests_per_s == approx(2 / sum(seconds)) and found.label == "measured"


def test_a_fit_says_why_it_gives_no_cost():
    def reason(records=RECORDS, machine=MACHINE):
        found = fitted_report(FIT, records, machine)
        assert isinstance(found, NoFit)
        return found.reason

    fields = dict.fromkeys(Turn.__dataclass_fields__)
    talk = [replace(RECORDS[0], turns=(Turn(**fields),))]
    assert reason(talk) == "the turns of a conversation have no length of their own"
    assert reason([record(value=1.0, output_tokens=None)]) == "the tokens of some answers are not known"
    owned = {"price": 9, "years": 1, "watts": "measured", "power_price": 1}
    unknown = MachineConfig.model_validate({"name": "m", "source": "q", "date": "2026-11-01", "owned": owned})
    assert "no power was measured" in reason(machine=unknown)
    none_right = [replace(each, value=0.0) for each in RECORDS]
    found = fitted_report(FIT, none_right, MACHINE)
    assert isinstance(found, FittedCost) and found.by_utilisation[1.0].usd_per_correct is None
