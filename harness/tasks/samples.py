"""The rows of a task, prepared and checked: what its kind makes samples of."""

from __future__ import annotations

import json
import unicodedata
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.config.task import DataConfig, TaskConfig
from harness.errors import DataError, TaskError, nearest
from harness.scoring.value_text import as_seen, text_of
from harness.tasks.data.lazy import Lazy, Picked, made
from harness.tasks.data.prepare import PREPARE
from harness.tasks.data.read import Rows, assign_ids
from harness.values import Sample

MOST_SLICES = 100  # values of a column; with more of them none has the samples to say anything
NO_ANSWER = "no_answer"  # in `costs`: what it costs if there is none


def alike(label: str) -> str:
    """Returns what labels that differ in case or blanks only have in common."""
    return " ".join(unicodedata.normalize("NFKC", as_seen(label)).casefold().split())


Row = Mapping[str, object]  # column -> value, as the data have it


@dataclass(frozen=True, slots=True)
class Table:
    """The rows of a task as its file prepares them, and what each is called."""

    rows: Sequence[Row]
    ids: Sequence[str]
    where: str  # the task file and the data really read, for messages
    places: Sequence[int]  # of each row in the data, from 0: some may be left out

    def at(self, i: int) -> str:
        """Returns how messages name a row: by place and id, as an id that is a position counts from 0, rows from 1."""
        return f"{self.where} row {self.places[i] + 1} (sample {self.ids[i]})"


class Samples(Lazy[Sample]):
    """The samples of a task, each made when it is asked for: a plan for one makes one.

    They are kept where the rows are; of a file too large to hold, a sample is made again each time.
    """

    def __init__(self, rows: Sequence[Row], make: Callable[[int, Row], Sample]) -> None:
        self.rows, self._make = rows, make  # rows: what can be asked of all samples without making any
        self._kept: dict[int, Sample] | None = None if isinstance(rows, Lazy) else {}

    def __len__(self) -> int:
        return len(self.rows)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and len(self) == len(other) and all(a == b for a, b in zip(self, other))

    __hash__ = None  # type: ignore[assignment]  # rows are mappings

    def item(self, index: int) -> Sample:
        """Returns one sample."""
        return self._made(index, self.rows[index])

    def items(self) -> Iterator[Sample]:
        """Yields every sample in order."""
        return (self._made(i, row) for i, row in enumerate(self.rows))

    def changed(self, change: Callable[[Sample], Sample]) -> Samples:
        """Returns the samples with a change that leaves the columns of their rows as they are."""
        return Samples(self.rows, lambda i, row: change(self._made(i, row)))

    def _made(self, index: int, row: Row) -> Sample:
        if self._kept is None:
            return self._make(index, row)
        if index not in self._kept:
            self._kept[index] = self._make(index, row)
        return self._kept[index]


def rows_of(samples: Sequence[Sample]) -> Sequence[Row]:
    """Returns the rows of samples, without making any that is not there yet."""
    return samples.rows if isinstance(samples, Samples) else [sample.row for sample in samples]


def changed(samples: Sequence[Sample], change: Callable[[Sample], Sample]) -> Sequence[Sample]:
    """Returns the samples with a change that leaves the columns of their rows as they are."""
    return samples.changed(change) if isinstance(samples, Samples) else tuple(map(change, samples))


