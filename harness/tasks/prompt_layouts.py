"""A task's prompt in other formats: the same words and samples, laid out in other ways.

How far a score moves when nothing changes but the layout says how much of it to believe (Sclar et al. 2024,
arXiv:2310.11324). A format is drawn from what the prompt has of it: the mark after a label ("Question:") and its case,
what stands between its lines, between shots, how choices are labelled, and the order of choices that are shown. A
variant is one more prompt of the task, as `prompts:` in a task file could write it down.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from dataclasses import replace

from harness.config.task import PromptConfig, Question, TaskConfig
from harness.tasks.kinds import kind_of
from harness.tasks.labels import label_of
from harness.tasks.prompts import columns_of
from harness.tasks.samples import changed
from harness.tasks.task import LETTERS, Task, part_of

MARKS = (":", " :", "::", " -")  # after a label
CASES: tuple[Callable[[str], str], ...] = (str, str.upper, str.lower, str.title)  # of a label
LINES = ("\n", "\n\n", " || ")  # between the lines of the prompt
SEPARATORS = ("\n\n", "\n\n\n", "\n---\n", "\n\n###\n\n")  # between shots
LABELS = ("A.", "A)", "(A)", "1.", "1)", "(1)", "a)", "(a)")
MOST_NUMBERED = 9  # choices: "1" would be the beginning of "10"
DRAWS = 50  # for each variant; a prompt that has fewer formats gets fewer variants
_LABEL = re.compile(r"^([^\W\d_]\w*(?: \w+){0,2}):", re.MULTILINE)
_LETTERED = re.compile(r"^([A-Z])\. ", re.MULTILINE)


def asked_by(task: Task, name: str, prompt: PromptConfig, format_of: str = "") -> Task:
    """Returns the task with another of its prompts; it is then named `task[name]`, or `task[its prompt.name]`."""
    before = task.config
    given: dict[str, object] = {key: value for key, value in prompt if value is not None}
    config = before.model_copy(update={**given, "task": part_of(task.name, name), "prompts": None})
    relaid = kind_of(config).relaid
    samples, pool = (changed(several, lambda one: relaid(config, one, before)) for several in (task.samples, task.pool))
    return replace(task, config=config, samples=samples, pool=pool, format_of=format_of)


def formats(task: Task, n: int, seed: int) -> tuple[Task, ...]:
    """Returns up to `n` variants of a task, fewer where its prompt has fewer formats; the first are those of less `n`.

    Conversations and texts without a prompt have none.
    """
    config = task.config
    if not isinstance(config, Question) or not config.prompt:
        return ()
    draw = random.Random(f"{seed}|{task.name}")
    most = max((len(sample.choices) for sample in task.samples), default=0) if n else 0
    found = [_own(config)]
    for _ in range(n * DRAWS):
        if len(found) > n:
            break
        one = _drawn(config, most, draw)
        if one not in found:
            found.append(one)
    return tuple(asked_by(task, f"format-{i}", one, format_of=task.name) for i, one in enumerate(found[1:], 1))


def differences(own: TaskConfig, variant: TaskConfig) -> Iterator[str]:
    """Yields what a format changes, for people."""
    for key in PromptConfig.model_fields:
        if getattr(own, key, None) != getattr(variant, key, None):
            yield f"{key}: {getattr(variant, key)!r}"


def _own(config: Question) -> PromptConfig:
    return PromptConfig(**{key: getattr(config, key) for key in _varied(config)})


def _varied(config: TaskConfig) -> Iterator[str]:
    """Yields the keys of a prompt that the task's kind has too."""
    return (key for key in PromptConfig.model_fields if key in type(config).model_fields)


def _drawn(config: Question, most: int, draw: random.Random) -> PromptConfig:
    """Returns a format for a task of at most so many choices.

    What the prompt has nothing of is drawn too, so that each part has draws of its own.
    """
    mark, case, line = draw.choice(MARKS), draw.choice(CASES), draw.choice(("", *LINES))
    separator, labels, turn = draw.choice(SEPARATORS), draw.choice(LABELS), draw.random()
    lettered = _LETTERED.findall(config.prompt)
    listed = "choices" in columns_of(config.prompt) or lettered == list(LETTERS[: len(lettered)]) != []
    own = _own(config)
    if not listed or ("1" in labels and most > MOST_NUMBERED):
        labels = own.labels or labels
    if config.shots is None or config.shots.n == 0:
        separator = config.separator

    def marked(text: str) -> str:
        return _LABEL.sub(lambda found: case(found[1]) + mark, text)

    prompt = marked(config.prompt)
    if listed:
        prompt = _LETTERED.sub(lambda found: f"{label_of(labels, LETTERS.index(found[1]))} ", prompt)
    visible = not config.choice_names.isdisjoint(columns_of(config.prompt))  # the order of the choices is
    changes = {
        "prompt": _joined(prompt, line),
        "stop": (*(own.stop or ()), *_further_stops(config, own.stop or (), marked, separator)),
        "separator": separator,
        "labels": labels,
        "rotate": ((own.rotate or 0) + int(turn * most)) % most if visible else own.rotate,
    }
    return own.model_copy(update={key: value for key, value in changes.items() if key in _varied(config)})


def _joined(prompt: str, line: str) -> str:
    """Returns the prompt with `line` between its lines; empty: as they are. What it begins and ends with stays."""
    inner = prompt.strip("\n")
    before, _, after = prompt.partition(inner)
    return before + re.sub(r"\n+", lambda _: line, inner) + after if line and inner else prompt


def _further_stops(
    config: Question, stops: tuple[str, ...], marked: Callable[[str], str], separator: str
) -> Iterator[str]:
    """Yields what the task's stop strings are in this format: the next question's label, what stands before it."""
    for found in _LABEL.finditer(config.prompt):
        named = any(stop.strip() and found[0].startswith(stop.strip()) for stop in stops)
        if named and marked(found[0]) not in stops:
            yield marked(found[0])
    if config.separator in stops and separator not in stops:
        yield separator
