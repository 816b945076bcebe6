"""Configurations are checked once, and every message names the key and the nearest accepted value."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.config.assemble import assemble
from harness.config.base import validate
from harness.config.files import bundled, find_file
from harness.config.machine import MachineConfig, read_machine
from harness.config.run import RunConfig
from harness.config.task import Columns
from harness.errors import ConfigError, HarnessError, TaskError
from harness.tasks.kinds import read_task, task_from

RUN: dict[str, Any] = {"run": "r", "tasks": ["mmlu"], "models": ["some/model"]}
MACHINE: dict[str, Any] = {"name": "m", "source": "s", "date": "2026-01-01", "rented": {"per_hour": 1.0}}
TASK: dict[str, Any] = {"task": "t", "data": {"file": "x.csv"}, "kind": "generate", "prompt": "{q}", "answer": "a"}


def test_tasks_and_models_may_be_given_by_name_alone():
    config = validate(RunConfig, RUN, "run.yaml")
    assert config.tasks[0].task == "mmlu"
    assert (config.models[0].name, config.models[0].path) == ("model", "some/model")


@pytest.mark.parametrize(
    ("changes", "what", "fix"),
    [
        ({"baselin": "model"}, "unknown key 'baselin'", "did you mean 'baseline'?"),
        ({"baseline": "modell"}, "baseline 'modell' is none of the models", "mend"),
        ({"models": [{"name": "a", "path": "p", "dtype": "bf61"}]}, "models.0.dtype", "did you mean 'bf16'?"),
        ({"models": [{"name": "a", "dytpe": "bf16"}]}, "unknown key 'dytpe'", "did you mean 'dtype'?"),
        ({"models": ["x/a", "y/a"]}, "two models are named 'a'", "mend"),
        ({"models": []}, "models", "mend"),
        ({"limit": 0}, "limit: input should be greater than or equal to 1 (given: 0)", "mend"),
        ({"limit": 3, "first": 3}, "`limit` and `first` exclude each other", "mend"),
        ({"seed": "x"}, "seed", "mend"),
        ({"machine": {**MACHINE, "rented": {"per_hour": -1}}}, "machine.rented.per_hour", "mend"),
        ({"machine": 3}, "machine", "mend"),
        ({"run": "../x"}, "run: a name has letters, digits and", "mend"),
        ({"tasks": []}, "no tasks", "mend"),
        ({"bench": {"single": False}}, "bench: no scenario", "mend"),
        ({"bench": {"rate": [0]}}, "bench.rate.0", "mend"),
        ({"bench": {"concurency": [1]}}, "unknown key 'concurency'", "did you mean 'concurrency'?"),
        ({"bench": {"slo": {"attainment": 0.5}}}, "bench.slo: give at least one of", "mend"),
        ({"bench": {"slo": {"ttft_s": 1, "attainment": 1.5}}}, "bench.slo.attainment", "mend"),
        ({"bench": {"lengths": {"input": 0, "output": 4}}}, "bench.lengths.0.input", "mend"),
    ],
)
def test_a_mistake_in_a_run_names_key_and_fix(changes: dict[str, Any], what: str, fix: str):
    with pytest.raises(ConfigError) as caught:
        validate(RunConfig, RUN | changes, "run.yaml")
    assert what in caught.value.what
    assert fix in caught.value.fix
    assert caught.value.where == "run.yaml"


def test_a_missing_key_is_named():
    with pytest.raises(ConfigError, match="key 'run' is missing"):
        validate(RunConfig, {"tasks": ["mmlu"], "models": ["m"]}, "run.yaml")


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"rented": {"per_hour": 0}}, "rented.per_hour"),
        ({"utilisation": 1.5}, "utilisation"),
        ({"utilisation": 0}, "utilisation"),
        ({"rented": None}, "give either `rented` or `owned`"),
        (
            {"rented": None, "owned": {"price": 9, "years": 1, "watts": 9, "power_price": 1, "hours_available": 0}},
            "owned.hours_available",
        ),
        ({"owned": {"price": -9, "years": 1, "watts": 9, "power_price": 1}}, "owned.price"),
        (
            {"rented": None, "owned": {"price": 9, "years": 1, "watts": 9, "power_price": 1, "salvage": 10}},
            "owned: `salvage` 10 is more than the price 9",
        ),
        ({"curency": "USD"}, "unknown key 'curency'"),
    ],
)
def test_a_machine_that_makes_no_sense_is_refused(changes: dict[str, Any], what: str):
    with pytest.raises(ConfigError) as caught:
        validate(MachineConfig, MACHINE | changes, "machine.yaml")
    assert what in caught.value.what


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"kind": "choice"}, "a choice task needs `choices`"),
        ({"choices": ["a", "b"]}, "a generate task has no `choices`"),
        ({"kind": "choice", "choices": ["a"]}, "two or more choices"),
        ({"kind": "choice", "choices": ["a", "a"]}, "the same choice stands twice"),
        ({"kind": "choice", "choices": [True, False]}, "choice True is not text"),
        ({"data": {}}, "give either `file` or `hub`"),
        ({"data": {"file": "x", "hub": "y"}}, "give either `file` or `hub`"),
        ({"data": {"file": "x", "sha256": "abc"}}, "data.sha256"),
        ({"stop": [""]}, "stop.0"),
        ({"stop": ["x" * 201]}, "stop.0"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"generation": {"temperature": -1}}, "generation.temperature"),
        ({"fewshots": 3}, "unknown key 'fewshots'"),
        ({"kind": "chioce"}, "kind"),
    ],
)
def test_a_mistake_in_a_task_names_the_key(changes: dict[str, Any], what: str):
    with pytest.raises(ConfigError) as caught:
        task_from(TASK | changes, "task.yaml")
    assert what in caught.value.what


def test_choices_are_a_list_a_column_or_several_columns():
    def choices(value: Any) -> Any:
        return task_from(TASK | {"kind": "choice", "choices": value}, "t").choices

    assert choices(["no", "yes"]) == ("no", "yes")
    assert choices("options") == "options"
    assert choices({"columns": ["A", "B"]}) == Columns(columns=("A", "B"))


def test_a_mistake_in_a_task_file_names_its_line(tmp_path: Path):
    path = tmp_path / "t.yaml"
    path.write_text("task: t\nkind: generate\ndata: {file: x.csv}\nprompt: '{q}'\nanswer: a\nshots:\n  n: -1\n")
    with pytest.raises(TaskError, match=r"shots.n") as caught:
        read_task(path)
    assert caught.value.where == f"{path}:7"


def test_every_bundled_run_and_machine_can_be_read():
    runs = sorted(bundled("configs").glob("*.yaml"))
    machines = sorted((bundled("configs") / "machines").glob("*.yaml"))
    assert len(runs) >= 1 and len(machines) >= 5
    assert all(assemble(path).run == path.stem for path in runs)
    for path in machines:
        machine = read_machine(path.stem)
        assert machine.name == path.stem
        assert machine.source and machine.date


def test_a_run_file_opens_with_the_command_that_uses_it():
    for path in bundled("configs").glob("*.yaml"):
        assert path.read_text().startswith("# harness "), path


@pytest.mark.parametrize(
    ("name", "kind", "under", "message"),
    [
        ("quikstart", "configs", "", "no configuration named 'quikstart'"),
        ("mmul", "tasks", "", "did you mean 'mmlu'?"),
        ("h10", "configs", "machines", "did you mean 'h100'?"),
        ("here/nothing.yaml", "tasks", "", "no file here/nothing.yaml"),
    ],
)
def test_a_name_that_is_not_there_gets_the_nearest(name: str, kind: Any, under: str, message: str):
    with pytest.raises(HarnessError) as caught:
        find_file(name, kind, under)
    assert message in str(caught.value)
