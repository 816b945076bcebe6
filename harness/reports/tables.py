"""A summary to tables of text: which columns there are, and what stands in each cell. `formats` sets them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from harness.reports.layout import UNKNOWN, Table, View, bounded, interval, number, percent
from harness.stats.classification import Classification
from harness.store.schema import LayoutRange, Reference, Row, Slice, Summary
from harness.values import Estimate, Failure


def tables(summary: Summary, view: View = "run") -> tuple[Table, ...]:
    """Returns the tables of a run: how well, how far to believe a judge, how fast and dear; or of slices or labels.


    Other formats of a prompt have no rows of their own: they are the range beside it, and lines of the CSV.
    """
    summary = replace(summary, rows=tuple(row for row in summary.rows if row.layout_of is None))
    if view == "labels":
        return (labelled(summary), *confusions(summary))
    if view == "slices":
        return (sliced(summary),)
    judged = any(row.judged is not None for row in summary.rows)
    shown = (quality(summary), *((judging(summary),) if judged else ()), speed(summary))
    return tuple(found for one in shown if len((found := _known(one)).columns) > 1)


def _known(table: Table) -> Table:
    """Returns a table without the columns in which nothing is known of any row."""
    rows = [row for _, members in table.groups for row in members]
    kept = [i for i in range(len(table.columns)) if i == 0 or any(row[i] not in ("", UNKNOWN) for row in rows)]
    groups = ((title, tuple(tuple(row[i] for i in kept) for row in members)) for title, members in table.groups)
    return Table(table.title, tuple(table.columns[i] for i in kept), tuple(groups))


def quality(summary: Summary) -> Table:
    """Returns accuracy with its interval, the difference to the baseline, and what went wrong, by task."""
    rows = summary.rows
    named = list(dict.fromkeys(name for row in rows for name in row.metrics if name not in _LEFT_OUT))
    priced = any(row.expected_loss is not None for row in rows)
    varied = any(row.over_layouts is not None for row in rows)
    compared = _compared(summary)
    columns = ("model", "n", "accuracy % [95 %]", *(("over formats %",) if varied else ()))
    columns += (f"vs {summary.baseline}",) if compared else ()
    columns += ("loss [95 %]",) if priced else ()
    columns += (*(_heading(name) for name in named), "failures", "runs on")
    leaves = any(row.left_machine.hosts for row in rows)
    columns += ("leaves the machine",) if leaves else ()

    def cells(row: Row) -> tuple[str, ...]:
        further = (_metric(name, row.metrics.get(name)) for name in named)
        over = (_range(row.over_layouts),) if varied else ()
        shown = (_model(row), str(row.asked.n), interval(row.accuracy) + _dagger(row), *over)
        shown += (_difference(row),) if compared else ()
        shown += (bounded(None if row.expected_loss is None else row.expected_loss.estimate),) if priced else ()
        place = _PLACES.get(row.place.name, row.place.name)
        return (*shown, *further, _failures(row), place, *((_leaving(row),) if leaves else ()))

    def reference(found: Reference) -> tuple[str, ...]:
        shown = (f"({found.name})", str(found.n), f"{100 * found.value:.1f}")
        return (*shown, *[""] * (len(columns) - len(shown)))

    groups = []
    for title, members in _by_task(rows):
        references = [reference(found) for found in summary.references if found.task == members[0].task]
        groups.append((title, (*(cells(row) for row in members), *references)))
    return Table("How well", columns, tuple(groups))


def _compared(summary: Summary) -> bool:
    """Returns whether any row stands beside a baseline."""
    return any(row.difference is not None for row in summary.rows)


# in the records and the CSV; too much for a table
_LEFT_OUT = {"accuracy_bytes", "valid_json", "hallucinated", "missed", "f1", "micro_f1"}
_SHORT = {
    "accuracy": "likeliest",
    "accuracy_norm": "norm.",
    "all_correct": "all right",
    "spans": "exact",
    "instructions": "each",
    "instructions_loose": "each loose",
}
# in a unit of their own, and no share
_UNITS = {"bits_per_byte": "bits/byte", "word_perplexity": "word perplexity", "perplexity": "perplexity"}
_PLACES = {"this machine": "local"}


def judging(summary: Summary) -> Table:
    """Returns, of the rows that a judge model scored, its agreement with people and the mean that theirs corrects."""
    columns = ("model", "judged % [95 %]", "corrected % [95 %]", "agrees % [95 %]", "kappa [95 %]", "both orders %")

    def cells(row: Row) -> tuple[str, ...]:
        found = row.judged
        agreed, mean, pairs = (
            (None, None, None) if found is None else (found.agreement, found.corrected, found.both_orders)
        )
        raw, kappa = (None, None) if agreed is None else (agreed.raw, agreed.kappa)
        intervals = (interval(None if mean is None else mean.estimate), interval(raw))
        orders = "" if pairs is None else percent(pairs.consistent)
        return (_model(row), interval(row.accuracy) + _dagger(row), *intervals, bounded(kappa) or UNKNOWN, orders)

    judged = [row for row in summary.rows if row.judged is not None]
    groups = ((title, tuple(cells(row) for row in members)) for title, members in _by_task(judged))
    return Table("How far the judge is to be believed", columns, tuple(groups))


def speed(summary: Summary) -> Table:
    """Returns latency alone, throughput of the pass, and cost, by task."""
    times_of = ("model", "TTFT ms", "TPOT ms", "answer ms", "tok/s in", "tok/s out")
    columns = (*times_of, "$/1M in", "$/1M out", "$/1k", "$/correct")

    def cells(row: Row) -> tuple[str, ...]:
        latency, rate, cost = row.latency, row.throughput, row.cost
        times = (number(one.value, 1000) for one in (latency.ttft_p50, latency.tpot_p50, latency.e2e_p50))
        rates = (number(rate.input_tokens_per_s), number(rate.output_tokens_per_s))
        usd = (cost.usd_per_1m_input, cost.usd_per_1m_output, cost.usd_per_1k_samples, cost.usd_per_correct)
        return (_model(row), *times, *rates, *map(number, usd))

    groups = ((title, tuple(cells(row) for row in members)) for title, members in _by_task(summary.rows))
    return Table("How fast, at what cost", columns, tuple(groups))


def sliced(summary: Summary) -> Table:
    """Returns the accuracy of each slice, of each model, and of the rest of the samples; by task and column."""
    columns = ("slice", "model", "n", "accuracy % [95 %]", "rest %", "Holm's p")

    def cells(row: Row, part: Slice) -> tuple[str, ...]:
        rest = UNKNOWN if part.rest is None else f"{100 * part.rest:.1f}"
        clear = "*" if part.p_holm is not None and part.p_holm < 0.05 else ""
        own = (part.value, _model(row), str(part.n), interval(part.accuracy))
        return (*own, rest, number(part.p_holm) + clear)

    groups = []
    for title, members in _by_task(summary.rows):
        for name in dict.fromkeys(part.column for row in members for part in row.slices):
            parts = [(row, part) for row in members for part in row.slices if part.column == name]
            groups.append((f"{title} · {name}", tuple(cells(*pair) for pair in parts)))
    return Table("How well, by slice", columns, tuple(groups))


def labelled(summary: Summary) -> Table:
    """Returns precision, recall and F1 of each label, the lowest F1 first, below the mean over the labels."""
    columns = ("label", "model", "n", "precision %", "recall %", "F1 % [95 %]", "taken for")

    def cells(row: Row, found: Classification, i: int) -> tuple[str, ...]:
        label = found.labels[i]
        shares = (UNKNOWN if share is None else f"{100 * share:.1f}" for share in (label.precision, label.recall))
        f1 = interval(Estimate(label.f1, label.f1_low, label.f1_high))
        return (label.label, _model(row), str(label.support), *shares, f1, _taken_for(found, i))

    def means(row: Row, found: Classification) -> tuple[str, ...]:
        silent = found.abstentions
        shown = ("(mean)", _model(row), str(row.asked.n), "", "", interval(found.macro_f1))
        why = found.macro_f1.reason if found.macro_f1.low is None else None
        told = [f"no label: {silent}"] if silent else []
        return (*shown, "; ".join([*told, *([f"no interval: {why}"] if why else [])]))

    groups = []
    for title, members in _with_labels(summary.rows):
        several = [found.labels for _, found in members]  # the same labels of every model
        used = [i for i in range(len(several[0])) if any(labels[i].f1 is not None for labels in several)]
        order = sorted(used, key=lambda i: sum(labels[i].f1 or 0.0 for labels in several))
        each = (cells(row, found, i) for i in order for row, found in members)
        groups.append((title, (*(means(row, found) for row, found in members), *each)))
    return Table("How well, by label", columns, tuple(groups))


MOST_CONFUSED = 12  # labels that a matrix has room for; of more, each label has the one it is most often taken for


def confusions(summary: Summary) -> Iterator[Table]:
    """Yields for each task of few labels which is taken for which: rows are right labels, columns answers."""
    for title, members in _with_labels(summary.rows):
        names = [label.label for label in members[0][1].labels]
        if members[0][1].confusion is None or len(names) > MOST_CONFUSED:
            continue
        groups = [
            (_model(row), tuple((n, *map(str, counts)) for n, counts in zip(names, found.confusion or ())))
            for row, found in members
        ]
        yield Table(f"Which is taken for which: {title}", ("right label", *names, "no label"), tuple(groups))


def _with_labels(rows: Sequence[Row]) -> list[tuple[str, list[tuple[Row, Classification]]]]:
    """Returns the rows of each task that have labels, with what is known of them."""
    groups = _by_task([row for row in rows if row.labels is not None])
    return [(title, [(row, row.labels) for row in members if row.labels is not None]) for title, members in groups]


def _taken_for(labels: Classification, i: int) -> str:
    """Returns what a label is most often taken for, and how often."""
    if labels.confusion is None:
        return ""
    wrong = [(0 if j == i else count, j) for j, count in enumerate(labels.confusion[i])]
    most, j = max(wrong, key=lambda pair: pair[0])
    names = [label.label for label in labels.labels] + ["no label"]
    return f"{names[j]} ({most})" if most else ""


def _model(row: Row) -> str:
    """Returns the name of a row's model, with the number of its run where several have it."""
    return f"{row.model} {row.mark}" if row.mark else row.model


