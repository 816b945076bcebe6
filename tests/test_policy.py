"""Sensitive data and models elsewhere: refused in one plan, allowed by name, and told in the table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness import tables
from harness.config import RunConfig, TaskUse, validate
from harness.errors import ConfigError, PolicyError, TaskError
from harness.plan import make_plan
from harness.policy import refuse_egress
from harness.runs import carry_out, finish
from harness.values import Response

TASK = """task: letters
sensitivity: SENSITIVITY
data: {file: letters.jsonl}
kind: generate
prompt: "{q}="
answer: a
"""
AWAY = {
    "name": "far",
    "backend": "openai",
    "base_url": "https://api.example.com/v1",
    "price": {"input": 1, "output": 1},
}
NEAR = {"name": "near", "backend": "openai", "base_url": "http://127.0.0.1:8000/v1", "price": {"input": 1, "output": 1}}


def config(folder: Path, sensitivity: str, *models: dict[str, Any], **changes: Any) -> RunConfig:
    (folder / "letters.jsonl").write_text("".join(json.dumps({"q": f"ä{i}", "a": "b"}) + "\n" for i in range(10)))
    (folder / "letters.yaml").write_text(TASK.replace("SENSITIVITY", sensitivity))
    values = {
        "run": "r",
        "tasks": [str(folder / "letters.yaml")],
        "models": [{"name": "here", "backend": "fake"}, *models],
    }
    return validate(RunConfig, values | {"latency": {"requests": 0}} | changes, "run.yaml")


def test_a_restricted_task_and_a_model_elsewhere_are_refused_in_one_plan(tmp_path: Path):
    with pytest.raises(PolicyError) as caught:
        make_plan(config(tmp_path, "restricted", AWAY))
    said = str(caught.value)
    assert "task 'letters' is restricted" in said and "model far is asked at api.example.com" in said
    assert "no setting overrides this" in said


def test_no_setting_lets_a_restricted_task_out(tmp_path: Path):
    with pytest.raises(PolicyError, match="restricted"):
        make_plan(config(tmp_path, "restricted", AWAY, allow_egress=["api.example.com"]))
    with pytest.raises(PolicyError, match="restricted"):
        make_plan(config(tmp_path, "restricted", AWAY | {"allow_http": True, "base_url": "http://10.0.0.1/v1"}))


@pytest.mark.parametrize("lower", ["public", "internal"])
def test_a_run_cannot_lower_the_sensitivity_of_a_task(tmp_path: Path, lower: str):
    wanted = config(tmp_path, "restricted", AWAY)
    use = TaskUse(task=wanted.tasks[0].task, sensitivity=lower)
    with pytest.raises(TaskError, match=f"'restricted' cannot be lowered to '{lower}'"):
        make_plan(wanted.model_copy(update={"tasks": (use,)}))


def test_a_run_can_raise_the_sensitivity_of_a_task(tmp_path: Path):
    wanted = config(tmp_path, "public", AWAY)
    use = TaskUse(task=wanted.tasks[0].task, sensitivity="restricted")
    with pytest.raises(PolicyError, match="restricted"):
        make_plan(wanted.model_copy(update={"tasks": (use,)}))


def test_internal_data_go_only_to_hosts_that_the_run_file_names(tmp_path: Path):
    with pytest.raises(PolicyError) as caught:
        make_plan(config(tmp_path, "internal", AWAY, allow_egress=["api.example.org"]))
    assert "the run does not allow api.example.com" in str(caught.value)
    assert "allow_egress: [api.example.com]" in str(caught.value)
    assert make_plan(config(tmp_path, "internal", AWAY, allow_egress=["api.example.com"])).cells


@pytest.mark.parametrize("sensitivity", ["public", "internal", "restricted"])
def test_models_on_this_machine_may_see_everything(tmp_path: Path, sensitivity: str):
    wanted = config(tmp_path, sensitivity, NEAR)
    refuse_egress(wanted.models, [task.config for task in make_plan(wanted).tasks], ())


def test_an_allowed_host_is_a_name_and_no_address_with_scheme(tmp_path: Path):
    with pytest.raises(ConfigError, match="allow_egress"):
        config(tmp_path, "internal", AWAY, allow_egress=["https://api.example.com/v1"])


class Asked:
    """A server that answers `b`, the second request at the third attempt."""

    def __init__(self, name: str) -> None:
        self.name = name

    def generate(self, requests: Any) -> Any:
        for i, request in enumerate(requests):
            tries = [{}] * (3 if i == 1 else 1)
            yield Response(request.key, None, text="b", finish_reason="stop", details={"attempts": tries})

    def describe(self) -> dict[str, Any]:
        return {"model": self.name}

    def close(self) -> None:
        pass


def test_the_table_tells_what_left_the_machine(tmp_path: Path):
    plan = make_plan(config(tmp_path, "internal", AWAY, allow_egress=["api.example.com"]))
    for _ in carry_out(plan, tmp_path / "out", lambda model: Asked(model.name)):
        pass
    summary = finish(tmp_path / "out").summary
    here, far = summary["rows"]
    assert here["leaves_machine"] == {"hosts": [], "share_of_samples": 0.0, "bytes": 0}
    # ten prompts of four bytes ("ä0=": two, one, one), one of them sent three times
    assert far["leaves_machine"] == {"hosts": ["api.example.com"], "share_of_samples": 1.0, "bytes": 48}
    assert (here["where"], far["where"]) == ("this machine", "api.example.com")
    columns = tables.quality(summary).columns
    assert columns[-2:] == ("runs on", "leaves the machine")
    ((_, rows),) = tables.quality(summary).groups
    assert [row[-2:] for row in rows[:2]] == [("local", "nothing"), ("api.example.com", "100% of samples, 0.0 kB")]


def test_bytes_are_unknown_where_a_sitting_was_killed(tmp_path: Path):
    plan = make_plan(config(tmp_path, "public", AWAY))
    steps = carry_out(plan, tmp_path / "out", lambda model: Asked(model.name))
    for _ in steps:
        pass
    file = tmp_path / "out" / "measurements.jsonl"
    file.write_text("".join(line for line in file.read_text().splitlines(True) if '"pass"' not in line))
    assert finish(tmp_path / "out").summary["rows"][1]["leaves_machine"]["bytes"] is None


def test_the_column_is_there_only_when_something_leaves(tmp_path: Path):
    for _ in carry_out(make_plan(config(tmp_path, "restricted")), tmp_path / "out"):
        pass
    assert tables.quality(finish(tmp_path / "out").summary).columns[-1] == "runs on"
