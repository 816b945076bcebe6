"""Records and measurements to `summary.json`: one row for each model on each task. Unknown is None, never 0."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from itertools import chain
from typing import Any

from harness.analysis import judge_summary
from harness.analysis.bbq_bias import bias_scores
from harness.analysis.epochs import reduce_epochs, repeated
from harness.analysis.expected_loss import best_constant, expected_loss
from harness.analysis.perplexity import perplexities
from harness.analysis.slices import by_slice, worst
from harness.analysis.usage import CellUsage, footnotes, spent
from harness.analysis.verdicts import NOTHING_HEARD, Heard
from harness.config.machine import MachineConfig
from harness.cost.attribution import attribute
from harness.cost.machines import hourly
from harness.measure.energy import Energy, carbon_g, energy_shares
from harness.measure.latency import latency_summary
from harness.measure.other_work import Bystanders, warning
from harness.scoring.scorers import COUNTS, FOLLOWED, PARTS
from harness.stats import accuracy, paired_difference
from harness.stats.totals import total
from harness.store.schema import MEASUREMENTS
from harness.tasks.rubric import ORDERS
from harness.values import AnswerPlace, Estimate, Failure, Record, Response, Sample

Line = Mapping[str, Any]


def summarise(
    plan: Line,
    samples: Mapping[tuple[str, str], Sample],
    records: Sequence[Record],
    measurements: Sequence[Line],
    told: Mapping[tuple[str, str], CellUsage],
    heard: Heard = NOTHING_HEARD,
) -> dict[str, Any]:
    """Returns the summary of a run: rows, references, baseline, machine, money spent and notes.

    `plan` is the content of plan.json, `told` what `footnotes.told` says of the logs, `heard` what a judge model said.
    A cell without a single record has no row.
    """
    by_cell: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        by_cell.setdefault((record.model, record.task), []).append(record)
    baseline = plan["config"]["baseline"] or plan["config"]["models"][0]["name"]
    machine = None if plan["machine"] is None else MachineConfig.model_validate(plan["machine"])
    lost = {cell for cell, said in told.items() if _cut_off(said, _mine(measurements, *cell))}
    put = judge_summary.put(plan, heard, lost)
    rows = [
        _row(
            plan,
            cell,
            by_cell[cell["model"], cell["task"]],
            by_cell.get((baseline, cell["task"])),
            measurements,
            machine,
            samples,
            told[cell["model"], cell["task"]],
            put,
        )
        for cell in plan["cells"]
        if (cell["model"], cell["task"]) in by_cell
    ]
    rows = [{**row, "formats": _over_formats(row, rows)} for row in rows]
    rows = judge_summary.of_rows(plan, rows, by_cell, samples, heard)
    judge = judge_summary.of_run(plan, rows, heard, told, measurements, machine)
    sealed = _sealed(measurements)
    charges = [MEASUREMENTS.read(line) for line in measurements if line["kind"] == "charge"]
    paid = [name for name in plan["models"] if _is_paid(plan, name)] + judge_summary.paid(plan)
    money = spent(told, charges, paid, [model for model, _ in lost])
    return {
        "run": plan["run"],
        "digest": plan["digest"],
        "rows": rows,
        "references": _references(plan, samples),
        "baseline": baseline,
        "machine": None if machine is None else _machine(machine),
        "sealed": sealed,
        "spent": money,
        **({} if judge is None else {"judge": judge}),
        "notes": [
            *_notes(plan, rows, machine, sealed),
            *_price_notes(plan),
            *money_notes(money),
            *_busy(plan, rows),
            *footnotes(told),
            *judge_summary.notes(plan, rows, judge),
            *_missing(plan, rows, measurements),
        ],
    }


def _row(
    plan: Line,
    cell: Line,
    records: Sequence[Record],
    base: Sequence[Record] | None,
    measurements: Sequence[Line],
    machine: MachineConfig | None,
    samples: Mapping[tuple[str, str], Sample],
    said: CellUsage,
    put: Mapping[AnswerPlace, int | None],
) -> dict[str, Any]:
    mine = _mine(measurements, cell["model"], cell["task"])
    task = plan["tasks"][cell["task"]]
    one_each = reduce_epochs(records, task["reduce"])
    judged = [record for record in one_each if record.value is not None]
    errors = sum(any(failure.startswith(Failure.BACKEND_ERROR) for failure in _failures(one)) for one in records)
    recorded = _place(plan, cell["model"]) == "recorded"
    passed = _pass([] if recorded else [line for line in mine if line["kind"] == "pass"])
    paid = recorded or _is_paid(plan, cell["model"])
    cost = _charged(plan, cell, said, records) if paid else _cost(passed, records, machine)
    return {
        "model": cell["model"],
        "task": cell["task"],
        "task_version": task["version"],
        "format_of": plan.get("formats", {}).get(cell["task"]),
        "mode": cell["mode"],
        "kind": task["kind"],
        "n": len({record.sample_id for record in judged}),
        "responses": len(records),
        "expected": cell["n"],
        "accuracy": _accuracy(task, judged),
        "expected_loss": _loss(task, judged),
        "metrics": _metrics(records) | repeated(records),
        "slices": by_slice(judged, clusters_of(judged), samples, task.get("slices", ())),
        "difference": None
        if task["kind"] == "perplexity"
        else _difference(cell["model"], one_each, base and reduce_epochs(base, task["reduce"])),
        "failures": dict(Counter(chain.from_iterable(map(_failures, records)))),
        "truncated_prompts": sum(record.truncated_left > 0 for record in records),
        "latency": _latency([line for line in mine if line["kind"] == "latency"]),
        "throughput": passed,
        "tokens": {name: getattr(said, name) for name in _COUNTED} | {"usage": said.counted},
        "cost": cost | {"usd_per_1m_characters": _per_characters(cost["usd"], said)},
        "reading": _reading([line for line in mine if line["kind"] == "engine"], cost),
        "energy": _energy([line for line in mine if line["kind"] == "energy"], passed, records, machine),
        "where": _place(plan, cell["model"]),
        "leaves_machine": _leaves(plan, cell, records, said, mine, put),
        "errors": errors,
        "missing": len(said.missing),  # of recorded answers: those that are not in the file; each is an error
        "transient": said.provisional,
        "incomplete": _incomplete(plan, cell, len(records), errors),
    }


def _failures(record: Record) -> list[str]:
    """Returns what went wrong with one answer; in a conversation each with its turn."""
    if not record.turns:
        return [] if record.failure is None else [str(record.failure)]
    return [f"{turn.failure} in turn {turn.turn}" for turn in record.turns if turn.failure is not None]


def _mine(measurements: Sequence[Line], model: str, task: str) -> list[Line]:
    return [line for line in measurements if (line.get("model"), line.get("task")) == (model, task)]


def _over_formats(row: Line, rows: Sequence[Line]) -> dict[str, Any] | None:
    """Returns the lowest and highest accuracy of a task's own format and its variants; None where none was asked."""
    others = [one for one in rows if (one["model"], one["format_of"]) == (row["model"], row["task"])]
    values = [one["accuracy"]["value"] for one in (row, *others) if one["accuracy"]["value"] is not None]
    return {"variants": len(others), "low": min(values), "high": max(values)} if others and values else None


