"""Whatever answers requests, by the name a run file gives it, and what each says of itself before it is loaded.

What a backend can do and where it runs (`capabilities`, `place`) is asked of its class, once, in the plan; nothing
outside this room compares its name.

A new backend: a class with the methods of `base.Backend` in one file, and one line in `BACKENDS` of `config.model`. It
must pass the tests of `tests/backends` that every backend passes.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from harness.backends.base import Backend, Capabilities, ModelCard
from harness.config.model import BACKENDS, ModelConfig
from harness.errors import BackendError
from harness.security.egress import Place

__all__ = ["BACKENDS", "Backend", "Capabilities", "Load", "ModelCard", "Place", "about", "class_of", "load"]

Load = Callable[[ModelConfig], Backend]  # how a model gets to work


def about(config: ModelConfig) -> type[Backend]:
    """Returns what answers for a model before it is loaded: `capabilities` and `place`. Imports no library of it."""
    entry = BACKENDS[config.backend]
    return _found(entry.about or entry.at)


def load(config: ModelConfig) -> Backend:
    """Returns what runs a model, its weights in memory. Raises BackendError where its libraries are not installed."""
    return class_of(config)(config)  # type: ignore[call-arg]  # a protocol says nothing of constructors


def class_of(config: ModelConfig) -> type[Backend]:
    """Returns the class that runs a model. Raises BackendError where its libraries are not installed."""
    entry = BACKENDS[config.backend]
    try:
        return _found(entry.at)
    except ModuleNotFoundError as error:
        if not entry.needs:
            raise
        raise BackendError(
            f"backend '{config.backend}' needs the package {error.name}",
            where=f"model {config.name}",
            fix=f"pip install 'openweights-harness[{entry.needs}]'",
        ) from None


def _found(at: str) -> type[Backend]:
    module, _, name = at.partition(":")
    found: type[Backend] = getattr(import_module(module), name)
    return found
