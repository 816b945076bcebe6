"""The files of a run folder as JSON values, and whether a folder is one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.errors import StoreError, nearest
from harness.store.files import PLAN, RESPONSES
from harness.store.log import read_attempts
from harness.store.opening import FIX, parsed, parsed_line, read_lines, read_whole, there


def answered(path: Path) -> set[str]:
    """Returns the keys of the requests in a run folder that are answered, or failed for good; none if it is new."""
    if not there(path / RESPONSES):
        return set()
    return {str(line["key"]) for line in read_attempts(path / RESPONSES) if not line.get("provisional")}


def is_bench(folder: Path) -> bool:
    """Returns whether a folder holds a benchmark of load. Raises StoreError for one that holds no run at all."""
    if not there(folder / PLAN):
        runs = [plan.parent.name for plan in folder.parent.glob("*/plan.json")]
        inside = [str(plan.parent) for plan in folder.glob("*/plan.json")]
        fix = nearest(folder.name, inside or runs) or "give the folder `harness run` named"
        raise StoreError(f"no run in {folder}", fix=fix)
    return read_object(folder / PLAN).get("kind") == "bench"


def refuse_no_run(folder: Path) -> None:
    """Raises StoreError for a folder that holds no run, naming those that could be meant."""
    if is_bench(folder):
        what = f"{folder} holds a benchmark of load, no run"
        raise StoreError(what, fix="read its summary.json, or give the folder `harness run` named")


def read_json(path: Path) -> Any:
    """Returns the content of a JSON file of a run. Raises StoreError if it is missing or broken."""
    if not there(path):
        raise _missing(path)
    try:
        return parsed(read_whole(path))
    except ValueError as error:
        raise StoreError(f"{path.name} is not JSON: {error}", where=str(path), fix=FIX) from None


def read_object(path: Path) -> dict[str, Any]:
    """Returns the content of a JSON file of a run that must be an object. Raises StoreError as `read_json`."""
    found = read_json(path)
    if not isinstance(found, dict):
        raise StoreError(f"{path.name} holds no object", where=str(path), fix=FIX)
    return found


def jsonl_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yields the lines of a JSONL file of a run; a torn last line is left out.

    Raises StoreError if the file is missing, and for a line that is no JSON object.
    """
    if not there(path):
        raise _missing(path)
    for number, data in enumerate(read_lines(path), 1):
        try:
            found = parsed_line(data)
        except ValueError as error:
            if not data.endswith(b"\n"):
                return
            raise _no_object(path, number, f"is not JSON: {error}") from None
        if not isinstance(found, dict):
            raise _no_object(path, number, "holds no object")
        yield found


def read_jsonl(path: Path) -> list[dict[str, object]]:
    """Returns all lines of a JSONL file, as `jsonl_lines` yields them."""
    return list(jsonl_lines(path))


def _no_object(path: Path, number: int, what: str) -> StoreError:
    return StoreError(f"a line of {path.name} {what}", where=f"{path}, line {number}", fix=FIX)


def _missing(path: Path) -> StoreError:
    return StoreError(f"no {path.name}", where=str(path.parent), fix="run `harness score` on the folder")
