"""Evaluation of open-weights language models on your own workflow.

import harness
run = harness.run("quickstart")
print(run.table())
run.records()  # a pandas DataFrame
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness import errors, stats
    from harness.api import (
        Event,
        Prepared,
        Run,
        bench,
        check,
        cost_of,
        open_run,
        plan,
        prepare,
        run,
        score,
        tables,
        verify,
    )
    from harness.backends.base import Backend, Capabilities
    from harness.config.assemble import Additions, assemble
    from harness.config.machine import MachineConfig
    from harness.config.model import LocalModel, ProviderModel, RecordedModel, ScriptedModel, ServerModel
    from harness.config.run import RunConfig, TaskUse
    from harness.config.task import TaskConfig
    from harness.errors import HarnessError
    from harness.runs.events import Answered, Finished, Judged, Loaded, Started, Stopped, Timed, UnderLoad
    from harness.runs.plan import Plan
    from harness.security.seal import Seal
    from harness.store.schema.notes import Note
    from harness.store.schema.rows import Row, Summary
    from harness.tasks.given import Scorer, make_task
    from harness.tasks.load import load_task
    from harness.tasks.task import Task
    from harness.values import (
        Estimate,
        Failure,
        Message,
        Record,
        Request,
        Response,
        Sample,
        Sampling,
    )

_WHERE = {
    "harness.api": "Event Prepared Run bench check cost_of open_run plan prepare run score tables verify",
    "harness.backends.base": "Backend Capabilities",
    "harness.config.assemble": "Additions assemble",
    "harness.config.machine": "MachineConfig",
    "harness.config.model": "LocalModel ProviderModel RecordedModel ScriptedModel ServerModel",
    "harness.config.run": "RunConfig TaskUse",
    "harness.config.task": "TaskConfig",
    "harness.errors": "HarnessError",
    "harness.runs.events": "Answered Finished Judged Loaded Started Stopped Timed UnderLoad",
    "harness.runs.plan": "Plan",
    "harness.security.seal": "Seal",
    "harness.store.schema.notes": "Note",
    "harness.store.schema.rows": "Row Summary",
    "harness.tasks.given": "Scorer make_task",
    "harness.tasks.load": "load_task",
    "harness.tasks.task": "Task",
    "harness.values": "Estimate Failure Message Record Request Response Sample Sampling",
}
_HOME = {name: module for module, names in _WHERE.items() for name in names.split()}

__all__ = [
    "Additions",
    "Answered",
    "Backend",
    "Capabilities",
    "Estimate",
    "Event",
    "Failure",
    "Finished",
    "HarnessError",
    "Judged",
    "Loaded",
    "LocalModel",
    "MachineConfig",
    "Message",
    "Note",
    "Plan",
    "Prepared",
    "ProviderModel",
    "Record",
    "RecordedModel",
    "Request",
    "Response",
    "Row",
    "Run",
    "RunConfig",
    "Sample",
    "Sampling",
    "Scorer",
    "ScriptedModel",
    "Seal",
    "ServerModel",
    "Started",
    "Stopped",
    "Summary",
    "Task",
    "TaskConfig",
    "TaskUse",
    "Timed",
    "UnderLoad",
    "assemble",
    "bench",
    "check",
    "cost_of",
    "errors",
    "load_task",
    "make_task",
    "open_run",
    "plan",
    "prepare",
    "run",
    "score",
    "stats",
    "tables",
    "verify",
]


def __getattr__(name: str) -> Any:
    """Returns a name from its room when it is first asked for: importing the package takes no time and no torch."""
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    if name in __all__:  # a room of its own
        return import_module(f"harness.{name}")
    raise AttributeError(f"module 'harness' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)
