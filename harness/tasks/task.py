"""A task with its samples: what every later step is given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.config.task import TaskConfig
from harness.scoring.value_text import text_of
from harness.tasks.samples import alike
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
    left_out: int = 0  # rows of the data that `without` leaves out
    sets: int = 0  # of the configurations that it reads: how many its data hold
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


def never_first(task: TaskConfig, samples: Sequence[Sample]) -> int:
    """Returns how many answers are read as places from 0, where none is 0 and the task does not say so; else 0."""
    if getattr(task, "answer_is", "") != "auto":
        return 0
    return len(samples) if all(_place_but_first(one, one.row.get(task.answer or "")) for one in samples) else 0


def _place_but_first(sample: Sample, answer: object) -> bool:
    place = text_of(answer).strip()
    return place.isdecimal() and int(place) > 0 and place not in sample.choices and bool(sample.choices)


def respelled(task: TaskConfig, samples: Sequence[Sample]) -> int:
    """Returns how many answers in the data are their sample's right choice but for case or blanks."""
    return sum(_respelled(sample, sample.row.get(task.answer or "")) for sample in samples)


def _respelled(sample: Sample, answer: object) -> bool:
    if not isinstance(answer, str) or sample.gold is None:
        return False
    right = sample.choices[sample.gold] if sample.choices else sample.labels[sample.gold]
    return answer.strip() != right and alike(answer) == alike(right)


def part_of(task: str, name: str) -> str:
    """Returns what a task is called that is one way to ask another: `task[name]`, of `task[a]` it is `task[a.name]`."""
    return f"{task[:-1]}.{name}]" if task.endswith("]") else f"{task}[{name}]"
