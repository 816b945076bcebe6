"""Run files: which models do which tasks, on what."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, field_validator, model_validator
from pydantic_core import PydanticCustomError

from harness.config.base import Name, Strict, _by_shape
from harness.config.bench import BenchConfig, LatencyConfig
from harness.config.machine import MachineConfig
from harness.config.model import Model, model_from_path
from harness.errors import nearest
from harness.values import Sensitivity


class TaskUse(Strict):
    """A task in a run, with what the run changes about it."""

    task: str  # a bundled name, the path of a task file, or lm_eval:NAME_OR_FILE
    data: str | None = None  # a local copy of the data: a file or a folder
    sensitivity: Sensitivity | None = None  # can only be raised
    asked_as: Literal["generate"] | None = Field(default=None, alias="as")  # choices as text, for every model
    num_fewshot: Annotated[int, Field(ge=0, le=1000)] | None = (
        None  # lm_eval tasks only: examples shown; default: its own
    )


class RunConfig(Strict):
    """Which models do which tasks, on what."""

    run: Name  # its name
    tasks: tuple[TaskUse, ...] = ()  # none only where `bench` has lengths of its own
    data: Mapping[str, str] = {}  # task: a local copy of its data, a file or a folder; as `data` of its own entry
    models: Annotated[tuple[Model, ...], Field(min_length=1)]  # what is asked: entries, folders, demo names or hub ids
    baseline: str | None = None  # model the others are compared with; default: the first
    judge: Model | None = None  # scores the tasks that have a `rubric`; by name alone: as a model, or one of them
    machine: (
        Annotated[Annotated[str, Tag("(text)")] | Annotated[MachineConfig, Tag("(keys)")], Discriminator(_by_shape)]
        | None
    ) = None  # a bundled name, a path, or the values themselves
    limit: Annotated[int, Field(ge=1)] | None = None  # seeded random subset of each task
    first: Annotated[int, Field(ge=1)] | None = None  # the first N samples in order
    formats: Annotated[int, Field(ge=0, le=100)] = 0  # seeded variants of each prompt's format; their range is shown
    seed: int = 0  # of the subset, the shots and the draws
    latency: LatencyConfig = LatencyConfig()  # the phase that times single requests
    bench: BenchConfig = BenchConfig()  # read by `harness bench` alone
    despite_self_test: bool = False  # run tasks too that judge right, empty or wrong answers wrongly (harness check)
    responses_only: bool = False  # write down unjudged what only a sandbox, or a judge not named, could judge
    allow_egress: tuple[Annotated[str, Field(pattern=r"^[A-Za-z0-9.:-]+$")], ...] = ()  # hosts internal data may go to
    accept_unsealed: tuple[Name, ...] = ()  # restricted tasks that engines on this machine are asked without a seal
    policy: str | None = (
        None  # a policy file or bundled name: a run that breaks it is refused, before anything is loaded
    )
    max_cost: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None  # USD to providers, all models together
    max_errors: Annotated[float, Field(ge=0, le=1)] = 0.05  # share of samples without an answer; more: row incomplete

    @field_validator("tasks", mode="before")
    @classmethod
    def _names_to_uses(cls, value: Any) -> Any:
        return (
            [{"task": item} if isinstance(item, str) else item for item in value] if isinstance(value, list) else value
        )

    @model_validator(mode="before")
    @classmethod
    def _data_to_tasks(cls, values: Any) -> Any:
        """Gives each task the local copy of its data that is named for it; what is no such thing is refused later."""
        places, tasks = (values.get("data"), values.get("tasks")) if isinstance(values, Mapping) else (None, None)
        if not isinstance(places, Mapping) or not isinstance(tasks, list | tuple):
            return values
        uses = [use.model_dump(exclude_unset=True, by_alias=True) if isinstance(use, TaskUse) else use for use in tasks]
        uses = [{"task": use} if isinstance(use, str) else use for use in uses]
        named = [use["task"] for use in uses if isinstance(use, Mapping) and isinstance(use.get("task"), str)]
        for name in places:
            if name not in named:
                told = {"name": str(name), "hint": nearest(str(name), named)}
                raise PydanticCustomError("data", "data names task '{name}', which is not in the run; {hint}", told)
        return {**values, "tasks": [_placed(use, places) for use in uses]}

    @model_validator(mode="before")
    @classmethod
    def _name_to_judge(cls, data: Any) -> Any:
        if not isinstance(data, Mapping) or not isinstance(name := data.get("judge"), str):
            return data
        models = [model for model in data.get("models") or () if _name(model) == name]
        return {**data, "judge": models[0] if models else model_from_path(name)}

    @field_validator("models", mode="before")
    @classmethod
    def _paths_to_models(cls, value: Any) -> Any:
        return (
            [model_from_path(item) if isinstance(item, str) else item for item in value]
            if isinstance(value, list)
            else value
        )

    @model_validator(mode="after")
    def _consistent(self) -> RunConfig:
        if not (self.tasks or self.bench.lengths):
            raise PydanticCustomError("tasks", "no tasks: add `tasks: [NAME, ...]`")
        names = [model.name for model in self.models]
        for name in names:
            if names.count(name) > 1:
                raise PydanticCustomError(
                    "twice", "two models are named '{name}': give each its own name", {"name": name}
                )
        if self.baseline is not None and self.baseline not in names:
            hint = {"name": self.baseline, "hint": nearest(self.baseline, names)}
            raise PydanticCustomError("baseline", "baseline '{name}' is none of the models; {hint}", hint)
        if self.limit is not None and self.first is not None:
            raise PydanticCustomError("subset", "`limit` and `first` exclude each other")
        return self


def _placed(use: Any, places: Mapping[str, Any]) -> Any:
    """Returns a task's entry with the local copy of its data, which it may name itself."""
    if not isinstance(use, Mapping) or use.get("task") not in places or use.get("data") is not None:
        return use
    return {**use, "data": places[str(use["task"])]}


def _name(model: Any) -> Any:
    """Returns the name of a model's entry, which may be checked already."""
    return model.get("name") if isinstance(model, Mapping) else getattr(model, "name", None)
