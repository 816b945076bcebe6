"""Choice: which of several texts does the model find the most likely one? Or, asked as text, which does it name?

The two are different measurements and have different names (`task` and `task[generated]`): two rows, never one
comparison. For a fair one, every model of the comparison is asked as text.

long because a kind is one module: samples, asking, judging, and its form as text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Discriminator, Field, Tag, field_validator, model_validator
from pydantic_core import PydanticCustomError

from harness.config.base import _by_shape
from harness.config.task import Columns, Labels, OneAnswer, Question, TaskConfig, need_answer
from harness.errors import TaskError, nearest
from harness.scoring.scorers import score_answer
from harness.scoring.value_text import as_seen, text_of
from harness.tasks.data.lazy import made
from harness.tasks.kinds import generate
from harness.tasks.kinds.base import Example, Manner, as_it_is, failed, led_by, loglikelihood, no_more, preferring
from harness.tasks.labels import label_of, name_of
from harness.tasks.prompts import answered, columns_of, fill, render
from harness.tasks.rubric import Told
from harness.tasks.samples import Row, Samples, Table, alike, changed, cluster_of, listed, need_column, rows_of
from harness.tasks.samples import need_answer as need_value
from harness.tasks.task import LETTERS, Task, part_of
from harness.values import Prompt, Request, Response, Sample, Score


class ChoiceTask(OneAnswer):
    """A question with choices, of which one is right (with `answer_is: flags`: or several).

    The keys of writing are for a model that does not tell log-probabilities, and for `as: generate`.
    """

    kind: Literal["choice"]
    choices: Annotated[
        Annotated[tuple[str, ...], Tag("(list)")] | Annotated[str, Tag("(text)")] | Annotated[Columns, Tag("(keys)")],
        Discriminator(_by_shape),
    ]  # a fixed list, a column that holds a list, or {columns: [...]}
    labels: Labels = "A."  # how {choices} are labelled: A. A) (A) a. a) (a) 1. 1) (1)
    rotate: Annotated[int, Field(ge=0, le=1000)] = 0  # places by which the choices of each row are turned round
    continuation: Literal["text", "letter"] = "text"  # what is scored for each choice; letter: its label
    ending: str = ""  # scored instead: this text, the same after each choice, which is then part of the prompt
    answer_is: Literal["auto", "text", "letter", "index", "index_from_1", "flags"] = (
        "auto"  # index: from 0; flags: a list with 1 for each right one
    )

    @field_validator("choices", mode="before")
    @classmethod
    def _choices_are_text(cls, value: Any) -> Any:
        if isinstance(value, list):
            for item in value:
                if not isinstance(item, str):
                    raise PydanticCustomError(
                        "text", "choice {item} is not text: put it in quotes", {"item": repr(item)}
                    )
            if len(value) < 2:
                raise PydanticCustomError("few", "a choice task needs two or more choices")
            if len(set(value)) < len(value):
                raise PydanticCustomError("twice", "the same choice stands twice")
        return value

    @model_validator(mode="before")
    @classmethod
    def _need_choices(cls, values: Any) -> Any:
        if isinstance(values, Mapping) and values.get("choices") is None:
            raise PydanticCustomError("choices", "a choice task needs `choices`: a list, a column, or {columns: [...]}")
        return values

    @model_validator(mode="after")
    def _answered(self) -> ChoiceTask:
        need_answer(self)
        return self

    @property
    def choice_names(self) -> frozenset[str]:
        """Returns the names under which a prompt can show the sample's choices."""
        if isinstance(self.choices, Columns):
            return frozenset({"choices", *self.choices.columns})
        return frozenset({"choices", self.choices} if isinstance(self.choices, str) else {"choices"})


CONFIG = ChoiceTask
later, replied = no_more, as_it_is


# --- samples ---------------------------------------------------------------------------------------------------------


def samples(config: ChoiceTask, table: Table) -> Sequence[Sample]:
    """Returns a sample for each row, with its choices in the order in which they are shown, and the right one."""
    column = str(config.answer)
    for i, row in enumerate(table.rows):
        need_value(row, column, table.at(i))
    pairs = made(table.rows, lambda i, row: (row[column], _choices(config, row, table.at(i))))
    golds = _golds(config, pairs, table.at)
    return Samples(
        table.rows,
        lambda i, row: _sample(config, table.ids[i], row, _choices(config, row, table.at(i)), golds[i]),
    )


def relaid(config: ChoiceTask, sample: Sample, before: TaskConfig) -> Sample:
    """Returns a sample with its choices in the order, and with the labels, of another prompt of the task."""
    assert isinstance(before, ChoiceTask)
    return _laid_out(config, sample, config.rotate - before.rotate)


