"""Sample and shots to what the model is asked: text or messages, never token ids.

`{column}` is the whole template language. A value is put in as it is and never read as a template itself.
`{choices}` stands for the lettered choices, one a line, in a task that has choices.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from harness.config.task import TaskConfig
from harness.errors import TaskError, nearest
from harness.tasks.task import LETTERS, label_of
from harness.values import Message, Prompt, Sample

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


ASKED = ("prompt", "target", "ending", "description", "system")  # what a question is made of
SHOWN = ASKED[:3]  # what a shot is made of


def check_columns(task: TaskConfig, samples: Sequence[Sample], where: str, keys: Sequence[str] = ASKED) -> None:
    """Raises TaskError for a `{column}` of the task's `keys` that its data, or one of their rows, do not have."""
    known = set(samples[0].row)
    extra = {"choices"} if task.choices is not None else set()
    named = [(key, getattr(task, key) or "") for key in keys]
    named += [("turns", turn) for turn in task.turns] if isinstance(task.turns, tuple) else []
    for key, template in named:
        for column in columns_of(template):
            if column not in known | extra:
                hint = (
                    nearest(column, known | extra)
                    if re.fullmatch(r"[\w .-]+", column)
                    else "write {{ and }} for braces"
                )
                raise TaskError(f"{key} names column '{column}', which the data do not have", where=where, fix=hint)
            lacking = ((i, one.id) for i, one in enumerate(samples, 1) if column not in one.row and column not in extra)
            if short := next(lacking, None):
                what = f"{key} names column '{column}', which row {short[0]} (sample {short[1]}) does not have"
                raise TaskError(what, where=where, fix="give the row that key, empty if it has no value")


def render(task: TaskConfig, sample: Sample, shots: Sequence[Sample], chat: bool) -> Prompt:
    """Returns what is asked about one sample.

    Text: description, then each shot with its answer, then the question. Messages (`chat`): system text and
    description as the system message, a user and an assistant turn for each shot, then the question. Of a generated
    task either ends with the answer's beginning (`prefill`), where a shot has its answer. Of a conversation it is what
    the first answer follows.
    """
    description = fill(task.description, _values(task, sample)) if task.description else ""
    question = _said(task, asked(task, sample)[0], chat)
    begun = task.prefill if task.writes else ""
    if not chat:
        system = task.system + task.separator if task.system else ""
        examples = "".join(
            asked(task, shot)[0] + _answered(task, shot, task.delimiter) + task.separator for shot in shots
        )
        return Prompt(system + description + examples + question + (task.delimiter + begun if begun else ""))
    head = "\n\n".join(part.strip() for part in (task.system, description) if part and part.strip())
    turns = [Message("system", head)] if head else []
    for shot in shots:
        turns += [Message("user", asked(task, shot)[0]), Message("assistant", _answered(task, shot, ""))]
    ends = [Message("assistant", begun)] if begun else []
    return Prompt(messages=(*turns, Message("user", question), *ends))


def asked(task: TaskConfig, sample: Sample) -> tuple[str, ...]:
    """Returns what the user says: one text, or that of each turn. The texts of a column are no templates."""
    if task.turns is None:
        return (fill(task.prompt, _values(task, sample)),)
    if isinstance(task.turns, str):
        return tuple(sample.row[task.turns])
    return tuple(fill(turn, sample.row) for turn in task.turns)


def later(task: TaskConfig, sample: Sample, chat: bool) -> tuple[Prompt, ...]:
    """Returns what is added after each answer of a conversation but the last: the user's next turn."""
    begun = task.prefill
    if chat:
        ends = [Message("assistant", begun)] if begun else []
        return tuple(Prompt(messages=(Message("user", turn), *ends)) for turn in asked(task, sample)[1:])
    end = task.delimiter + begun if begun else ""
    return tuple(Prompt(task.separator + _said(task, turn, chat) + end) for turn in asked(task, sample)[1:])


def replied(task: TaskConfig, answer: str, chat: bool) -> str:
    """Returns an answer as it stands in a conversation: as it is in messages, in a transcript as a shot's answer does.

    Tokenizers differ in whether they tell the blank before the first word; so it is the task's.
    """
    if chat:
        return answer
    return answer.rstrip() if task.prefill else (task.delimiter + answer.strip()).rstrip()


ANSWER = "(the model's answer)"  # in what is shown to people: where a conversation goes on after it


def script(task: TaskConfig, sample: Sample, shots: Sequence[Sample]) -> str:
    """Returns what is asked about one sample, for people: of a conversation all turns, as text."""
    prompt = render(task, sample, shots, chat=False)
    for more in later(task, sample, chat=False):
        prompt = prompt.answered(replied(task, ANSWER, chat=False), more)
    return prompt.content


def ends_turn(task: TaskConfig, chat: bool) -> tuple[str, ...]:
    """Returns what ends an answer in a transcript, beside the task's stop strings: the opening of the user's turn."""
    opening = task.transcript.partition("{turn}")[0].strip()
    return (f"\n{opening}",) if task.kind == "conversation" and not chat and opening else ()


def _said(task: TaskConfig, text: str, chat: bool) -> str:
    """Returns a turn of the user as it is put before the model."""
    return task.transcript.replace("{turn}", text) if task.kind == "conversation" and not chat else text


def continuations(task: TaskConfig, sample: Sample, chat: bool) -> tuple[str, ...]:
    """Returns what is scored after the prompt: for each choice, or the answer (cloze, perplexity).

    Under a chat template it comes without the delimiter, unless something is `given` before it.
    """
    if task.kind == "perplexity":
        return (answer_text(task, sample),)
    if task.kind == "pairs":
        return tuple(sample.row["continuations"])
    if task.ending:
        return (task.delimiter + fill(task.ending, sample.row),) * len(sample.choices)
    scored = sample.labels if task.kind == "choice" else (answer_text(task, sample),)
    return tuple(("" if chat else task.delimiter) + text for text in scored)


def given(task: TaskConfig, sample: Sample) -> tuple[str, ...]:
    """Returns what follows the prompt before each continuation: the choices, if it is an ending that is scored."""
    if task.kind == "pairs":
        return tuple(sample.row["given"])
    return sample.choices if task.ending else ()


def answer_text(task: TaskConfig, sample: Sample) -> str:
    """Returns the right answer as one would write it."""
    return fill(task.target, sample.row) if task.target else as_text(sample.expected)


def _answered(task: TaskConfig, shot: Sample, delimiter: str) -> str:
    """Returns what follows the prompt of a shot."""
    if task.ending:
        return shot.choices[shot.gold or 0] + task.delimiter + fill(task.ending, shot.row)
    return delimiter + answer_text(task, shot)


def _values(task: TaskConfig, sample: Sample) -> Mapping[str, Any]:
    if not sample.choices:
        return sample.row
    lines = "\n".join(f"{label_of(task.labels, i)} {text}" for i, text in enumerate(sample.choices[: len(LETTERS)]))
    return {**sample.row, "choices": lines}