def _by_task(rows: Sequence[Row]) -> list[tuple[str, list[Row]]]:
    """Returns the rows of each task and mode under its title: scored and generated are two measurements."""
    groups: dict[tuple[str, int, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.task, row.task_version, row.mode), []).append(row)
    return [(f"{task} · version {version} · {_asked(found[0])}", found) for (task, version, _), found in groups.items()]


def _asked(row: Row) -> str:
    asked = "text generated" if row.mode == "generate" else f"{row.reads} scored"
    return asked if row.metric is None else f"{asked} · accuracy is {HEADLINES.get(row.metric, row.metric)}"


def _heading(name: str) -> str:
    if name.startswith("lm_eval:"):  # in whatever unit it has there
        return name.removeprefix("lm_eval:")
    return _UNITS.get(name) or f"{_SHORT.get(name, name.replace('turn_', 'turn '))} %"


def _metric(name: str, estimate: Estimate | None) -> str:
    if name not in _UNITS and not name.startswith("lm_eval:"):
        return percent(estimate)
    return number(None if estimate is None else estimate.value)


ACCURACY_LEGEND = "accuracy: 95 % interval"
DIFFERENCE_LEGEND = "vs: paired difference on the same samples, in points, * where the interval excludes 0"
HEADLINES = {  # what an accuracy is that its task chose among its metrics
    "accuracy_norm": "by log-probability per character",
    "acc_norm": "by log-probability per character",
    "accuracy_bytes": "by log-probability per byte",
    "f1": "F1",
}
METRIC_LEGEND = {
    "accuracy": "likeliest: by the log-probability as it is, which favours short choices",
    "accuracy_norm": "norm.: by log-probability per character, so that a short choice has no advantage",
    "all_correct": "all right: answers with every field right",
}
ALONE_LEGEND = "TTFT, TPOT, answer: medians of single requests, one at a time, warm"
PASS_LEGEND = "tok/s: the whole accuracy pass, real tokens"
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


