"""Models that several tests of backends load."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.written_models import write_model


@pytest.fixture(scope="session")
def models(tmp_path_factory) -> Callable[..., Path]:
    """Returns the folder of a random model, written once a session."""
    root, made = tmp_path_factory.mktemp("models"), {}

    def get(kind: str, **options) -> Path:
        name = "-".join([kind, *(f"{key}{value}" for key, value in options.items())])
        if name not in made:
            made[name] = write_model(root / name, kind, **options)
        return made[name]

    return get
