"""What would stop a run in its middle, looked for before anything runs: a key or a package that is not there."""

from __future__ import annotations

from collections.abc import Collection

from harness.backends import class_of
from harness.config.model import RemoteModel
from harness.errors import BackendError
from harness.runs.plan import Plan


def refuse_unready(plan: Plan, done: Collection[str]) -> None:
    """Raises BackendError for the first model that is still to be asked and cannot be; `done` are keys of requests."""
    owing = [m for m in plan.models if any(r.key not in done for c in plan.cells if c.model is m for r in c.requests)]
    for model in (*owing, *((plan.judge,) if plan.judge is not None else ())):
        if not isinstance(model.config, RemoteModel):
            continue
        if lacks := model.place.lacks:
            where, fix = f"model {model.config.name}", "set it and give the same command again; nothing was asked yet"
            raise BackendError(lacks, where=where, fix=fix)
        class_of(model.config)
