"""What golden runs are read through: the command line and `harness.open_run` only, so that no module's move matters.

The figures of a summary are compared whatever they are called: every number, by the model and task it stands under.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import runpy
import shutil
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
RUNS = {"quickstart": ROOT / "results" / "quickstart", "talks": HERE / "talks", "served": HERE / "served"}
BENCH = HERE / "bench"
VIEWS: dict[str, tuple[str, ...]] = {  # file of expected output -> arguments after the run folder
    "table.txt": (),
    "table.md": ("--format", "markdown"),
    "table.csv": ("--format", "csv"),
}
MORE_VIEWS = {"quickstart": {"labels.txt": ("--labels",)}, "talks": {"slices.txt": ("--slices",)}, "served": {}}
DIGITS = 12  # significant ones that are compared; machines differ in the last of a double's sixteen

Pair = tuple[str, str]  # model and task; "" where a figure belongs to all
Figures = dict[Pair, Counter]


def command(*arguments: object) -> tuple[int, str]:
    """Returns exit code and stdout of `python -m harness ...`, run in this process."""
    out, argv, code = io.StringIO(), sys.argv, 0
    sys.argv = ["harness", *map(str, arguments)]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
            runpy.run_module("harness", run_name="__main__")
    except SystemExit as stop:
        code = stop.code or 0
    finally:
        sys.argv = argv
    return int(code), out.getvalue()


def said(*arguments: object) -> str:
    """Returns the stdout of a command that must succeed."""
    code, out = command(*arguments)
    assert code == 0, f"harness {' '.join(map(str, arguments))}: exit code {code}\n{out}"
    return out


def views(name: str) -> dict[str, tuple[str, ...]]:
    """Returns the ways a golden run is shown."""
    return VIEWS | MORE_VIEWS[name]


def expected(name: str) -> Path:
    """Returns the folder of what a golden run must show."""
    return HERE / f"{name}.expected"


def copied(name: str, to: Path) -> Path:
    """Returns a copy of a golden run that may be written to."""
    source = BENCH if name == "bench" else RUNS[name]
    return Path(shutil.copytree(source, to / name))


def cost(to: Path, served: Path, bench: Path) -> dict[str, Any]:
    """Returns what the served run costs at the capacity that the benchmark found."""
    said("score", served)  # a recorded run has no records.jsonl
    machine = to / "machine.yaml"
    machine.write_text(
        "name: golden\nsource: made up\ndate: '2026-01-01'\nassumed: true\nutilisation: 0.4\nrented: {per_hour: 0.5}\n"
    )
    return json.loads(said("cost", served, "--machine", machine, "--volume", 100000, "--bench", bench, "--json"))


def bench_again(folder: Path) -> tuple[dict[str, Any], str]:
    """Returns summary and text of a recorded benchmark, made anew from its lines.

    No command does this, so here alone modules of the package are named: follow them where they move.
    """
    from harness.analysis.bench import finish
    from harness.reports.bench_text import text

    summary = finish(folder)
    return json.loads((folder / "summary.json").read_text()), text(summary)


def without_computer(text: str) -> str:
    """Returns the text of a benchmark without the line that names the computer it is read on."""
    return "".join(line for line in text.splitlines(keepends=True) if "Sent from" not in line)


# --- figures


def figures(summary: Mapping[str, Any], *, words: bool = False) -> Figures:
    """Returns the numbers of a summary by model and task, the outermost names that a number stands under.

    Of texts only those under `method` are read for numbers, as in "clustered t (C=115)"; with `words` all are, so that
    a figure may move out of a text or into one.
    """
    models, tasks = _names(summary)
    found: Figures = {}
    for pair, number in _walked(summary, ("", ""), models, tasks, words, top=True):
        found.setdefault(pair, Counter())[_rounded(number)] += 1
    return found


def _names(summary: Any) -> tuple[set[str], set[str]]:
    """Returns the models and the tasks of the rows; how a row names them is all that is taken as given."""
    rows = [
        row for row in _dictionaries(summary) if isinstance(row.get("model"), str) and isinstance(row.get("task"), str)
    ]
    return {row["model"] for row in rows}, {row["task"] for row in rows}


def _dictionaries(value: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(value, Mapping):
        yield value
    for inner in value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ():
        yield from _dictionaries(inner)


def _walked(
    value: Any, pair: Pair, models: set[str], tasks: set[str], words: bool, key: str = "", top: bool = False
) -> Iterator[tuple[Pair, float]]:
    if isinstance(value, Mapping):
        model, task = pair
        if not top:  # the summary itself names a baseline, and is not about that one
            model = model or _named(value, "model", models)
            task = task or _named(value, "task", tasks)
        for name, inner in value.items():
            mine = (model or (name if name in models else ""), task or (name if name in tasks else ""))
            yield from _walked(inner, mine, models, tasks, words, name)
    elif isinstance(value, list):
        for inner in value:
            yield from _walked(inner, pair, models, tasks, words, key)
    elif isinstance(value, str) and (words or key == "method"):
        yield from ((pair, float(number)) for number in re.findall(r"(?<![\w.])\d+(?:\.\d+)?(?![\w.]*\w)", value))
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield pair, value


def _named(value: Mapping[str, Any], key: str, known: set[str]) -> str:
    own = value.get(key)
    return own if isinstance(own, str) and own in known else ""


def _rounded(number: float) -> float:
    return float(f"{number:.{DIGITS}g}")


def as_json(found: Figures) -> str:
    """Returns figures as the text of a file: a line for each model and task."""
    lines = [
        json.dumps({"model": model, "task": task, "figures": sorted(count.elements())}, ensure_ascii=False)
        for (model, task), count in sorted(found.items())
    ]
    return "[\n" + ",\n".join(lines) + "\n]\n"


def from_json(text: str) -> Figures:
    """Returns the figures that such a file holds."""
    return {(row["model"], row["task"]): Counter(row["figures"]) for row in json.loads(text)}


def missing(due: Figures, summary: Mapping[str, Any]) -> dict[Pair, list[float]]:
    """Returns the due figures that a summary lacks, by model and task: as often as they are due, under whatever name.

    What belongs to no one model and task may stand anywhere. The summary may hold more.
    """
    have = figures(summary, words=True)
    every = Counter()
    for count in have.values():
        every += count
    lacking = {pair: count - (have.get(pair, Counter()) if all(pair) else every) for pair, count in due.items()}
    return {pair: sorted(count.elements()) for pair, count in lacking.items() if count}
