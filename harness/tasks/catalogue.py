"""The tasks that ship with the package: all of them, or those that a word is found in."""

from __future__ import annotations

from pathlib import Path

from harness.config import lm_eval_names
from harness.config.files import find_file
from harness.config.run import TaskUse
from harness.config.task import TaskConfig
from harness.tasks import lm_eval_catalogue
from harness.tasks.kinds import read_task
from harness.tasks.load import load_task, task_names


def bundled_tasks(word: str | None = None) -> list[TaskConfig]:
    """Returns the bundled tasks, or those with a word in their name, kind, licence or description, in any case.

    Raises ConfigError, with the nearest name, where there is none.
    """
    every = [read_task(find_file(name, "tasks"))[0] for name in task_names()]
    found = every if word is None else [config for config in every if _speaks_of(config, word)]
    if word is not None and not found:
        find_file(word, "tasks")  # raises
    return found


def _speaks_of(config: TaskConfig, word: str) -> bool:
    told = (config.task, config.kind, config.licence, config.asks, config.source)
    return any(word.casefold() in text.casefold() for text in told)


def names_one(name: str) -> bool:
    """Returns whether this is one task's name or file, and no word to search for."""
    return lm_eval_names.is_named(name) or name in task_names() or name.endswith((".yaml", ".yml")) or "/" in name


def file_of(name: str) -> Path:
    """Returns the file that defines a task: bundled, of lm-eval, or one's own."""
    return lm_eval_catalogue.file_of(name) if lm_eval_names.is_named(name) else find_file(name, "tasks")


def config_of(name: str) -> TaskConfig:
    """Returns the settings of a task. Of a task of lm-eval they follow from its own file, and its data are read."""
    if lm_eval_names.is_named(name):
        return load_task(TaskUse(task=name)).config
    return read_task(find_file(name, "tasks"))[0]
