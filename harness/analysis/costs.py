"""`harness cost` and `harness prices`: what a recorded run says about money, in tables of 100 columns.

Reads a run folder and price files; writes what it found, prices included, to `cost.json` in that folder.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from harness.analysis.cost_of_row import cost_report, fitted_report, service_of
from harness.api import open_run
from harness.config.machine import MachineConfig, read_machine
from harness.cost.breakeven import Service
from harness.cost.capacity import Capacity
from harness.cost.machines import hourly
from harness.cost.prices import (
    STALE_DAYS,
    Packaged,
    Price,
    find_packaged,
    find_price,
    list_prices,
    read_prices,
    suggest,
)
from harness.cost.projection import projection, restored
from harness.errors import ConfigError, StoreError
from harness.reports.formats import set_text
from harness.reports.layout import Table, number
from harness.security.egress import FILE, HERE
from harness.store.files import write_json_atomic
from harness.store.lines import measurements
from harness.store.rows import read_json, read_jsonl


def report(
    run: Path,
    machine: str | None = None,
    volume: float | None = None,
    against: str | None = None,
    bench: Path | None = None,
) -> dict[str, Any]:
    """Returns what each row of a run costs, and writes it to `cost.json` there.

    `machine` is a file or bundled name (default: the run's own), `volume` in requests a month, `against` the
    PROVIDER/MODEL of an API, `bench` a folder of `harness bench` with the capacity of the same model and task.
    Where the seconds were measured on another chip than the machine's, what that one should cost is projected beside.
    Rows of an API are what was paid for them. Raises ConfigError and StoreError.
    """
    result = open_run(run)
    plan, summary = read_json(run / "plan.json"), result.summary
    priced = read_machine(machine) if machine is not None else _own(plan)
    price = None if against is None else _price(against)
    records = read_jsonl(run / "records.jsonl")
    load = None if bench is None else read_json(bench / "summary.json")
    devices = _devices(run)
    rows = []
    for row in summary["rows"]:
        mine = [r for r in records if (r["model"], r["task"]) == (row["model"], row["task"])]
        named = {"model": row["model"], "task": row["task"], "n": len(mine)}
        if _elsewhere(plan, row["model"]):
            rows.append({**named, "paid": _paid(row)})
            continue
        if priced is None:
            raise ConfigError(
                "no machine: the run names none", where=str(run), fix="add --machine NAME (see configs/machines)"
            )
        fitted, service, origin = None, None, "this run's pass, all at once, with no bound on latency"
        if load is not None:
            fitted = _fitted(load, row, mine, priced)
            service, origin = _service(load, bench, row, priced, fitted)
        found = cost_report(
            row,
            mine,
            priced,
            requests_per_month=volume,
            price=price,
            service=service,
            measured_watts=_watts(row, priced),
        )
        found |= {} if fitted is None else {"fitted": fitted}
        found |= {} if _measured_there(priced, plan, devices) else _projected(plan, row, priced)
        rows.append({**named, "mode": row["mode"], **found, "service_from": origin})
    found = {"run": summary["run"], "digest": summary["digest"], "volume": volume, "rows": rows}
    found |= {"measured_on": _measured_on(plan, devices), "measured_for": (plan["machine"] or {}).get("name")}
    found |= {"judge": summary["judge"]} if "judge" in summary else {}
    found["spent"] = summary.get("spent")
    write_json_atomic(run / "cost.json", found)
    return found


def _measured_on(plan: Mapping[str, Any], devices: Sequence[str]) -> str:
    """Returns what the run's seconds were measured on: its accelerator, else its processor."""
    host = plan["host"]
    return " and ".join(devices) or f"{host['processor'] or host['system']}, {host['cores']} cores"


def _devices(run: Path) -> list[str]:
    """Returns the names of the accelerators that a run's models were on."""
    return sorted({line.get("device_name") for line in measurements(run) if line["kind"] == "model"} - {None})


def _measured_there(machine: MachineConfig, plan: Mapping[str, Any], devices: Sequence[str]) -> bool:
    """Returns whether a run's seconds are those of the machine's chip: of the same name, or where it has none, the
    run names the machine. A machine without a chip is projected nowhere: as if they were."""
    if machine.chip is None:
        return True
    if isinstance(machine.chip, str):
        return re.search(rf"\b{machine.chip}\b", " and ".join(devices).casefold()) is not None
    return bool(devices) and (plan["machine"] or {}).get("name") == machine.name


def _projected(plan: Mapping[str, Any], row: Mapping[str, Any], machine: MachineConfig) -> dict[str, Any]:
    """Returns what a row should cost on a machine, projected at the mean lengths of its own requests.

    Empty where the plan does not hold what the model is. The turns of a conversation have no length of their own.
    """
    if (known := plan["models"][row["model"]].get("served")) is None:
        return {}
    done = row["throughput"]
    sums = (None, None) if row["kind"] == "conversation" else (done["input_tokens"], done["output_tokens"])
    read, written = (None if total is None or not done["samples"] else total / done["samples"] for total in sums)
    return {"projected": projection(restored(known), machine, read, written)}


def _own(plan: Mapping[str, Any]) -> MachineConfig | None:
    return None if plan["machine"] is None else MachineConfig.model_validate(plan["machine"])


def _price(name: str) -> Price | Packaged:
    """Returns a price of our file; of a PROVIDER/MODEL that is not in it, that of the package genai-prices."""
    prices = read_prices()
    provider, slash, model = name.partition("/")
    found = find_price(prices, model, provider) if slash else find_price(prices, name)
    found = found or find_price(prices, name) or (find_packaged(provider, model) if slash else None)
    if found is None:
        raise ConfigError(f"no price for '{name}'", where="--against", fix=suggest(prices, name))
    return found


def _elsewhere(plan: Mapping[str, Any], model: str) -> bool:
    """Returns whether a model ran on a machine that is paid by the token, not by the hour."""
    about = plan["models"][model]
    return about["where"] not in (HERE.name, FILE.name)


def _paid(row: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what a row cost at an API: every attempt counts, each priced on its own when it was sent."""
    cost = row["cost"]
    known = cost["usd"] is not None
    return {
        "label": "the provider's token counts, of every attempt, at the prices in plan.json",
        "usd": cost["usd"],
        "usd_per_request": cost["usd_per_1k_samples"] / 1e3 if known else None,
        "usd_per_correct": cost["usd_per_correct"],
        "reason": None if known else cost["reasons"]["usd"],
    }


def _watts(row: Mapping[str, Any], machine: MachineConfig) -> float | None:
    """Returns the measured draw of the pass for a machine that asks for it."""
    if machine.owned is None or machine.owned.watts != "measured":
        return None
    return row.get("energy", {}).get("watts")


def _service(
    summary: Mapping[str, Any],
    bench: Path,
    row: Mapping[str, Any],
    machine: MachineConfig,
    fitted: Mapping[str, Any] | None,
) -> tuple[Service, str]:
    """Returns one replica with the requests a second that a benchmark found, within its bounds if it had any.

    And where they are from. They follow from the fit where the benchmark was of other prompts than the row's.
    """
    price = hourly(machine, _watts(row, machine)).total
    mine = [w for w in summary.get("workloads", ()) if (w["model"], w["task"]) == (row["model"], row["task"])]
    for work in mine:
        speed = work["slo_requests_per_s"] or (work["most_requests_per_s"] if summary["slo"] is None else None)
        if speed and price is not None:
            return service_of(machine, price, speed), f"measured in {bench}"
    if not mine and fitted is not None and fitted["reason"] is None and price is not None:
        origin = f"by the fit of {fitted['shapes']} shapes in {bench}, with no bound on latency"
        return service_of(machine, price, fitted["requests_per_s"]), origin
    raise StoreError(
        f"the benchmark has no capacity of {row['model']} on {row['task']}",
        where=str(bench),
        fix="measure rates that keep the bounds, of the same model and task",
    )


def _fitted(
    summary: Mapping[str, Any], row: Mapping[str, Any], records: Sequence[Mapping[str, Any]], machine: MachineConfig
) -> dict[str, Any] | None:
    """Returns what a row costs by the seconds of a token that a benchmark found; None where it found none."""
    found = summary.get("fits", {}).get(row["model"], {})
    if not found.get("shapes"):
        return None
    capacity = Capacity(**{name: found[name] for name in Capacity.__dataclass_fields__})
    report = fitted_report(capacity, row, records, machine, _watts(row, machine))
    return report if report["reason"] is not None else {**report, "beyond": _beyond(report, found["shapes"])}


def _beyond(report: Mapping[str, Any], shapes: Sequence[Mapping[str, float]]) -> list[str]:
    """Returns which lengths, of input and output, are outside those of the shapes."""
    lengths = {way: [shape[f"{way}_tokens"] for shape in shapes] for way in ("input", "output")}
    return [way for way, seen in lengths.items() if not min(seen) <= report[f"{way}_tokens"] <= max(seen)]


def prices(as_json: bool, today: date) -> str:
    """Returns the listed API prices with their age; a warning below where any is old."""
    rows = list_prices(read_prices(), today)
    if as_json:
        return json.dumps(rows, ensure_ascii=False)
    columns = ("provider", "model", "in $/1M", "out $/1M", "cached", "batch", "tiers", "read on", "days ago")
    cells = tuple(
        (
            row["provider"],
            row["model"],
            *(number(row[key]) for key in ("input", "output", "cache_read")),
            "yes" if row["batch"] else "no",
            str(row["tiers"]),
            row["retrieved"],
            f"{row['age_days']}{' old' if row['stale'] else ''}",
        )
        for row in rows
    )
    stale = sum(row["stale"] for row in rows)
    notes = [
        "List prices in USD; a provider may ask another. Own file: configs/prices/api.yaml names every source.",
        "cached: $/1M of input read from the cache; tiers: further prices, of prompts beyond a length.",
    ]
    if stale:
        notes.append(
            f"WARNING: {stale} of {len(rows)} were read more than {STALE_DAYS} days ago: check them before use."
        )
    return set_text((Table("API prices", columns, (("", cells),)),), notes)