def _sample(config: ChoiceTask, id: str, row: Row, choices: tuple[str, ...], gold: int) -> Sample:
    right = _flagged(row[str(config.answer)]) if config.answer_is == "flags" else ()
    read = Sample(id, config.task, row, None, choices, (), gold, right, cluster_of(config, row, id))
    return _laid_out(config, read, config.rotate)


def _laid_out(config: ChoiceTask, sample: Sample, turn: int) -> Sample:
    """Returns a sample of the task's with its choices turned round by so many places, and labelled in its style."""
    n = len(sample.choices)
    order = [(i + turn) % n for i in range(n)]
    choices = tuple(sample.choices[i] for i in order)
    labels = choices if config.continuation == "text" else tuple(name_of(config.labels, i) for i in range(n))
    right = tuple(sorted(order.index(i) for i in sample.right))
    gold = right[0] if right else order.index(sample.gold or 0)
    row = dict(sample.row)
    if isinstance(config.choices, Columns):
        row |= {column: sample.row[config.choices.columns[i]] for column, i in zip(config.choices.columns, order)}
    elif isinstance(config.choices, str):
        row[config.choices] = list(choices)
    return replace(
        sample,
        task=config.task,
        row=row,
        expected=labels[gold],
        choices=choices,
        labels=labels,
        gold=gold,
        right=right,
        marks=tuple(label_of(config.labels, i) for i in range(min(n, len(LETTERS)))),
    )


def _flagged(flags: Any) -> tuple[int, ...]:
    """Returns where a list of 0 and 1 holds 1; nothing if it is no such list."""
    known = isinstance(flags, list | tuple) and all(flag in (0, 1) for flag in flags)
    return tuple(i for i, flag in enumerate(flags) if flag) if known else ()


def _choices(config: ChoiceTask, row: Row, where: str) -> tuple[str, ...]:
    found: Sequence[Any]
    if isinstance(config.choices, tuple):
        found = config.choices
    elif isinstance(config.choices, Columns):
        for column in config.choices.columns:
            need_column(row, column, "choices", where)
        found = [row[column] for column in config.choices.columns]
    else:
        need_column(row, config.choices, "choices", where)
        found = listed(row[config.choices], config.choices, "choices", where)
    most = len(LETTERS) if config.continuation == "letter" else len(found)
    if not 2 <= len(found) <= most:
        raise TaskError(
            f"{len(found)} choices: a row needs two or more (letters: 26 at most)", where=where, fix="mend the row"
        )
    if any(choice is None or choice == "" for choice in found):
        raise TaskError("an empty choice", where=where, fix="fill it in, or leave the row out")
    return tuple(text_of(choice) for choice in found)


Answered = tuple[Any, tuple[str, ...]]  # what stands in the answer's column, and the choices


def _golds(config: ChoiceTask, pairs: Sequence[Answered], at: Callable[[int], str]) -> list[int]:
    """Returns the index of each right choice, for each row's answer and choices.

    How answers are written (the choice itself, its letter, its index) is one property of the whole column: `auto` is
    the first reading under which every row makes sense, so that no row is read by luck.
    """
    ways: tuple[str, ...] = ("text", "letter", "index") if config.answer_is == "auto" else (config.answer_is,)
    if config.answer_is == "auto" and all(
        isinstance(answer, int | float) and not isinstance(answer, bool) for answer, _ in pairs
    ):
        ways = ("index", "index_from_1", "text")
    furthest = -1
    for way in ways:
        golds = [_gold(way, answer, options) for answer, options in pairs]
        known = [gold for gold in golds if gold is not None]
        if len(known) == len(golds):
            return known
        furthest = max(furthest, golds.index(None))
    answer, choices = pairs[furthest]
    raise TaskError(
        f"answer '{text_of(answer)[:200]}' is none of the choices",
        where=at(furthest),
        fix=nearest(text_of(answer)[:200], choices),
    )


def _gold(way: str, answer: Any, choices: tuple[str, ...]) -> int | None:
    if way == "flags":
        right = _flagged(answer)
        return right[0] if right and len(answer) == len(choices) else None
    text = text_of(answer).strip()
    if way == "text":
        return choices.index(text) if text in choices else _folded(text, choices)
    if way == "letter":
        index = LETTERS.find(text.upper()) if len(text) == 1 and text.isalpha() else -1
        return index if 0 <= index < len(choices) else None
    index = int(text) - (way == "index_from_1") if text.isdecimal() else -1
    return index if 0 <= index < len(choices) else None


def _folded(text: str, choices: tuple[str, ...]) -> int | None:
    """Returns the one choice that a label is but for case and blanks; a run's notes count such answers."""
    same = [i for i, choice in enumerate(choices) if alike(choice) == alike(text)]
    return same[0] if len(same) == 1 else None


