"""A summary to tables people read: terminal, Markdown, LaTeX, CSV. JSON is the summary itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from harness.reports.layout import UNKNOWN, Row, Table, View, _bounded, _interval, _percent, number


def tables(summary: Mapping[str, Any], view: View = "run") -> tuple[Table, ...]:
    """Returns the tables of a run: how well, how far to believe a judge, how fast and dear; or of slices or labels.


    Other formats of a prompt have no rows of their own: they are the range beside it, and lines of the CSV.
    """
    summary = {**summary, "rows": [row for row in summary["rows"] if not row.get("format_of")]}
    if view == "labels":
        return (labelled(summary), *confusions(summary))
    if view == "slices":
        return (sliced(summary),)
    judged = any(row.get("judged") for row in summary["rows"])
    return (quality(summary), *((judging(summary),) if judged else ()), speed(summary))


def quality(summary: Mapping[str, Any]) -> Table:
    """Returns accuracy with its interval, the difference to the baseline, and what went wrong, by task."""
    rows = summary["rows"]
    named = list(dict.fromkeys(name for row in rows for name in row["metrics"] if name not in _LEFT_OUT))
    priced = any(row.get("expected_loss") for row in rows)
    varied = any(row.get("formats") for row in rows)
    compared = _compared(summary)
    columns = ("model", "n", "accuracy % [95 %]", *(("over formats %",) if varied else ()))
    columns += (f"vs {summary['baseline']}",) if compared else ()
    columns += ("loss [95 %]",) if priced else ()
    columns += (*(_heading(name) for name in named), "failures", "runs on")
    leaves = any(row.get("leaves_machine", {}).get("hosts") for row in rows)
    columns += ("leaves the machine",) if leaves else ()

    def cells(row: Row) -> tuple[str, ...]:
        further = (_metric(name, row["metrics"].get(name)) for name in named)
        over = (_range(row.get("formats")),) if varied else ()
        shown = (_model(row), str(row["n"]), _interval(row["accuracy"]) + _dagger(row), *over)
        shown += (_difference(row),) if compared else ()
        shown += (_bounded(row.get("expected_loss")),) if priced else ()
        place = _PLACES.get(row["where"], row["where"])
        return (*shown, *further, _failures(row), place, *((_leaving(row),) if leaves else ()))

    def reference(found: Row) -> tuple[str, ...]:
        shown = (f"({found['name']})", str(found["n"]), f"{100 * found['value']:.1f}")
        return (*shown, *[""] * (len(columns) - len(shown)))

    groups = []
    for title, members in _by_task(rows):
        references = [reference(found) for found in summary["references"] if found["task"] == members[0]["task"]]
        groups.append((title, (*(cells(row) for row in members), *references)))
    return Table("How well", columns, tuple(groups))


def _compared(summary: Mapping[str, Any]) -> bool:
    """Returns whether any row stands beside a baseline."""
    return any(row["difference"] for row in summary["rows"])


# in the records and the CSV; too much for a table
_LEFT_OUT = {"accuracy_bytes", "valid_json", "hallucinated", "missed", "f1", "micro_f1"}
_SHORT = {
    "accuracy_norm": "norm.",
    "all_correct": "all right",
    "instructions": "each",
    "instructions_loose": "each loose",
}
# in a unit of their own, and no share
_UNITS = {"bits_per_byte": "bits/byte", "word_perplexity": "word perplexity", "perplexity": "perplexity"}
_PLACES = {"this machine": "local"}


def judging(summary: Mapping[str, Any]) -> Table:
    """Returns, of the rows that a judge model scored, its agreement with people and the mean that theirs corrects."""
    columns = ("model", "judged % [95 %]", "corrected % [95 %]", "agrees % [95 %]", "kappa [95 %]", "both orders %")

    def cells(row: Row) -> tuple[str, ...]:
        found = row["judged"]
        agreed = found["agreement"] or {}
        shown = (found["corrected"], agreed.get("raw"))
        intervals = (UNKNOWN if one is None else _interval(one) for one in shown)
        kappa, pairs = agreed.get("kappa"), found["position"]
        kappa = UNKNOWN if kappa is None or kappa["value"] is None else _bounded(kappa)
        orders = "" if pairs is None else _percent(pairs["consistent"])
        return (_model(row), _interval(row["accuracy"]) + _dagger(row), *intervals, kappa, orders)

    judged = [row for row in summary["rows"] if row.get("judged")]
    groups = ((title, tuple(cells(row) for row in members)) for title, members in _by_task(judged))
    return Table("How far the judge is to be believed", columns, tuple(groups))


def speed(summary: Mapping[str, Any]) -> Table:
    """Returns latency alone, throughput of the pass, and cost, by task."""
    columns = ("model", "TTFT ms", "TPOT ms", "answer ms", "tok/s in", "tok/s out")
    columns += ("$/1M in", "$/1M out", "$/1k", "$/correct")

    def cells(row: Row) -> tuple[str, ...]:
        latency, rate, cost = row["latency"], row["throughput"], row["cost"]
        times = [number(latency[key], 1000) for key in ("ttft_p50_s", "tpot_p50_s", "e2e_p50_s")]
        rates = [number(rate[key]) for key in ("input_tokens_per_s", "output_tokens_per_s")]
        keys = ("usd_per_1m_input", "usd_per_1m_output", "usd_per_1k_samples", "usd_per_correct")
        return (_model(row), *times, *rates, *(number(cost[key]) for key in keys))

    groups = ((title, tuple(cells(row) for row in members)) for title, members in _by_task(summary["rows"]))
    return Table("How fast, at what cost", columns, tuple(groups))


def sliced(summary: Mapping[str, Any]) -> Table:
    """Returns the accuracy of each slice, of each model, and of the rest of the samples; by task and column."""
    columns = ("slice", "model", "n", "accuracy % [95 %]", "rest %", "Holm's p")

    def cells(row: Row, part: Row) -> tuple[str, ...]:
        rest = UNKNOWN if part["rest"] is None else f"{100 * part['rest']:.1f}"
        clear = "*" if part["p_holm"] is not None and part["p_holm"] < 0.05 else ""
        own = (part["value"], _model(row), str(part["n"]), _interval(part["accuracy"]))
        return (*own, rest, number(part["p_holm"]) + clear)

    groups = []
    for title, members in _by_task(summary["rows"]):
        for name in dict.fromkeys(part["column"] for row in members for part in row.get("slices", ())):
            parts = [(row, part) for row in members for part in row["slices"] if part["column"] == name]
            groups.append((f"{title} · {name}", tuple(cells(*pair) for pair in parts)))
    return Table("How well, by slice", columns, tuple(groups))


def labelled(summary: Mapping[str, Any]) -> Table:
    """Returns precision, recall and F1 of each label, the lowest F1 first, below the mean over the labels."""
    columns = ("label", "model", "n", "precision %", "recall %", "F1 % [95 %]", "taken for")

    def cells(row: Row, i: int) -> tuple[str, ...]:
        label = row["labels"]["labels"][i]
        shares = (UNKNOWN if label[key] is None else f"{100 * label[key]:.1f}" for key in ("precision", "recall", "f1"))
        return (label["label"], _model(row), str(label["support"]), *shares, _taken_for(row["labels"], i))

    def means(row: Row) -> tuple[str, ...]:
        silent = row["labels"]["abstentions"]
        shown = ("(mean)", _model(row), str(row["n"]), "", "", _interval(row["labels"]["macro_f1"]))
        return (*shown, f"no label: {silent}" if silent else "")

    groups = []
    for title, members in _by_task([row for row in summary["rows"] if row.get("labels")]):
        several = [row["labels"]["labels"] for row in members]  # the same labels of every model
        used = [i for i in range(len(several[0])) if any(labels[i]["f1"] is not None for labels in several)]
        order = sorted(used, key=lambda i: sum(labels[i]["f1"] or 0.0 for labels in several))
        groups.append((title, (*map(means, members), *(cells(row, i) for i in order for row in members))))
    return Table("How well, by label", columns, tuple(groups))


MOST_CONFUSED = 12  # labels that a matrix has room for; of more, each label has the one it is most often taken for


def confusions(summary: Mapping[str, Any]) -> Iterator[Table]:
    """Yields for each task of few labels which is taken for which: rows are right labels, columns answers."""
    for title, members in _by_task([row for row in summary["rows"] if row.get("labels")]):
        names = [label["label"] for label in members[0]["labels"]["labels"]]
        if members[0]["labels"]["confusion"] is None or len(names) > MOST_CONFUSED:
            continue
        groups = [
            (_model(row), tuple((n, *map(str, counts)) for n, counts in zip(names, row["labels"]["confusion"])))
            for row in members
        ]
        yield Table(f"Which is taken for which: {title}", ("right label", *names, "no label"), tuple(groups))


def _taken_for(labels: Row, i: int) -> str:
    """Returns what a label is most often taken for, and how often."""
    if labels["confusion"] is None:
        return ""
    wrong = [(0 if j == i else count, j) for j, count in enumerate(labels["confusion"][i])]
    most, j = max(wrong, key=lambda pair: pair[0])
    names = [label["label"] for label in labels["labels"]] + ["no label"]
    return f"{names[j]} ({most})" if most else ""


def _model(row: Row) -> str:
    """Returns the name of a row's model, with the number of its run where several have it."""
    return f"{row['model']} {row['mark']}" if row.get("mark") else row["model"]


