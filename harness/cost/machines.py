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

from harness.config.machine import MachineConfig, Rented

MACHINE_STALE_DAYS = 365  # a price of an hour that was read longer ago than this is told to be old


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
    paid = machine.paid
    if isinstance(paid, Rented):
        rent = paid.per_hour * paid.gpus
        return HourlyCost(total=rent, parts={"rent": rent}, label=label)
    hours = paid.hours_available
    stated = None if paid.watts == "measured" else paid.watts
    watts = stated if measured_watts is None else measured_watts
    power = None if watts is None else watts / 1000.0 * paid.pue * paid.power_price
    bought = {
        "capital": (paid.price - paid.salvage) / (paid.years * hours),
        "financing": paid.price * paid.financing_rate / hours,
    }
    kept = {"colocation": paid.colocation_per_hour, "staff": paid.staff_per_hour}
    parts = {**bought, "power": power, **kept}
    if power is None:
        reason = f"machine '{machine.name}' says `watts: measured`, and no power was measured"
        return HourlyCost(total=None, parts=parts, label=label, reason=reason)
    total = sum([*bought.values(), power, *kept.values()])
    return HourlyCost(total=total, parts=parts, label=label, power="assumed" if measured_watts is None else "measured")
