"""The files of a run folder as JSON values, and whether a folder is one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from harness.errors import StoreError, nearest
from harness.store.log import read_attempts


def answered(path: Path) -> set[str]:
    """Returns the keys of the requests in a run folder that are answered, or failed for good; none if it is new."""
    if not (path / "responses.jsonl").exists():
        return set()
    return {str(line["key"]) for line in read_attempts(path / "responses.jsonl") if not line.get("provisional")}


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
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise _missing(path) from None
    except ValueError as error:
        raise StoreError(f"{path.name} is not JSON: {error}", where=str(path), fix="restore it from a copy") from None


def jsonl_lines(path: Path) -> Iterator[dict[str, object]]:
    """Yields the lines of a JSONL file of a run; a torn last line is left out. Raises StoreError if it is missing."""
    try:
        with path.open(encoding="utf-8", newline="\n") as lines:
            for line in lines:
                with suppress(ValueError):
                    yield json.loads(line)
    except FileNotFoundError:
        raise _missing(path) from None


def read_jsonl(path: Path) -> list[dict[str, object]]:
    """Returns all lines of a JSONL file, as `jsonl_lines` yields them."""
    return list(jsonl_lines(path))


def _missing(path: Path) -> StoreError:
    return StoreError(f"no {path.name}", where=str(path.parent), fix="run `harness score` on the folder")