def _by_task(rows: Sequence[Row]) -> list[tuple[str, list[Row]]]:
    """Returns the rows of each task and mode under its title: scored and generated are two measurements."""
    groups: dict[tuple[str, int, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["task"], row["task_version"], row["mode"]), []).append(row)
    return [(f"{task} · version {version} · {_asked(found[0])}", found) for (task, version, _), found in groups.items()]


def _asked(row: Row) -> str:
    if row["mode"] == "generate":
        return "text generated"
    return {"cloze": "answers scored", "perplexity": "texts scored"}.get(row.get("kind", ""), "choices scored")


def _heading(name: str) -> str:
    if name.startswith("lm_eval:"):  # in whatever unit it has there
        return name.removeprefix("lm_eval:")
    return _UNITS.get(name) or f"{_SHORT.get(name, name.replace('turn_', 'turn '))} %"


def _metric(name: str, estimate: Mapping[str, Any] | None) -> str:
    if name not in _UNITS and not name.startswith("lm_eval:"):
        return _percent(estimate)
    return number(None if estimate is None else estimate["value"])


ACCURACY_LEGEND = "accuracy: 95 % interval"
DIFFERENCE_LEGEND = "vs: paired difference on the same samples, in points, * where the interval excludes 0"
METRIC_LEGEND = {
    "accuracy_norm": "norm.: by log-probability per character, so that a short choice has no advantage",
    "all_correct": "all right: answers with every field right",
}
SPEED_LEGEND = (
    "TTFT, TPOT, answer: medians of single requests, one at a time, warm; tok/s: the whole accuracy pass, real tokens."
)
SLICE_LEGEND = (
    "rest: the accuracy of all other samples; p: that the slice is no different from them, corrected (Holm) for all "
    "slices of the model and task; * below 0.05.",
)
LABEL_LEGEND = (
    "mean: the macro-averaged F1, rare labels counting as much as common ones; taken for: the commonest wrong answer.",
)
FORMATS_LEGEND = (
    "over formats: the lowest and the highest accuracy of the prompt as the task has it and of seeded variants of its "
    "format (marks, lines, labels, order of choices), on the same samples; each variant is a line of table.csv."
)


