"""Names of tasks of lm-evaluation-harness in a run file: `lm_eval:arc_easy`, `lm_eval:my_tasks/tickets.yaml`."""

from __future__ import annotations

import re
from pathlib import Path

from harness.errors import TaskError

PREFIX = "lm_eval:"


def is_named(task: str) -> bool:
    """Tells if a task of a run is one of lm-eval's."""
    return task.startswith(PREFIX)


def reads_hub(task: str) -> bool:
    """Tells if lm-eval fetches the data of a task: it does unless the task's file names a local format."""
    name = task.removeprefix(PREFIX)
    if not _is_path(name):
        return True
    local = re.search(r"^dataset_path:\s*(json|csv|parquet|text|arrow)\s*$", _text(Path(name)), re.MULTILINE)
    return local is None


def _is_path(name: str) -> bool:
    return name.endswith((".yaml", ".yml")) or "/" in name


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        raise TaskError(f"no file {path}", where="tasks", fix="check the path") from None
