"""What the responses of a run tell beside their answers: money, tokens, characters, and what a reader must know.

    told(lines)         ->  by model and task: sums and counts, as JSON values
    footnotes(told)     ->  lines for below a table

Read from the log of responses alone, so that a run that was killed has its sums too. Unknown is None, never 0.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from harness.stats.totals import total

Line = Mapping[str, Any]
Cell = tuple[str, str]  # model, task
SHOWN = 3  # kinds of refusal that are named


def told(lines: Iterable[Line]) -> dict[Cell, dict[str, Any]]:
    """Returns what is told of each row; `lines` are all of the log, with those that others took the place of.

    Money and bytes are of every attempt; all else is of the answers that count.
    """
    by_cell: dict[Cell, list[Line]] = {}
    for line in lines:
        by_cell.setdefault((line["model"], line["task"]), []).append(line)
    return {cell: _row(every) for cell, every in by_cell.items()}


def _row(every: list[Line]) -> dict[str, Any]:
    last = {line["key"]: line for line in every}.values()
    good = [line for line in last if line["error"] is None]
    details = [line["details"] for line in good]
    return {
        **_money([line["details"] for line in every]),
        "lines": len(every),
        "sent_bytes": total(line.get("sent_bytes") for line in every),
        "answers": len(good),
        "errors": len(last) - len(good),
        "missing": [line["sample_id"] for line in last if line["details"].get("missing")],
        "transient": sum(bool(line.get("provisional")) for line in last),
        "input_tokens": total(line["input_tokens"] for line in good),
        "output_tokens": total(line["output_tokens"] for line in good),
        "thinking_tokens": sum(found) if (found := _known(details, "thinking_tokens")) else None,
        "input_characters": total(line.get("input_characters") for line in good),
        "output_characters": sum(len(line["text"] or "") + len(line["details"].get("thinking") or "") for line in good),
        "usage": dict(Counter(_known(details, "usage"))),
        "versions": dict(Counter(_known(details, "model_version"))),
        "refusals": dict(Counter(_known(details, "refusal"))),
        "origins": dict(Counter(_known(details, "origin"))),
        "refused": _refused(details),
    }


def _money(bills: list[Line]) -> dict[str, float | None]:
    """Returns USD in all (None if any part is unknown), what is known of it, and the most it can be."""
    return {
        "usd": total(bill.get("usd") for bill in bills),
        "known_usd": sum(_known_usd(bill) for bill in bills),
        "most_usd": total(bill.get("most_usd", bill.get("usd")) for bill in bills),
    }


def _known_usd(bill: Line) -> float:
    if bill.get("usd") is not None:
        return bill["usd"]
    return sum(line.get("usd") or 0.0 for line in bill.get("attempts", ()))


def _known(details: Iterable[Line], name: str) -> list[Any]:
    return [found for one in details if (found := one.get(name)) is not None]


def _refused(details: Iterable[Line]) -> dict[str, dict[str, Any]]:
    """Returns for each parameter that was not as asked in how many answers, and what was first said of it."""
    found: dict[str, dict[str, Any]] = {}
    for one in details:
        for name, said in one.get("refused", {}).items():
            found.setdefault(name, {"said": said, "n": 0})["n"] += 1
    return found


def spent(
    rows: Mapping[Cell, Line], charges: Iterable[Line], paid: Iterable[str], cut_off: Iterable[str] = ()
) -> dict[str, Any] | None:
    """Returns what a run paid to providers in all, requests beside the answers included; None if no model is `paid`.

    Where a sitting was cut off with requests under way (`cut_off`: of which models), what those cost is unknown.
    """
    models = set(paid)
    lost = sorted(models & set(cut_off))
    if not models:
        return None
    answers = [(cell[0], row) for cell, row in rows.items() if cell[0] in models]
    beside = [(line["model"], line) for line in charges if line["model"] in models]
    every = [*answers, *beside, *((name, {}) for name in lost)]
    return {
        "cut_off": lost,
        "usd": total(bill.get("usd") for _, bill in every),
        "known_usd": sum(bill.get("known_usd", bill.get("usd")) or 0.0 for _, bill in every),
        "most_usd": total(bill.get("most_usd") for _, bill in every),
        "beside_answers_usd": total(bill.get("usd") for _, bill in beside),
        "by_model": {
            name: total(bill.get("usd") for model, bill in every if model == name)
            for name in dict.fromkeys(model for model, _ in every)
        },
    }


def spent_together(several: Iterable[Line | None]) -> dict[str, Any] | None:
    """Returns what several runs paid to providers together, as `spent` tells it of one; None if none of them paid."""
    parts = [one for one in several if one is not None]
    if not parts:
        return None
    models = dict.fromkeys(name for one in parts for name in one["by_model"])
    sums = ("usd", "known_usd", "most_usd", "beside_answers_usd")
    return {
        "cut_off": sorted({name for one in parts for name in one["cut_off"]}),
        **{key: total(one[key] for one in parts) for key in sums},
        "by_model": {name: total(one["by_model"][name] for one in parts if name in one["by_model"]) for name in models},
    }


def footnotes(rows: Mapping[Cell, Line]) -> list[str]:
    """Returns what to say below a table: once for each model where it is the same for all of its tasks."""
    said: dict[tuple[str, str], list[str]] = {}
    for (model, task), row in rows.items():
        for text in _texts(model, row):
            said.setdefault((model, text), []).append(task)
    tasks = Counter(model for model, _ in rows)
    return [
        f"{model}: {text}." if len(named) == tasks[model] else f"{model} on {', '.join(named)}: {text}."
        for (model, text), named in said.items()
    ]


def _texts(model: str, row: Line) -> Iterable[str]:
    n = row["answers"]
    if versions := row["versions"]:
        yield f"answered as {_counts(versions, n)}"
    if origins := row["origins"]:
        yield f"nothing was asked: answers from a file ({_counts(origins, n)}), judged here"
    if missing := row["missing"]:
        asked, named = n + row["errors"], ", ".join(map(_short, missing[:SHOWN]))
        more = " and others" if len(missing) > SHOWN else ""
        yield f"{len(missing)} of {asked} answers are missing from the file: of sample {named}{more}"
    for name, refused in row["refused"].items():
        share = "no answer" if refused["n"] == n else f"{refused['n']} of {n} answers not"
        yield f"{share} with {name} as the task asks: {refused['said'].rstrip('.')}"
    if refusals := row["refusals"]:
        kinds = ", ".join(f"{_short(kind)} ({count})" for kind, count in Counter(refusals).most_common(SHOWN))
        yield f"{sum(refusals.values())} of {n} answers are refusals by the provider's own signal: {kinds}"
    for label, count in row["usage"].items():
        yield f"the tokens of {count} of {n} answers are {label}"


def _counts(found: Mapping[str, int], n: int) -> str:
    if list(found.values()) == [n]:
        return _short(next(iter(found)))
    return ", ".join(f"{_short(name)} ({count} of {n})" for name, count in found.items())


def _short(text: str) -> str:
    return text if len(text) <= 80 else text[:79] + "…"