def _cut_off(said: CellUsage, measurements: Sequence[Line]) -> bool:
    """Returns whether a sitting was killed or interrupted with requests under way, of which nothing is known."""
    passes = [line for line in measurements if line["kind"] == "pass"]
    noted = sum(line.get("responses", line["samples"]) for line in passes)
    return said.lines > noted or any(line.get("cut_off") for line in passes)


_COUNTED = ("input_tokens", "output_tokens", "thinking_tokens", "input_characters", "output_characters")


def _place(plan: Line, model: str) -> str:
    return plan["models"][model].get("where", "this machine")


def _is_here(plan: Line, model: str) -> bool:
    return _place(plan, model) in {"this machine", "recorded"}


def _is_paid(plan: Line, model: str) -> bool:
    """Returns whether a model is paid by the token: at a provider, or at a server with a price."""
    return not _is_here(plan, model) or plan["models"][model].get("price") is not None


def _leaves(
    plan: Line,
    cell: Line,
    records: Sequence[Record],
    said: CellUsage,
    measurements: Sequence[Line],
    put: Mapping[AnswerPlace, int | None],
) -> dict[str, Any]:
    """Returns where the data of a row went, of which share of the samples, and the bytes of text sent in all.

    The bytes are unknown where a sitting was cut off before it could count them.
    """
    hosts, share, sent = [], 0.0, 0
    if not _is_here(plan, cell["model"]):
        charges = (line["sent_bytes"] for line in measurements if line["kind"] == "charge")
        sent = None if _cut_off(said, measurements) else total([said.sent_bytes, *charges])
        hosts, share = [_place(plan, cell["model"])], len(records) / cell["n"]
    judged = [put[place] for record in records if (place := judge_summary.place_of(record)) in put]
    if judged:  # the judge is elsewhere too
        hosts = list(dict.fromkeys([*hosts, plan["judge"]["where"]]))
        share = max(share, len(judged) / cell["n"])
    return {"hosts": hosts, "share_of_samples": share, "bytes": total([sent, *judged])}


