from __future__ import annotations

from pathlib import Path

import pytest
from pytest import approx

from harness.config.files import bundled
from harness.config.machine import MachineConfig, read_machine
from harness.cost.machines import hourly
from harness.errors import ConfigError

RENTED = {"name": "box", "source": "a quote", "date": "2026-11-01", "rented": {"per_hour": 2.5, "gpus": 8}}
OWNED = {
    "name": "own",
    "source": "an invoice",
    "date": "2026-11-01",
    "owned": {
        "price": 50_000,
        "years": 3,
        "salvage": 5_000,
        "financing_rate": 0.05,
        "watts": 1300,
        "power_price": 0.12,
        "pue": 1.3,
        "staff_per_hour": 0.4,
        "colocation_per_hour": 0.1,
    },
}


def machine(values: dict, **changes) -> MachineConfig:
    return MachineConfig.model_validate({**values, **changes})


def test_a_rented_machine_costs_its_rent_for_every_gpu():
    assert hourly(machine(RENTED)).total == 20.0


def test_the_parts_of_an_owned_machine_are_those_of_the_formula_and_sum_to_the_hour():
    cost = hourly(machine(OWNED))
    assert cost.parts == {
        "capital": approx(45_000 / (3 * 8760)),
        "financing": approx(50_000 * 0.05 / 8760),
        "power": approx(1.3 * 1.3 * 0.12),  # reference/latency_and_cost.md §3.1: 0.20 an hour
        "colocation": 0.1,
        "staff": 0.4,
    }
    assert cost.total == approx(sum(cost.parts.values()), abs=1e-12)
    assert cost.power == "assumed"


def test_usd_50k_over_three_years_is_1_90_an_hour():
    bare = {"price": 50_000, "years": 3, "watts": 1, "power_price": 0}
    assert hourly(machine(OWNED, owned=bare)).total == approx(1.90, abs=0.005)


def test_a_year_of_available_hours_pays_a_year_of_every_part():
    part_time = {**OWNED["owned"], "hours_available": 2000}
    cost = hourly(machine(OWNED, owned=part_time))
    assert cost.parts["capital"] * 2000 * 3 == approx(45_000)
    assert cost.parts["financing"] * 2000 == approx(2_500)


def test_measured_watts_win_over_stated_ones_and_say_so():
    cost = hourly(machine(OWNED), measured_watts=650.0)
    assert (cost.parts["power"], cost.power) == (approx(0.65 * 1.3 * 0.12), "measured")


def test_power_that_was_to_be_measured_and_was_not_leaves_the_hour_unknown():
    unmeasured = machine(OWNED, owned={**OWNED["owned"], "watts": "measured"})
    cost = hourly(unmeasured)
    assert cost.total is None and cost.parts["power"] is None
    assert "no power was measured" in cost.reason
    assert hourly(unmeasured, measured_watts=1300.0).total == approx(hourly(machine(OWNED)).total)


@pytest.mark.parametrize(
    ("key", "line"),
    [
        ("years", "years: 0"),
        ("hours_available", "hours_available: 0"),
        ("price", "price: -5"),
        ("utilisation", "utilisation: 1.5"),
        ("utilisation", "utilisation: 0"),
    ],
)
def test_impossible_machine_files_are_refused_by_key(tmp_path, key, line):
    owned = {"price": "price: 100", "years": "years: 2", "watts": "watts: 10", "power_price": "power_price: 0.1"}
    top = "name: x\nsource: y\ndate: '2026-01-01'\n"
    if key == "utilisation":
        top += line + "\n"
    else:
        owned[key] = line
    path = tmp_path / "x.yaml"
    path.write_text(top + "owned:\n" + "".join(f"  {entry}\n" for entry in owned.values()))
    with pytest.raises(ConfigError, match=key):
        read_machine(str(path))


@pytest.mark.parametrize("path", sorted((bundled("configs") / "machines").glob("*.yaml")), ids=lambda p: p.stem)
def test_every_shipped_machine_has_a_price_with_a_date_and_a_source(path):
    shipped = read_machine(path.stem)
    assert shipped.name == path.stem
    assert hourly(shipped).total > 0
    assert len(shipped.date) == 10 and shipped.source
    assert shipped.assumed == shipped.source.startswith("assumption")


@pytest.mark.parametrize(
    ("day", "said"),
    [("2026-13-01", "is no day"), ("last spring", "is no day"), ("2999-01-01", "is still to come"), ("", "is no day")],
)
def test_a_price_is_read_on_a_day_that_was(tmp_path: Path, day: str, said: str):
    file = tmp_path / "m.yaml"
    file.write_text(f"name: x\nsource: y\ndate: '{day}'\nrented: {{per_hour: 1}}\n")
    with pytest.raises(ConfigError, match=rf"date: .*{said}(.|\n)*m\.yaml(.|\n)*as 2026-11-20"):
        read_machine(str(file))
