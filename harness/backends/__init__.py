"""Everything that can run a model, by the name a run file gives it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from harness.backends.base import Backend

if TYPE_CHECKING:
    from harness.config import ModelConfig


def _fake(config: ModelConfig) -> Backend:
    from harness.backends.fake import FakeBackend

    return FakeBackend.from_config(config)


def _transformers(config: ModelConfig) -> Backend:
    from harness.backends.transformers import TransformersBackend  # torch takes seconds to import

    return TransformersBackend(config)


def _openai(config: ModelConfig) -> Backend:
    from harness.backends.openai import OpenAIBackend

    return OpenAIBackend(config)


BACKENDS: dict[str, Callable[[ModelConfig], Backend]] = {
    "fake": _fake,
    "openai": _openai,
    "transformers": _transformers,
}
