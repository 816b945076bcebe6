"""A run from start to finish, and what can be done with its folder afterwards."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from harness.errors import StoreError, nearest
from harness.runs.plan import Plan
from harness.store.log import read_attempts
from harness.store.renamed import renamed
from harness.values import Failure, Record, Sample


def answered(path: Path) -> set[str]:
    """Returns the keys of the requests in a run folder that are answered, or failed for good; none if it is new."""
    if not (path / "responses.jsonl").exists():
        return set()
    return {line["key"] for line in read_attempts(path / "responses.jsonl") if not line.get("provisional")}


def read_samples(path: Path) -> dict[tuple[str, str], Sample]:
    """Returns the samples a run asked about, by task and id."""
    return {(line["task"], line["id"]): _sample(line) for line in read_jsonl(path / "samples.jsonl")}


def refuse_no_run(folder: Path) -> None:
    """Raises StoreError for a folder that holds no run, naming those that could be meant."""
    if not (folder / "plan.json").is_file():
        runs = [plan.parent.name for plan in folder.parent.glob("*/plan.json")]
        inside = [str(plan.parent) for plan in folder.glob("*/plan.json")]
        fix = nearest(folder.name, inside or runs) or "give the folder `harness run` named"
        raise StoreError(f"no run in {folder}", fix=fix)
    if read_json(folder / "plan.json").get("kind") == "bench":
        what = f"{folder} holds a benchmark of load, no run"
        raise StoreError(what, fix="read its summary.json, or give the folder `harness run` named")


def read_json(path: Path) -> Any:
    """Returns the content of a JSON file of a run. Raises StoreError if it is missing or broken."""
    try:
        return renamed(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise StoreError(f"no {path.name}", where=str(path.parent), fix="run `harness score` on the folder") from None
    except ValueError as error:
        raise StoreError(f"{path.name} is not JSON: {error}", where=str(path), fix="restore it from a copy") from None


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """Returns the lines of a JSONL file of a run; a torn last line is left out."""
    found = []
    with path.open(encoding="utf-8", newline="\n") as lines:
        for line in lines:
            with suppress(ValueError):
                found.append(renamed(json.loads(line)))
    return found


def _sample_lines(plan: Plan) -> Iterator[dict[str, Any]]:
    for task in plan.tasks:
        for sample in plan.samples(task):
            yield {**asdict(sample), "row": dict(sample.row)}


def _sample(line: Mapping[str, Any]) -> Sample:
    several = {key: tuple(line.get(key, ())) for key in ("choices", "labels", "right", "scored", "marks")}
    return Sample(**{**line, **several})


def record_line(record: Record) -> dict[str, Any]:
    line = asdict(record)
    if not record.turns:
        del line["turns"]
    failure = line["failure"]
    if not line["verdicts"]:
        del line["verdicts"]
    return {**line, "failure": failure.value if isinstance(failure, Failure) else None}
