"""A task file and its rows to samples, and the shots shown before each."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness.config.task import Columns, PromptConfig, TaskConfig
from harness.tasks.data.lazy import made
from harness.values import Sample

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True, slots=True)
class Task:
    """A task with its samples, in the order of the data."""

    config: TaskConfig
    path: Path  # of the task file
    samples: Sequence[Sample]
    pool: Sequence[Sample]  # what shots are drawn from
    data_digest: str
    data_origin: str
    format_of: str = ""  # the task of whose prompt this is another format (harness.tasks.prompt_layouts)

    @property
    def name(self) -> str:
        """Returns the task's name."""
        return self.config.task

    @property
    def family(self) -> str:
        """Returns the task's name without the prompt's: shots and subsets are drawn alike for all of its prompts."""
        return self.config.task.partition("[")[0]

    @property
    def where(self) -> str:
        """Returns what messages name: the task file and the data really read."""
        return f"{self.path} ({self.data_origin})"


def asked_by(task: Task, name: str, prompt: PromptConfig, format_of: str = "") -> Task:
    """Returns the task with another of its prompts; it is then named `task[name]`, or `task[its prompt.name]`."""
    given = {key: value for key, value in prompt if value is not None}
    config = task.config.model_copy(update={**given, "task": part_of(task.name, name), "prompts": None})
    turn = config.rotate - task.config.rotate
    laid_out = lambda _, one: _laid_out(config, one, turn)
    samples, pool = (made(several, laid_out) for several in (task.samples, task.pool))
    return replace(task, config=config, samples=samples, pool=pool, format_of=format_of)


def part_of(task: str, name: str) -> str:
    """Returns what a task is called that is one way to ask another: `task[name]`, of `task[a]` it is `task[a.name]`."""
    return f"{task[:-1]}.{name}]" if task.endswith("]") else f"{task}[{name}]"


def name_of(labels: str, i: int) -> str:
    """Returns what the i-th choice is called, from 0: A, a or 1 for the first, as the style of labels has it."""
    return str(i + 1) if "1" in labels else LETTERS[i].lower() if "a" in labels else LETTERS[i]


def label_of(labels: str, i: int) -> str:
    """Returns the label before the i-th choice: its name in the dress of the style, as (A) or 1."""
    return re.sub("[Aa1]", name_of(labels, i), labels)


def _laid_out(config: TaskConfig, sample: Sample, turn: int) -> Sample:
    """Returns a sample of the task's with its choices turned round by so many places, and labelled in its style."""
    n = len(sample.choices)
    if n == 0:
        return replace(sample, task=config.task)
    order = [(i + turn) % n for i in range(n)]
    choices = tuple(sample.choices[i] for i in order)
    labels = choices if config.continuation == "text" else tuple(name_of(config.labels, i) for i in range(n))
    right = tuple(sorted(order.index(i) for i in sample.right))
    gold = right[0] if right else order.index(sample.gold)
    row = dict(sample.row)
    if isinstance(config.choices, Columns):
        row |= {column: sample.row[config.choices.columns[i]] for column, i in zip(config.choices.columns, order)}
    elif isinstance(config.choices, str):
        row[config.choices] = list(choices)
    changed = {"row": row, "expected": labels[gold], "choices": choices, "labels": labels, "gold": gold}
    return replace(sample, task=config.task, right=right, **changed)
