"""A task file and its rows to samples, and the shots shown before each."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.config.task import Columns, TaskConfig
from harness.errors import DataError, TaskError, nearest
from harness.tasks.data.lazy import made
from harness.tasks.data.prepare import PREPARE
from harness.tasks.data.read import Rows, assign_ids
from harness.tasks.task import LETTERS, _laid_out
from harness.values import Sample

MOST_SLICES = 100  # values of a column; with more of them none has the samples to say anything
NO_ANSWER = "no_answer"  # in `costs`: what it costs if there is none


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
