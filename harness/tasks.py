"""A task file and its rows to samples, and the shots shown before each."""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

from harness import lm_tasks
from harness.config.files import bundled, find_file
from harness.config.run import TaskUse
from harness.config.task import Columns, DataConfig, PromptConfig, TaskConfig, read_task
from harness.config.yaml_file import YamlFile
from harness.data import DataSource, Rows, assign_ids, load_rows
from harness.errors import DataError, TaskError, nearest
from harness.forms import check_form
from harness.lazy import made, picked
from harness.prepare import PREPARE
from harness.scoring import extractors, scorers
from harness.scoring.scorers import own_python
from harness.values import Sample

MOST_SLICES = 100  # values of a column; with more of them none has the samples to say anything
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
NO_ANSWER = "no_answer"  # in `costs`: what it costs if there is none
_SENSITIVITY = ("public", "internal", "restricted")


@dataclass(frozen=True, slots=True)
class Task:
    """A task with its samples, in the order of the data."""

    config: TaskConfig
    path: Path  # of the task file
    samples: Sequence[Sample]
    pool: Sequence[Sample]  # what shots are drawn from
    data_digest: str
    data_origin: str
    format_of: str = ""  # the task of whose prompt this is another format (harness.variants)

    @property
    def name(self) -> str:
        """Returns the task's name."""
        return self.config.task

    @property
    def family(self) -> str:
        """Returns the task's name without the prompt's: shots and subsets are drawn alike for all of its prompts."""
        return self.config.task.partition("[")[0]

    @property
    def where(self) -> str:
        """Returns what messages name: the task file and the data really read."""
        return f"{self.path} ({self.data_origin})"


def load_tasks(use: TaskUse) -> tuple[Task, ...]:
    """Returns the task a run uses, once for each of its prompts: then named `task[prompt]`. Raises as `load_task`."""
    if lm_tasks.is_named(use.task):
        return _of_lm_eval(use)
    if use.num_fewshot is not None:
        fix = "change `shots` in the task file; num_fewshot is for lm_eval: tasks"
        raise TaskError(f"task '{use.task}' has no num_fewshot", where="tasks", fix=fix)
    task = _load(use)
    return tuple(asked_by(task, name, prompt) for name, prompt in (task.config.prompts or {}).items()) or (task,)


def _of_lm_eval(use: TaskUse) -> tuple[Task, ...]:
    found = lm_tasks.load(use.task, Path(use.data) if use.data is not None else None, use.num_fewshot)
    return tuple(
        Task(
            _raised(one.config, use), Path(use.task), one.samples, (), digest([s.row for s in one.samples]), one.origin
        )
        for one in found
    )


def load_task(use: TaskUse) -> Task:
    """Returns the task a run uses (with the first of its prompts), its data read and every row checked.

    Raises TaskError or DataError for anything that would make the score wrong: a missing column, a row without an
    answer, an answer that is none of the choices, an id that stands twice, an unknown extractor or scorer.
    """
    return load_tasks(use)[0]


def _load(use: TaskUse) -> Task:
    path = find_file(use.task, "tasks")
    config, file = read_task(path)
    config = _raised(config, use)
    if config.prepare is not None and config.prepare not in PREPARE:
        raise TaskError(
            f"no function '{config.prepare}'", where=file.where(("prepare",)), fix=nearest(config.prepare, PREPARE)
        )
    _check_extractors(config, file)
    config = _admitted(config, path, file)
    _check_costs(config, file)
    if config.constrain is not None:
        check_form(config.constrain, file.where(("constrain",)))
    override = Path(use.data) if use.data is not None else None
    rows = _rows(config, path, override, config.data.split)
    samples = _samples(config, rows, path, config.data.id)
    for scorer, column in scorers.columns_of(config.score) if config.score is not None else ():
        for sample in samples:
            _need_column(sample.row, column, f"score: {scorer}", f"{path} ({rows.origin}) sample {sample.id}")
    return Task(config, path, samples, _pool(config, path, override, samples), rows.digest, rows.origin)