def _legend(summary: Mapping[str, Any], view: View) -> tuple[str, ...]:
    if view != "run":
        return SLICE_LEGEND if view == "slices" else LABEL_LEGEND
    rows = summary["rows"]
    shown = [text for name, text in METRIC_LEGEND.items() if any(name in row["metrics"] for row in rows)]
    quality = [ACCURACY_LEGEND, *([DIFFERENCE_LEGEND] if _compared(summary) else []), *shown]
    varied = any(row.get("formats") for row in rows)
    return ("; ".join(quality) + ".", SPEED_LEGEND, *((FORMATS_LEGEND,) if varied else ()))


def _range(found: Row | None) -> str:
    return UNKNOWN if found is None else f"{100 * found['low']:.1f}–{100 * found['high']:.1f}"


def _dagger(row: Row) -> str:
    """Returns the mark of a score by a judge model that nothing shows to agree with people."""
    return "†" if (row.get("judged") or {}).get("warning") else ""


def _difference(row: Row) -> str:
    found = row["difference"]
    if found is None or found["value"] is None:
        return ""
    text = f"{100 * found['value']:+.1f}"
    if found["low"] is None:
        return text
    clear = "*" if found["low"] > 0 or found["high"] < 0 else ""
    return f"{text} [{100 * found['low']:+.1f}, {100 * found['high']:+.1f}]{clear}"


def _leaving(row: Row) -> str:
    """Returns which share of the samples was sent to where the model runs, and to a judge, and the bytes of text."""
    found = row.get("leaves_machine")
    if not found or not found["hosts"]:
        return "nothing"
    size = UNKNOWN if found["bytes"] is None else f"{found['bytes'] / 1000:,.1f} kB"
    beside = [host for host in found["hosts"] if host != row["where"]]
    return f"{100 * found['share_of_samples']:.0f} % of samples, {size}{f', judge at {beside[0]}' if beside else ''}"


def _failures(row: Row) -> str:
    """Returns the counts by kind, and whether the row stands for less than the whole task."""
    counts, missing = dict(row["failures"]), row.get("missing", 0)
    if missing and counts.get("backend_error", 0) >= missing:  # not so of the turns of a conversation
        counts |= {"missing": missing, "backend_error": counts["backend_error"] - missing}
    parts = [f"{count} {kind}" for kind, count in sorted(counts.items()) if count]
    return ", ".join([*parts, *(["incomplete"] if row.get("incomplete") else [])]) or "0"