# --- asking ----------------------------------------------------------------------------------------------------------


def prompt(config: ChoiceTask, sample: Sample, shots: Sequence[Sample], chat: bool) -> Prompt:
    """Returns what stands before each choice."""
    return render(config, sample, shots, chat, answered=_shot_answer)


def _shot_answer(config: Question, shot: Sample, delimiter: str) -> str:
    """Returns what follows the question of a shot: its right choice, and the ending where there is one."""
    if isinstance(config, ChoiceTask) and config.ending:
        return shot.choices[shot.gold or 0] + config.delimiter + fill(config.ending, shot.row)
    return answered(config, shot, delimiter)


def requests(config: ChoiceTask, sample: Sample, shots: Sequence[Sample], manner: Manner) -> Iterator[Request]:
    """Yields the one request: for each choice, or for the same ending after each.

    After a chat template a choice comes without the delimiter; an ending has its choice before it.
    """
    if config.ending:
        texts = (config.delimiter + fill(config.ending, sample.row),) * len(sample.choices)
    else:
        texts = tuple(("" if manner.chat else config.delimiter) + label for label in sample.labels)
    given = sample.choices if config.ending else ()
    yield loglikelihood(manner, config, sample, prompt(config, sample, shots, manner.chat), texts, given)


# --- judging ---------------------------------------------------------------------------------------------------------

LIKELIEST = "accuracy"  # metric: is the likeliest choice, whatever its length, the right one


def score(config: ChoiceTask, sample: Sample, response: Response, told: Told) -> Score:
    """Returns whether the most likely choice is the right one; of equals the first counts.

    Where several are right, the value is the share of the probability of all choices that falls on them (Lin et al.
    2022, TruthfulQA's MC2), and the metric `accuracy` says whether the most likely one is among them.

    Further metrics where the texts of the choices were scored: `accuracy_norm` divides each log-probability by the
    characters of its choice, `accuracy_bytes` by its UTF-8 bytes (lm-evaluation-harness 0.4.13, api/task.py). With
    `metric` one of them is the value, its choice is the answer, and the plain one is a metric, `accuracy`. A task's
    `score` adds its metrics of the chosen text.
    """
    logprobs = np.array(response.logprobs)
    best = int(np.argmax(logprobs))
    if sample.right:
        share = np.exp(logprobs - logprobs.max())
        right = list(sample.right)
        mass = float(share[right].sum() / share.sum())
        score = Score(mass, sample.labels[best], None, {LIKELIEST: float(best in right)})
        return led_by(config.metric, score, "probability")
    chosen = {LIKELIEST: best, **_by_length(config, sample, logprobs)}
    answer = chosen.get(config.metric or LIKELIEST, best)
    same = _same_as_right(sample)
    metrics = {name: float(found in same) for name, found in chosen.items() if name != LIKELIEST}
    if config.score is not None:
        right_text, text = sample.choices[sample.gold or 0], sample.choices[answer]
        try:
            metrics |= score_answer(config.score, right_text, text, sample.row)[1]
        except Exception as error:  # a scorer's fault is one sample's failure, not the run's
            return failed(error)
    score = Score(float(best in same), sample.labels[answer], None, metrics)
    return led_by(config.metric, score, LIKELIEST)


def _by_length(config: ChoiceTask, sample: Sample, logprobs: NDArray[np.float64]) -> Mapping[str, int]:
    """Returns the choice that is the likeliest for its length, by metric; nothing where no choice's text is scored."""
    if config.continuation != "text" or config.ending:
        return {}
    characters = np.array([len(choice) for choice in sample.choices])
    in_bytes = np.array([len(choice.encode("utf-8", "surrogatepass")) for choice in sample.choices])
    return {
        "accuracy_norm": int(np.argmax(logprobs / characters)),
        "accuracy_bytes": int(np.argmax(logprobs / in_bytes)),
    }


def _same_as_right(sample: Sample) -> frozenset[int]:
    """Returns the places of the right choice: of several in rows that offer the same text twice."""
    right = as_seen(sample.choices[sample.gold or 0]).strip()
    return frozenset(i for i, choice in enumerate(sample.choices) if as_seen(choice).strip() == right)


def examples(config: ChoiceTask, samples: Sequence[Sample]) -> Iterator[Example]:
    """Yields each sample with a model that prefers what is right, and one that prefers the first wrong choice."""
    for sample in samples:
        right = sample.right or (sample.gold or 0,)
        right_too = _same_as_right(sample) | set(right)
        wrong = next((i for i in range(len(sample.labels)) if i not in right_too), None)
        wrongly = None if wrong is None else preferring(sample, wrong)
        yield Example(config, sample, preferring(sample, *right), None, wrongly)


