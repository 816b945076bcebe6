"""The texts the demo models are trained on: each task as it is asked, and what prepares for it."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from harness.demo import data
from harness.scoring.value_text import text_of
from harness.tasks.kinds import read_task
from harness.tasks.kinds.choice import ChoiceTask
from harness.tasks.kinds.generate import GenerateTask
from harness.tasks.prompts import fill

SEED = 7
SHOTS = 5  # before a question of product-facts


# Sequences in one step, by kind: the tasks as they are asked, and what prepares for them. product-facts: the same
# questions without shots, and the facts as sentences. invoice-fields: values that are written again in another order.
ROWS = {
    "support-routing": 16,
    "invoice-fields": 8,
    "product-facts": 3,
    "zero-shot facts": 8,
    "statements": 6,
    "copies": 4,
}


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a training text; the loss is on the parts the model should learn to write."""

    text: str
    learned: bool


@cache
def task_of(task: str) -> ChoiceTask | GenerateTask:
    """Returns what a task file says."""
    found = read_task(data.TASKS_DIR / f"{task}.yaml")[0]
    assert isinstance(found, ChoiceTask | GenerateTask)
    return found


def question(task: str, row: Mapping[str, object]) -> str:
    """Returns the prompt of one row."""
    return fill(task_of(task).prompt, row)


def answer(task: str, row: Mapping[str, object]) -> str:
    """Returns the right answer of one row as it stands after the prompt and a space."""
    column = task_of(task).answer
    assert column is not None
    return str(row[str(row[column])]) if task == "product-facts" else text_of(row[column])


def training_stream(kind: str, seed: int = SEED) -> Iterator[data.Example]:
    """Yields everything the models are taught of one kind."""
    rng = random.Random(f"{seed} training {kind}")
    if kind == "statements":
        return iter(lambda: data.statement(rng), None)
    return data.examples(
        {"letters": "product-facts", "copies": "invoice-fields"}.get(kind, _task(kind)), data.TRAIN, rng
    )


def _task(kind: str) -> str:
    return kind if kind in data.TEST_ROWS else "product-facts"


def sequences(kind: str, seed: int = SEED) -> Iterator[tuple[Piece, ...]]:
    """Yields training texts of one kind without end."""
    stream, rng = training_stream(kind, seed), random.Random(f"{seed} order {kind}")
    while True:
        if kind == "statements":
            yield (Piece(next(stream).row["text"], True),)
        elif kind == "copies":
            yield _copies([next(stream).row["fields"] for _ in range(3)], rng)
        else:
            yield _asked(kind, stream, rng)


def _asked(kind: str, stream: Iterator[data.Example], rng: random.Random) -> tuple[Piece, ...]:
    """Returns a task's prompt with its answer, as the harness asks it (product-facts: behind five others)."""
    task = _task(kind)
    pieces: list[Piece] = []
    for _ in range(SHOTS + 1 if kind == "product-facts" else 1):
        row = next(stream).row
        if kind == "support-routing":
            row = {**row, "ticket": _thinned(row["ticket"], rng)}
        pieces += [Piece("\n\n", False)] if pieces else []
        pieces += [Piece(question(task, row), False), Piece(" " + answer(task, row), True)]
    return tuple(pieces)


def _copies(fields: Sequence[Mapping[str, object]], rng: random.Random) -> tuple[Piece, ...]:
    """Returns the values of some invoices as a list, and the same values in another order."""
    values = [str(one[name]) for one in fields for name in ("vendor", "number", "total")]
    listed, again = rng.sample(values, len(values)), rng.sample(values, len(values))
    return (Piece("\n".join(listed) + "\n\n", False), Piece("\n".join(again), True))


def _thinned(text: str, rng: random.Random) -> str:
    """Returns the text without a random share of its words, mostly in another order.

    A small model learns every training template by heart and then fails on others. What is left of a thinned text are
    its telling words.
    """
    share = rng.choice((0.0, 0.2, 0.4, 0.6))
    kept = [word for word in text.split(" ") if rng.random() >= share] or [text]
    if rng.random() < 0.75:
        rng.shuffle(kept)
    return " ".join(kept)
