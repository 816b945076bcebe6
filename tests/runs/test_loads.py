"""A benchmark is a run: its loads are told as events, gone on with after a stop, and paid from the same budget."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import harness
from harness.analysis.bench import read_bench, requests
from harness.backends.servers.ceiling import OVERHEAD
from harness.errors import BackendError
from harness.measure.load.drive import FAILURES_IN_A_ROW
from harness.measure.load.timed import Usage
from harness.runs.events import Event, Finished, Loaded, Started, Stopped, UnderLoad
from harness.store.lines import _measurement, read_measurements
from harness.store.schema import MEASUREMENTS, RequestLine
from tests.support.commands import harness as command
from tests.support.servers import Reply, SyntheticServer

CELL = ("m", "sums")
LOADS = {"concurrency": [2], "rate": [200], "requests": 12, "warmup": 1}
NAMES = ["single", "concurrency 2", "rate 200"]
USD = 7 / 1e6 + 4 * 10 / 1e6  # a request costs, by the counts and the prices below
WORST = (4 + OVERHEAD) / 1e6 + 8 * 10 / 1e6  # and can cost at most


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    rows = [{"q": f"{i}+{i}", "a": str(2 * i)} for i in range(8)]
    Path("sums.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = {"task": "sums", "data": {"file": "sums.jsonl"}, "kind": "generate", "prompt": "{q}=", "answer": "a"}
    Path("sums.yaml").write_text(json.dumps(task | {"max_tokens": 8}))
    return tmp_path


def bench(listen: Any = None, bench: dict[str, Any] | None = None, **model: Any) -> Any:
    """Runs a benchmark of the scripted model, or of a server, into the folder out."""
    more = {key: model.pop(key) for key in ("max_cost",) if key in model}
    served = {"price": {"input": 1.0, "output": 10.0}, "backend": "openai"} if "base_url" in model else {}
    given = {"name": "m", "backend": "scripted", "script": [{"text": "4"}]} if not served else {"name": "m", **served}
    source = {"run": "r", "tasks": ["sums.yaml"], "models": [given | model], "bench": bench or LOADS, **more}
    return harness.bench(source, out="out", on_event=listen)


class Enough(Exception):
    """What a listener raises."""


def after(n: int, kind: type) -> Any:
    """Returns a listener that stops the run at the n-th event of a kind."""
    seen: list[Event] = []

    def listen(event: Event) -> None:
        seen.append(event)
        if sum(isinstance(one, kind) for one in seen) == n:
            raise Enough

    return listen


@pytest.mark.slow
def test_loads_are_told_as_they_end_and_are_on_disk_then():
    seen: list[Event] = []

    def listen(event: Event) -> None:
        seen.append(event)
        if isinstance(event, Loaded):
            written = [line.row.scenario for line in read_measurements(Path("out"), {"load"})]
            assert written[-1] == event.row.scenario

    summary = bench(listen)
    assert seen[0] == Started(CELL, "load", 3) and seen[-1] == Finished(CELL, "load")
    assert [event.row.scenario for event in seen if isinstance(event, Loaded)] == NAMES
    assert {type(event) for event in seen[1:-1]} <= {Loaded, UnderLoad} and summary.complete


@pytest.mark.slow
def test_a_long_load_tells_now_and_then_how_far_it_is(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("harness.measure.load.drive.TOLD_EVERY_S", 0.02)
    seen: list[Event] = []
    with SyntheticServer(Reply(ttft_s=0.01)) as server:
        bench(seen.append, {"requests": 20, "warmup": 0}, base_url=server.url)
    counts = [event.requests for event in seen if isinstance(event, UnderLoad)]
    assert len(counts) > 3 and counts == sorted(counts) and counts[-1] <= 20


@pytest.mark.slow
@pytest.mark.parametrize("stop", [1, 2])
def test_gone_on_with_only_the_loads_that_are_owed_are_measured(stop: int):
    with SyntheticServer(Reply(tokens=4)) as server:
        with pytest.raises(Enough):
            bench(after(stop, Loaded), base_url=server.url)
        before, rows = len(server.bodies), [line.row for line in read_measurements(Path("out"), {"load"})]
        seen: list[Event] = []
        summary = bench(seen.append, base_url=server.url)
        sent = len(server.bodies) - before
    assert seen[0] == Started(CELL, "load", 3 - stop)
    assert [event.row.scenario for event in seen if isinstance(event, Loaded)] == NAMES[stop:]
    assert [row.scenario for row in summary.rows] == NAMES and list(summary.rows[:stop]) == rows
    fewest = {1: 15 + 13, 2: 13}[stop]  # with their warm-up and cool-down, of which the last load may send more
    assert 1 + fewest <= sent <= 1 + fewest + 12  # and one that sees whether the server is there
    assert [row.first_request_s is None for row in summary.rows] == [False, True, True]


@pytest.mark.slow
def test_a_load_that_was_cut_off_is_measured_again_and_its_requests_count_for_nothing(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("harness.measure.load.drive.TOLD_EVERY_S", 0.05)
    with SyntheticServer(Reply(ttft_s=0.01, tokens=4)) as server:
        loads = {"requests": 40, "warmup": 0}
        with pytest.raises(Enough):
            bench(after(2, UnderLoad), loads, base_url=server.url)
        cut_off = len(list(read_measurements(Path("out"), {"request"})))
        assert 0 < cut_off < 40 and not list(read_measurements(Path("out"), {"load"}))
        summary = bench(None, loads, base_url=server.url)
    assert summary.complete and [row.n for row in summary.rows] == [40]
    lines = list(read_measurements(Path("out"), {"request"}))
    assert Counter(line.sitting for line in lines) == {1: cut_off, 2: 40}
    assert len(list(requests(Path("out")))) == 40 and {line.sitting for line in requests(Path("out"))} == {2}


@pytest.mark.slow
def test_a_model_in_this_process_is_gone_on_with_too():
    with pytest.raises(Enough):
        bench(after(1, Loaded))
    seen: list[Event] = []
    assert bench(seen.append).complete
    assert [event.row.scenario for event in seen if isinstance(event, Loaded)] == NAMES[1:]
    again: list[Event] = []
    bench(again.append)
    assert again == []


@pytest.mark.slow
def test_a_load_stops_before_the_spend_limit_is_passed_and_goes_on_with_a_higher_one(caplog: Any, capsys: Any):
    caplog.set_level(logging.ERROR, "harness")
    seen: list[Event] = []
    with SyntheticServer(Reply(tokens=4)) as server:
        limit = 20 * USD + WORST  # one that sees whether the server is there, then thirteen, then some of the next load
        summary = bench(seen.append, base_url=server.url, max_cost=limit)
        paid = len(server.bodies) * USD
        assert [event.row.scenario for event in seen if isinstance(event, Loaded)] == ["single"]
        assert isinstance(seen[-1], Stopped) and "the spend limit is reached" in seen[-1].reason
        assert 14 * USD < paid <= limit and not summary.complete
        (owed,) = summary.owed
        assert owed.loads == ("concurrency 2", "rate 200") and "the spend limit is reached" in (owed.reason or "")
        assert summary.workloads[0].not_measured == ()
        sent = len(server.bodies)
        bench(base_url=server.url, max_cost=limit)  # nothing is left: not even one that sees whether it is there
        assert len(server.bodies) == sent or len(server.bodies) * USD <= limit
        assert bench(base_url=server.url, max_cost=1.0).complete
        whole = len(server.bodies) * USD
    lines = list(read_measurements(Path("out"), {"request", "charge"}))
    assert sum(line.usd for line in lines) == pytest.approx(whole)
    assert read_bench(Path("out")).complete


@pytest.mark.slow
def test_what_a_failed_request_cost_is_unknown_but_for_one_that_was_refused():
    with SyntheticServer(lambda order, body: Reply(status=500) if order == 2 else Reply(tokens=4)) as server:
        bench(None, {"requests": 3, "warmup": 0}, base_url=server.url)
    told = [(line.error, line.usd) for line in read_measurements(Path("out"), {"request"})]
    assert told == [(None, pytest.approx(USD)), ("http 500", 0.0), (None, pytest.approx(USD))]
    with SyntheticServer(lambda order, body: Reply(tokens=4, cut_after=1 if order == 2 else None)) as server:
        bench_out = {"requests": 4, "warmup": 0}
        Path("out").rename("before")
        bench(None, bench_out, base_url=server.url)
    cut = [line for line in read_measurements(Path("out"), {"request"}) if line.error is not None]
    assert [(line.usd, line.most_usd) for line in cut] == [(None, pytest.approx(WORST))]


@pytest.mark.slow
def test_where_nobody_answers_any_more_a_load_shows_nothing_and_stays_owed():
    dead = [False]

    def reply(order: int, body: dict[str, Any]) -> Reply:
        dead[0] = dead[0] or order == 5
        return Reply(status=500) if dead[0] else Reply(tokens=4)

    loads = {"concurrency": [2], "requests": 30, "warmup": 0}
    with SyntheticServer(reply) as server:
        with pytest.raises(BackendError, match="no answer any more, after single failed: http 500"):
            bench(None, loads, base_url=server.url)
        assert len(server.bodies) == 5 + FAILURES_IN_A_ROW + 1
        dead[0] = False
        summary = bench(None, loads, base_url=server.url)
    assert [row.scenario for row in summary.rows] == ["single", "concurrency 2"] and summary.complete


@pytest.mark.slow
def test_on_the_command_line_a_stop_ends_with_code_3_and_names_what_is_owed(capsys: Any):
    with SyntheticServer(Reply(tokens=4)) as server:
        model = {"name": "m", "backend": "openai", "base_url": server.url, "price": {"input": 1.0, "output": 10.0}}
        given = {"run": "r", "tasks": ["sums.yaml"], "models": [model], "bench": LOADS}
        for limit, wanted in ((20 * USD + WORST, 3), (1.0, 0)):
            Path("bench.yaml").write_text(json.dumps(given))
            code, out, err = command(capsys, "bench", "bench.yaml", "--out", "out", "--max-cost", f"{limit:.9f}")
            assert code == wanted, err
            assert "cost of m: $" in err and ("it stops before" in err) == (wanted == 3)  # told before anything is sent
            told = " ".join(out.split())
            owed = "INCOMPLETE: loads that are owed: concurrency 2, rate 200; the spend limit is reached"
            assert (owed in told) == (code == 3)


@pytest.mark.slow
def test_an_unfinished_benchmark_of_the_same_loads_is_gone_on_with(capsys: Any):
    source = {"run": "r", "tasks": ["sums.yaml"], "models": [{"name": "m", "backend": "scripted"}], "bench": LOADS}
    with pytest.raises(Enough):
        harness.bench(source, on_event=after(1, Loaded))
    (folder,) = Path("results").iterdir()
    assert harness.bench(source).complete
    assert list(Path("results").iterdir()) == [folder]
    harness.bench(source)
    assert len(list(Path("results").iterdir())) == 2  # a finished one is measured anew


@pytest.mark.slow
def test_where_an_event_loop_runs_as_in_a_notebook_a_load_has_its_own():
    heard: list[Any] = []

    async def cell() -> Any:
        return bench(heard.append)

    assert asyncio.run(cell()).complete
    assert any(isinstance(event, Loaded) for event in heard)


@pytest.mark.slow
def test_a_benchmark_interrupted_in_the_middle_of_a_load_says_how_to_go_on_and_does():
    with SyntheticServer(Reply(ttft_s=0.02, tokens=4)) as server:
        model = {"name": "m", "backend": "openai", "base_url": server.url}
        loads = {"single": False, "concurrency": [4], "requests": 400, "warmup": 0}
        given = {"run": "r", "tasks": ["sums.yaml"], "models": [model], "bench": loads}
        Path("bench.yaml").write_text(json.dumps(given))
        start = [sys.executable, "-m", "harness", "bench", "bench.yaml", "--out", "out"]
        root = {**os.environ, "PYTHONPATH": str(Path(harness.__file__).parents[1])}
        process = subprocess.Popen(start, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=root)
        while len(server.bodies) < 50 and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 130 and "Traceback" not in err
        assert "interrupted: the same command goes on where it stopped (out)" in err
        cut_off = list(read_measurements(Path("out"), {"request"}))
        assert 40 <= len(cut_off) < 400 and not list(read_measurements(Path("out"), {"load"}))
        assert bench(None, loads, base_url=server.url, price=None).rows[0].n == 400


def test_the_line_of_a_request_is_written_as_its_class_says():
    line = RequestLine(
        index=1, key="k", sample_id="s", t_sched=0.1, t_send=0.2, gaps_s=(0.1,), usage=Usage(1, 2), model="m",
        task="t", scenario="single", usd=0.5, most_usd=0.5,
    )  # fmt: skip
    for one in (
        line,
        RequestLine(index=0, key="k", sample_id="s", t_sched=0, t_send=0, model="m", task="t", scenario="x"),
    ):
        written = json.loads(json.dumps(_measurement(one)))
        assert written == json.loads(json.dumps(MEASUREMENTS.write(one)))
        assert MEASUREMENTS.read(written, "here") == one
