"""What a summary says of a judge model: with each row it scored, for the run as a whole, and in words."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from harness.analysis import judge_agreement
from harness.analysis.usage import CellUsage
from harness.analysis.verdicts import Heard
from harness.config.machine import MachineConfig
from harness.config.task import RubricConfig, TaskConfig
from harness.cost.machines import hourly
from harness.stats.totals import total
from harness.tasks.judge_requests import name_of
from harness.tasks.rubric import verdict
from harness.values import AnswerPlace, Record, Response, Sample

Line = Mapping[str, Any]
EXCERPT = 120  # characters of a reply that are shown
Cells = Mapping[tuple[str, str], Sequence[Record]]  # by model and task


def of_rows(
    plan: Line, rows: Sequence[Line], records: Cells, samples: Mapping[tuple[str, str], Sample], heard: Heard
) -> list[dict[str, Any]]:
    """Returns the rows; in a run with a judge with what is to be known of it as `judged`, None if it had no part."""
    if plan.get("judge") is None:
        return list(rows)
    tasks = {name: TaskConfig.model_validate(task) for name, task in plan["tasks"].items() if task.get("rubric")}
    agreed = {name: judge_agreement.agreement(name, task, samples, heard) for name, task in tasks.items()}
    found = []
    for row in rows:
        if row["task"] not in tasks:
            found.append({**row, "judged": None})
            continue
        mine = records[row["model"], row["task"]]
        told = [one for record in mine for one in heard.told.get(place_of(record), {}).values()]
        replies = [reply for one in told for reply in one.replies]
        failed = [reply for reply in replies if reply is not None and reply.error is not None]
        about = {
            "judge": plan["judge"]["name"],
            "verdicts": len(replies),
            "owed": replies.count(None),
            "failed": len(failed),
            "unreadable": _unreadable(tasks[row["task"]].rubric, replies),
            "agreement": agreed[row["task"]],
            "corrected": judge_agreement.corrected(tasks[row["task"]], mine, samples),
            "position": judge_agreement.position(mine),
            "warning": judge_agreement.warning(agreed[row["task"]]),
        }
        transient = row["transient"] + sum(reply.provisional for reply in failed) + about["owed"]
        why = row["incomplete"] or _incomplete(plan, about)
        found.append({**row, "judged": about, "transient": transient, "incomplete": why})
    return found


def _unreadable(rubric: RubricConfig, replies: Sequence[Response | None]) -> dict[str, Any] | None:
    """Returns how many whole replies hold no verdict, and the first of them; None if there is none."""
    whole = [reply for reply in replies if reply is not None and reply.error is None and not reply.truncated_left]
    said = [reply.text or "" for reply in whole if verdict(rubric, reply) is None]
    return {"n": len(said), "such_as": _one_line(said[0])} if said else None


def _one_line(text: str) -> str:
    """Returns the beginning of what a model wrote, harmless in a line of a note; empty if there is nothing to see."""
    seen = "".join(c if c.isprintable() else " " for c in text[: 4 * EXCERPT]).replace("`", "'")
    line = " ".join(seen.split())
    return line if len(line) <= EXCERPT else line[: EXCERPT - 1] + "…"


def _incomplete(plan: Line, about: Line) -> str | None:
    """Returns why verdicts do not stand for all answers; None if they do, but for the errors a run allows."""
    if about["owed"]:
        return f"{about['owed']} of {about['verdicts']} verdicts of the judge are owed"
    allowed = plan["config"].get("max_errors", 1.0)
    if about["verdicts"] and about["failed"] / about["verdicts"] > allowed:
        failed = f"{about['failed']} of {about['verdicts']} verdicts of the judge ended in an error"
        return f"{failed}, more than the {100 * allowed:.0f} % allowed"
    return None


def place_of(record: Record) -> AnswerPlace:
    """Returns which answer a record is of."""
    return record.model, record.task, record.sample_id, record.epoch


def paid(plan: Line) -> list[str]:
    """Returns the judge's name among the models, if it is paid by the token."""
    judge = plan.get("judge")
    if judge is None or (judge["where"] in {"this machine", "recorded"} and judge.get("price") is None):
        return []
    return [name_of(judge["name"])]


def put(plan: Line, heard: Heard, cut_off: Collection[tuple[str, str]]) -> dict[AnswerPlace, int | None]:
    """Returns the bytes that left the machine for a judge, of each answer of which any did.

    They are unknown for a task (model, task) of which a sitting was cut off, with requests under way.
    """
    if plan.get("judge") is None:
        return {}
    lost = {task for model, task in cut_off if model == name_of(plan["judge"]["name"])}
    return {place: None if place[1] in lost else sent for place, sent in heard.sent.items() if sent}