def _own_folder(config: TaskConfig, path: Path) -> Path | None:
    """Returns the folder from which a task may load its own Python: None for a bundled task, and for hub data."""
    ours = path.resolve().is_relative_to(bundled("tasks").resolve())
    return None if ours or config.data.file is None else path.parent


def asked_by(task: Task, name: str, prompt: PromptConfig, format_of: str = "") -> Task:
    """Returns the task with another of its prompts; it is then named `task[name]`, or `task[its prompt.name]`."""
    given = {key: value for key, value in prompt if value is not None}
    config = task.config.model_copy(update={**given, "task": part_of(task.name, name), "prompts": None})
    turn = config.rotate - task.config.rotate
    laid_out = lambda _, one: _laid_out(config, one, turn)
    samples, pool = (made(several, laid_out) for several in (task.samples, task.pool))
    return replace(task, config=config, samples=samples, pool=pool, format_of=format_of)


def part_of(task: str, name: str) -> str:
    """Returns what a task is called that is one way to ask another: `task[name]`, of `task[a]` it is `task[a.name]`."""
    return f"{task[:-1]}.{name}]" if task.endswith("]") else f"{task}[{name}]"


def name_of(labels: str, i: int) -> str:
    """Returns what the i-th choice is called, from 0: A, a or 1 for the first, as the style of labels has it."""
    return str(i + 1) if "1" in labels else LETTERS[i].lower() if "a" in labels else LETTERS[i]


def label_of(labels: str, i: int) -> str:
    """Returns the label before the i-th choice: its name in the dress of the style, as (A) or 1."""
    return re.sub("[Aa1]", name_of(labels, i), labels)


def _laid_out(config: TaskConfig, sample: Sample, turn: int) -> Sample:
    """Returns a sample of the task's with its choices turned round by so many places, and labelled in its style."""
    n = len(sample.choices)
    if n == 0:
        return replace(sample, task=config.task)
    order = [(i + turn) % n for i in range(n)]
    choices = tuple(sample.choices[i] for i in order)
    labels = choices if config.continuation == "text" else tuple(name_of(config.labels, i) for i in range(n))
    right = tuple(sorted(order.index(i) for i in sample.right))
    gold = right[0] if right else order.index(sample.gold)
    row = dict(sample.row)
    if isinstance(config.choices, Columns):
        row |= {column: sample.row[config.choices.columns[i]] for column, i in zip(config.choices.columns, order)}
    elif isinstance(config.choices, str):
        row[config.choices] = list(choices)
    changed = {"row": row, "expected": labels[gold], "choices": choices, "labels": labels, "gold": gold}
    return replace(sample, task=config.task, right=right, **changed)


def _check_extractors(config: TaskConfig, file: YamlFile) -> None:
    extractors.check_spec(config.extract, file.where(("extract",)))
    for name, spec in config.also.items():
        extractors.check_spec(spec, file.where(("also", name)))
    for name, prompt in (config.prompts or {}).items():
        if prompt.extract is not None:
            extractors.check_spec(prompt.extract, file.where(("prompts", name, "extract")))
    for turn, judged in (config.scored or {}).items():
        if judged.extract is not None:
            extractors.check_spec(judged.extract, file.where(("scored", turn, "extract")))


def _admitted(config: TaskConfig, path: Path, file: YamlFile) -> TaskConfig:
    """Returns the task with every `score:` checked, and the Python that they name loaded."""

    def checked(spec: Any, *key: str | int) -> Any:
        if spec is None:
            return None
        scorers.check_spec(spec, file.where(key))
        return own_python.admit(spec, _own_folder(config, path), str(path))

    turns = {
        turn: judged.model_copy(update={"score": checked(judged.score, "scored", turn, "score")})
        for turn, judged in (config.scored or {}).items()
    }
    return config.model_copy(update={"score": checked(config.score, "score"), "scored": turns or None})


