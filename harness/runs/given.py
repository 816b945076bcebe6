"""What Python hands over as objects: tasks that it made, and backends of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from harness.backends.base import Backend
from harness.config.assemble import Additions
from harness.config.model import ModelConfig
from harness.config.objects import BACKEND, PREFIX
from harness.errors import ConfigError, nearest
from harness.tasks.task import Task

METHODS = ("answer", "describe", "close")  # of a backend


@dataclass(frozen=True, slots=True)
class Given:
    """Objects by the names that the configuration has for them."""

    tasks: Mapping[str, Task] = field(default_factory=dict)
    backends: Mapping[str, Backend] = field(default_factory=dict)

    def task(self, name: str) -> Task:
        """Returns a task that a configuration names. Raises ConfigError for one that nobody handed over."""
        if name in self.tasks:
            return self.tasks[name]
        what = f"task '{name}' was made in Python, and only the program that made it can run it"
        raise ConfigError(what, fix=nearest(name, self.tasks) or "run that program again")

    def backend(self, config: ModelConfig) -> Backend:
        """Returns a backend that a configuration names. Raises ConfigError for one that nobody handed over."""
        if config.name in self.backends:
            return self.backends[config.name]
        what = f"model '{config.name}' is a backend made in Python, and only the program that made it can run it"
        raise ConfigError(what, fix=nearest(config.name, self.backends) or "run that program again")

    def loading(self, load: Callable[[ModelConfig], Backend]) -> Callable[[ModelConfig], Backend]:
        """Returns how a model gets to work: as `load` does, but for the objects, which stay open afterwards."""
        return lambda config: _Lent(self.backend(config)) if config.backend == BACKEND else load(config)


NOTHING = Given()  # no objects


class _Lent:
    """A backend that is not this run's to close."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def close(self) -> None:
        """Leaves it open: who made it closes it."""


def taken_out(added: Mapping[str, Any]) -> tuple[Additions, Given]:
    """Returns what is added to a run file, with names in the place of objects, and the objects by those names.

    Raises ConfigError for an addition that is not known, and for an object that is neither task nor backend.
    """
    for key in added:
        if key not in Additions.__dataclass_fields__:
            raise ConfigError(f"'{key}' is nothing that can be added to a run", fix=nearest(key, known_additions()))
    models = [_model(one) for one in _several(added.get("models", ()))]
    tasks = [_task(one) for one in _several(added.get("tasks", ()))]
    judge, judging = _model(added.get("judge"))
    given = Given({name: task for _, found in tasks for name, task in found.items()})
    backends = {name: backend for _, found in (*models, (judge, judging)) for name, backend in found.items()}
    names = {"models": [entry for entry, _ in models], "tasks": [entry for entry, _ in tasks], "judge": judge}
    return Additions(**{**added, **names}), replace(given, backends=backends)


def known_additions() -> list[str]:
    """Returns the names of what can be added to a run file."""
    return list(Additions.__dataclass_fields__)


def _several(value: Any) -> Sequence[Any]:
    """Returns the members of a list; one name or object alone is a list of one."""
    return list(value) if isinstance(value, list | tuple | set | frozenset) else [value]


def _task(value: Any) -> tuple[Any, dict[str, Task]]:
    if not isinstance(value, Task):
        return value, {}
    name = f"{PREFIX}{value.name}"
    return {"task": name}, {name: value}


def _model(value: Any) -> tuple[Any, dict[str, Backend]]:
    there = [method for method in METHODS if callable(getattr(value, method, None))]
    if "describe" not in there or isinstance(value, ModelConfig):
        return value, {}
    if lacking := [method for method in METHODS if method not in there]:
        what = f"a {type(value).__name__} is no backend: it has no {' and no '.join(lacking)}"
        raise ConfigError(what, fix="see harness.Backend for what a backend answers")
    name = str(getattr(value, "name", "") or type(value).__name__)
    return {"name": name, "backend": BACKEND}, {name: value}
