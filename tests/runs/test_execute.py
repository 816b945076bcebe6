"""What a run leaves in its measurements besides the answers."""

from __future__ import annotations

from pathlib import Path

import pytest

import harness
from harness.backends import about
from harness.config.base import validate
from harness.config.model import model_of
from harness.config.run import RunConfig
from harness.store.lines import read_measurements


@pytest.mark.parametrize(
    ("model", "here"),
    [
        ({"backend": "openai", "base_url": "http://127.0.0.1:8000/v1"}, True),
        ({"backend": "openai", "base_url": "http://localhost:8000/v1"}, True),
        ({"backend": "openai", "base_url": "https://far.example/v1"}, False),
        ({"backend": "anthropic"}, False),
        ({"backend": "transformers", "path": "m"}, False),  # in this process: its work is known to be ours
    ],
)
def test_only_a_server_by_a_loopback_address_is_served_here(model: dict[str, str], here: bool):
    config = model_of(name="m", **model)
    assert about(config).place(config).served_here is here


@pytest.mark.slow
@pytest.mark.shared
def test_the_engine_says_what_it_computed_and_what_a_server_would_bill(shared: Path, tmp_path: Path):
    model = {"name": "m", "path": str(shared / "models" / "banking77-tiny"), "device": "cpu", "threads": 1}
    task = {"task": "banking77", "data": str(shared / "data" / "banking77_test.csv")}
    config = {"run": "r", "tasks": [task], "models": [model], "first": 4, "latency": {"requests": 0}}
    result = harness.run(validate(RunConfig, config | {"machine": "cloud-cpu"}, "test"), out=tmp_path / "out")
    by_kind = {line.kind: line for line in read_measurements(tmp_path / "out")}
    engine = by_kind["engine"]
    assert engine.distinct_tokens <= engine.forwarded_tokens <= 1.03 * engine.distinct_tokens
    assert engine.prompt_tokens > 5 * engine.forwarded_tokens  # 77 choices share one question
    assert engine.batches >= 1 and engine.forward_s > 0
    assert by_kind["pass"].samples == 4
    row = result.summary.rows[0]
    reading, bill = row.prompt_tokens, row.cost.input_usd
    assert reading.computed == engine.forwarded_tokens
    assert reading.billed == engine.prompt_tokens
    for name in ("computed", "billed"):
        assert getattr(reading, f"usd_per_1m_{name}") * getattr(reading, name) / 1e6 == pytest.approx(bill)