def _incomplete(plan: Line, cell: Line, asked: int, errors: int) -> str | None:
    """Returns why a row does not stand for all samples; None if it does, but for the errors a run allows."""
    if asked < cell["n"]:
        return f"{asked} of {cell['n']} samples"
    allowed = plan["config"].get("max_errors", 1.0)
    if errors / cell["n"] > allowed:
        return f"{errors} of {cell['n']} samples ended in an error, more than the {100 * allowed:.0f} % allowed"
    return None


def _loss(task: Line, judged: Sequence[Record]) -> dict[str, Any] | None:
    """Returns the mean cost of the answers and the cheapest one answer to all; None for a task without `costs`."""
    costs = task.get("costs")
    if costs is None or not judged:
        return None
    right = [str(record.expected) for record in judged]
    answer, value = best_constant(costs, right, dict.fromkeys((*costs, *right)))
    return {**asdict(expected_loss(costs, judged)), "always": {"answer": answer, "value": value}}


def _accuracy(task: Line, judged: Sequence[Record]) -> dict[str, Any]:
    if task["kind"] == "perplexity":
        reason = "a text is neither right nor wrong: see bits_per_byte"
        return {"value": None, "low": None, "high": None, "stderr": None, "method": None, "reason": reason}
    return _estimate([record.value for record in judged], clusters_of(judged))


def _estimate(values: Sequence[float | None], clusters: Sequence[str] | None) -> dict[str, Any]:
    if not values:
        return {"value": None, "low": None, "high": None, "method": None, "reason": "no answer could be judged"}
    return shown(accuracy(values, clusters))


def shown(estimate: Estimate) -> dict[str, Any]:
    """Returns an estimate as JSON values."""
    return {key: getattr(estimate, key) for key in ("value", "low", "high", "stderr", "method", "reason")}


def clusters_of(records: Sequence[Record]) -> list[str] | None:
    """Returns what samples that are not independent share: the task's cluster, or the sample of several epochs."""
    if any(record.cluster is not None for record in records):
        return [str(record.cluster) for record in records]
    if any(record.epoch > 0 for record in records):
        return [record.sample_id for record in records]
    return None


