"""A task file and its rows to samples, and the shots shown before each."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

from harness.config.task import TaskConfig
from harness.errors import TaskError, nearest
from harness.tasks.data.lazy import picked
from harness.tasks.data.read import DataSource, load_rows
from harness.tasks.rows import _rows, _same_split
from harness.tasks.samples import _samples
from harness.tasks.task import Task
from harness.values import Sample


def shots_for(task: Task, sample: Sample, seed: int) -> tuple[Sample, ...]:
    """Returns the examples shown before one sample; they depend on nothing but the task, the sample and the seed."""
    shots = task.config.shots
    if shots is None or shots.n == 0:
        return ()
    pool = task.pool
    if shots.match is not None:
        pool = picked(pool, lambda shot: shot.row[shots.match] == sample.row[shots.match])
    if _same_split(task.config):
        pool = picked(pool, lambda shot: shot.id != sample.id)
    if len(pool) < shots.n:
        raise TaskError(
            f"sample {sample.id} needs {shots.n} shots, its data have {len(pool)}",
            where=task.where,
            fix="lower `shots: n`, or name a larger split in `shots: from`",
        )
    if shots.pick == "random":
        return tuple(random.Random(f"{seed}|{task.family}|{sample.id}").sample(pool, shots.n))
    return pool[: shots.n]


def _pool(config: TaskConfig, path: Path, override: Path | None, samples: Sequence[Sample]) -> Sequence[Sample]:
    shots = config.shots
    if shots is None or shots.n == 0:
        return ()
    if _same_split(config):
        pool = samples
    elif shots.file is not None:
        rows = load_rows(DataSource(file=shots.file), base=path.parent)
        pool = _samples(config.model_copy(update={"prepare": None}), rows, path, None)
    else:
        pool = _samples(config, _rows(config, path, override, shots.split), path, config.data.id)
    if shots.match is not None and any(shots.match not in sample.row for sample in chain(pool, samples)):
        raise TaskError(
            f"shots: match names column '{shots.match}', which the data do not have",
            where=str(path),
            fix=nearest(shots.match, pool[0].row),
        )
    if shots.pick != "fixed":
        return pool
    by_id = {sample.id: sample for sample in pool}
    for name in shots.ids:
        if name not in by_id:
            raise TaskError(f"shots: no row with id '{name}'", where=str(path), fix=nearest(name, by_id))
    return tuple(by_id[name] for name in shots.ids)
