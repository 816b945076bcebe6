"""`harness cost` and `harness prices`: what a recorded run says about money, in tables of 100 columns.

Reads a run folder and price files; writes what it found, prices included, to `cost.json` in that folder.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from harness import verdicts
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
from harness.cost.projection import lines as projected_lines
from harness.cost.projection import projection, restored
from harness.cost.report import cost_report, fitted_report, service_of
from harness.errors import ConfigError, StoreError
from harness.security.egress import PROVIDERS
from harness.store.files import write_json_atomic
from harness.store.lines import measurements
from harness.store.rows import read_json, read_jsonl
from harness.summary import money_notes
from harness.tables import UNKNOWN, Table, number, set_text


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
    return about["backend"] in PROVIDERS and about["where"] != "this machine"


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


# --- text ------------------------------------------------------------------------------------------------------------


def text(found: Mapping[str, Any], width: int = 100) -> str:
    """Returns the tables of a cost report, what each rests on, and last what all of them rest on."""
    notes = [list(_notes(row, found["volume"])) for row in found["rows"]]
    shared = [note for note in notes[0] if all(note in of_one for of_one in notes)] if len(notes) > 1 else []
    parts = [
        set_text(_tables(row), [*(note for note in of_one if note not in shared), *_beside(row)], width)
        for row, of_one in zip(found["rows"], notes)
    ]
    judge = [verdicts.bill(found["judge"])] if "judge" in found else []
    last = [*shared, *_where(found), *judge, *money_notes(found["spent"])]
    return "\n\n".join([*parts, set_text((), last, width).strip()])


def _beside(row: Mapping[str, Any]) -> Iterator[str]:
    """Yields what is projected for a row, apart from what was measured."""
    if "projected" in row:
        yield from projected_lines(row["projected"])


def _where(found: Mapping[str, Any]) -> Iterator[str]:
    """Yields on what the seconds were measured, and a warning where another machine was priced."""
    machines = {row["machine"]["name"] for row in found["rows"] if "machine" in row}
    if not machines:
        return
    yield f"Measured on {found['measured_on']}: the costs hold if that is the machine priced."
    if other := machines - {found["measured_for"]}:
        named = " and ".join(sorted(other))
        yield f"WARNING: the run did not name {named}: its seconds are not known to be those of that machine."


def _tables(row: Mapping[str, Any]) -> Iterator[Table]:
    title = f"{row['model']} on {row['task']}"
    if "paid" in row:
        paid = row["paid"]
        cells = (_usd(paid["usd"]), _usd(paid["usd_per_request"]), _thousand(paid), _usd(paid["usd_per_correct"]))
        yield Table("What was paid", ("paid to", "$", "$/request", "$/1k", "$/correct"), ((title, (("API", *cells),)),))
        return
    columns = ("machine in use", "$/1M in", "$/1M out", "$/request", "$/1k", "$/correct")

    def cells(name: str, cost: Mapping[str, Any]) -> tuple[str, ...]:
        each = None if cost["usd_per_1k_samples"] is None else cost["usd_per_1k_samples"] / 1e3
        last = (_usd(cost["usd_per_1k_samples"]), _usd(cost["usd_per_correct"]))
        return (name, _usd(cost["usd_per_1m_input"]), _usd(cost["usd_per_1m_output"]), _usd(each), *last)

    stated = row["stated"]
    costs = {f"{100 * float(share):.0f} %": cost for share, cost in row["by_utilisation"].items()}
    own = f"{100 * stated['utilisation']:.0f} %"
    costs = {name: cost for name, cost in costs.items() if name != own} | {f"{own} (stated)": stated}
    lines = [cells(name, cost) for name, cost in sorted(costs.items(), key=lambda each: each[1]["usd"] or 0.0)]
    fitted = row.get("fitted") or {}
    lines += [
        cells(f"{100 * float(share):.0f} %, by the fit", cost)
        for share, cost in fitted.get("by_utilisation", {}).items()
    ]
    if "at_capacity" in row:
        lines.append(cells(f"at {number(row['service']['requests_per_s'])} requests/s", row["at_capacity"]))
    if row.get("api"):
        api = row["api"]
        last = (_usd(api["usd_per_1k_samples"]), _usd(api["usd_per_correct_at_this_accuracy"]))
        rates = (_usd(api["price"].get("input")), _usd(api["price"].get("output")), _usd(api["usd_per_request"]))
        lines.append((f"{api['price']['provider']}/{api['price']['model']}", *rates, *last))
    yield Table("What it costs", columns, ((title, tuple(lines)),))
    if row["tornado"]:
        bars = tuple(
            (
                _SWUNG[bar["name"]],
                f"{number(bar['low_input'])} to {number(bar['high_input'])}",
                _usd(bar["usd_at_low"]),
                _usd(bar["usd_at_high"]),
            )
            for bar in row["tornado"]
            if bar["usd_at_low"] != bar["usd_at_high"]  # answers without tokens do not grow
        )
        columns = ("what is changed by half", "from, to", "$/correct at low", "at high")
        yield Table("What it hangs on, widest first", columns, ((title, bars),))


_NAMES = {
    "usd": "the bill",
    "usd_per_1m_input": "$/1M in",
    "usd_per_1m_output": "$/1M out",
    "usd_per_1k_samples": "$/1k",
    "usd_per_correct": "$/correct",
}
_SWUNG = {
    "utilisation": "utilisation",
    "throughput": "throughput (measured: 1)",
    "usd_per_hour": "$/h of the machine",
    "output_tokens": "tokens of an answer",
    "accuracy": "accuracy",
}


def _thousand(paid: Mapping[str, Any]) -> str:
    return UNKNOWN if paid["usd_per_request"] is None else number(paid["usd_per_request"] * 1e3)


def _usd(value: float | None) -> str:
    return number(value)


def _notes(row: Mapping[str, Any], volume: float | None) -> Iterator[str]:
    if "paid" in row:
        yield f"Measured: {row['paid']['label']}."
        if row["paid"]["reason"]:
            yield f"Unknown: {row['paid']['reason']}."
        return
    machine = row["machine"]
    hour = "unknown" if machine["total"] is None else f"${machine['total']:.4g}/h"
    yield f"Measured: seconds and tokens of {row['n']} answers; $/1M at their own lengths, and parts sum to the bill."
    yield f"{machine['label'].capitalize()}: {machine['name']} at {hour} ({machine['source']}, {machine['date']})."
    yield "Assumed: utilisation, the share of paid hours that serve requests."
    if machine["reason"]:
        yield f"Unknown: {machine['reason']}."
    else:
        yield from (
            f"Unknown: {_NAMES[name]}, {why}." for name, why in row["stated"]["reasons"].items() if name in _NAMES
        )
    span = row["usd_per_correct_interval"]
    if span is not None and span["low"] is not None and span["high"] is not None:
        share = row["stated"]["utilisation"]
        yield (
            f"$/correct at {100 * share:.0f} %: {span['value']:.3g} [{span['low']:.3g}, {span['high']:.3g}], "
            f"95 % {span['method']}, n = {span['n']}."
        )
    yield from _of_fit(row)
    if month := row.get("month"):
        yield (
            f"{month['requests']:,.0f} requests a month: {_machines(month['replicas'])}, "
            f"{_percent(month['utilisation'])} in use, ${month['usd']:,.2f} a month."
        )
    yield from _against(row)


def _of_fit(row: Mapping[str, Any]) -> Iterator[str]:
    """Yields what the costs by the fit rest on."""
    if (fitted := row.get("fitted")) is None:
        return
    if fitted["reason"] is not None:
        yield f"Unknown: the costs by the fit: {fitted['reason']}."
        return
    missed = f"{100 * fitted['error_mean']:.0f} % on average, {100 * fitted['error_max']:.0f} % at most"
    yield f"By the fit: {fitted['label']} on {fitted['shapes']} shapes at once; one left out is missed by {missed}."
    if fitted["beyond"]:
        yield f"WARNING: its {' and '.join(fitted['beyond'])} tokens lie beyond those shapes: the fit is stretched."


def _against(row: Mapping[str, Any]) -> Iterator[str]:
    if not (api := row.get("api")):
        return
    yield f"API: {api['label']}; its accuracy is taken for the same."
    if row["mode"] == "score":
        yield "API: it would have to write the answers that were scored here; those tokens are not in its price."
    if "usd_month" in api:
        yield f"API: ${api['usd_month']:,.2f} a month."
    if api["reason"]:
        yield f"Unknown: {api['reason']}."
    even = row.get("break_even")
    if even is None:
        return
    yield f"Capacity: {number(row['service']['requests_per_s'])} requests/s, {row['service_from']}."
    verb = "serves" if even["replicas"] == 1 else "serve"
    limit = f"{_machines(even['replicas'])} {verb} {_round(even['capacity_per_month'])}"
    if even["requests_per_month"] is None:
        yield f"Break-even: never; {even['reason']}."
        return
    yield (
        f"Break-even: {_round(even['requests_per_month'])} requests a month, "
        f"{_percent(even['utilisation'])} in use; {limit}."
    )
    if (month := row.get("month")) is not None:
        cheaper = "the machine" if month["usd"] < api["usd_month"] else "the API"
        yield f"At {month['requests']:,.0f} requests a month {cheaper} is cheaper."


def _machines(count: int) -> str:
    return "1 machine" if count == 1 else f"{count:,} machines"


def _percent(share: float) -> str:
    return f"{number(share, 100)} %"


def _round(count: float) -> str:
    """Returns a large number to three digits: more would be pretence."""
    return f"{float(f'{count:.3g}'):,.0f}"


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


def plots(run: Path, found: Mapping[str, Any], summary: Mapping[str, Any]) -> list[Path]:
    """Draws cost against volume (where a machine was priced) and cost against accuracy; returns the files."""
    from harness.reports.plots import cost_against_accuracy, cost_against_volume

    drawn = list(cost_against_accuracy(_priced(summary["rows"], found["rows"]), run / "cost-accuracy"))
    for row in found["rows"]:
        service = row.get("service")
        if service is None:
            continue
        each = (row.get("api") or {}).get("usd_per_request")
        apis = {} if each is None else {f"{row['api']['price']['provider']}/{row['api']['price']['model']}": each}
        volumes = [10 ** (3 + i / 20) for i in range(121)]
        name = f"cost-{row['model']}-{row['task']}".replace("/", "-")
        drawn += cost_against_volume({row["machine"]["name"]: Service(**service)}, apis, volumes, run / name)
    return drawn


def _priced(rows: Sequence[Mapping[str, Any]], found: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Returns rows of a summary with the costs found now: of another machine, perhaps, or what was paid."""
    costs = []
    for row in found:
        paid = row.get("paid", {}).get("usd_per_request")
        known = row["stated"]["usd_per_1k_samples"] if "stated" in row else None if paid is None else paid * 1e3
        costs.append({"usd_per_1k_samples": known})
    return [{**row, "cost": cost} for row, cost in zip(rows, costs, strict=True)]
