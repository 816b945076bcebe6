"""Money: told before it is spent, never above its limit, and the same over several sittings."""

from __future__ import annotations

import json
import logging
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from harness.api import folder_for
from harness.api import score as finish
from harness.backends.servers import hold
from harness.cli import app
from harness.config.base import validate
from harness.config.run import RunConfig
from harness.errors import BackendError
from harness.runs.carry_out import carry_out
from harness.runs.plan import make_plan
from harness.runs.spending import estimate
from harness.store.lines import read_measurements
from harness.store.log import read_attempts
from harness.store.rows import read_json
from tests.support.rows import said
from tests.support.servers import Reply, SyntheticServer
from tests.support.stopping import stopped_after

TASK = """task: sums
data: {file: sums.jsonl, id: id}
kind: generate
prompt: "{q}="
answer: a
max_tokens: 5
"""
PRICE = {"input": 1.0, "output": 10.0}
USD = (7 * 1.0 + 3 * 10.0) / 1e6  # of one answer of the server below
MOST = (2 + 512 + 5 * 10.0) / 1e6  # of one request of two bytes: what a chat template may add, and five tokens


@pytest.fixture(autouse=True)
def short_waits(monkeypatch):
    monkeypatch.setattr(hold, "FIRST_WAIT_S", 0.005)


