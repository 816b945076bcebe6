"""Sample and shots to what the model is asked: text or messages, never token ids.

`{column}` is the whole template language. A value is put in as it is and never read as a template itself.
`{choices}` stands for the lettered choices, one a line, in a task that has choices.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from harness.config import TaskConfig
from harness.errors import TaskError, nearest
from harness.tasks import LETTERS
from harness.values import Message, Sample

_FIELD = re.compile(r"\{\{|\}\}|\{([^{}\n]*)\}")


def columns_of(template: str) -> tuple[str, ...]:
    """Returns the columns a template names, in order of appearance."""
    return tuple(dict.fromkeys(match[1] for match in _FIELD.finditer(template) if match[1] is not None))


def fill(template: str, values: Mapping[str, Any]) -> str:
    """Returns the template with each `{column}` replaced by the text of its value; `{{` and `}}` are braces.

    Raises KeyError for a column that is not in `values`.
    """

    def replace(match: re.Match[str]) -> str:
        if match[1] is None:
            return match[0][0]
        return as_text(values[match[1]])

    return _FIELD.sub(replace, template)


def as_text(value: Any) -> str:
    """Returns how a value stands in a prompt: text as it is, nothing for None, JSON for lists and mappings."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bool | int | float):
        return str(value)
    return json.dumps(value, ensure_ascii=False, default=str)


def check_columns(task: TaskConfig, rows: Sequence[Mapping[str, Any]], where: str) -> None:
    """Raises TaskError for a `{column}` of the task that its data do not have."""
    known = set(rows[0])
    extra = {"choices"} if task.choices is not None else set()
    for key in ("prompt", "description", "system"):
        for column in columns_of(getattr(task, key) or ""):
            if column not in known | extra:
                hint = (
                    nearest(column, known | extra)
                    if re.fullmatch(r"[\w .-]+", column)
                    else "write {{ and }} for braces"
                )
                raise TaskError(f"{key} names column '{column}', which the data do not have", where=where, fix=hint)


def render(task: TaskConfig, sample: Sample, shots: Sequence[Sample], chat: bool) -> str | tuple[Message, ...]:
    """Returns what is asked about one sample.

    Text: description, then each shot with its answer, then the question. Messages (`chat`): system text and
    description as the system message, a user and an assistant turn for each shot, then the question.
    """
    description = fill(task.description, _values(sample)) if task.description else ""
    question = fill(task.prompt, _values(sample))
    if not chat:
        system = task.system + task.separator if task.system else ""
        examples = "".join(
            fill(task.prompt, _values(shot)) + task.delimiter + answer_text(shot) + task.separator for shot in shots
        )
        return system + description + examples + question
    head = "\n\n".join(part.strip() for part in (task.system, description) if part and part.strip())
    turns = [Message("system", head)] if head else []
    for shot in shots:
        turns += [Message("user", fill(task.prompt, _values(shot))), Message("assistant", answer_text(shot))]
    return (*turns, Message("user", question))


def continuations(task: TaskConfig, sample: Sample, chat: bool) -> tuple[str, ...]:
    """Returns what is scored after the prompt, one for each choice; under a chat template without the delimiter."""
    return tuple(("" if chat else task.delimiter) + label for label in sample.labels)


def answer_text(sample: Sample) -> str:
    """Returns the right answer as a shot shows it."""
    return as_text(sample.expected)


def _values(sample: Sample) -> Mapping[str, Any]:
    if not sample.choices:
        return sample.row
    lines = "\n".join(f"{letter}. {text}" for letter, text in zip(LETTERS, sample.choices))
    return {**sample.row, "choices": lines}