def table_of(config: TaskConfig, rows: Rows, path: Path, id_column: str | None) -> Table:
    """Returns the prepared rows of a task, which have every column that a task of any kind may name.

    Raises TaskError or DataError for a row that cannot be prepared, an id that stands twice, a missing column.
    """
    where = f"{path} ({rows.origin})"
    try:
        ids = assign_ids(rows.rows, id_column)
    except DataError as error:
        raise DataError(error.what, where=f"{where}, {error.where}", fix=error.fix) from None
    kept, places = _kept(config.data, rows.rows, where)
    ids = ids if len(places) == len(ids) else [ids[place] for place in places]
    raw = Table(kept, ids, where, places)
    table = Table(made(kept, lambda i, row: _prepared(config, row, raw.at(i))), ids, where, places)
    if config.answer is not None:
        _need_columns(table.rows, config.answer, "answer", where, table.at)
    if config.cluster is not None:
        _need_columns(table.rows, config.cluster, "cluster", where, table.at)
    for column in config.keep_columns:
        need_column(table.rows[0], column, "keep_columns", where)
    for column in config.slices:
        _need_columns(table.rows, column, "slices", where, table.at)
        _refuse_many(column, table.rows, where)
    return table


def _kept(data: DataConfig, rows: Sequence[Row], where: str) -> tuple[Sequence[Row], Sequence[int]]:
    """Returns the rows that `without` does not leave out, and their places. Raises TaskError if none is left."""
    if not data.without:
        return rows, range(len(rows))
    for column in data.without:
        need_column(rows[0], column, "data: without", where)
    out = {column: set(texts) for column, texts in data.without.items()}
    places = array("q")
    for place, row in enumerate(rows):
        if not any(text_of(row.get(column)).strip() in texts for column, texts in out.items()):
            places.append(place)
    if not places:
        raise TaskError("`without` leaves no row", where=where, fix="name fewer texts there")
    few = Picked(rows, places)
    return few if isinstance(rows, Lazy) else tuple(few), places


def _refuse_many(column: str, rows: Sequence[Row], where: str) -> None:
    values = {str(row.get(column)) for row in rows}
    if len(values) > MOST_SLICES:
        what = f"slices: column '{column}' has {len(values)} values, and {MOST_SLICES} are the most"
        raise TaskError(what, where=where, fix="name a column of a few values, each with enough samples")


def _prepared(config: TaskConfig, row: Row, where: str) -> Row:
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


def _need_columns(rows: Sequence[Row], column: str, key: str, where: str, at: Callable[[int], str]) -> None:
    need_column(rows[0], column, key, where)
    for i, row in enumerate(rows):
        if column not in row:
            need_column(row, column, key, at(i))


def need_column(row: Row, column: str, key: str, where: str) -> None:
    """Raises TaskError for a column that the task names under `key` and the row does not have."""
    if column not in row:
        raise TaskError(
            f"{key} names column '{column}', which the data do not have", where=where, fix=nearest(column, row)
        )


def need_answer(row: Row, column: str, where: str) -> None:
    """Raises TaskError for a row without an answer."""
    if row[column] is None or row[column] == "":
        what = f"no answer in column '{column}'"
        raise TaskError(what, where=where, fix="fill it in, or leave the row out")


def listed(text: Any, column: str, of: str, where: str) -> Sequence[Any]:
    """Returns the list in a cell, which may be written as JSON. Raises TaskError where there is none."""
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


def cluster_of(config: TaskConfig, row: Row, id: str) -> str | None:
    """Returns what a row shares with those that are not independent of it; None where the task names no column.

    A row without a value shares nothing with the others that have none: it stands for itself.
    """
    if config.cluster is None:
        return None
    return text_of(row[config.cluster]).strip() or f"(row {id})"


def plain_sample(config: TaskConfig, id: str, row: Row) -> Sample:
    """Returns the sample of a row whose answer is expected as it stands there."""
    expected = None if config.answer is None else row[config.answer]
    return Sample(id=id, task=config.task, row=row, expected=expected, cluster=cluster_of(config, row, id))


def plain_samples(config: TaskConfig, table: Table) -> Samples:
    """Returns a sample for each row, whose answer is expected as it stands there. Raises TaskError for an empty one."""
    if config.answer is not None:
        for i, row in enumerate(table.rows):
            need_answer(row, config.answer, table.at(i))
    return Samples(table.rows, lambda i, row: plain_sample(config, table.ids[i], row))
