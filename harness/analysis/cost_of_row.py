"""What a recorded run says about money: a machine at several utilisations, against an API, and what it hangs on.

Reads rows and records, runs nothing. Each figure has its label: measured, assumed (a price nobody quoted, a stated
utilisation) or list price with its day.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from harness.config.machine import MachineConfig
from harness.cost.attribution import Pass, attribute
from harness.cost.breakeven import Service, Workload, break_even, replicas, tornado, usd_per_month, utilisation
from harness.cost.capacity import Capacity
from harness.cost.machines import hourly
from harness.cost.prices import Packaged, Price, Processing, TokenCount, frozen, price_request
from harness.stats.bootstrap import ratio_of_sums

UTILISATIONS = (1.0, 0.5, 0.3, 0.1)  # production is said to lie between 0.3 and 0.6


def cost_report(
    row: Mapping[str, Any],
    records: Sequence[Mapping[str, Any]],
    machine: MachineConfig,
    *,
    requests_per_month: float | None = None,
    price: Price | Packaged | None = None,
    processing: Processing = "standard",
    service: Service | None = None,
    measured_watts: float | None = None,
) -> dict[str, Any]:
    """Returns the costs of one row of `summary.json`, whose `records` are given, as JSON values. Unknown is None.

    `service`: replicas, peaks and capacity, if known better than from this pass; its price and speed are then used.
    `price`: of the API to compare with, at the tokens this model used on the same samples (its own tokenizer's).
    """
    done = row["throughput"]
    hour = hourly(machine, measured_watts)
    correct = [record["value"] or 0.0 for record in records]
    passed = {
        "wall_s": done["wall_s"],
        "prefill_s": done["prefill_s"],
        "decode_s": done["decode_s"],
        "input_tokens": done["input_tokens"] or 0,
        "output_tokens": done["output_tokens"] or 0,
        "samples": done["samples"] or 0,
        "correct": sum(correct) * (done["samples"] or 0) / len(records) if records else 0.0,
        "usd_per_hour": hour.total,
    }
    report: dict[str, Any] = {
        "machine": {"name": machine.name, "source": machine.source, "date": machine.date, **asdict(hour)},
        "by_utilisation": {f"{u:g}": asdict(attribute(**passed, utilisation=u)) for u in UTILISATIONS},
        "stated": {
            "utilisation": machine.utilisation,
            "label": "assumed",
            **asdict(attribute(**passed, utilisation=machine.utilisation)),
        },
        "usd_per_correct_interval": _interval(row, records, correct, machine.utilisation, hour.total),
    }
    speed = None if not done["wall_s"] or not done["samples"] else done["samples"] / done["wall_s"]
    if service is not None and speed is not None:
        share = service.requests_per_s / speed  # how much of this pass's speed is left within the bounds (u_SLO)
        report["at_capacity"] = {"utilisation": share, **asdict(attribute(**passed, utilisation=share))}
    if service is None and speed is not None and hour.total is not None:
        service = service_of(machine, hour.total, speed)
    report["service"] = None if service is None else asdict(service)
    if service is not None and requests_per_month is not None:
        report["month"] = {
            "requests": requests_per_month,
            "replicas": replicas(service, requests_per_month),
            "utilisation": utilisation(service, requests_per_month),
            "usd": usd_per_month(service, requests_per_month),
        }
    if price is not None:
        report["api"] = _api(records, price, processing, sum(correct))
        each = report["api"]["usd_per_request"]
        if service is not None and each is not None:
            report["break_even"] = asdict(break_even(service, each))
            if requests_per_month is not None:
                report["api"]["usd_month"] = each * requests_per_month
    work = _workload(passed, machine.utilisation, len(records), sum(correct))
    report["tornado"] = None if work is None else [asdict(bar) for bar in tornado(work)]
    return report


def fitted_report(
    capacity: Capacity,
    row: Mapping[str, Any],
    records: Sequence[Mapping[str, Any]],
    machine: MachineConfig,
    measured_watts: float | None = None,
) -> dict[str, Any]:
    """Returns what the requests of a row cost by the seconds that tokens take on a busy server, as JSON values.

    Each request at its own lengths, as if nothing of it was cached. The parts of `by_utilisation` sum to the bill of
    all of them. Where no cost follows from the fit only `reason` says why.
    """
    hour, n = hourly(machine, measured_watts), len(records)
    if row["kind"] == "conversation":
        return {"reason": "the turns of a conversation have no length of their own"}
    if not n or _uncounted(records):
        return {"reason": "the tokens of some answers are not known"}
    if hour.total is None:
        return {"reason": hour.reason}
    reading = capacity.a * sum(r["input_tokens"] for r in records)
    seconds = [capacity.gpu_s(r["input_tokens"], r["output_tokens"]) for r in records]
    parts_s = {"input": reading, "output": max(0.0, sum(seconds) - reading)}
    tokens = {way: sum(r[f"{way}_tokens"] for r in records) for way in parts_s}
    correct = [record["value"] or 0.0 for record in records]

    def usd_per_s(share: float) -> float:
        return hour.total / machine.gpus / 3600.0 / share

    def cost(share: float) -> dict[str, Any]:
        usd = {way: parts_s[way] * usd_per_s(share) for way in parts_s}
        rates = {f"usd_per_1m_{way}": usd[way] / tokens[way] * 1e6 if tokens[way] else None for way in usd}
        bill = sum(usd.values())
        each = {"usd_per_1k_samples": bill / n * 1e3, "usd_per_correct": bill / sum(correct) if sum(correct) else None}
        return {"usd": bill, "parts": usd, **rates, **each}

    stated = usd_per_s(machine.utilisation)
    return {
        "reason": None,
        "label": capacity.label,
        "shapes": capacity.n,
        "error_mean": capacity.error_mean,
        "error_max": capacity.error_max,
        "input_tokens": tokens["input"] / n,
        "output_tokens": tokens["output"] / n,
        "requests_per_s": machine.gpus * n / sum(seconds) if sum(seconds) else None,
        "by_utilisation": {f"{u:g}": cost(u) for u in sorted({*UTILISATIONS, machine.utilisation}, reverse=True)},
        "usd_per_correct_interval": asdict(
            ratio_of_sums([each * stated for each in seconds], correct, _clusters(records))
        ),
    }


def service_of(machine: MachineConfig, usd_per_hour: float, requests_per_s: float) -> Service:
    """Returns replicas of a machine for the traffic that its file tells."""
    return Service(
        usd_per_hour=usd_per_hour,
        requests_per_s=requests_per_s,
        peak_to_mean=machine.peak_to_mean,
        headroom=machine.headroom,
        redundancy=machine.redundancy,
    )


def _rates(done: Mapping[str, Any]) -> tuple[float, float] | None:
    """Returns the machine seconds an input and an output token took, idle time shared out; None if not split."""
    busy = None if done["prefill_s"] is None or done["decode_s"] is None else done["prefill_s"] + done["decode_s"]
    if not busy or not done["wall_s"] or not done["input_tokens"]:
        return None
    scale = done["wall_s"] / busy
    writing = done["decode_s"] * scale / done["output_tokens"] if done["output_tokens"] else 0.0
    return done["prefill_s"] * scale / done["input_tokens"], writing


def _interval(
    row: Mapping[str, Any],
    records: Sequence[Mapping[str, Any]],
    correct: Sequence[float],
    share: float,
    usd_per_hour: float | None,
) -> dict[str, Any] | None:
    """Returns the bootstrap interval of USD for a correct answer over samples, each costed by its own tokens."""
    rates = _rates(row["throughput"])
    if rates is None or usd_per_hour is None or not records or _uncounted(records):
        return None
    usd_per_s = usd_per_hour / 3600.0 / share
    each = [(r["input_tokens"] * rates[0] + r["output_tokens"] * rates[1]) * usd_per_s for r in records]
    return asdict(ratio_of_sums(each, correct, _clusters(records)))


def _clusters(records: Sequence[Mapping[str, Any]]) -> list[str] | None:
    return [r["cluster"] for r in records] if all(r.get("cluster") is not None for r in records) else None


def _uncounted(records: Sequence[Mapping[str, Any]]) -> bool:
    return any(record["input_tokens"] is None or record["output_tokens"] is None for record in records)


def _api(
    records: Sequence[Mapping[str, Any]], price: Price | Packaged, processing: Processing, correct: float
) -> dict[str, Any]:
    """Returns what the same requests cost at an API, each priced on its own."""
    counts = [] if _uncounted(records) else [TokenCount(r["input_tokens"], r["output_tokens"]) for r in records]
    costs = [price_request(price, count, processing) for count in counts]
    unknown = next((cost.reason for cost in costs if cost.usd is None), None)
    unknown = "the tokens of some answers are not known" if _uncounted(records) else unknown
    total = None if unknown or not costs else sum(cost.usd for cost in costs)
    origin = price.source if isinstance(price, Packaged) else price.retrieved.isoformat()
    return {
        "price": frozen(price),
        "processing": processing,
        "label": f"list price of {origin}, at this model's own token counts",
        "usd_per_request": None if total is None else total / len(costs),
        "usd_per_1k_samples": None if total is None else total / len(costs) * 1e3,
        "usd_per_correct_at_this_accuracy": total / correct if total is not None and correct else None,
        "reason": unknown,
    }


def _workload(done: Mapping[str, Any], share: float, n: int, correct: float) -> Workload | None:
    rates = _rates(done)
    if rates is None or not n or not correct or done["usd_per_hour"] is None:
        return None
    return Workload(
        usd_per_hour=done["usd_per_hour"],
        gpu_s_per_input_token=rates[0],
        gpu_s_per_output_token=rates[1],
        input_tokens=done["input_tokens"] / done["samples"],
        output_tokens=done["output_tokens"] / done["samples"],
        utilisation=share,
        accuracy=correct / n,
    )
