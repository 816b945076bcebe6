"""The installed catalogue of lm-evaluation-harness (extra `lm-eval`), and lm-eval made ready to build a task."""

from __future__ import annotations

import contextlib
import io
import logging
import random
import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from harness.config.lm_eval_names import PREFIX, _is_path, _text
from harness.errors import TaskError, nearest

SEEDS = {"python": 0, "numpy": 1234, "shots": 1234}  # lm-eval's own defaults


def file_of(task: str) -> Path:
    """Returns the file that defines a task of lm-eval. Raises TaskError with the nearest name."""
    name = task.removeprefix(PREFIX)
    need_lm_eval(task)
    if _is_path(name):
        return Path(name)
    if name not in catalogue():
        raise TaskError(f"lm-eval has no task '{name}'", where="tasks", fix=nearest(name, catalogue()))
    return catalogue()[name]


def need_lm_eval(task: str) -> None:
    if find_spec("lm_eval") is None:
        what = f"'{task}' needs the package lm-eval, which is not installed"
        raise TaskError(what, where="tasks", fix="pip install 'openweights-harness[lm-eval]'")


NAMED = re.compile(r"^(?:task|group):[ \t]*['\"]?([^\s'\"#\[\]]+)", re.MULTILINE)
TAGGED = re.compile(r"^tag:((?:[ \t]*\S+)?(?:\n[ \t]*- .+)*)", re.MULTILINE)


@cache
def catalogue() -> Mapping[str, Path]:
    """Returns the file of every task, group and tag of the installed catalogue (of a tag: of one of its tasks).

    lm-eval's own index of it takes minutes.
    """
    import lm_eval

    files = sorted((Path(lm_eval.__file__).parent / "tasks").rglob("*.yaml"))
    texts = {path: _text(path) for path in files}
    tags = {
        tag: path
        for path, text in texts.items()
        for found in TAGGED.findall(text)
        for tag in found.split()
        if tag != "-"
    }
    return tags | {name: path for path, text in texts.items() for name in NAMED.findall(text)}


def manager_of(folder: Path) -> Any:
    """Returns lm-eval's index of one folder of task files."""
    from lm_eval.tasks import TaskManager

    return TaskManager(include_path=str(folder), include_defaults=False)


@contextlib.contextmanager
def as_lm_eval() -> Iterator[None]:
    """Seeds what lm-eval seeds before it makes tasks, and keeps its progress bars off the screen."""
    import numpy as np

    log = logging.getLogger("lm_eval")
    level, state, numpy_state = log.level, random.getstate(), np.random.get_state()
    log.setLevel(logging.ERROR)
    random.seed(SEEDS["python"])
    np.random.seed(SEEDS["numpy"])
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        log.setLevel(level)
        random.setstate(state)
        np.random.set_state(numpy_state)
