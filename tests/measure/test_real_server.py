"""A server this project did not write: `transformers serve` on loopback, started and stopped here."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from harness.backends.local.backend import TransformersBackend
from harness.config.model import model_of
from harness.measure.load.drive import run_load
from harness.measure.load.scenario import Scenario
from harness.measure.load.series import Series
from harness.measure.load.target import InProcess, Target
from harness.measure.load.timed import Timed
from harness.values import GenerateRequest, Prompt, Request
from tests.support.loads import measured
from tests.support.servers import stream_to

pytest.importorskip("fastapi", reason="needs the serving extra of transformers")
pytest.importorskip("uvicorn", reason="needs the serving extra of transformers")

START_S = 180
OUTPUT = 4


@pytest.fixture(scope="module")
def served(shared, tmp_path_factory):
    """The address of the server and the model's name on it."""
    model = shared / "models" / "stories260K"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("serve") / "log"
    hub = tmp_path_factory.mktemp("hub")  # it wants a cache folder that exists
    command = [str(Path(sys.executable).parent / "transformers"), "serve", str(model), "--host", "127.0.0.1"]
    command += ["--port", str(port), "--device", "cpu", "--dtype", "float32"]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(hub)}
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment)
    try:
        give_up = time.monotonic() + START_S
        while True:
            assert process.poll() is None, log.read_text()[-2000:]
            assert time.monotonic() < give_up, log.read_text()[-2000:]
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                time.sleep(0.3)
        yield f"http://127.0.0.1:{port}/v1", str(model)
    finally:
        process.terminate()
        process.wait(30)


@pytest.mark.slow
@pytest.mark.shared
def test_every_scenario_runs_against_a_real_server(served):
    url, model = served
    openings = ("Once upon a time", "Tim had a red ball", "The sun was warm")
    requests = [GenerateRequest(key=p, sample_id=p, prompt=Prompt(p), max_tokens=OUTPUT) for p in openings]
    series = Series(concurrency=(2,), rate=(5.0,), offline=True, requests=6, warmup=1)
    found = list(measured(stream_to(url, model=model, api="completions"), requests, series))
    assert [f.scenario for f in found] == ["single", "concurrency 2", "offline", "rate 5"]
    for f in found:
        assert (f.n, f.failed, f.usage_missing) == (6, {}, 0)
        assert f.output_tokens == 6 * OUTPUT
        assert 0 < f.ttft_s.mean <= f.service_s.mean <= f.response_s.max
        assert f.tpot_s.mean > 0 and f.round_trip_p50_s > 0


@pytest.mark.slow
@pytest.mark.shared
def test_single_stream_numbers_are_the_in_process_engines_within_the_overhead_of_http(served):
    url, model = served
    backend = TransformersBackend(model_of(name="m", path=model, threads=1, dtype="fp32"))
    here = InProcess(lambda request: next(iter(backend.answer([request]))))
    there = stream_to(url, model=model, api="completions")
    long = GenerateRequest(key="l", sample_id="l", prompt=Prompt("Once upon a time"), max_tokens=24)
    short = replace(long, key="s", max_tokens=1)

    def one(target: Target, request: Request) -> Timed:
        return run_load(target, [request], Scenario("concurrency", requests=1, warmup=0)).timed[0]

    # in turns, so that a busy machine slows all four alike; the first round warms up
    rounds = [[one(t, r) for t in (here, there) for r in (short, long)] for _ in range(10)][1:]
    for _, inside, _, served_one in rounds:
        assert inside.usage.output_tokens == served_one.usage.output_tokens == 24

    def least(place: int, number: Callable[[Timed], float]) -> float:
        """Returns the smallest value: what a busy machine adds is never negative."""
        return min(number(timed[place]) for timed in rounds)

    def service(timed: Timed) -> float:
        return timed.service_s

    http = least(2, service) - least(0, service)  # what a request of one token takes longer over HTTP
    assert http > 0
    assert abs(least(3, lambda t: t.ttft_s) - least(1, lambda t: t.ttft_s)) <= 2 * http
    assert abs(least(3, lambda t: t.tpot_s) - least(1, lambda t: t.tpot_s)) <= http
    backend.close()
