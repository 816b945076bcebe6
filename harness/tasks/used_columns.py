"""Which columns of its data a task uses: all that a run folder needs to hold of a row.

Whatever the task file says, as text or within one, that is the name of a column keeps it: prompts, answers, choices,
scorers and their options, slices, clusters, rubrics, and `keep_columns`. So none is forgotten when a key is added.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from inspect import signature
from typing import Any

from harness.config.named_functions import name_of
from harness.config.task import TaskConfig
from harness.scoring import scorers
from harness.tasks.prompts import columns_of

# what is written for people names no column that is used, and how the rows are read is over once they are
ABOUT = {"task", "asks", "source", "licence", "citation", "data", "prepare"}
ANY = {"python", "lm_eval"}  # scorers that are given the whole row, and may read any of it


def columns_used(task: TaskConfig) -> frozenset[str] | None:
    """Returns all that may be the name of a column that the task uses; None where any may be."""
    steps = [step for spec in task.scores for step in (spec if isinstance(spec, list | tuple) else [spec])]
    if any(name_of(step) in ANY for step in steps):
        return None
    named = set(_names(task.model_dump(mode="json", exclude=ABOUT)))
    named |= {column for _, column in scorers.columns_of(steps)}
    return frozenset(named.union(*map(_defaults, steps)))


def of_row(row: Mapping[str, object], columns: frozenset[str] | None) -> dict[str, object]:
    """Returns these columns of a row, in its order."""
    return {name: value for name, value in row.items() if columns is None or name in columns}


def _names(value: Any) -> Iterator[str]:
    """Yields every text of a task file, and the columns that it names as a template."""
    if isinstance(value, str):
        yield value
        yield from columns_of(value)
    elif isinstance(value, Mapping):
        for held in value.values():
            yield from _names(held)
    elif isinstance(value, list | tuple):
        for held in value:
            yield from _names(held)


def _defaults(step: Any) -> Iterator[str]:
    """Yields the options of a scorer that the task leaves as they are: one may be the name of a column."""
    name, given = name_of(step), step[name_of(step)] if isinstance(step, Mapping) else {}
    for option in signature(scorers.SCORERS[name]).parameters.values() if name in scorers.SCORERS else ():
        if isinstance(option.default, str) and not (isinstance(given, Mapping) and option.name in given):
            yield option.default
