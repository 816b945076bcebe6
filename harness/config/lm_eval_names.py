"""Tasks of lm-evaluation-harness (extra `lm-eval`), asked by our engine and judged by their own code.

    lm_eval:arc_easy                 a task, group or tag of the installed catalogue
    lm_eval:my_tasks/tickets.yaml    a task file in lm-eval's form

Their task objects write the prompts (all of them, in order: their shots come from one stream of random numbers) and
judge the answers; between the two everything is ours. A task file of one's own may bring Python, so its answers are
judged only by a process that was given the file. Tasks that run code or show pictures are refused. One difference: of
a whole text (rolling), the token that opens it is not judged; lm-eval does so too with add_bos_token=False.
"""

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
