"""What a run writes comes back as the same value; what nobody knows is refused; old runs open."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.errors import StoreError
from harness.store.lines import read_attempt_lines, read_measurements, read_plan
from harness.store.schema import MEASUREMENTS, PLANS, RESPONSE_LINES, VERSION, PassLine
from harness.values import Billing, Confidence, PaidAttempt, Provider, ResponseLine, Thinking

LINE = ResponseLine(
    "k",
    "Question?",
    text="half a character: \ud800",
    logprobs=(-0.5, -1.0),
    greedy=(True, False),
    billing=Billing(0.25, 0.25, (PaidAttempt("answered", 0.25, tokens={"input": 3, "output": 1}),)),
    thinking=Thinking("hm", 1, cut=True),
    confidence=Confidence(-0.1, -0.3, -0.2),
    provider=Provider(model_version="m-1", refused={"stop": "only 4 are taken"}),
    model="m",
    task="t",
    sample_id="s",
    epoch=0,
    turn=1,
    mode="generate",
    input_characters=9,
    sent_bytes=9,
)


def _through_json(value):
    return json.loads(json.dumps(value))


def test_a_response_comes_back_as_it_was_written():
    assert RESPONSE_LINES.read(_through_json(RESPONSE_LINES.write(LINE))) == LINE


def test_parts_that_hold_nothing_are_not_written():
    found = RESPONSE_LINES.write(ResponseLine("k", None, **{name: getattr(LINE, name) for name in IDENTITY}))
    assert "billing" not in found and "thinking" not in found
    assert found["text"] is None and found["error"] is None


IDENTITY = ("model", "task", "sample_id", "epoch", "turn", "mode", "input_characters", "sent_bytes")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"cost": 1}, "key 'cost' is unknown"),
        ({"billing": {"usd": 1.0, "eur": 1.0}}, "key 'billing.eur' is unknown"),
        ({"epoch": "first"}, "key 'epoch' is wrong"),
    ],
)
def test_a_key_that_nobody_knows_is_refused(change, said):
    with pytest.raises(StoreError, match=said):
        RESPONSE_LINES.read({**RESPONSE_LINES.write(LINE), **change}, "responses.jsonl")


def test_a_missing_key_is_refused():
    found = RESPONSE_LINES.write(LINE)
    del found["task"]
    with pytest.raises(StoreError, match="key 'task' is missing"):
        RESPONSE_LINES.read(found)


def test_the_kind_of_a_measurement_decides_its_class():
    known = {"model": "m", "task": "t", "mode": "generate", "wall_s": 1.0, "samples": 1, "responses": 1, "failed": 0}
    line = PassLine(**known, input_tokens=1, output_tokens=None, prefill_s=None, decode_s=None)
    assert MEASUREMENTS.read(_through_json(MEASUREMENTS.write(line))) == line
    with pytest.raises(StoreError, match="no measurement"):
        MEASUREMENTS.read({"kind": "weather"})


@pytest.mark.parametrize("run", [f"tests/golden/{name}" for name in ("served", "talks", "bench")])
def test_runs_that_named_no_version_open(run):
    folder = Path(run)
    assert "schema" not in json.loads((folder / "plan.json").read_text())
    plan = read_plan(folder)
    assert plan.schema == VERSION
    assert PLANS.read(_through_json(PLANS.write(plan))) == plan
    assert sum(1 for _ in read_measurements(folder)) > 0
    for log in folder.glob("*s.jsonl"):
        if log.name in {"responses.jsonl", "verdicts.jsonl"}:
            for line in read_attempt_lines(log):
                assert RESPONSE_LINES.read(_through_json(RESPONSE_LINES.write(line))) == line


def test_what_an_old_line_told_without_classes_finds_its_place():
    lines = list(read_attempt_lines(Path("tests/golden/served/responses.jsonl")))
    paid = [line for line in lines if line.billing is not None]
    assert paid and all(line.billing.attempts for line in paid)
    assert any(line.thinking is not None and line.thinking.tokens for line in lines)