def _metrics(records: Sequence[Record]) -> dict[str, Any]:
    """Returns the further metrics, over the records that are counted; one that a failed answer lacks is 0 there.

    Confidence is of the answers that have one: where nothing was answered there is none, and not 0. A turn is of the
    conversations in which it is scored.
    """
    counted = [record for record in records if record.value is not None]
    apart = {*COUNTS, *FOLLOWED, *ORDERS}
    names = dict.fromkeys(name for r in counted for name in r.metrics if name not in apart)
    found = {}
    for name in names:
        told = [r for r in counted if name in r.metrics or not name.startswith(("confidence", "turn_"))]
        found[name] = _estimate([r.metrics.get(name, 0.0) for r in told], clusters_of(told))
    clusters = clusters_of(counted)
    made = perplexities(counted, clusters) | bias_scores(counted, clusters)
    several = {name: shown(estimate) for name, estimate in made.items()}
    return found | _micro_f1(counted) | _instructions(counted) | several


def _instructions(records: Sequence[Record]) -> dict[str, Any]:
    """Returns the share of all instructions that were followed; those of one sample are not independent."""
    found = {}
    for count, name in FOLLOWED.items():
        if any(count in record.metrics for record in records):
            parts = [(r, i < r.metrics.get(count, 0)) for r in records for i in range(len(r.expected))]
            clusters = [record.cluster or record.sample_id for record, _ in parts]
            found[name] = _estimate([float(followed) for _, followed in parts], clusters)
    return found


def _micro_f1(records: Sequence[Record]) -> dict[str, Any]:
    """Returns 2 · shared / (found + expected) over all answers, where the scorer counts parts of an answer."""
    shared, found, expected = (sum(record.metrics.get(name, 0.0) for record in records) for name in PARTS)
    if not any("expected" in record.metrics for record in records):
        return {}
    value = 2 * shared / (found + expected) if found + expected else None
    return {"micro_f1": {"value": value, "low": None, "high": None, "method": "micro-averaged F1", "reason": None}}


def _difference(model: str, records: Sequence[Record], base: Sequence[Record] | None) -> dict[str, Any] | None:
    """Returns accuracy minus the baseline's on the samples that both have a value for, or None for the baseline."""
    if base is None or base[0].model == model or base[0].mode != records[0].mode:
        return None
    theirs = {(record.sample_id, record.epoch): record for record in base if record.value is not None}
    pairs = [
        (record, theirs[record.sample_id, record.epoch])
        for record in records
        if record.value is not None and (record.sample_id, record.epoch) in theirs
    ]
    if not pairs:
        return None
    found = paired_difference(
        [a.value for a, _ in pairs], [b.value for _, b in pairs], clusters_of([a for a, _ in pairs])
    )
    return {
        "value": found.difference.value,
        "low": found.difference.low,
        "high": found.difference.high,
        "method": found.difference.method,
        "p": found.p_value,
        "test": found.test,
        "wins": found.wins,
        "losses": found.losses,
        "ties": found.ties,
        "n": len(pairs),
    }


def _reading(lines: Sequence[Line], cost: Line) -> dict[str, Any]:
    """Returns the prompt tokens that were really computed, those a server without sharing would bill, and USD per 1M.

    Unknown where no engine counted them: for text that is generated, and behind a server.
    """
    usd = cost["parts"].get("input")
    found: dict[str, Any] = {}
    for name, key in (("computed", "forwarded_tokens"), ("billed", "prompt_tokens")):
        found[f"{name}_tokens"] = tokens = total(line[key] for line in lines) if lines else None
        found[f"usd_per_1m_{name}"] = usd / tokens * 1e6 if usd is not None and tokens else None
    return found


def _pass(lines: Sequence[Line]) -> dict[str, Any]:
    """Returns the accuracy pass as a whole: the sum of its sittings, model loaded. Unknown without a measurement."""
    if not lines:
        return dict.fromkeys(_PASS_KEYS)
    found = {key: total(line[key] for line in lines) for key in _SUMMED}
    rate = {
        f"{way}_tokens_per_s": (found[f"{way}_tokens"] or 0) / found["wall_s"] or None for way in ("input", "output")
    }
    return {**found, **rate}