# --- asked as text ---------------------------------------------------------------------------------------------------

BY_LETTER = "Answer with the letter of the right choice and nothing else."
BY_NAME = "Answer with exactly one of the choices, and nothing else."
# a last line that asks for the answer and names no column, after what parts it from the rest (as in `prompt_layouts`)
_CUE = re.compile(r"(.+?)((?:\n+| \|\| )(?:(?! \|\| )[^\n{}])*[:-]\s*)", re.DOTALL)


def as_text(config: ChoiceTask, task: Task) -> Task:
    """Returns the task asked as text: a fixed list is answered by name, choices that differ by row by letter.

    A chat model is told what its answer must be at the end of what the user says, and is spared the cue ("Team:") that
    a text goes on from: such a cue it answers like a letter (docs/numbers.md has the figures). Choices that the prompt
    does not show are listed before the cue. Raises TaskError for a task that is no choice of one out of several.
    """
    if config.ending or config.answer_is == "flags":
        raise TaskError(
            f"task '{task.name}' cannot be asked as text",
            where=task.where,
            fix="leave `as: generate` out: only choices of which one is right have a generated twin",
        )
    by_name = isinstance(config.choices, tuple) and config.continuation == "text"
    most = 0 if by_name else max(len(_choices(config, row, task.where)) for row in rows_of(task.samples))
    if most > len(LETTERS):
        raise TaskError(
            f"a row has {most} choices, and letters name {len(LETTERS)}",
            where=task.where,
            fix="leave `as: generate` out, or write the choices as a fixed list",
        )
    parts = None if config.cue else _CUE.fullmatch(config.prompt)
    prompt, cue = parts.groups() if parts else (config.prompt, config.cue)
    told = _by_name(config, cue) if by_name else _by_letter(config, cue)
    name = part_of(task.name, "generated")
    shared = {key: value for key, value in config if key in generate.CONFIG.model_fields}
    differs = {
        "task": name,
        "kind": "generate",
        "description": f"{config.description.rstrip()}\n\n".lstrip("\n"),
        "prompt": prompt if by_name or _lists(config) else prompt + _gap(cue) + "{choices}",
        "instruction": f"{config.instruction}\n\n{told}".lstrip("\n"),
        "cue": cue if by_name or cue else "\nAnswer:",
        "costs": config.costs if by_name else None,
        "extract": "label" if by_name else "letter",
        "score": "exact_match",
        "metric": None,
    }
    style = None if by_name else config.labels
    asked, pool = (changed(several, lambda one: _asked(one, name, style)) for several in (task.samples, task.pool))
    format_of = task.format_of and part_of(task.format_of, "generated")
    written_as = generate.CONFIG.model_construct(config.model_fields_set, **shared | differs)
    return replace(task, config=written_as, samples=asked, pool=pool, format_of=format_of)


def _by_name(config: ChoiceTask, cue: str) -> str:
    """Returns what the answer must be: one of the names, which are listed under what the cue calls them."""
    assert isinstance(config.choices, tuple)
    called, names = _called(cue), "\n".join(f"- {_braced(name)}" for name in config.choices)
    return f"Choices{f' ({called})' if called else ''}:\n{names}\n\n{BY_NAME}"


def _by_letter(config: ChoiceTask, cue: str) -> str:
    """Returns what the answer must be: the letter of a choice of what the cue calls it."""
    told = BY_LETTER.replace("the letter", "the number") if "1" in config.labels else BY_LETTER
    called = _called(cue)
    return told.replace(" and", f' for "{called}" and', 1) if called else told


def _called(cue: str) -> str:
    """Returns what a cue calls the answer; nothing where it says no more than that it is one."""
    called = cue.strip().removeprefix("||").strip(" :-\n")
    return "" if called.casefold() in ("answer", "a") else called


def _asked(sample: Sample, name: str, style: str | None) -> Sample:
    labels = tuple(name_of(style, i) for i in range(len(sample.choices))) if style else sample.labels
    return replace(sample, task=name, labels=labels, expected=labels[sample.gold or 0])


def _gap(cue: str) -> str:
    """Returns what parts a cue from what stands before it; without one a line's end."""
    return cue[: len(cue) - len(cue.lstrip())] if cue[:1] == "\n" else " || " if cue else "\n"


def _lists(config: ChoiceTask) -> bool:
    """Returns whether the prompt shows the choices with their labels: all of them, or each from its own column."""
    if "choices" in columns_of(config.prompt):
        return True
    columns = config.choices.columns if isinstance(config.choices, Columns) else ()
    shown = [f"{label_of(config.labels, i)} {{{column}}}" in config.prompt for i, column in enumerate(columns)]
    return bool(shown) and all(shown)


def _braced(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")
