"""A run from start to finish, and what can be done with its folder afterwards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from harness.analysis.usage import spent_together
from harness.errors import StoreError


def merged(summaries: Sequence[Mapping[str, Any]], names: Sequence[str]) -> dict[str, Any]:
    """Returns one summary of several runs: their rows side by side. Differences stay those within each run.

    `names` are those of the runs. What holds for some of them only is marked with their numbers, which the last notes
    resolve: a model that stands in several, and a note. Raises StoreError when two runs hold different versions of one
    task: those are never in one table.
    """
    version: dict[str, int] = {}
    for summary in summaries:
        for row in summary["rows"]:
            known = version.setdefault(row["task"], row["task_version"])
            if known != row["task_version"]:
                raise StoreError(
                    f"task '{row['task']}' has version {known} in one run and {row['task_version']} in another",
                    where=f"run {summary['run']}",
                    fix="run the older one again, or show them apart",
                )
    seen = Counter((row["task"], row["mode"], row["model"]) for summary in summaries for row in summary["rows"])
    rows = [
        {**row, "run": name, "mark": f"[{i}]" if seen[row["task"], row["mode"], row["model"]] > 1 else ""}
        for i, (summary, name) in enumerate(zip(summaries, names, strict=True), 1)
        for row in summary["rows"]
    ]
    references = {(r["name"], r["task"]): r for summary in summaries for r in summary["references"]}
    baselines = list(dict.fromkeys(summary["baseline"] for summary in summaries))
    one = len(baselines) == 1 and not any(row["mark"] for row in rows)
    of = (f" (baseline {summary['baseline']})" if not one and len(summary["rows"]) > 1 else "" for summary in summaries)
    told_apart = [f"[{i}]: {name}{baseline}" for i, (name, baseline) in enumerate(zip(names, of), 1)]
    return {
        **summaries[0],
        "run": " + ".join(dict.fromkeys(summary["run"] for summary in summaries)),
        "baseline": baselines[0] if one else "its run's baseline",
        "rows": rows,
        "references": list(references.values()),
        "spent": spent_together(summary.get("spent") for summary in summaries),
        "notes": [*_common_notes(summaries), *told_apart],
    }


def _common_notes(summaries: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yields the notes that hold for all of several runs, then each other one with the numbers of its runs."""
    of: dict[str, list[int]] = {}
    for i, summary in enumerate(summaries, 1):
        for note in dict.fromkeys(summary["notes"]):
            of.setdefault(note, []).append(i)
    yield from (note for note, runs in of.items() if len(runs) == len(summaries))
    for note, runs in of.items():
        if len(runs) < len(summaries):
            yield f"[{', '.join(map(str, runs))}] {note}"
