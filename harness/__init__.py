"""Evaluation of open-weights language models on your own workflow.

import harness
run = harness.run("quickstart")
print(run.table())
run.records()  # a pandas DataFrame
"""

from typing import TYPE_CHECKING, Any

from harness.errors import HarnessError

if TYPE_CHECKING:
    from harness.api import Run, open_run, run

__all__ = ["HarnessError", "Run", "open_run", "run"]


def __getattr__(name: str) -> Any:
    """Returns what a run takes when it is first asked for, so that the command line starts without it."""
    if name in __all__:
        from harness import api

        return getattr(api, name)
    raise AttributeError(f"module 'harness' has no attribute '{name}'")