def _check_costs(config: TaskConfig, file: YamlFile) -> None:
    """Raises TaskError for a label in `costs` that is none of the task's choices, where those are a fixed list."""
    if config.costs is None or not isinstance(config.choices, tuple):
        return
    for right, costs in config.costs.items():
        for label in (right, *costs):
            known = config.choices if label == right else (*config.choices, NO_ANSWER)
            if label not in known:
                raise TaskError(
                    f"costs: '{label}' is none of the choices", where=file.where(("costs",)), fix=nearest(label, known)
                )


def task_names() -> list[str]:
    """Returns the names of the tasks that ship with the package."""
    return sorted(path.stem for path in bundled("tasks").glob("*.yaml"))


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


def digest(value: Any) -> str:
    """Returns the sha256 (hex) of a JSON value in canonical form."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _raised(config: TaskConfig, use: TaskUse) -> TaskConfig:
    if use.sensitivity is None:
        return config
    if _SENSITIVITY.index(use.sensitivity) < _SENSITIVITY.index(config.sensitivity):
        raise TaskError(
            f"sensitivity '{config.sensitivity}' cannot be lowered to '{use.sensitivity}'",
            where=f"task {config.task} in the run file",
            fix="sensitivity travels with the data: change the task file if it is wrong",
        )
    return config.model_copy(update={"sensitivity": use.sensitivity})


def _rows(config: TaskConfig, path: Path, override: Path | None, split: str | None) -> Rows:
    names = config.data.config
    if not isinstance(names, tuple):
        return load_rows(_source(config.data, names), base=path.parent, override=override, split=split)
    if override is not None and override.is_file():
        what = f"this task reads {len(names)} sets of rows, one file is not enough"
        raise TaskError(what, where=str(override), fix=f"give a folder that holds {names[0]}, {names[1]}, ... each")
    parts = []
    for name in names:
        source = _source(config.data, name)
        parts.append(load_rows(source, base=path.parent, override=_part(override, name), split=split))
    rows = tuple({**row, "_file": name} for name, part in zip(names, parts) for row in part.rows)
    origin = f"{parts[0].origin} and {len(names) - 1} more"
    return Rows(rows, digest([part.digest for part in parts]), origin, sum((part.files for part in parts), ()))


def _part(folder: Path | None, name: str) -> Path | None:
    """Returns the file or folder of one of several configurations in a local copy."""
    if folder is None:
        return None
    files = sorted(path for path in folder.glob(f"{name}.*") if path.is_file())
    return files[0] if files else folder / name


def _source(data: DataConfig, config: str | None) -> DataSource:
    return DataSource(**{**data.model_dump(), "config": config})


def _same_split(config: TaskConfig) -> bool:
    shots = config.shots
    return shots is not None and shots.file is None and shots.split in {None, config.data.split}


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


def _samples(config: TaskConfig, rows: Rows, path: Path, id_column: str | None) -> Sequence[Sample]:
    where = f"{path} ({rows.origin})"
    try:
        ids = assign_ids(rows.rows, id_column)
    except DataError as error:
        raise DataError(error.what, where=f"{where}, {error.where}", fix=error.fix) from None

    def at(i: int) -> str:  # both, as an id that is a position counts from 0, and rows from 1
        return f"{where} row {i + 1} (sample {ids[i]})"

    prepared = made(rows.rows, lambda i, row: _prepared(config, row, at(i)))
    if config.answer is not None:
        _need_columns(prepared, config.answer, "answer", where, at)
    if config.cluster is not None:
        _need_columns(prepared, config.cluster, "cluster", where, at)
    for column in config.slices:
        _need_columns(prepared, column, "slices", where, at)
        _refuse_many(column, prepared, where)
    if config.kind == "conversation":
        found = made(prepared, lambda i, row: _conversation(config, ids[i], row, at(i)))
        deque(found, maxlen=0)  # each is checked now, also where it is made again later
        return found
    for i, row in enumerate(prepared):
        if config.answer is not None:
            _need_answer(row, config.answer, at(i))
    if config.kind != "choice":
        return made(prepared, lambda i, row: _sample(config, ids[i], row))

    def choices_of(i: int, row: Mapping[str, Any]) -> tuple[str, ...]:
        return _choices(config, row, at(i))

    pairs = made(prepared, lambda i, row: (row[config.answer], choices_of(i, row)))
    golds = _golds(config, pairs, at)
    if isinstance(pairs, tuple):
        return made(prepared, lambda i, row: _choice_sample(config, ids[i], row, pairs[i][1], golds[i]))
    return made(prepared, lambda i, row: _choice_sample(config, ids[i], row, choices_of(i, row), golds[i]))


def _refuse_many(column: str, rows: Sequence[Mapping[str, Any]], where: str) -> None:
    values = {str(row.get(column)) for row in rows}
    if len(values) > MOST_SLICES:
        what = f"slices: column '{column}' has {len(values)} values, and {MOST_SLICES} are the most"
        raise TaskError(what, where=where, fix="name a column of a few values, each with enough samples")


def _prepared(config: TaskConfig, row: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    if config.prepare is None:
        return row
    try:
        return PREPARE[config.prepare](row)
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise TaskError(
            f"'{config.prepare}' cannot read this row: {type(error).__name__} {error}",
            where=where,
            fix=f"the columns here are {', '.join(list(row)[:8])}; see the task's `data` and `prepare`",
        ) from None


def _need_columns(
    rows: Sequence[Mapping[str, Any]], column: str, key: str, where: str, at: Callable[[int], str]
) -> None:
    _need_column(rows[0], column, key, where)
    for i, row in enumerate(rows):
        _need_column(row, column, key, at(i))


def _need_column(row: Mapping[str, Any], column: str, key: str, where: str) -> None:
    if column not in row:
        raise TaskError(
            f"{key} names column '{column}', which the data do not have", where=where, fix=nearest(column, row)
        )


def _sample(config: TaskConfig, id: str, row: Mapping[str, Any]) -> Sample:
    cluster = str(row[config.cluster]) if config.cluster is not None else None
    expected = None if config.answer is None else row[config.answer]
    return Sample(id=id, task=config.task, row=row, expected=expected, cluster=cluster)


def _need_answer(row: Mapping[str, Any], column: str, where: str) -> None:
    if row[column] is None or row[column] == "":
        what = f"no answer in column '{column}'"
        raise TaskError(what, where=where, fix="fill it in, or leave the row out")


def _conversation(config: TaskConfig, id: str, row: Mapping[str, Any], where: str) -> Sample:
    """Returns the sample of a conversation: the turns that are judged, and what is expected of each."""
    if isinstance(config.turns, str):
        _need_column(row, config.turns, "turns", where)
        row = {**row, config.turns: _listed(row[config.turns], config.turns, "turns", where)}
        if not row[config.turns] or not all(isinstance(turn, str) and turn for turn in row[config.turns]):
            what = f"column '{config.turns}' holds a turn that is empty or no text"
            raise TaskError(what, where=where, fix="write each turn as a text")
    n = len(row[config.turns]) if isinstance(config.turns, str) else len(config.turns)
    named = {turn: judged.answer for turn, judged in (config.scored or {}).items()}
    listed: Sequence[Any] = ()
    if config.answer is not None and (not named or None in named.values()):
        listed = _listed(row[config.answer], config.answer, "answers", where)
        if len(listed) != n:
            what = f"column '{config.answer}' holds {len(listed)} answers to {n} turns"
            raise TaskError(what, where=where, fix="give one for each turn, null where it is not judged")
    chosen = sorted(named or (i for i, value in enumerate(listed, 1) if value is not None))
    if not chosen or chosen[-1] > n:
        what = f"turn {chosen[-1]} is scored, and there are {n}" if chosen else "no turn is scored"
        raise TaskError(what, where=where, fix="mend `scored`, or give an answer to one of the turns")
    expected = tuple(_expected(row, named.get(turn), listed, turn, where) for turn in chosen)
    return replace(_sample(config, id, row), expected=expected, scored=tuple(chosen))


def _expected(row: Mapping[str, Any], column: str | None, listed: Sequence[Any], turn: int, where: str) -> Any:
    if column is not None:
        _need_column(row, column, f"scored: {turn}: answer", where)
        _need_answer(row, column, where)
        return row[column]
    if not listed:  # a judge needs none
        return None
    if listed[turn - 1] is None or listed[turn - 1] == "":
        raise TaskError(f"no answer to turn {turn}", where=where, fix="fill it in, or leave the row out")
    return listed[turn - 1]


def _choice_sample(config: TaskConfig, id: str, row: Mapping[str, Any], choices: tuple[str, ...], gold: int) -> Sample:
    cluster = str(row[config.cluster]) if config.cluster is not None else None
    right = _flagged(row[config.answer]) if config.answer_is == "flags" else ()
    read = Sample(id, config.task, row, None, choices, (), gold, right, cluster)
    return _laid_out(config, read, config.rotate)


def _flagged(flags: Any) -> tuple[int, ...]:
    """Returns where a list of 0 and 1 holds 1; nothing if it is no such list."""
    known = isinstance(flags, list | tuple) and all(flag in (0, 1) for flag in flags)
    return tuple(i for i, flag in enumerate(flags) if flag) if known else ()


def _choices(config: TaskConfig, row: Mapping[str, Any], where: str) -> tuple[str, ...]:
    if isinstance(config.choices, tuple):
        found: Sequence[Any] = config.choices
    elif isinstance(config.choices, Columns):
        for column in config.choices.columns:
            _need_column(row, column, "choices", where)
        found = [row[column] for column in config.choices.columns]
    else:
        _need_column(row, str(config.choices), "choices", where)
        found = _listed(row[str(config.choices)], str(config.choices), "choices", where)
    most = len(LETTERS) if config.continuation == "letter" else len(found)
    if not 2 <= len(found) <= most:
        raise TaskError(
            f"{len(found)} choices: a row needs two or more (letters: 26 at most)", where=where, fix="mend the row"
        )
    if any(choice is None or choice == "" for choice in found):
        raise TaskError("an empty choice", where=where, fix="fill it in, or leave the row out")
    return tuple(str(choice) for choice in found)


def _listed(text: Any, column: str, of: str, where: str) -> Sequence[Any]:
    """Returns the list in a cell, which may be written as JSON."""
    if isinstance(text, list | tuple):
        return text
    try:
        found = json.loads(text)
    except (ValueError, TypeError, RecursionError):
        found = None
    if not isinstance(found, list):
        raise TaskError(
            f"column '{column}' holds no list of {of}", where=where, fix='write a JSON list: ["...", "..."]'
        )
    return found


def _golds(config: TaskConfig, pairs: Sequence[tuple[Any, tuple[str, ...]]], at: Callable[[int], str]) -> list[int]:
    """Returns the index of each right choice, for each row's answer and choices.

    How answers are written (the choice itself, its letter, its index) is one property of the whole column: `auto` is
    the first reading under which every row makes sense, so that no row is read by luck.
    """
    kinds = ("text", "letter", "index") if config.answer_is == "auto" else (config.answer_is,)
    if config.answer_is == "auto" and all(
        isinstance(answer, int) and not isinstance(answer, bool) for answer, _ in pairs
    ):
        kinds = ("index",)
    furthest: tuple[int, str] = (-1, kinds[0])
    for kind in kinds:
        golds = [_gold(kind, answer, options) for answer, options in pairs]
        if None not in golds:
            return golds  # type: ignore[return-value]
        furthest = max(furthest, (golds.index(None), kind), key=lambda pair: pair[0])
    row, kind = furthest
    answer, choices = pairs[row]
    raise TaskError(
        f"answer '{str(answer)[:200]}' is none of the choices",
        where=at(row),
        fix=nearest(str(answer)[:200], choices),
    )


def _gold(kind: str, answer: Any, choices: tuple[str, ...]) -> int | None:
    if kind == "flags":
        right = _flagged(answer)
        return right[0] if right and len(answer) == len(choices) else None
    text = str(answer).strip()
    if kind == "text":
        return choices.index(text) if text in choices else None
    if kind == "letter":
        index = LETTERS.find(text.upper()) if len(text) == 1 and text.isalpha() else -1
        return index if 0 <= index < len(choices) else None
    return int(text) if text.isdecimal() and int(text) < len(choices) else None
