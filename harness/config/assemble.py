"""A run file and what is added to it -> RunConfig: the one way to a configuration, for the command line and for Python.

    assemble("quickstart", Additions(models=("./my-model",), limit=200))
    assemble("tickets.yaml", Additions(models=("demo-10m",)))          a task file is a run of that task
    assemble({"tasks": ["gsm8k"], "models": ["./my-model"]})           values, as a run file would have them
    assemble(None, Additions(tasks=("gsm8k",), models=("./my-model",)))

What is added goes on top: models and tasks are joined to the file's, everything else takes the place of what it says.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.config import lm_eval_names
from harness.config.base import _checked
from harness.config.files import bundled_names, find_file
from harness.config.machine import MachineConfig
from harness.config.model import ModelConfig
from harness.config.run import RunConfig, TaskUse
from harness.config.yaml_file import YamlFile, read_yaml
from harness.errors import ConfigError, nearest

Model = str | ModelConfig | Mapping[str, object]  # a folder, demo model or hub id; or the values of a model entry
TaskName = str | TaskUse | Mapping[str, object]  # a bundled name, a task file, lm_eval:NAME; or the values of an entry
Source = str | Path | RunConfig | Mapping[str, object] | None  # a run file, a bundled name, a task file, or values


@dataclass(frozen=True, slots=True)
class Additions:
    """What is added to a run file. None, and nothing: as the file says."""

    models: Sequence[Model] = ()
    tasks: Sequence[TaskName] = ()
    data: Mapping[str, str] = field(default_factory=dict)  # task -> a local file or folder to read its data from
    limit: int | None = None
    first: int | None = None
    formats: int | None = None
    seed: int | None = None
    machine: str | MachineConfig | Mapping[str, object] | None = None
    baseline: str | None = None
    judge: Model | None = None
    latency: int | None = None  # requests timed one at a time
    max_cost: float | None = None  # USD
    policy: str | None = None  # a policy file or bundled name that the run must keep
    responses_only: bool | None = None
    despite_self_test: bool | None = None
    deterministic: bool = False  # of every model that can compose its batches alike
    stand_in: ModelConfig | None = None  # the model where neither names one


def assemble(source: Source = None, added: Additions | None = None) -> RunConfig:
    """Returns the run of a source with what is added to it. Raises ConfigError, with the line of the file."""
    added = added or Additions()
    file = _content(source)
    values = dict(file.data)
    _join(values, "models", added.models)
    _join(values, "tasks", added.tasks)
    if not values.get("models") and added.stand_in is not None:
        values["models"] = [added.stand_in]
    if not file.lines and not isinstance(source, Mapping):
        _need(values)  # there is no file that lacks a key
    if added.data:
        values["tasks"] = _with_data(values["tasks"], added.data)
    if added.limit is not None or added.first is not None:  # one of them: they exclude each other
        values |= {"limit": added.limit, "first": added.first}
    over = (
        "formats",
        "seed",
        "machine",
        "baseline",
        "judge",
        "max_cost",
        "responses_only",
        "policy",
        "despite_self_test",
    )
    values |= {key: value for key in over if (value := getattr(added, key)) is not None}
    if added.latency is not None:
        values["latency"] = _with_requests(values.get("latency"), added.latency)
    try:
        run = _checked(RunConfig, YamlFile(file.path, values, file.lines), ConfigError)
    except ConfigError as error:
        given = (key for key in (*over, "limit", "first", "latency") if getattr(added, key) is not None)
        blamed = next((key for key in given if re.search(rf"(?<![\w.]){key}(?![\w])", error.what)), None)
        if blamed is None:
            raise
        raise ConfigError(error.what, where=f"--{blamed.replace('_', '-')}", fix=error.fix) from None
    return _pinned(run) if added.deterministic else run


def is_task(name: str) -> bool:
    """Returns whether a name is that of a task or its file: the file itself says so. Raises ConfigError for no file."""
    if lm_eval_names.is_named(name):
        return True
    if name.endswith((".yaml", ".yml")):
        return "task" in read_yaml(find_file(name, "tasks")).data
    return name in bundled_names("tasks")


def _content(source: Source) -> YamlFile:
    """Returns the values of a source, and where messages say they stand."""
    if isinstance(source, str | Path):
        name = str(source)
        return _given({"tasks": [name]}, name) if is_task(name) else read_yaml(find_file(name, "configs"))
    if isinstance(source, RunConfig):
        return _given({key: _listed(getattr(source, key)) for key in source.model_fields_set}, f"run {source.run}")
    if source is None or isinstance(source, Mapping):
        return _given(source or {}, "command line" if source is None else "the values given")
    what = f"a run is a file's name, a RunConfig or a mapping, and this is a {type(source).__name__}"
    raise ConfigError(what, where="the run that was given", fix="name a run file or a task, or give the file's values")


def _given(values: Mapping[str, object], where: str) -> YamlFile:
    return YamlFile(Path(where), {"run": "run", **values}, {})


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _join(values: dict[str, object], key: str, more: Sequence[Any]) -> None:
    """Adds to a list of the file, but leaves what is no list there for the check to refuse."""
    if more and isinstance(before := values.get(key) or [], list):
        values[key] = [*before, *more]


def _need(values: Mapping[str, object]) -> None:
    """Raises ConfigError where nothing was named to run, or nothing to run it."""
    lengths = getattr(values.get("bench"), "lengths", None)
    for key, noun in (("models", "--model PATH"), ("tasks", "--task NAME")):
        if not values.get(key) and not (key == "tasks" and lengths):
            fix = f"name a run file, or add {noun} (in Python: {key}=[...])"
            raise ConfigError(f"no {key} to run", fix=fix)


def _with_data(tasks: Any, places: Mapping[str, str]) -> Any:
    if not isinstance(tasks, list):
        return tasks
    uses = [_use(task) for task in tasks]
    names = [str(use.get("task")) for use in uses]
    for name in places:
        if name not in names:
            raise ConfigError(f"--data names task '{name}', which is not in the run", fix=nearest(name, names))
    return [{**use, "data": str(places[name])} if name in places else use for name, use in zip(names, uses)]


def _use(task: TaskName) -> dict[str, object]:
    """Returns the values of a task's entry."""
    if isinstance(task, TaskUse):
        return task.model_dump(exclude_unset=True, by_alias=True)
    return dict(task) if isinstance(task, Mapping) else {"task": task}


def _with_requests(latency: Any, requests: int) -> Any:
    if latency is None or isinstance(latency, Mapping | int):
        return {**(latency if isinstance(latency, Mapping) else {}), "requests": requests}
    return {**latency.model_dump(exclude_unset=True), "requests": requests}


def _pinned(run: RunConfig) -> RunConfig:
    """Returns the run with batches composed alike, by each model whose entry knows that."""
    models = [
        model.model_copy(update={"deterministic": True}) if "deterministic" in type(model).model_fields else model
        for model in run.models
    ]
    return run.model_copy(update={"models": tuple(models)})