_SUMMED = ("wall_s", "samples", "input_tokens", "output_tokens", "prefill_s", "decode_s")
_PASS_KEYS = (*_SUMMED, "input_tokens_per_s", "output_tokens_per_s")


def _latency(lines: Sequence[Line]) -> dict[str, Any]:
    line = lines[-1] if lines else {"responses": (), "warmup": 0}
    found = latency_summary([Response(prompt=None, **times) for times in line["responses"]], warmup=line["warmup"])
    return {**found, "bystanders": line.get("bystanders") or asdict(Bystanders())}


def _cost(passed: Line, records: Sequence[Record], machine: MachineConfig | None) -> dict[str, Any]:
    """Returns the cost of the pass. A sitting that was killed has no times: the rest stands for the whole."""
    price = None if machine is None else hourly(machine)
    share = min(1.0, (passed["samples"] or 0) / len(records))  # a failed sample may have been asked in two sittings
    found = attribute(
        wall_s=passed["wall_s"],
        prefill_s=passed["prefill_s"],
        decode_s=passed["decode_s"],
        input_tokens=passed["input_tokens"] or 0,
        output_tokens=passed["output_tokens"] or 0,
        samples=passed["samples"] or 0,
        correct=share * sum(record.value or 0.0 for record in records),
        usd_per_hour=None if price is None else price.total,
        utilisation=1.0 if machine is None else machine.utilisation,
    )
    return asdict(found)


def _charged(plan: Line, cell: Line, said: CellUsage, records: Sequence[Record]) -> dict[str, Any]:
    """Returns the cost of answers that a provider billed, request by request; per token it is the list price.

    Every attempt is paid for, those that failed too. Of recorded answers it is what their file says.
    """
    listed = plan["models"][cell["model"]].get("price") or {}
    usd, correct = said.usd, sum(record.value or 0.0 for record in records)
    reasons = {} if usd is not None else {"usd": "the provider's price or its count of tokens is not known"}
    return {
        "usd": usd,
        "known_usd": said.known_usd,
        "parts": {},
        "usd_per_1m_input": listed.get("input"),
        "usd_per_1m_output": listed.get("output"),
        "usd_per_1k_samples": None if usd is None else usd / len(records) * 1e3,
        "usd_per_correct": None if usd is None or not correct else usd / correct,
        "reasons": reasons,
    }


def _per_characters(usd: float | None, said: CellUsage) -> float | None:
    """Returns USD for 1M characters read and written together: the same unit whatever a model's tokens are."""
    characters = total([said.input_characters, said.output_characters])
    return None if usd is None or not characters else usd / characters * 1e6


def _energy(
    lines: Sequence[Line], passed: Line, records: Sequence[Record], machine: MachineConfig | None
) -> dict[str, Any]:
    """Returns the joules of the pass, by token, sample and correct answer; unknown, with the reason, if any sitting's.

    Counted is the whole device, other work on it included; a sitting that was killed has no joules. `net_joules` are
    those above the device at rest; carbon only where the machine file tells the grid's.
    """
    unknown = next((line for line in lines if line["joules"] is None), None)
    known = lines and unknown is None
    rest = [line.get("idle_watts") for line in lines]
    window = sum(line["window_s"] for line in lines)
    total = Energy(
        method="+".join(dict.fromkeys(line["method"] for line in lines)) if known else "none",
        joules=sum(line["joules"] for line in lines) if known else None,
        window_s=window,
        idle_watts=None
        if None in rest or not window
        else sum(line["idle_watts"] * line["window_s"] for line in lines) / window,
        reason=None if known else (unknown or {}).get("reason", "energy was not measured"),
    )
    samples = passed["samples"] or 0
    right = sum(record.value or 0.0 for record in records) * samples / len(records)
    shares = energy_shares(total, output_tokens=passed["output_tokens"] or 0, samples=samples, correct=right)
    grid = None if machine is None else machine.grid_g_per_kwh
    pue = machine.owned.pue if machine is not None and machine.owned is not None else 1.0
    figures = {name: getattr(total, name) for name in ("method", "joules", "watts", "idle_watts", "net_joules")}
    return {**figures, **shares, "carbon_g": carbon_g(total, grid, pue), "reason": total.reason}


