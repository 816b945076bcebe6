"""The house stays as it was built: bounds on what `tests.house.counts` counts, and that it counts it."""

from __future__ import annotations

from pathlib import Path

import pytest

import harness
from tests.house.counts import counted

PACKAGE = Path(harness.__file__).parent
NONE_OF = {
    "kinds": "comparisons of a kind outside tasks/kinds: ask the kind's module",
    "backends": "comparisons of a backend's name outside backends/: ask the class",
    "subscripts": "string subscripts right of the run folder: read a class of store/schema",
    "functions": "functions over 60 lines or 7 parameters",
    "modules": "modules over 400 lines whose docstring gives no reason",
    "top": "modules at the top of the package: they belong into a room",
}
BAGS = 80  # `dict[str, Any]` and its like: fewer than this, where YAML and JSON come in and go out


@pytest.fixture(scope="module")
def found():
    return counted(PACKAGE)


@pytest.mark.parametrize("count", NONE_OF)
def test_there_are_none(found, count: str):
    assert [str(place) for place in found[count]] == [], NONE_OF[count]


def test_dicts_of_anything_are_few(found):
    places = [str(place) for place in found["bags"]]
    assert len(places) < BAGS, "\n".join(places)
    assert [
        place for place in places if place.startswith(("analysis/", "reports/", "cli/", "stats/", "scoring/"))
    ] == []


SEEN = """
from collections.abc import Mapping
from typing import Any

Bag = Mapping[str, Any]


def asks(task, model, row: Bag, more: dict[str, Any]):
    if task.kind == "choice" or model.backend in ("openai", "google"):
        return row["accuracy"]
    return more.get("accuracy")


def much(a, b, c, d, e, f, g, h):
    return a
"""


def test_what_is_counted_is_found(tmp_path: Path):
    (tmp_path / "analysis").mkdir()
    (tmp_path / "analysis" / "rows.py").write_text(SEEN)
    (tmp_path / "flat.py").write_text("x = 1\n" * 401)
    lines = {name: [place.line for place in places] for name, places in counted(tmp_path).items()}
    assert lines == {
        "kinds": [9],
        "backends": [9],
        "bags": [5, 8, 8],
        "subscripts": [10],
        "lookups": [11],
        "functions": [14],
        "modules": [1],
        "top": [1],
    }
