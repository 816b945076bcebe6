"""A run file and what is added to it: one configuration, the same from the command line and from Python."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.config.assemble import Additions, assemble, is_task
from harness.config.run import RunConfig, TaskUse
from harness.errors import ConfigError

RUN = """run: mine
tasks: [tickets.yaml, {task: gsm8k, data: here.jsonl}]
models:
  - {name: a, path: ./a}
  - ./b
limit: 5
latency: {requests: 3, warmup: 1}
"""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run.yaml").write_text(RUN)
    (tmp_path / "tickets.yaml").write_text("task: tickets\n")
    return tmp_path


def names(run: RunConfig) -> tuple[list[str], list[str]]:
    return [use.task for use in run.tasks], [model.name for model in run.models]


def test_nothing_added_is_the_file_as_it_stands():
    run = assemble("run.yaml")
    assert names(run) == (["tickets.yaml", "gsm8k"], ["a", "b"]) and (run.run, run.limit) == ("mine", 5)
    assert assemble(Path("run.yaml")) == run == assemble(run)


def test_models_and_tasks_are_joined_and_the_rest_takes_the_place_of_the_files():
    added = Additions(models=("./c",), tasks=("boolq",), first=2, seed=7, latency=1, machine="laptop", baseline="c")
    run = assemble("run.yaml", added)
    assert names(run) == (["tickets.yaml", "gsm8k", "boolq"], ["a", "b", "c"])
    assert (run.limit, run.first, run.seed, run.machine, run.baseline) == (None, 2, 7, "laptop", "c")
    assert (run.latency.requests, run.latency.warmup) == (1, 1)
    assert assemble(assemble("run.yaml"), added) == run


def test_a_task_file_and_a_bundled_task_are_runs_of_that_task():
    assert is_task("tickets.yaml") and is_task("gsm8k") and is_task("lm_eval:arc_easy")
    assert not is_task("run.yaml") and not is_task("quickstart")
    for name in ("tickets.yaml", "gsm8k"):
        assert names(assemble(name, Additions(models=("./a",), tasks=("boolq",)))) == ([name, "boolq"], ["a"])


def test_values_may_be_texts_mappings_and_checked_entries():
    one, other = TaskUse(task="boolq", sensitivity="internal"), {"task": "gsm8k", "data": "x.jsonl"}
    run = assemble({"tasks": ["tickets.yaml"], "models": [{"name": "a", "path": "./a"}]}, Additions(tasks=(one, other)))
    assert run.run == "run" and run.tasks[1:] == (one, TaskUse(task="gsm8k", data="x.jsonl"))
    assert assemble(None, Additions(tasks=(one,), models=run.models)).models == run.models


def test_a_judge_is_a_model_of_the_run_by_its_name_or_another():
    for source in ("run.yaml", assemble("run.yaml")):
        assert assemble(source, Additions(judge="a")).judge == assemble("run.yaml").models[0]
        assert assemble(source, Additions(judge="./big")).judge.name == "big"


def test_local_data_go_to_the_task_that_is_named():
    run = assemble("run.yaml", Additions(data={"tickets.yaml": "mine.csv"}))
    assert [use.data for use in run.tasks] == ["mine.csv", "here.jsonl"]
    with pytest.raises(
        ConfigError, match="--data names task 'gsm8', which is not in the run\n  fix did you mean 'gsm8k'"
    ):
        assemble("run.yaml", Additions(data={"gsm8": "x"}))


def test_a_model_stands_in_only_where_none_is_named():
    other = assemble("run.yaml").models[0]
    assert names(assemble("gsm8k", Additions(stand_in=other)))[1] == ["a"]
    assert names(assemble("run.yaml", Additions(stand_in=other)))[1] == ["a", "b"]


def test_every_model_is_pinned_to_batches_alike():
    run = assemble("run.yaml", Additions(deterministic=True))
    assert [model.deterministic for model in run.models] == [True, True]


@pytest.mark.parametrize(
    ("source", "added", "what"),
    [
        (None, Additions(models=("./a",)), "no tasks to run\n  fix name a run file, or add --task"),
        (None, Additions(tasks=("gsm8k",)), "no models to run\n  fix name a run file, or add --model"),
        ("nothing", Additions(), "no configuration named 'nothing'"),
        (3, Additions(), "a run is a file's name, a RunConfig or a mapping, and this is a int\n  at  .*\n  fix name"),
        ({"tasks": "gsm8k", "models": ["./a"]}, Additions(), "tasks: .*\n  at  the values given"),
        ({"tasks": ["gsm8k"], "modles": ["./a"]}, Additions(), "unknown key 'modles'\n.*\n  fix did you mean 'models'"),
        ("run.yaml", Additions(limit=1, first=1), "`limit` and `first` exclude each other\n  at  --limit"),
        ("run.yaml", Additions(models=("./a",)), "two models are named 'a'.*\n  at  run.yaml"),
        ("run.yaml", Additions(latency=-1), "latency.requests: .*\n  at  --latency"),
        ("run.yaml", Additions(seed="x"), "seed: .*\n  at  --seed"),  # type: ignore[arg-type]
        ("run.yaml", Additions(models=(3,)), "models.2.*\n  at  run.yaml"),  # type: ignore[arg-type]
    ],
)
def test_a_mistake_says_what_where_and_the_fix(source, added: Additions, what: str):
    with pytest.raises(ConfigError, match=what):
        assemble(source, added)
