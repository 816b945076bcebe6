"""Before a run: its time from an earlier run or a probe, what the model's memory is; unknown stays unknown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.config.base import validate
from harness.config.machine import MachineConfig
from harness.config.run import RunConfig
from harness.runs.carry_out import carry_out
from harness.runs.check import report
from harness.runs.forecast import forecasts, memory_line, spoken
from harness.runs.plan import make_plan
from harness.values import Response
from tests.support.chains import rechain
from tests.support.commands import harness

MACHINE = {"name": "x", "source": "s", "date": "2026-01-01", "rented": {"per_hour": 3.6}, "utilisation": 0.5}
RULES = {"answers": [{"text": "4"}], "sleep_s": 0.002}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    rows = [{"q": f"{i}+{i}", "a": str(2 * i)} for i in range(20)]
    Path("sums.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = "task: sums\ndata: {file: sums.jsonl}\nkind: generate\nprompt: '{q}='\nanswer: a\nextract: number\n"
    Path("sums.yaml").write_text(task)
    return tmp_path


def config(**changes: Any) -> RunConfig:
    models = [{"name": "m", "backend": "fake", "script": RULES}]
    values = {"run": "r", "tasks": ["sums.yaml"], "models": models, "latency": {"requests": 0}}
    return validate(RunConfig, values | changes, "test")


def measured(folder: str, wall_s: float, **changes: Any) -> None:
    """Carries a run of ten samples out, and says that it took so long."""
    for _ in carry_out(make_plan(config(first=10)), Path(folder)):
        pass
    file = Path(folder, "measurements.jsonl")
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    changed = [line | ({"wall_s": wall_s} | changes if line["kind"] == "pass" else {}) for line in lines]
    file.write_text("".join(json.dumps(line) + "\n" for line in changed))
    rechain(Path(folder))


def test_without_an_earlier_run_the_time_is_unknown(place: Path):
    (one,) = forecasts(make_plan(config()), None)
    assert one.seconds is None and one.line() == "time for m on sums: unknown (no earlier run of it here)"


def test_the_newest_run_of_the_same_model_and_task_on_this_machine_tells(place: Path):
    measured("results/20260101T000000Z-r-a", 9.0)
    measured("results/20260102T000000Z-r-b", 5.0)
    measured("results/20260103T000000Z-r-c", 1.0, mode="loglikelihood")  # another way to ask
    measured("results/20260104T000000Z-r-d", 1.0)
    plan = json.loads(Path("results/20260104T000000Z-r-d/plan.json").read_text())
    plan["host"]["cores"] = 10_000
    Path("results/20260104T000000Z-r-d/plan.json").write_text(json.dumps(plan))
    rechain(Path("results/20260104T000000Z-r-d"))
    measured("results/20260105T000000Z-r-e", 1.0)
    changed = Path("results/20260105T000000Z-r-e/measurements.jsonl")  # by somebody: it tells nothing
    changed.write_text(changed.read_text().replace('"wall_s":1.0', '"wall_s":2.0'))
    Path("results/junk").mkdir()
    Path("results/junk/plan.json").write_text("{")
    (one,) = forecasts(make_plan(config()), validate(MachineConfig, MACHINE, "test"))
    assert (one.seconds, one.answers) == (pytest.approx(10.0), 20)
    assert one.usd == pytest.approx(10 / 3600 * 3.6 / 0.5)
    assert one.line() == (
        "time for m on sums: about 10 s, $0.02 of the machine for 20 answers "
        "(projected from 10 answers measured in results/20260102T000000Z-r-b)"
    )
    other = config(models=[{"name": "m", "backend": "fake", "script": {"answers": [{"text": "5"}]}}])
    assert forecasts(make_plan(other), None)[0].seconds is None


class Slow:
    """A backend that knows how many it was asked; the fourth request fails if it is told so."""

    def __init__(self, fails: bool = False) -> None:
        self.fails, self.asked, self.closed = fails, [], False

    def answer(self, requests: Any) -> Any:
        self.asked.append([request.sample_id for request in requests])
        for i, request in enumerate(requests):
            yield Response(request.key, "", text="4", error="out of memory" if self.fails and i == 3 else None)

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize("fails", [False, True])
def test_a_probe_asks_a_few_requests_spread_over_the_task_and_nothing_is_stored(place: Path, fails: bool):
    plan = make_plan(config(models=[{"name": "m", "path": "demo-0.1m", "threads": 1}]))
    backend = Slow(fails)
    (one,) = forecasts(plan, None, requests=4, load=lambda _: backend)
    assert backend.asked == [["0"], ["0", "5", "10", "15"]] and backend.closed
    if fails:
        assert one.seconds is None and one.basis == "the probe failed: out of memory"
    else:
        assert one.seconds > 0 and "projected from a probe of 4: " in one.line()
    assert not Path("results").exists()


def test_a_model_that_does_not_run_here_is_not_probed(place: Path):
    (one,) = forecasts(make_plan(config()), None, requests=4, load=lambda _: pytest.fail("loaded"))
    assert one.seconds is None


def test_the_memory_of_a_model_is_told_with_what_is_free(place: Path):
    plan = make_plan(config(models=[{"name": "m", "path": "demo-0.1m"}]))
    (model,) = plan.models
    assert memory_line(model, 2e9, 5e6, (8 * 10**9, "GPU 0")) == (
        "memory for m: 2.0 GB of weights and 5 MB of cache for its longest prompt (projected); 8.0 GB free in GPU 0"
    )
    assert memory_line(model, 9e9, None, (8 * 10**9, "GPU 0")).endswith("8.0 GB free in GPU 0: IT DOES NOT FIT")
    found = report(config(models=[{"name": "m", "path": "demo-0.1m"}]))
    (line,) = [line for line in found.text().splitlines() if line.startswith("memory for m: ")]
    assert "0.187 MB of weights" in line  # 93,408 numbers of two bytes
    assert found.as_json()["tokens"][0]["weight_bytes"] == 2 * 93_408 and found.as_json()["memory"]["free_bytes"] > 0


@pytest.mark.slow
def test_check_probes_on_request(place: Path, capsys: pytest.CaptureFixture[str]):
    arguments = ("check", "sums.yaml", "--model", "demo-0.1m", "--first", "4")
    code, out, err = harness(capsys, *arguments)
    assert code == 0 and "unknown (no earlier run of it here; `harness check --probe 8` measures" in out, err
    code, out, err = harness(capsys, *arguments, "--probe", "2", "--json")
    (one,) = json.loads(out)["time"]
    assert code == 0 and one["seconds"] > 0 and one["basis"].startswith("a probe of 2: ")


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.5, "0.5 s"), (119, "119 s"), (180, "3.0 min"), (8000, "2.2 h"), (500_000, "5.8 days")]
)
def test_a_time_has_the_unit_a_person_would_use(seconds: float, text: str):
    assert spoken(seconds) == text