def legend(summary: Summary, view: View) -> tuple[str, ...]:
    if view != "run":
        return SLICE_LEGEND if view == "slices" else LABEL_LEGEND
    rows = summary.rows
    shown = [text for name, text in METRIC_LEGEND.items() if any(name in row.metrics for row in rows)]
    quality = [ACCURACY_LEGEND, *([DIFFERENCE_LEGEND] if _compared(summary) else []), *shown]
    varied = any(row.over_layouts is not None for row in rows)
    named = {"TTFT ms": ALONE_LEGEND, "TPOT ms": ALONE_LEGEND, "answer ms": ALONE_LEGEND}
    named |= {"tok/s in": PASS_LEGEND, "tok/s out": PASS_LEGEND}
    of_speed = "; ".join(dict.fromkeys(named[name] for name in _known(speed(summary)).columns if name in named))
    return ("; ".join(quality) + ".", *((f"{of_speed}.",) if of_speed else ()), *((FORMATS_LEGEND,) if varied else ()))


def _range(found: LayoutRange | None) -> str:
    return UNKNOWN if found is None else f"{100 * found.low:.1f}–{100 * found.high:.1f}"


def _dagger(row: Row) -> str:
    """Returns the mark of a score by a judge model that nothing shows to agree with people."""
    return "†" if row.judged is not None and row.judged.warning is not None else ""


def _difference(row: Row) -> str:
    found = None if row.difference is None else row.difference.estimate
    if found is None or found.value is None:
        return ""
    text = f"{100 * found.value:+.1f}"
    if found.low is None or found.high is None:
        return text
    clear = "*" if found.low > 0 or found.high < 0 else ""
    return f"{text} [{100 * found.low:+.1f}, {100 * found.high:+.1f}]{clear}"


def _leaving(row: Row) -> str:
    """Returns which share of the samples was sent to where the model runs, and to a judge, and the bytes of text."""
    left = row.left_machine
    if not left.hosts:
        return "nothing"
    size = UNKNOWN if left.bytes is None else f"{left.bytes / 1000:,.1f} kB"
    beside = [host for host in left.hosts if host != row.place.name]
    return f"{100 * left.share_of_samples:.0f} % of samples, {size}{f', judge at {beside[0]}' if beside else ''}"


def _failures(row: Row) -> str:
    """Returns the counts by kind, and whether the row stands for less than the whole task."""
    counts, missing = dict(row.asked.failures), row.asked.missing
    failed = counts.get(Failure.BACKEND_ERROR, 0)
    if missing and failed >= missing:  # not so of the turns of a conversation
        counts |= {"missing": missing, Failure.BACKEND_ERROR: failed - missing}
    parts = [f"{count} {kind}" for kind, count in sorted(counts.items()) if count]
    return ", ".join([*parts, *(["incomplete"] if row.incomplete is not None else [])]) or "0"
