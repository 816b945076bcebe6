"""What `harness tasks` and `harness models` print."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from harness.config.machine import MachineConfig, read_machine
from harness.cost.projection import Projection, projection, served
from harness.errors import ConfigError
from harness.measure.device_memory import free_memory
from harness.models.folder import ModelFolder, demo_names, read_folder
from harness.reports import model_text, task_text
from harness.tasks.catalogue import bundled_tasks, config_of, names_one

TOKENS = "1000,300"  # in and out, of a request that a projection is for


def tasks(name: str | None, as_json: bool) -> str:
    """Returns the bundled tasks, a line each; those that a word is found in; or one task with a rendered prompt."""
    if name is not None and names_one(name):
        if as_json:
            return json.dumps(config_of(name).model_dump(mode="json", by_alias=True), ensure_ascii=False)
        return task_text.one(name)
    found = bundled_tasks(name)
    if as_json:
        return json.dumps([each.model_dump(mode="json", by_alias=True) for each in found], ensure_ascii=False)
    return task_text.catalogue(found)


def models(paths: Sequence[str], as_json: bool, machine: str | None = None, tokens: str = TOKENS) -> str:
    """Returns what is known of each model; without paths, of the demo models that ship with the package.

    With a `machine` also what it should do there, projected for requests of `tokens`: as many in, as many out.
    """
    priced, (read, written) = read_machine(machine), _lengths(tokens)
    found = [read_folder(path, *free_memory()) for path in paths or demo_names()]
    beside = [None if priced is None else _projected(model, priced, read, written) for model in found]
    if not as_json:
        return model_text.text(found, beside)
    added = ({} if each is None else {"projected": each.as_json()} for each in beside)
    return json.dumps([model.as_json() | more for model, more in zip(found, added)], ensure_ascii=False)


def _projected(model: ModelFolder, machine: MachineConfig, read: int, written: int) -> Projection:
    return projection(served(model.path, model.info), machine, read, written)


def _lengths(tokens: str) -> tuple[int, int]:
    """Returns the tokens in and out that `IN,OUT` says."""
    found = re.fullmatch(r"\s*([1-9]\d{0,6})\s*,\s*(\d{1,7})\s*", tokens)
    if found is None:
        raise ConfigError(f"'{tokens}' is no length of a request", where="--tokens", fix=f"as in --tokens {TOKENS}")
    return int(found[1]), int(found[2])
