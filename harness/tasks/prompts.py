"""Sample and shots to what the model is asked: text or messages, never token ids.

`{column}` is the whole template language. A value is put in as it is and never read as a template itself.
`{choices}` stands for the lettered choices, one a line, in a task that has choices.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence

from harness.config.task import Asking, Question, TaskConfig
from harness.errors import TaskError, nearest
from harness.scoring.value_text import text_of
from harness.tasks.samples import rows_of
from harness.values import Message, Prompt, Sample

_FIELD = re.compile(r"\{\{|\}\}|\{([^{}\n]*)\}")


def columns_of(template: str) -> tuple[str, ...]:
    """Returns the columns a template names, in order of appearance."""
    return tuple(dict.fromkeys(match[1] for match in _FIELD.finditer(template) if match[1] is not None))


def fill(template: str, values: Mapping[str, object]) -> str:
    """Returns the template with each `{column}` replaced by the text of its value; `{{` and `}}` are braces.

    Raises KeyError for a column that is not in `values`.
    """

    def replace(match: re.Match[str]) -> str:
        if match[1] is None:
            return match[0][0]
        return text_of(values[match[1]])

    return _FIELD.sub(replace, template)


SHOWN = ("prompt", "target", "ending", "instruction", "cue")  # what a shot is made of
ASKED = (*SHOWN, "description", "system")  # what a question is made of


def check_columns(task: TaskConfig, samples: Sequence[Sample], where: str, keys: Sequence[str] = ASKED) -> None:
    """Raises TaskError for a `{column}` of the task's `keys` that its data, or one of their rows, do not have."""
    rows = rows_of(samples)
    known = set(rows[0])
    extra = {"choices"} & task.choice_names
    named = [(key, getattr(task, key, None) or "") for key in keys]
    named += [("turns", turn) for turn in task.turn_texts]
    for key, template in named:
        if (doubled := _doubled(template, known | extra)) is not None:
            written, column = doubled
            what = f"{key}: '{written:.60}' stands in the prompt as it is: two braces are one brace of the text"
            raise TaskError(what, where=where, fix=f"write {{{column}}} for what stands in the column")
        for column in columns_of(template):
            if column not in known | extra:
                hint = (
                    nearest(column, known | extra)
                    if re.fullmatch(r"[\w .-]+", column)
                    else "write {{ and }} for braces"
                )
                raise TaskError(f"{key} names column '{column}', which the data do not have", where=where, fix=hint)
            lacking = (i for i, row in enumerate(rows) if column not in row and column not in extra)
            if (short := next(lacking, None)) is not None:
                what = (
                    f"{key} names column '{column}', which row {short + 1} (sample {samples[short].id}) does not have"
                )
                raise TaskError(what, where=where, fix="give the row that key, empty if it has no value")


# two braces on either side and no third, with a name in them, and perhaps what Jinja does to it
_DOUBLED = re.compile(r"(?<!\{)\{\{(?!\{)[ \t-]*([^{}\n\"'|,:]+?)[ \t-]*(?:[|.\[(][^{}\n]*)?\}\}(?!\})")


def _doubled(template: str, known: Iterable[str]) -> tuple[str, str] | None:
    """Returns the first `{{column}}` of a template as it is written, and the column that is meant; None without one."""
    by_name = {name.casefold(): name for name in known}
    for match in _DOUBLED.finditer(template):
        name = match[1].casefold()
        below = match[0].strip("{} ").casefold().partition(".")[2]  # as lm-eval's `doc.column`
        if (column := by_name.get(name) or by_name.get(below)) is not None:
            return match[0], column
    return None


def values_of(sample: Sample) -> Mapping[str, object]:
    """Returns what the columns of a template stand for: the sample's row, and `choices` where it has some."""
    if not sample.choices:
        return sample.row
    return {**sample.row, "choices": "\n".join(f"{mark} {text}" for mark, text in zip(sample.marks, sample.choices))}


MAY_SPELL = re.compile(r"[<\[＜〈◁]")  # no model's control token is spelt without a bracket


def spelling(values: Mapping[str, object]) -> tuple[str, ...]:
    """Returns the values of a template that may spell a control token of some model: they are read as text."""
    parts = (part for value in values.values() for part in (value, *(value if isinstance(value, list | tuple) else ())))
    return tuple(text for part in parts if MAY_SPELL.search(text := text_of(part)))


def answer_text(task: TaskConfig, sample: Sample) -> str:
    """Returns the right answer as one would write it."""
    return fill(task.answer_template, sample.row) if task.answer_template else text_of(sample.expected)


def question(task: Question, sample: Sample, chat: bool = False) -> str:
    """Returns the question about a sample: in a chat with what the answer must be, in a text with its cue."""
    values = values_of(sample)
    asked = fill(task.prompt, values)
    if not chat:
        return asked + fill(task.cue, values)
    return f"{asked}\n\n{fill(task.instruction, values)}" if task.instruction else asked


def answered(task: Question, shot: Sample, delimiter: str) -> str:
    """Returns what follows the question of a shot: its right answer."""
    return delimiter + answer_text(task, shot)


def render(
    task: Question,
    sample: Sample,
    shots: Sequence[Sample],
    chat: bool,
    begun: str = "",
    answered: Callable[[Question, Sample, str], str] = answered,
) -> Prompt:
    """Returns what is asked about one sample; `begun` is how its answer begins, which stands at the end.

    Text: system text, description and instruction, then each shot with its answer, then the question. Messages
    (`chat`): system text and description as the system message, a user and an assistant turn for each shot, then the
    question; each question ends with the instruction.
    """
    asked = question(task, sample, chat)
    if chat:
        pairs = ((Message("user", question(task, s, True)), Message("assistant", answered(task, s, ""))) for s in shots)
        return opened(task, sample, asked, True, begun, turns=[turn for pair in pairs for turn in pair])
    told = fill(task.instruction, values_of(sample))
    examples = (question(task, shot) + answered(task, shot, task.delimiter) + task.separator for shot in shots)
    data = [text for shot in shots for text in spelling(values_of(shot))]
    shown = (told + "\n\n" if told else "") + "".join(examples)
    return opened(task, sample, asked, False, begun, Prompt(shown, data=tuple(data)))


NOTHING = Prompt("")  # stands before a question without shots


def opened(
    task: Asking,
    sample: Sample,
    first: str,
    chat: bool,
    begun: str = "",
    shown: Prompt = NOTHING,
    turns: Sequence[Message] = (),
) -> Prompt:
    """Returns the prompt that ends with what the user says `first`: after system text, description and shots.

    The shots are text that is `shown`, or `turns` of a chat.
    """
    description = fill(task.description, values_of(sample)) if task.description else ""
    if not chat:
        system = task.system + task.separator if task.system else ""
        text = system + description + (shown.text or "") + first + (task.delimiter + begun if begun else "")
        return Prompt(text, data=(*shown.data, *spelling(values_of(sample))))
    head = "\n\n".join(part.strip() for part in (task.system, description) if part and part.strip())
    opens = [Message("system", head)] if head else []
    ends = [Message("assistant", begun)] if begun else []
    return Prompt(messages=(*opens, *turns, Message("user", first), *ends))


ANSWER = "(the model's answer)"  # in what is shown to people: where a conversation goes on after it
