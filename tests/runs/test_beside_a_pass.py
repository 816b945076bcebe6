"""What is told of a pass beside its answers: other work, threads, and which baselines mean something."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import harness
from harness.backends.local.load import _threads
from harness.config.model import model_of
from harness.measure.other_work import Reading
from harness.runs import recording
from tests.support.rows import said

TASK = """task: pick
data: {file: pick.jsonl, id: id}
kind: choice
prompt: "{q}"
choices: options
answer: right
"""


def ran(folder: Path, rows: list[dict[str, Any]], task: str = TASK) -> harness.Run:
    (folder / "pick.jsonl").write_text("".join(json.dumps({"id": str(i)} | row) + "\n" for i, row in enumerate(rows)))
    (folder / "pick.yaml").write_text(task)
    return harness.run(
        tasks=[str(folder / "pick.yaml")],
        models=[{"name": "fixed", "backend": "scripted"}],
        latency=0,
        out=folder / "out",
    )


SAME = [{"q": f"q{i}", "options": ["yes", "no"], "right": "yes" if i % 3 else "no"} for i in range(6)]


def test_a_throughput_beside_other_work_carries_the_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    readings = iter([Reading(0.0, 2, 0.0, 0.0, 0.0), Reading(10.0, 2, 15.0, 0.0, 3.0)])
    monkeypatch.setattr(recording, "reading", lambda: next(readings))
    found = [note for note in said(ran(tmp_path, SAME).summary) if note.startswith("WARNING: other work")]
    assert found == [
        "WARNING: other work took 60 % of this computer's processors while answers were given (fixed on pick): "
        "tok/s may be too low, and $ a token too high."
    ]


def test_a_quiet_pass_carries_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    readings = iter([Reading(0.0, 2, 0.0, 0.0, 0.0), Reading(10.0, 2, 15.0, 0.0, 14.9)])
    monkeypatch.setattr(recording, "reading", lambda: next(readings))
    assert not [note for note in said(ran(tmp_path, SAME).summary) if "other work" in note]


@pytest.mark.parametrize("own", [False, True])
def test_the_commonest_answer_is_a_baseline_only_where_each_sample_offers_it(tmp_path: Path, own: bool):
    rows = [{"q": f"q{i}", "options": [f"a{i}", f"b{i}"], "right": f"a{i}"} for i in range(4)] if own else SAME
    if own:  # by accident one answer stands twice
        rows.append({"q": "q9", "options": ["a0", "c"], "right": "a0"})
    names = {found.name for found in ran(tmp_path, rows).summary.references}
    assert names == ({"chance"} if own else {"chance", "majority"})


@pytest.mark.parametrize(
    ("told", "stated", "threads"), [("3", None, 3), ("3", 2, 2), ("5,2", None, 5), ("", 7, 7), ("none", 1, 1)]
)
def test_threads_are_as_the_run_file_says_else_as_the_environment(
    monkeypatch: pytest.MonkeyPatch, told: str, stated: int | None, threads: int
):
    monkeypatch.setenv("OMP_NUM_THREADS", told)
    assert _threads(model_of(name="m", path="p", threads=stated)) == threads