def _joules(row: Line) -> str:
    """Returns what the pass of a row took, where counters told it."""
    energy, parts = row["energy"], []
    for name, each in (("j_per_output_token", "an output token"), ("j_per_sample", "a sample")):
        parts += [] if energy[name] is None else [f"{energy[name]:.3g} J {each}"]
    parts += [] if energy["j_per_correct"] is None else [f"{energy['j_per_correct']:.3g} J a correct answer"]
    net = energy["net_joules"]
    rest = "" if net is None else f", {100 * net / energy['joules']:.0f} % of it above rest"
    carbon = "" if energy["carbon_g"] is None else f", {energy['carbon_g']:.3g} g CO2"
    whole = f"{energy['joules']:.3g} J by {energy['method']}{rest}{carbon}"
    return f"{row['model']} on {row['task']}: {'; '.join([whole, *parts])} (the whole device)."


def _machine(machine: MachineConfig) -> dict[str, Any]:
    price = hourly(machine)
    return {**machine.model_dump(mode="json"), "usd_per_hour": price.total, "parts": dict(price.parts)}


def _references(plan: Line, samples: Mapping[tuple[str, str], Sample]) -> list[dict[str, Any]]:
    """Returns, for each task with choices, what guessing and always naming the commonest answer would score."""
    found = []
    for name in plan["tasks"]:
        asked = [sample for (task, _), sample in samples.items() if task == name and sample.labels]
        if asked:
            chance = sum((len(sample.right) or 1) / len(sample.labels) for sample in asked) / len(asked)
            majority = Counter(sample.expected for sample in asked).most_common(1)[0]
            found += [
                {"name": "chance", "task": name, "n": len(asked), "value": chance},
                {
                    "name": "majority",
                    "task": name,
                    "n": len(asked),
                    "value": majority[1] / len(asked),
                    "answer": majority[0],
                },
            ]
    return found


def _sealed(measurements: Sequence[Line]) -> str | None:
    """Returns what kept the data on this machine, over all sittings: the weakest. None if that was not noted."""
    found = [line.get("sealed") for line in measurements if line["kind"] == "model"]
    if not found or None in found:
        return None
    return next((kind for kind in found if kind.startswith("none")), found[0])


_SEALS = {
    "kernel": "Sealed: kernel: the process could not open a network connection.",
    "namespace": "Sealed: namespace: the process had a network of its own, with nothing in it.",
}


