"""What Python hands over as objects: tasks that it made, and backends of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from harness.backends.base import Backend, Capabilities, ModelCard
from harness.config.assemble import Additions
from harness.config.model import ModelConfig, ObjectModel
from harness.config.objects import PREFIX
from harness.errors import ConfigError, nearest
from harness.security.egress import HERE, Place
from harness.tasks.task import Task
from harness.values import Request, Response

if TYPE_CHECKING:
    from harness.engine.score.prefix_walk import EngineStats

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

    def about(self, config: ModelConfig) -> tuple[Capabilities, Place]:
        """Returns what can be asked of such a backend and where it runs: as its class says, else all of it, here."""
        kind: Any = type(self.backend(config))
        can = kind.capabilities(config) if hasattr(kind, "capabilities") else Capabilities(loglikelihood=True)
        return can, kind.place(config) if hasattr(kind, "place") else HERE

    def loading(self, load: Callable[[ModelConfig], Backend]) -> Callable[[ModelConfig], Backend]:
        """Returns how a model gets to work: as `load` does, but for the objects, which stay open afterwards."""
        return lambda config: Lent(self.backend(config)) if isinstance(config, ObjectModel) else load(config)


NOTHING = Given()  # no objects


class Lent:
    """A backend that is not this run's to close."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    @classmethod
    def capabilities(cls, config: ModelConfig) -> Capabilities:
        """Returns nothing: what such a backend can is known only of the object."""
        return Capabilities(loglikelihood=False, writing=frozenset())

    @classmethod
    def place(cls, config: ModelConfig) -> Place:
        """Returns this machine, where the object is."""
        return HERE

    def answer(self, requests: Sequence[Request]) -> Iterator[Response]:
        """Yields its responses."""
        return self._backend.answer(requests)

    def describe(self) -> ModelCard:
        """Returns what it says of itself; of one that says nothing in a card, its class."""
        said = self._backend.describe()
        return said if isinstance(said, ModelCard) else ModelCard(type(self._backend).__name__, "python", HERE.name)

    def computed(self) -> EngineStats | None:
        """Returns what it counted, if it counts."""
        count = getattr(self._backend, "computed", None)
        found: EngineStats | None = None if count is None else count()
        return found

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
    return {"name": name, "backend": "python"}, {name: value}
