"""A task made in Python: rows that are there already, the keys of a task file, and a function as scorer.

    def exact(expected, answer):                       # `row` may be a third parameter
        return float(expected == answer)               # in [0, 1]; or (value, {metric: value})

    task = make_task(rows, task="tickets", kind="generate", prompt="Team of: {ticket}", answer="team", score=exact)

Nothing of it is written anywhere before a run writes its samples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from harness.config.yaml_file import YamlFile
from harness.errors import DataError
from harness.scoring.scorers import own_python
from harness.tasks.data.read import Rows
from harness.tasks.kinds import task_from
from harness.tasks.load import task_of
from harness.tasks.rows import digest
from harness.tasks.task import Task

Scorer = Callable[..., float | tuple[float, Mapping[str, float]]]  # (expected, answer) or (expected, answer, row)
ORIGIN = "rows given in Python"


def make_task(rows: Iterable[Mapping[str, object]], *, score: Scorer | Any = None, **keys: Any) -> Task:
    """Returns a task of rows, which are checked as those of a file are.

    `keys` are those of a task file, without `data`; `score` is what stands there, or a function. Raises TaskError,
    ConfigError or DataError as reading a task file does.
    """
    where = f"make_task({keys.get('task', '')})"
    held = [_row(row, i, where) for i, row in enumerate(rows, 1)]
    if not held:
        raise DataError("there are no rows", where=where, fix="give at least one mapping of columns to values")
    data = {"file": ORIGIN, **({"id": keys.pop("id")} if "id" in keys else {})}
    values = {**keys, "data": data} | ({} if score is None else {"score": own_python.spec_of(score, where)})
    config = task_from(values, where)
    read = Rows(held, digest(held), ORIGIN, ())
    return task_of(config, YamlFile(Path(where), values, {}), Path(where), rows=read)


def _row(row: Any, number: int, where: str) -> dict[str, object]:
    if isinstance(row, Mapping) and all(isinstance(column, str) for column in row):
        return dict(row)
    what = f"row {number} is a {type(row).__name__}, not a mapping of columns to values"
    raise DataError(what, where=where, fix='write {"column": value, ...} for each row')
