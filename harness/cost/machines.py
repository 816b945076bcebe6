"""What an hour of a machine costs, by part.

    rented:  H = per_hour · gpus
    owned:   H = (price − salvage)/(years · h) + price · financing_rate/h + W/1000 · pue · power_price
                 + colocation + staff

`h` is the hours a year the machine can be used, so that a year of them pays a year of each part. Units: USD, hours,
watts, USD per kWh. Source: reference/latency_and_cost.md §3.1 (which spreads financing over 8,760 h; for a machine that
is switched off part of the year that would leave part of the interest unpaid).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from harness.config.machine import MachineConfig


@dataclass(frozen=True, slots=True)
class HourlyCost:
    """USD for one hour of the machine. `total` is None, and `reason` says why, when a part is unknown."""

    total: float | None
    parts: Mapping[str, float | None]  # rent | capital, financing, power, colocation, staff
    label: str  # "quoted" or "assumed": where the price comes from
    power: str | None = None  # "measured" or "assumed": where the watts of an owned machine come from
    reason: str | None = None


def hourly(machine: MachineConfig, measured_watts: float | None = None) -> HourlyCost:
    """Returns the cost of one hour, in USD. Measured watts (J/s, the whole machine) win over stated ones."""
    label = "assumed" if machine.assumed else "quoted"
    if machine.rented is not None:
        rent = machine.rented.per_hour * machine.rented.gpus
        return HourlyCost(total=rent, parts={"rent": rent}, label=label)

    owned = machine.owned
    hours = owned.hours_available
    stated = None if owned.watts == "measured" else owned.watts
    watts = stated if measured_watts is None else measured_watts
    parts = {
        "capital": (owned.price - owned.salvage) / (owned.years * hours),
        "financing": owned.price * owned.financing_rate / hours,
        "power": None if watts is None else watts / 1000.0 * owned.pue * owned.power_price,
        "colocation": owned.colocation_per_hour,
        "staff": owned.staff_per_hour,
    }
    if watts is None:
        reason = f"machine '{machine.name}' says `watts: measured`, and no power was measured"
        return HourlyCost(total=None, parts=parts, label=label, reason=reason)
    power = "assumed" if measured_watts is None else "measured"
    return HourlyCost(total=sum(parts.values()), parts=parts, label=label, power=power)