def of_run(
    plan: Line,
    rows: Sequence[Line],
    heard: Heard,
    told: Mapping[tuple[str, str], CellUsage],
    measurements: Sequence[Line],
    machine: MachineConfig | None,
) -> dict[str, Any] | None:
    """Returns what judging took in all, priced apart, and what the run cost with it. None for a run without a judge.

    A judge that runs here costs the machine's seconds, as the models do; what a provider charges is its own count. A
    sitting that was killed has no times: then the cost is unknown.
    """
    judge = plan.get("judge")
    if judge is None:
        return None
    name = name_of(judge["name"])
    mine = [row for (model, _), row in told.items() if model == name]
    usd = total(row.usd for row in mine)
    if judge["where"] == "this machine" and not paid(plan):
        sittings = [line for line in measurements if line["kind"] == "pass" and line["model"] == name]
        price = None if machine is None else hourly(machine).total
        timed = sum(line["responses"] for line in sittings) == sum(row.lines for row in mine)
        hours = sum(line["wall_s"] for line in sittings) / 3600
        usd = hours * price / machine.utilisation if timed and price is not None else None
    return {
        "name": judge["name"],
        "where": judge["where"],
        "digest": judge["digest"],
        "verdicts": sum(row.answers for row in mine),
        "failed": sum(row.errors for row in mine),
        "cut": sum(reply.truncated_left > 0 for reply in heard.replies),
        "input_tokens": total(row.input_tokens for row in mine),
        "output_tokens": total(row.output_tokens for row in mine),
        "usd": usd,
        "usd_with_models": total([usd, *(row["cost"]["usd"] for row in rows)]),
        "stopped": next(
            (line["reason"] for line in measurements if line.get("model") == name and "reason" in line), None
        ),
    }


def _is_stop(line: Line, model: str) -> bool:
    return line["kind"] == "stopped" and line["model"] == model


# --- in words --------------------------------------------------------------------------------------------------------

_PAIR = "1 if better than the baseline's answer in both orders, 0 if worse in both, else 1/2; "


def notes(plan: Line, rows: Sequence[Line], judge: Line | None) -> Iterator[str]:
    """Yields what a reader of judged scores has to know: who judged, how far people agree, and what it took."""
    if judge is None:
        return
    judged = [row for row in rows if row["judged"] and not row.get("format_of")]
    for task, about in {row["task"]: row["judged"] for row in judged}.items():
        pair = _PAIR if plan["tasks"][task]["rubric"]["against"] else ""
        yield f"{task}: {pair}judged by {judge['name']} ({judge['where']})."
        yield from _of_agreement(task, about)
    for row in judged:
        yield from _of_row(f"{row['model']} on {row['task']}", row)
        if plan["models"][row["model"]]["digest"] == judge["digest"]:
            yield f"{row['model']} on {row['task']}: it judged its own answers, and models tend to prefer those."
    yield bill(judge)
    if judge["stopped"] is not None:
        yield f"Judge {judge['name']}: {judge['stopped']}."


def bill(judge: Line) -> str:
    """Returns what judging took, and what the run cost with it."""
    usd, whole = judge["usd"], judge["usd_with_models"]
    cost = "at an unknown cost" if usd is None else f"for ${usd:.4g}"
    with_it = "" if whole is None else f"; with the answers ${whole:.4g}"
    faults = "".join(f", {judge[key]} {key}" for key in ("failed", "cut") if judge[key])
    tokens = ("unknown" if judge[way] is None else f"{judge[way]:,}" for way in ("input_tokens", "output_tokens"))
    return (
        f"Judge {judge['name']}: {judge['verdicts']} verdicts{faults}, tokens in and out {', '.join(tokens)}, {cost}, "
        f"which no row holds{with_it}."
    )


def _of_agreement(task: str, about: Line) -> Iterator[str]:
    agreed = about["agreement"]
    if agreed is not None and agreed["raw"] is not None:
        unread = f"; {agreed['unreadable']} of its verdicts could not be read" if agreed["unreadable"] else ""
        yield (
            f"{task}: the judge agrees with people on {_bounds(agreed['raw'], percent=True)} of {agreed['n']} texts; "
            f"kappa {_bounds(agreed['kappa'])} ({agreed['kappa']['method']}){unread}."
        )
    if about["warning"] is not None:
        yield f"WARNING †: {task} is scored by a judge model: {about['warning']}."


def _of_row(name: str, row: Line) -> Iterator[str]:
    about = row["judged"]
    if (found := about["unreadable"]) is not None:
        such = f"such as `{found['such_as']}`" if found["such_as"] else "the first of them empty"
        yield f"{name}: {found['n']} of {about['verdicts']} replies of the judge hold no readable verdict, {such}."
    if (found := about["corrected"]) is not None:
        drawn = "" if found["labels"] == row["n"] else "; it holds if those are a uniform random draw of all"
        of = f"people's verdicts on {found['labels']} of its {row['n']} answers"
        yield f"{name}: {_bounds(found, percent=True)} by {of} ({found['method']}){drawn}."
    if (found := about["position"]) is not None:
        apart = f"; else it preferred the first {found['first']} times, the second {found['second']} times"
        same = f"the judge is of one mind in both orders for {_bounds(found['consistent'], percent=True)}"
        yield f"{name}: {same} of {found['pairs']} pairs{apart if found['first'] + found['second'] else ''}."


def _bounds(estimate: Line, percent: bool = False) -> str:
    """Returns a value with its interval, or why there is none."""
    if estimate["value"] is None:
        return f"unknown ({estimate['reason']})"
    scale, digits, unit = (100, 1, " %") if percent else (1, 2, "")
    low, high = estimate["low"], estimate["high"]
    interval = "" if low is None else f" [{scale * low:.{digits}f}, {scale * high:.{digits}f}]"
    return f"{scale * estimate['value']:.{digits}f}{unit}{interval}"
