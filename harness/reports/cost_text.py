"""`harness cost` and `harness prices`: what a recorded run says about money, in tables of 100 columns.

Reads a run folder and price files; writes what it found, prices included, to `cost.json` in that folder.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.analysis import judge_summary
from harness.analysis.summary import money_notes
from harness.cost.breakeven import Service
from harness.cost.projection import lines as projected_lines
from harness.reports.formats import set_text
from harness.reports.layout import UNKNOWN, Table, number


def text(found: Mapping[str, Any], width: int = 100) -> str:
    """Returns the tables of a cost report, what each rests on, and last what all of them rest on."""
    notes = [list(_notes(row, found["volume"])) for row in found["rows"]]
    shared = [note for note in notes[0] if all(note in of_one for of_one in notes)] if len(notes) > 1 else []
    parts = [
        set_text(_tables(row), [*(note for note in of_one if note not in shared), *_beside(row)], width)
        for row, of_one in zip(found["rows"], notes)
    ]
    judge = [judge_summary.bill(found["judge"])] if "judge" in found else []
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
    if row["mode"] == "loglikelihood":
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
