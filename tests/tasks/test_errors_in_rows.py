"""Samples that ended in an error: counted apart, asked again by a resume, and said so in the row."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from harness.api import folder_for
from harness.api import score as finish
from harness.api import verify as verified
from harness.backends.servers import hold
from harness.config.base import validate
from harness.config.run import RunConfig
from harness.reports import tables
from harness.runs.carry_out import carry_out
from harness.runs.plan import make_plan
from harness.store.log import read_attempts
from tests.support.rows import said
from tests.support.servers import Reply, SyntheticServer

pytestmark = pytest.mark.slow

TASK = """task: sums
data: {file: sums.jsonl, id: id}
kind: generate
prompt: "{q}="
answer: a
"""
PRICE = {"input": 1.0, "output": 10.0}


@pytest.fixture(autouse=True)
def short_waits(monkeypatch):
    monkeypatch.setattr(hold, "FIRST_WAIT_S", 0.002)


class Server:
    """Answers, but for the prompts it is told to fail; counts what was asked for each prompt."""

    def __init__(self, **fails: Reply) -> None:
        self.fails, self.asked = fails, Counter()

    def __call__(self, order: int, body: dict[str, Any]) -> Reply:
        if not body:  # the list of models
            return Reply(status=404)
        prompt = body["messages"][-1]["content"].rstrip("=")
        self.asked[prompt] += 1
        return self.fails.get(prompt, Reply(tokens=3))


def config(folder: Path, url: str, n: int = 20, **changes: Any) -> RunConfig:
    rows = [{"id": f"s{i}", "q": f"q{i}", "a": "tok tok tok"} for i in range(n)]
    (folder / "sums.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "sums.yaml").write_text(TASK)
    model = {"name": "m", "backend": "openai", "base_url": url, "price": PRICE, "limits": {"concurrency": 2}}
    given = {"run": "r", "tasks": [str(folder / "sums.yaml")], "models": [model], "latency": {"requests": 0}}
    return validate(RunConfig, given | changes, "test")


def carried(run: RunConfig, out: Path):
    for _ in carry_out(make_plan(run), out):
        pass
    return finish(out)


@pytest.mark.slow
def test_a_resume_asks_again_what_failed_and_never_what_was_answered_or_cannot_be(tmp_path: Path):
    server = Server(q3=Reply(status=500), q5=Reply(status=400), q7=Reply(cut_after=1))
    with SyntheticServer(server) as place:
        run = config(tmp_path, place.url)
        first = carried(run, tmp_path / "out")
        row = first.summary.rows[0]
        assert (row.asked.n, row.asked.failures, row.asked.errors, row.asked.transient) == (
            17,
            {"backend_error": 3},
            3,
            2,
        )
        assert row.accuracy.value == 1.0  # never scored wrong
        assert any("2 of 20 samples failed and may succeed" in note for note in said(first.summary))
        server.fails, before = {}, dict(server.asked)
        second = carried(run, tmp_path / "out")
    again = {prompt: count - before[prompt] for prompt, count in server.asked.items() if count > before[prompt]}
    assert again == {"q3": 1, "q7": 1}
    row = second.summary.rows[0]
    assert (row.asked.n, row.asked.failures, row.asked.responses) == (19, {"backend_error": 1}, 20)
    assert verified(tmp_path / "out").ok
    assert verified(tmp_path / "out").says.startswith("ok:") and "20 of 20 responses" in verified(tmp_path / "out").says
    attempts = list(read_attempts(tmp_path / "out" / "responses.jsonl"))
    assert len(attempts) == 22 and sum(line["provisional"] for line in attempts) == 2  # the history is kept
    third = carried(run, tmp_path / "out")
    assert third.summary == second.summary and sum(server.asked.values()) == sum(before.values()) + 2


def test_failures_of_both_sittings_are_paid_for(tmp_path: Path):
    server = Server(q3=Reply(tokens=3, no_done=True))  # no end, but a usage
    one = (7 * 1.0 + 3 * 10.0) / 1e6
    with SyntheticServer(server) as place:
        run = config(tmp_path, place.url)
        assert carried(run, tmp_path / "out").summary.spent.usd == pytest.approx((19 + 3) * one)
        server.fails = {}
        row = carried(run, tmp_path / "out").summary.rows[0]
    assert row.cost.usd == pytest.approx((20 + 3) * one)
    assert row.cost.usd_per_1k_samples == pytest.approx(23 / 20 * one * 1000)


@pytest.mark.parametrize(("failing", "complete"), [(1, True), (2, False)])
def test_more_errors_than_the_stated_share_make_a_row_incomplete(tmp_path: Path, failing: int, complete: bool):
    server = Server(**{f"q{i}": Reply(status=400) for i in range(failing)})
    with SyntheticServer(server) as place:
        result = carried(config(tmp_path, place.url), tmp_path / "out")
    assert result.complete is complete
    ((_, rows),) = tables.quality(result.summary).groups
    shown = dict(zip(tables.quality(result.summary).columns, rows[0]))
    assert ("incomplete" in shown["failures"]) is not complete
    told = [note for note in said(result.summary) if note.startswith("INCOMPLETE")]
    assert told == [] if complete else "2 of 20 samples ended in an error, more than the 5 % allowed" in told[0]


@pytest.mark.slow
def test_the_share_is_set_in_the_run_file(tmp_path: Path):
    with SyntheticServer(Server(q1=Reply(status=400), q2=Reply(status=400))) as place:
        assert carried(config(tmp_path, place.url, max_errors=0.1), tmp_path / "a").complete
        assert not carried(config(tmp_path, place.url, max_errors=0.0), tmp_path / "b").complete


def test_an_incomplete_run_is_gone_on_with_only_if_something_can_be_asked(tmp_path: Path):
    server = Server(q1=Reply(status=500), q2=Reply(status=500))
    root = tmp_path / "results"
    with SyntheticServer(server) as place:
        plan = make_plan(config(tmp_path, place.url))
        first = folder_for(plan, None, root)
        carried(config(tmp_path, place.url), first)
        assert folder_for(plan, None, root) == first
        server.fails = {"q1": Reply(status=400), "q2": Reply(status=400)}
        assert not carried(config(tmp_path, place.url), first).complete
        assert folder_for(plan, None, root) != first  # the server's last word was no


def test_a_model_that_answered_nothing_is_named_below_the_table(tmp_path: Path):
    with SyntheticServer(Server(**{f"q{i}": Reply(status=500) for i in range(20)})) as place:
        result = carried(config(tmp_path, place.url), tmp_path / "out")
    row = result.summary.rows[0]
    assert row.accuracy.value is None and row.asked.n == 0 and not result.complete