def _notes(plan: Line, rows: Iterable[Line], machine: MachineConfig | None, sealed: str | None) -> list[str]:
    notes = []
    host = plan["host"]
    if any(_place(plan, name) != "recorded" for name in plan["models"]):
        notes.append(f"Measured on {host['processor'] or host['system']}, {host['cores']} cores.")
    here = any(_place(plan, name) == "this machine" and not _is_paid(plan, name) for name in plan["models"])
    if machine is None and here:
        notes.append("Cost unknown: no machine given; add `machine: cloud-cpu` or --machine (see configs/machines).")
    elif machine is not None:
        price = hourly(machine)
        origin = f"{'assumed' if machine.assumed else machine.source}, {machine.date}"
        cost = "unknown" if price.total is None else f"${price.total:.4g}/h"
        notes.append(
            f"Cost: measured seconds x the price of '{machine.name}' ({cost}; {origin}) at "
            f"{100 * machine.utilisation:.0f} % utilisation. "
            "It holds for the machine measured if that is the one priced."
        )
    if sealed is not None:
        notes.append(_SEALS.get(sealed, f"Sealed: {sealed}."))
    for name, model in plan["models"].items():
        declared = model.get("openness")
        if declared is not None and declared["commercial"] in {"no", "conditional"}:
            use = f"commercial use: {declared['commercial']} ({declared['reason']})"
            notes.append(f"Licence of {name}: {declared['licence']}; {use}.")
    for row in rows:
        if row["format_of"] is not None:
            continue
        if low := worst(row["slices"]):
            notes.append(
                f"{row['model']} on {row['task']}: worst slice is {low['column']} = {low['value']}: "
                f"{100 * low['accuracy']['value']:.1f} % of {low['n']}, the rest {100 * low['rest']:.1f} % "
                f"(Holm's p {low['p_holm']:.2g} among {low['compared']} slices)."
            )
        if (loss := row["expected_loss"]) is not None:
            always = f"always answering '{loss['always']['answer']}' would cost {loss['always']['value']:.2f}"
            notes.append(f"{row['model']} on {row['task']}: the loss is in the unit of the task's costs; {always}.")
        if row["energy"]["joules"] is not None:
            notes.append(_joules(row))
        if cut := row["truncated_prompts"]:
            notes.append(f"{row['model']} on {row['task']}: {cut} prompts cut on the left to fit the context.")
    return notes


def _busy(plan: Line, rows: Iterable[Line]) -> list[str]:
    """Returns the warning that latencies were measured beside other work; of recorded answers none was."""
    timed = [row for row in rows if row["latency"]["n"] and _place(plan, row["model"]) != "recorded"]
    said = warning({f"{row['model']} on {row['task']}": row["latency"]["bystanders"] for row in timed})
    return [] if said is None else [said]


def _price_notes(plan: Line) -> list[str]:
    """Returns what the cost of each model that is paid by the token is made of."""
    priced = {name: about["price"] for name, about in plan["models"].items() if about.get("price")}
    return [
        f"Cost of {name}: its usage x the price of {p['provider']}/{p['model']} ({p['source']}, {p['retrieved']})."
        for name, p in priced.items()
    ]


def money_notes(money: Line | None) -> list[str]:
    """Returns what a run paid to providers in all: answers, requests timed alone, and a judge's."""
    if money is None:
        return []
    if money["usd"] is not None:
        beside = money["beside_answers_usd"]
        share = f" (${beside:.4f} of it for timed requests)" if beside else ""
        return [f"Paid ${money['usd']:.4f} to providers in all{share}."]
    most = "" if money["most_usd"] is None else f", at most ${money['most_usd']:.4f}"
    why = "a sitting was cut off with requests under way" if money["cut_off"] else "not every usage or price is known"
    return [f"Paid to providers: at least ${money['known_usd']:.4f}{most}: {why}."]


def _missing(plan: Line, rows: Iterable[Line], measurements: Iterable[Line]) -> list[str]:
    """Returns a line for each cell whose row is incomplete or not there, with what stopped it."""
    stops = {line["model"]: line["reason"] for line in measurements if line["kind"] == "stopped"}
    known = {(row["model"], row["task"]): row for row in rows}
    notes = []
    for cell in plan["cells"]:
        row = known.get((cell["model"], cell["task"]))
        why = f"none of {cell['n']} samples" if row is None else row["incomplete"]
        if why is not None:
            stopped = stops.get(cell["model"]) if row is None or row["responses"] < row["expected"] else None
            notes.append(f"INCOMPLETE: {cell['model']} on {cell['task']}: {why}{f': {stopped}' if stopped else ''}.")
        if row is not None and row["transient"]:
            failed = f"{row['transient']} of {row['expected']} samples"
            notes.append(f"{cell['model']} on {cell['task']}: {failed} failed and may succeed: --out with this folder.")
    return notes
