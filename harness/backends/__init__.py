"""Everything that can run a model, by the name a run file gives it."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING

from harness.backends.base import Backend
from harness.backends.capabilities import can_score, takes_messages
from harness.errors import BackendError
from harness.security.egress import egress, where

if TYPE_CHECKING:
    from harness.config.model import ModelConfig

__all__ = ["BACKENDS", "Backend", "can_score", "egress", "takes_messages", "where"]


def _fake(config: ModelConfig) -> Backend:
    from harness.backends.scripted import FakeBackend

    return FakeBackend.from_config(config)


def _transformers(config: ModelConfig) -> Backend:
    from harness.backends.local.backend import TransformersBackend  # torch takes seconds to import

    return TransformersBackend(config)


def _recorded(config: ModelConfig) -> Backend:
    from harness.backends.recorded.backend import RecordedBackend

    return RecordedBackend(config)


_SDKS = {"openai": "OpenAIBackend", "anthropic": "AnthropicBackend", "google": "GoogleBackend"}


def _api(config: ModelConfig) -> Backend:
    try:
        module = import_module(
            f"harness.backends.servers.{config.backend}"
        )  # the providers' packages take seconds to import
    except ModuleNotFoundError as error:
        raise BackendError(
            f"backend '{config.backend}' needs the package {error.name}",
            where=f"model {config.name}",
            fix="pip install 'openweights-harness[api]'",
        ) from None
    return getattr(module, _SDKS[config.backend])(config)


BACKENDS: dict[str, Callable[[ModelConfig], Backend]] = {
    "fake": _fake,
    "openai": _api,
    "anthropic": _api,
    "google": _api,
    "recorded": _recorded,
    "transformers": _transformers,
}
