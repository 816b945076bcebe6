"""The one loop of every run: what it tells, in which order, what is on disk by then, and that there is no other."""

from __future__ import annotations

import ast
import inspect
import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

import harness
from harness.cli import bar
from harness.runs import loop as loops
from harness.runs.events import Answered, Event, Finished, Judged, Started, Stopped, Timed
from harness.store.lines import read_measurements
from harness.store.log import read_attempts

PACKAGE = Path(harness.__file__).parent
PHASES = {"answers.py", "latency.py", "verdicts.py", "loads.py"}  # they ask, when the loop lets them
BESIDE = {"forecast.py": "the probe of a check", "given.py": "an object's own method, handed on"}
N = 6


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one_by_one: None) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("t.jsonl").write_text("".join(json.dumps({"q": f"{i}+{i}", "a": f"{2 * i}"}) + "\n" for i in range(N)))
    task: dict[str, Any] = {"data": {"file": "t.jsonl"}, "kind": "generate", "prompt": "{q}="}
    Path("sums.yaml").write_text(json.dumps(task | {"task": "sums", "answer": "a"}))
    rubric = {"criteria": "Right."}
    Path("judged.yaml").write_text(json.dumps(task | {"task": "judged", "rubric": rubric}))
    return tmp_path


def ran(listen: Any, *tasks: str, **more: Any) -> harness.Run:
    model = {"name": "m", "backend": "fake", "script": [{"text": "4"}]}
    return harness.run(tasks=list(tasks) or ["sums.yaml"], models=[model], out="out", on_event=listen, **more)


def test_the_loop_fits_on_a_screen_and_is_the_only_one():
    code = inspect.getsource(loops.loop).splitlines()
    assert len(code) <= 30
    calls: dict[str, set[str]] = {}
    for file in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                calls.setdefault(node.func.attr, set()).add(str(file.relative_to(PACKAGE)))
    asking = {name for name in calls["answer"] | calls.get("loglikelihood", set()) if name.startswith("runs/")}
    assert asking == {f"runs/{name}" for name in PHASES | BESIDE.keys()}
    assert calls["begun"] == calls["at_work"] == {"runs/loop.py"}
    assert {name for name in calls["batches"] | calls["answers"] if name.startswith("runs/")} == {"runs/loop.py"}


def test_events_tell_what_happens_in_its_order():
    seen: list[Event] = []
    judge = {"name": "j", "backend": "fake", "script": [{"text": "4"}]}
    ran(seen.append, "sums.yaml", "judged.yaml", judge=judge, latency=2)
    sums, judged, verdicts = ("m", "sums"), ("m", "judged"), ("judge j", "judged")
    told = [(type(event), event.cell) for event in seen if not isinstance(event, Stopped)]
    assert told == [
        *((Started, sums), *[(Answered, sums)] * N, (Finished, sums)),
        *((Started, sums), *[(Timed, sums)] * 2, (Finished, sums)),
        *((Started, judged), *[(Answered, judged)] * N, (Finished, judged)),
        *((Started, judged), *[(Timed, judged)] * 2, (Finished, judged)),
        *((Started, verdicts), *[(Judged, verdicts)] * N, (Finished, verdicts)),
    ]
    started = [(event.phase, event.owed) for event in seen if isinstance(event, Started)]
    assert started == [("answers", N), ("latency", 2), ("answers", N), ("latency", 2), ("verdicts", N)]


def test_what_is_told_is_on_disk():
    def listen(event: Event) -> None:
        if isinstance(event, Answered):
            assert event.response.key in {line["key"] for line in read_attempts(Path("out/responses.jsonl"))}
        if isinstance(event, Finished):
            kinds = {line.kind for line in read_measurements(Path("out"))}
            assert {"answers": "pass", "latency": "latency"}[event.phase] in kinds

    ran(listen, latency=2)


class Enough(Exception):
    """What a listener raises."""


@pytest.mark.parametrize("after", [Started, Answered, Finished, Timed])
def test_a_listener_that_raises_stops_the_run_and_it_can_be_gone_on_with(after: type):
    asked = 0

    def listen(event: Event) -> None:
        if isinstance(event, after):
            raise Enough

    def count(event: Event) -> None:
        nonlocal asked
        asked += isinstance(event, Answered)

    with pytest.raises(Enough):
        ran(listen, latency=2)
    done = len(list(read_attempts(Path("out/responses.jsonl"))))
    assert done == {Started: 0, Answered: 1, Finished: N, Timed: N}[after]
    run = ran(count, latency=2)
    assert asked == N - done and run.complete and harness.verify("out").ok
    latencies = [line for line in read_measurements(Path("out"), {"latency"})]
    assert len(latencies) == 1  # one that was cut off counts for nothing


def test_a_finished_run_tells_nothing():
    ran(None, latency=2)
    seen: list[Event] = []
    ran(seen.append, latency=2)
    assert seen == []


def test_progress_without_a_terminal_is_a_line_for_what_begins_and_one_for_what_is_done(
    capsys: pytest.CaptureFixture[str],
):
    with bar.shown() as listen:
        ran(listen, latency=2)
    err = capsys.readouterr().err
    assert [line.split(" (")[0] for line in err.splitlines()] == [
        f"m · sums · answers: 0/{N}",
        f"m · sums · answers: {N}/{N}",
        "m · sums · latency: 0/2",
        "m · sums · latency: 2/2",
    ]


def test_progress_of_a_run_that_is_gone_on_with_is_of_what_was_owed(capsys: pytest.CaptureFixture[str]):
    def listen(event: Event) -> None:
        if isinstance(event, Answered):
            raise Enough

    with pytest.raises(Enough):
        ran(listen, latency=0)
    with bar.shown() as shown:
        ran(shown, latency=0)
    assert f"m · sums · answers: {N - 1}/{N - 1}" in capsys.readouterr().err


def test_on_a_terminal_there_is_a_bar_for_each_phase(monkeypatch: pytest.MonkeyPatch):
    screen = io.StringIO()
    screen.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    with bar.shown() as listen:
        ran(listen, latency=2)
    shown = screen.getvalue()
    assert "m · sums · answers" in shown and f"{N}/{N}" in shown and "2/2" in shown
