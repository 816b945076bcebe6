"""A choice task asked as text: what a model gets that does not tell the log-probability of given text.

The two are different measurements and have different names (`task` and `task[generated]`): two rows, never one
comparison. For a fair one, every model of the comparison gets the twin.
"""

from __future__ import annotations

import re
from dataclasses import replace

from harness.config.task import TaskConfig
from harness.errors import TaskError
from harness.tasks.data.lazy import made
from harness.tasks.prompts import columns_of
from harness.tasks.task import LETTERS, Task, name_of, part_of
from harness.values import Sample

BY_LETTER = "Answer with the letter of the right choice and nothing else."
BY_NAME = "Answer with one of these and nothing else: {}."
# what stands before the last line, what parts them (as in `prompt_layouts`), a last line that asks for the answer
_LAST_LINE = re.compile(r"(.+?)(\n+| \|\| )((?:(?! \|\| )[^\n])*[:-]\s*)", re.DOTALL)


def twin(task: Task) -> Task:
    """Returns the task asked as text: a fixed list is answered by name, choices that differ by row by letter.

    The instruction joins the description, so that shots and question stay as they are. Choices that the prompt does
    not show are listed before its last line. Raises TaskError for a task that is no choice of one out of several.
    """
    config = task.config
    if config.kind != "choice" or config.ending or any(sample.right for sample in task.samples):
        raise TaskError(
            f"task '{task.name}' cannot be asked as text",
            where=task.where,
            fix="leave `as: generate` out: only choices of which one is right have a generated twin",
        )
    by_name = isinstance(config.choices, tuple) and config.continuation == "text"
    if not by_name and (most := max(len(sample.choices) for sample in task.samples)) > len(LETTERS):
        raise TaskError(
            f"a row has {most} choices, and letters name {len(LETTERS)}",
            where=task.where,
            fix="leave `as: generate` out, or write the choices as a fixed list",
        )
    name = part_of(task.name, "generated")
    told = BY_NAME.format(", ".join(map(_braced, config.choices))) if by_name else BY_LETTER
    if "1" in config.labels:
        told = told.replace("the letter", "the number")
    changed = config.model_copy(
        update={
            "task": name,
            "kind": "generate",
            "choices": None,
            "continuation": "text",
            "answer_is": "auto",
            "description": f"{config.description.rstrip()}\n\n{told}\n\n".lstrip("\n"),
            "prompt": config.prompt if by_name else _listing(config),
            "costs": config.costs if by_name else None,
            "extract": "label" if by_name else "letter",
            "score": "exact_match",
        }
    )
    style = None if by_name else config.labels
    samples, pool = (made(several, lambda _, one: _asked(one, name, style)) for several in (task.samples, task.pool))
    format_of = task.format_of and part_of(task.format_of, "generated")
    return replace(task, config=changed, samples=samples, pool=pool, format_of=format_of)


def _asked(sample: Sample, name: str, style: str | None) -> Sample:
    labels = tuple(name_of(style, i) for i in range(len(sample.choices))) if style else sample.labels
    return replace(sample, task=name, labels=labels, expected=labels[sample.gold or 0])


def _listing(config: TaskConfig) -> str:
    """Returns the prompt with the lettered choices before its last line, if that asks for the answer."""
    if "choices" in columns_of(config.prompt):
        return config.prompt
    if parts := _LAST_LINE.fullmatch(config.prompt):
        before, gap, last = parts.groups()
        return f"{before}{gap}{{choices}}{gap}{last}"
    return f"{config.prompt}\n{{choices}}\nAnswer:"


def _braced(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")
