"""The examples shown before each sample, drawn by seed and never the sample itself."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

from harness.config.task import Question, ShotsConfig, TaskConfig
from harness.errors import TaskError, nearest
from harness.scoring.plain_text import fold
from harness.tasks.data.formats import DataSource
from harness.tasks.data.lazy import picked
from harness.tasks.data.read import load_rows
from harness.tasks.kinds import samples_of
from harness.tasks.prompts import question
from harness.tasks.rows import _rows, _same_split
from harness.tasks.samples import rows_of
from harness.tasks.task import Task
from harness.values import Sample


def shots_for(task: Task, sample: Sample, seed: int) -> tuple[Sample, ...]:
    """Returns the examples shown before one sample; they depend on nothing but the task, the sample and the seed."""
    shots = _shots(task.config)
    if shots is None:
        return ()
    pool = task.pool
    if (column := shots.match) is not None:
        pool = picked(pool, lambda shot: shot.row[column] == sample.row[column])
    if _same_split(task.config, shots):
        pool = picked(pool, lambda shot: shot.id != sample.id)
    if len(pool) < shots.n:
        raise TaskError(
            f"sample {sample.id} needs {shots.n} shots, its data have {len(pool)}",
            where=task.where,
            fix="lower `shots: n`, or name a larger split in `shots: from`",
        )
    drawn = _drawn(task, shots, pool, sample, seed)
    if any(_asks_the_same(task.config, shot, sample) for shot in drawn):  # under another id, or in another split
        pool = picked(pool, lambda shot: not _asks_the_same(task.config, shot, sample))
        if len(pool) < shots.n:
            raise TaskError(
                f"sample {sample.id} needs {shots.n} shots, and only {len(pool)} of its data ask another question",
                where=task.where,
                fix="lower `shots: n`, or take the repeated rows out",
            )
        drawn = _drawn(task, shots, pool, sample, seed)
    return drawn


def _drawn(task: Task, shots: ShotsConfig, pool: Sequence[Sample], sample: Sample, seed: int) -> tuple[Sample, ...]:
    if shots.pick == "random":
        return tuple(random.Random(f"{seed}|{task.family}|{sample.id}").sample(pool, shots.n))
    return tuple(pool[: shots.n])


def _asks_the_same(config: TaskConfig, shot: Sample, sample: Sample) -> bool:
    """Tells if two samples show the same question, so that the one would give away the other's answer."""
    assert isinstance(config, Question)
    return fold(question(config, shot)) == fold(question(config, sample))


def _shots(config: TaskConfig) -> ShotsConfig | None:
    """Returns which examples a task shows, None where it shows none."""
    shots = config.shots if isinstance(config, Question) else None
    return None if shots is None or shots.n == 0 else shots


def pool_of(config: TaskConfig, path: Path, override: Path | None, samples: Sequence[Sample]) -> Sequence[Sample]:
    shots = _shots(config)
    if shots is None:
        return ()
    if _same_split(config, shots):
        pool = samples
    elif shots.file is not None:
        rows = load_rows(DataSource(file=shots.file), base=path.parent)
        pool = samples_of(config.model_copy(update={"prepare": None}), rows, path, None)
    else:
        pool = samples_of(config, _rows(config, path, override, shots.split), path, config.data.id)
    if shots.match is not None and any(shots.match not in row for row in chain(rows_of(pool), rows_of(samples))):
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