class Answers:
    """Answers with three tokens, and counts what was asked for each prompt."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()

    def __call__(self, order: int, body: dict[str, Any]) -> Reply:
        if not body:  # the list of models
            return Reply(status=404)
        self.asked[body["messages"][-1]["content"]] += 1
        return Reply(tokens=3)


def config(folder: Path, url: str, *names: str, **changes: Any) -> RunConfig:
    rows = [{"id": f"s{i}", "q": str(i), "a": "tok tok tok"} for i in range(10)]
    (folder / "sums.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "sums.yaml").write_text(TASK)
    limits = {"concurrency": 1, **changes.pop("limits", {})}
    models = [
        {"name": name, "backend": "openai", "base_url": url, "price": PRICE, "limits": limits}
        for name in names or ("m",)
    ]
    given = {"run": "r", "tasks": [str(folder / "sums.yaml")], "models": models, "latency": {"requests": 0}}
    return validate(RunConfig, given | changes, "test")


def carried(run: RunConfig, out: Path) -> dict[str, Any]:
    for _ in carry_out(make_plan(run), out):
        pass
    return finish(out).summary


def test_a_run_stops_before_its_limit_and_goes_on_with_a_higher_one(tmp_path: Path):
    answers = Answers()
    with SyntheticServer(answers) as server:
        limit = 3 * USD + MOST + 1e-9
        first = carried(config(tmp_path, server.url, max_cost=limit), tmp_path / "out")
        assert first.rows[0].asked.responses == 4
        assert first.spent.usd == pytest.approx(4 * USD) and first.spent.usd <= limit
        (note,) = [note for note in said(first) if note.startswith("INCOMPLETE")]
        assert "4 of 10 samples" in note and "the spend limit is reached: the next request could cost $" in note
        again = carried(config(tmp_path, server.url, max_cost=limit), tmp_path / "out")
        assert again.rows[0].asked.responses == 4  # what the first sitting spent counts in the second
        plan = make_plan(config(tmp_path, server.url, max_cost=1.0))
        assert folder_for(plan, None, tmp_path) != tmp_path / "out"
        last = carried(config(tmp_path, server.url, max_cost=1.0), tmp_path / "out")
    assert last.rows[0].asked.responses == 10 and not [n for n in said(last) if "INCOMPLETE" in n]
    assert set(answers.asked.values()) == {1} and len(answers.asked) == 10
    assert last.spent.usd == pytest.approx(10 * USD)


def test_the_limit_of_a_run_is_for_all_its_models_and_that_of_a_model_for_it_alone(tmp_path: Path):
    answers = Answers()
    with SyntheticServer(answers) as server:
        whole = carried(config(tmp_path, server.url, "a", "b", max_cost=12 * USD + MOST + 1e-9), tmp_path / "whole")
        assert [row.asked.responses for row in whole.rows] == [10, 3]
        own = carried(
            config(tmp_path, server.url, "a", "b", limits={"max_cost": 2 * USD + MOST + 1e-9}), tmp_path / "own"
        )
    assert [row.asked.responses for row in own.rows] == [3, 3]
    assert own.spent.by_model == {"a": pytest.approx(3 * USD), "b": pytest.approx(3 * USD)}


def test_requests_of_the_latency_phase_are_paid_and_counted(tmp_path: Path):
    answers = Answers()
    latency = {"requests": 6, "warmup": 2}
    with SyntheticServer(answers) as server:
        summary = carried(config(tmp_path, server.url, latency=latency), tmp_path / "out")
    assert answers.asked.total() == 18
    assert summary.spent.usd == pytest.approx(18 * USD)
    assert summary.spent.beside_answers_usd == pytest.approx(8 * USD)
    assert any(note.startswith("Cost of m: its usage x the price of openai/m (run file, 20") for note in said(summary))
    assert any("Paid $0.0007 to providers in all ($0.0003 of it" in note for note in said(summary))
    row = summary.rows[0]
    assert row.cost.usd == pytest.approx(10 * USD)  # the answers alone: what a thousand samples would cost
    assert row.left_machine.bytes == 0


def test_the_limit_holds_in_the_latency_phase_too(tmp_path: Path):
    answers = Answers()
    with SyntheticServer(answers) as server:
        run = config(tmp_path, server.url, latency={"requests": 6, "warmup": 2}, max_cost=11 * USD + MOST + 1e-9)
        summary = carried(run, tmp_path / "out")
        assert answers.asked.total() == 12 and summary.spent.usd == pytest.approx(12 * USD)
        assert summary.rows[0].latency.n == 0
        run = config(tmp_path, server.url, latency={"requests": 6, "warmup": 2}, max_cost=1.0)
        summary = carried(run, tmp_path / "out")
    assert answers.asked.total() == 20 and summary.rows[0].latency.n == 6
    assert summary.spent.usd == pytest.approx(20 * USD)


def test_every_line_of_the_log_adds_up_to_what_was_spent(tmp_path: Path):
    order = iter(range(1000))
    flaky = lambda _, body: Reply(status=404) if not body else Reply(tokens=3, cut_after=2 if next(order) % 3 else None)
    with SyntheticServer(flaky) as server:
        summary = carried(config(tmp_path, server.url, limits={"attempts": 2}), tmp_path / "out")
    attempts = [line for a in read_attempts(tmp_path / "out" / "responses.jsonl") for line in a["billing"]["attempts"]]
    assert summary.spent.usd is None  # a stream that was cut may have been charged
    known = sum(line["usd"] for line in attempts if line["usd"] is not None)
    assert summary.spent.known_usd == pytest.approx(known) and known > 0
    most = sum(line["usd"] if line["usd"] is not None else line["most_usd"] for line in attempts)
    assert summary.spent.most_usd == pytest.approx(most)


def test_an_interrupted_sitting_may_have_paid_more_than_is_known(tmp_path: Path):
    with SyntheticServer(Answers()) as server:
        run = config(tmp_path, server.url)
        stopped_after(carry_out(make_plan(run), tmp_path / "out"), 4)
        summary = carried(run, tmp_path / "out")
    assert summary.spent.usd is None and summary.spent.known_usd == pytest.approx(10 * USD)
    assert any("a sitting was cut off with requests under way" in note for note in said(summary))
    assert summary.rows[0].cost.usd == pytest.approx(10 * USD)  # of the answers that count


def test_a_limit_needs_a_price_and_that_is_told_before_anything_is_asked(tmp_path: Path):
    run = config(tmp_path, "https://gpu.example.com/v1", max_cost=1.0)
    (model,) = run.models
    run = run.model_copy(update={"models": (model.model_copy(update={"price": None}),)})
    with pytest.raises(BackendError, match="a spend limit needs a price, and none is known for m"):
        make_plan(run)
    here = model.model_copy(update={"price": None, "base_url": "http://127.0.0.1:9/v1"})
    make_plan(run.model_copy(update={"models": (here,)}))  # a server of one's own is paid nothing


def test_the_estimate_is_a_range_below_the_most_it_can_be(tmp_path: Path):
    plan = make_plan(
        config(tmp_path, "https://api.example.com/v1", latency={"requests": 5, "warmup": 1}, max_cost=0.001)
    )
    (found,) = estimate(plan)
    assert found.requests == 16 and found.most_usd == pytest.approx(16 * MOST)
    assert found.low_usd == pytest.approx(16 * (1 + 10) / 1e6) and found.high_usd == pytest.approx(16 * 51 / 1e6)
    assert "cost of m: $0.0002 to $0.0008 for 16 requests" in found.line()
    assert "it stops before $0.001 is passed" in found.line()
    done = {request.key for request in plan.cells[0].requests[:4]}
    assert estimate(plan, done)[0].requests == 12


def command(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    argv, sys.argv = sys.argv, ["harness", *arguments]
    try:
        with pytest.raises(SystemExit) as stop:
            app.main()
    finally:
        sys.argv = argv
    captured = capsys.readouterr()
    return stop.value.code or 0, captured.out, captured.err


def test_on_the_command_line_an_estimate_comes_first_and_a_limit_ends_with_code_3(tmp_path: Path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with SyntheticServer(Answers()) as server:
        run = config(tmp_path, server.url)
        (tmp_path / "run.yaml").write_text(json.dumps(run.model_dump(mode="json", exclude_unset=True)))
        code, out, _ = command(capsys, "check", "run.yaml", "--max-cost", "0.002")
        assert code == 0 and "cost of m: $" in out and "it stops before $0.002 is passed" in out
        code, out, err = command(capsys, "run", "run.yaml", "--out", "out", "--max-cost", f"{USD + MOST + 1e-9:.9f}")
        assert code == 3 and "cost of m: $" in err
        assert not logging.getLogger("httpx2").isEnabledFor(logging.INFO)  # no line for each request
        assert "the spend limit is reached" in " ".join(out.split()) and "incomplete" in out
        code, out, _ = command(capsys, "run", "run.yaml", "--out", "out", "--max-cost", "1")
    assert code == 0 and "INCOMPLETE" not in out
    assert read_json(tmp_path / "out" / "summary.json")["rows"][0]["asked"]["responses"] == 10
    assert {line.kind for line in read_measurements(tmp_path / "out")} >= {"model", "pass", "stopped"}
