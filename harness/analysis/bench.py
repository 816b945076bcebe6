"""`harness bench`: loads on models, from a run file to a folder of timed requests, a table and figures.

    plan.json             what was asked: configuration, models, workloads, this computer
    measurements.jsonl    one line a request (kind request), a scenario (load) and a model (model)
    summary.json          one row a scenario, and what follows from them

A workload is a task's own prompts, asked as text, or made-up ones of stated lengths.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from harness.config.bench import BenchConfig
from harness.config.machine import read_machine
from harness.config.run import RunConfig
from harness.cost.capacity import MIN_SHAPES, fit, shape_of
from harness.errors import ConfigError
from harness.measure.load.sustained import knee, meets_slo, slo_capacity
from harness.measure.load.timed import Slo
from harness.measure.other_work import warning
from harness.reports.layout import number
from harness.runs.host import host
from harness.store.files import write_json_atomic

LATE_S = 0.01  # by which a request may be sent late before it is told: response times hold that wait
SHORT = 0.9  # share of the asked answer length below which a speed says so


def finish(path: Path, config: RunConfig) -> dict[str, Any]:
    """Returns the summary of a benchmark, and writes it; reads files only."""
    lines = list(_lines(path, "model", "load", "memory"))
    rows = [line["row"] for line in lines if line["kind"] == "load"]
    models = {
        line["model"]: {
            key: line.get(key) for key in ("backend", "load_s", "in_process", "device", "device_name", "sealed")
        }
        for line in lines
        if line["kind"] == "model"
    }
    for line in lines:
        if line["kind"] == "memory":
            held = {key: value for key, value in line.items() if key not in {"kind", "model"}}
            models[line["model"]]["memory"] = held or None
    summary = {
        "kind": "bench",
        "run": config.run,
        "slo": None if config.bench.slo is None else config.bench.slo.model_dump(mode="json"),
        "prefix_cache": config.bench.prefix_cache,
        "models": models,
        "rows": rows,
        "workloads": [_workload(name, group, config.bench) for name, group in _groups(rows)],
        "fits": _fits(rows, config),
    }
    summary["notes"] = list(_notes(summary, host()))
    write_json_atomic(path / "summary.json", summary)
    return summary


def _lines(path: Path, *kinds: str) -> Iterator[dict[str, Any]]:
    """Yields the lines of `measurements.jsonl` of these kinds; a torn last line is left out."""
    heads = tuple(f'{{"kind":"{kind}"'.encode() for kind in kinds)
    with (path / "measurements.jsonl").open("rb") as file:
        yield from (json.loads(line) for line in file if line.startswith(heads) and line.endswith(b"\n"))


def _groups(rows: Sequence[Mapping[str, Any]]) -> list[tuple[tuple[str, str], list[Mapping[str, Any]]]]:
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["model"], row["task"]), []).append(row)
    return list(groups.items())


def _workload(name: tuple[str, str], rows: Sequence[Any], config: BenchConfig) -> dict[str, Any]:
    """Returns what follows from all scenarios of a model on a workload: its limits."""
    at = knee(rows)
    speeds = [row["requests_per_s"] for row in rows if row["requests_per_s"]]
    slo = None if config.slo is None else Slo(**config.slo.model_dump())
    return {
        "model": name[0],
        "task": name[1],
        "not_measured": _not_measured(rows, config),
        "first_request_s": next((row["first_request_s"] for row in rows if "first_request_s" in row), None),
        "most_requests_per_s": max(speeds, default=None),
        "knee": None if at is None else rows[at]["scenario"],
        "slo_requests_per_s": None if slo is None else slo_capacity(rows, slo),
        "all_rates_in_slo": slo is not None and all(meets_slo(row, slo) for row in rows if row["kind"] == "rate"),
    }


def _not_measured(rows: Sequence[Mapping[str, Any]], config: BenchConfig) -> list[str]:
    """Returns the loads that were asked for and left out, as the ones before them had shown all there is to see."""
    names = {row["scenario"] for row in rows} | {"concurrency 1"}  # one at a time is called single
    asked = [*(f"concurrency {level}" for level in config.concurrency), *(f"rate {level:g}" for level in config.rate)]
    return [name for name in asked if name not in names]


def _fits(rows: Sequence[Mapping[str, Any]], config: RunConfig) -> dict[str, Any]:
    """Returns, by model, the seconds a token takes on a busy server, fitted where enough shapes were measured.

    Of shapes that allow no fit only `reason` says why.
    """
    machine = read_machine(config.machine)
    gpus = 1 if machine is None else machine.gpus
    fits: dict[str, Any] = {}
    for model in dict.fromkeys(row["model"] for row in rows):
        busy = [row for row in rows if row["model"] == model and row["kind"] == "offline" and row["stopped"] is None]
        shapes = [shape for shape in (shape_of(row, gpus) for row in busy) if shape is not None]
        if len(shapes) < MIN_SHAPES:
            continue
        try:
            fits[model] = {"reason": None, **asdict(fit(shapes)), "shapes": [asdict(shape) for shape in shapes]}
        except ConfigError as error:
            fits[model] = {"reason": error.what}
    return fits


ROUND_TRIP = "round trip: the network alone, a TCP handshake about once a second, median; it is part of every TTFT."


def _on_a_wire(summary: Mapping[str, Any]) -> bool:
    return any(row["round_trip_p50_s"] is not None for row in summary["rows"])


def _cached(row: Mapping[str, Any]) -> float | None:
    """Returns the share of the input that the server read from a cache; None where it does not say."""
    if row["cached_tokens"] is None or not row["input_tokens"]:
        return None
    return row["cached_tokens"] / row["input_tokens"]


def _notes(summary: Mapping[str, Any], computer: Mapping[str, Any]) -> Iterator[str]:
    yield f"Sent from {computer['processor'] or computer['system']}, {computer['cores']} cores."
    rows = summary["rows"]
    if said := warning({f"{r['model']} · {r['task']}, {r['scenario']}": r.get("bystanders") for r in rows}):
        yield said
    first = next((name for name, about in summary["models"].items() if about["in_process"]), None)
    for work in summary["workloads"]:
        where = f"{work['model']} · {work['task']}"
        loaded = summary["models"][work["model"]]["load_s"]
        libraries = " with its libraries" if work["model"] == first else ""
        parts = [] if loaded is None else [f"loaded in {number(loaded)} s{libraries}"]
        parts.append(f"its first request took {number(work['first_request_s'], 1000)} ms")
        yield f"{where}: {', '.join(parts)} (in no figure above)."
        if work["not_measured"]:
            left_out = ", ".join(work["not_measured"])
            yield f"{where}: {left_out} left out: the load before brought no more throughput, or was too much already."
        if work["slo_requests_per_s"] is not None:
            upto = "at all rates measured, so at least" if work["all_rates_in_slo"] else "up to"
            yield f"{where}: keeps the SLO {upto} {number(work['slo_requests_per_s'])} good requests/s."
        if summary["models"][work["model"]]["backend"] == "fake":
            yield f"{work['model']}: a script; its times to a token are told, not waited for; responses are real."
    yield from _resource_notes(summary)
    yield from _cache_note(summary)
    for row in summary["rows"]:
        where = f"{row['model']} · {row['task']}, {row['scenario']}"
        if row["usage_differs"]:
            yield f"{where}: the server's count of tokens and ours differ in {row['usage_differs']} answers."
        if row["stopped"]:
            left = "" if "unfinished" not in row["failed"] else "; its times are of the answers that came until then"
            yield f"{where}: ended early, {row['stopped']}{left}."
        elif row["saturated"]:
            yield f"{where}: saturated: requests came faster than answers, and waited the longer the longer it lasted."
        if row["at_once"]:
            yield f"{where}: {row['at_once']} answers came in one piece: how long a token took (TPOT) is unknown."
        if no_tpot := _beyond_tpot(row, summary["slo"]):
            yield f"{where}: {no_tpot} answers have no TPOT, and so cannot miss its bound in the SLO."
        late = row["late_s"]["p99"] or row["late_s"]["max"]
        if row["kind"] == "rate" and late is not None and late > LATE_S:
            yield f"{where}: this computer was too busy and sent requests up to {number(late, 1000)} ms late."
        asked, written = row["asked_output_tokens"], row["output_tokens"]
        good = row["n"] - sum(row["failed"].values())
        if asked and written is not None and good and written / good < SHORT * asked:
            yield f"{where}: answers had {written / good:.0f} tokens, {asked} were asked for."
    for model, found in summary["fits"].items():
        if found["reason"] is not None:
            yield f"{model}: no seconds of a token: {found['reason']}."
            continue
        terms = f"{found['a']:.3g}·I + {found['b']:.3g}·O + {found['c']:.3g}·(I·O + O²/2)"
        missed = f"{100 * found['error_mean']:.0f} % on average, {100 * found['error_max']:.0f} % at most"
        yield f"{model}: busy seconds of a request = {terms}; a shape left out is missed by {missed}."


def _beyond_tpot(row: Mapping[str, Any], slo: Mapping[str, Any] | None) -> int:
    """Returns how many answers with tokens a bound on TPOT says nothing of: of one token, one piece, or uncounted."""
    if slo is None or slo["tpot_s"] is None or row["kind"] == "offline":
        return 0
    return row["ttft_s"]["n"] - row["tpot_s"]["n"]


def _resource_notes(summary: Mapping[str, Any]) -> Iterator[str]:
    """Yields memory and energy of the models in this process."""
    for name, about in summary["models"].items():
        if not about["in_process"]:
            continue
        held = about["memory"] or {}
        if (bytes_ := held.get("peak_allocated_bytes") or held.get("peak_rss_bytes")) is not None:
            what = (
                "GPU memory" if held.get("peak_allocated_bytes") else "main memory in this process, libraries and all"
            )
            yield f"{name}: at most {number(bytes_, 1e-6)} MB of {what}."
        energy = next((row["energy"] for row in summary["rows"] if row["model"] == name), None)
        if energy is not None and energy["joules"] is None:
            yield f"{name}: energy unknown: {energy['reason']}."
        elif energy is not None:
            rest = "" if energy["idle_watts"] is None else f"; at rest it draws {number(energy['idle_watts'])} W"
            yield f"{name}: energy by {energy['method']}, of the whole device, warm-up included{rest}."


def _cache_note(summary: Mapping[str, Any]) -> Iterator[str]:
    """Yields how far a prefix cache may have helped."""
    if summary["prefix_cache"] == "defeat" or any(row["asked_output_tokens"] for row in summary["rows"]):
        yield "Every prompt began with a number of its own: no prefix cache could help, and no answer was judged."
        return
    for name, about in summary["models"].items():
        mine = [row for row in summary["rows"] if row["model"] == name]
        if about["in_process"]:
            yield f"{name}: in this process, one request at a time: others wait, which is in TTFT; no prefix is kept."
        elif mine and all(row["cached_tokens"] is None for row in mine):
            yield f"{name}: prompts repeat, and the server tells no cached tokens; see `prefix_cache: defeat`."
