"""How a configuration names what only Python can hand over: a task made there, and a backend that is an object.

    {task: "python:tickets"}                a task of `harness.make_task`
    {name: mine, backend: python}           a backend of one's own

Such a name says that there is no file to look at. A run file may hold it, and then only the Python that made the object
can carry the run out.
"""

from __future__ import annotations

PREFIX = "python:"


def is_object(task: str) -> bool:
    """Returns whether a task's name is that of an object."""
    return task.startswith(PREFIX)
