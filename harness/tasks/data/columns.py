"""A data file that nobody has described: how it is to be read, and what stands in its columns.

table = read_table(Path("tickets.csv"))        encoding, delimiter, header or none are found, and said
columns_of(table.rows)                         a Column for each: its kind, gaps, distinct values, lengths
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
import re
import sys
import zipfile
import zlib
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, BinaryIO, Literal, cast

import numpy as np

from harness.errors import DataError, beside
from harness.scoring.value_text import text_of
from harness.tasks.data.bounds import unpacked
from harness.tasks.data.files import read_file
from harness.tasks.data.formats import READERS, DataSource, suffix_of, told_delimiter
from harness.tasks.data.lazy import Lazy, in_parts
from harness.tasks.data.spreadsheet import BROKEN, check_book
from harness.tasks.data.tables import MOST_COLUMNS, too_many_columns

Kind = Literal["text", "number", "yes/no", "list", "object", "mixed", "empty"]
DELIMITERS = ",;\t|"
MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
USUAL_NAMES = {"id", "question", "answer", "text", "label", "input", "output", "prompt", "target", "category"}
NOT_UNICODE = {"cp1252": "Windows text", "cp932": "Japanese", "euc_jp": "Japanese"}
SNIFFED = 200  # records of a CSV from which the delimiter and the header are found
SNIFFED_CHARS = 1_000_000
PART = 1_000  # rows that are looked at together
COUNTED = 5_000  # distinct values of a column that are told apart; of more only the number is known


@dataclass(frozen=True, slots=True)
class Table:
    """The rows of a file and how they were read. `source` has what a task file must say to read them again."""

    path: Path
    rows: Sequence[dict[str, object]]
    source: DataSource
    digest: str  # sha256 of the file
    encoding: str  # for people
    notes: tuple[str, ...]  # what a person should know about the reading


@dataclass(frozen=True, slots=True)
class Column:
    """What stands in one column. Rows are counted from 1."""

    name: str
    kind: Kind
    filled: int
    empty: tuple[int, ...]  # rows without a value
    distinct: int | None  # None: not counted (lists, objects)
    counts: Mapping[str, int]  # value as text -> rows; empty if there are more than COUNTED
    words: int  # median, of the values as text
    longest: int  # characters
    longest_row: int
    kinds: Mapping[Kind, int]  # what the values are, and how many of each

    @property
    def unique(self) -> bool:
        """Returns whether every row has a value of its own."""
        return not self.empty and self.filled > 1 and self.distinct == self.filled


def read_table(path: Path, sheet: str | None = None) -> Table:
    """Returns the rows of a file of any format read here, with encoding, delimiter and header found.

    Raises DataError for a file that cannot be read, or that holds no rows.
    """
    if not path.is_file():
        there = beside(path)
        fix = f"the folder holds: {', '.join(there[:8])}" if there else "check the path"
        what = "this is a folder, not a file" if path.is_dir() else "no such file"
        if path.exists() and not path.is_dir():
            what, fix = "this is a device or pipe, not a file", "save the data in a file"
        raise DataError(what, where=str(path), fix=fix)
    suffix = suffix_of(path).removesuffix(".gz")
    if suffix not in READERS:
        fix = f"save it as one of: {', '.join(READERS)}"
        raise DataError(f"'{path.suffix}' is no format read here", where=str(path), fix=fix)
    try:
        return _read(path, suffix, sheet)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"the file cannot be read: {error}", where=str(path), fix="pack or copy it again") from None


def _read(path: Path, suffix: str, sheet: str | None) -> Table:
    source, encoding, notes = DataSource(file=path.name, sheet=sheet), "", []
    if suffix not in {".parquet", ".xlsx"}:
        encoding, named = _encoding(path)
        source = replace(source, encoding=named)
        if named in NOT_UNICODE:
            notes.append(
                f"not UTF-8: read as {NOT_UNICODE[named]} ({named}); look whether accents and quotes came out right"
            )
    if suffix in {".csv", ".tsv"}:
        delimiter, header = _dialect(path, encoding, "\t" if suffix == ".tsv" else ",")
        if delimiter != ("\t" if suffix == ".tsv" else ","):
            source = replace(source, delimiter=delimiter)
            encoding += f", delimiter {delimiter!r}"
        if header:
            source = replace(source, header=header)
            notes.append(f"the first line looks like data, not like names: columns are named {', '.join(header)}")
    if suffix == ".xlsx":
        notes += _excel_notes(path)
    rows, digest = read_file(path, source)
    if not rows:
        raise DataError("the file holds no rows", where=str(path), fix="fill it, or name another file")
    kept = rows if isinstance(rows, Lazy) else tuple(rows)
    if suffix in {".csv", ".tsv"} and (failed := sum(cell is None for row in rows for cell in row.values())):
        notes.append(f"{failed} cells hold a spreadsheet's error (#N/A and the like): read as empty")
    return Table(path, kept, source, digest, encoding or suffix[1:], tuple(notes))


def columns_of(rows: Sequence[Mapping[str, object]]) -> tuple[Column, ...]:
    """Returns what stands in each column, in the order in which the rows name them."""
    tallies: dict[str, _Tally] = {}
    before = 0
    for part in in_parts(rows, PART):
        for name in dict.fromkeys(name for row in part for name in row):
            if name not in tallies:
                tallies[name] = _Tally(name, before)
        if len(tallies) > MOST_COLUMNS:
            raise too_many_columns(len(tallies), f"the first {before + len(part):,} rows")
        for name, tally in tallies.items():
            tally.add(before, [row.get(name) for row in part])
        before += len(part)
    return tuple(tally.column() for tally in tallies.values())


# --- reading ---------------------------------------------------------------------------------------------------------


def _bytes(path: Path) -> BinaryIO:
    raw = path.open("rb")
    if not suffix_of(path).endswith(".gz"):
        return raw
    return unpacked(cast("BinaryIO", gzip.GzipFile(fileobj=raw)), path.stat().st_size, path)


def _encoding(path: Path) -> tuple[str, str | None]:
    """Returns the encoding for people, and the one a task file has to name (None: it is found without)."""
    try:
        with _bytes(path) as handle:
            head = handle.read(4096)
            for mark, name in (
                (codecs.BOM_UTF8, "utf-8-sig"),
                (codecs.BOM_UTF16_LE, "utf-16"),
                (codecs.BOM_UTF16_BE, "utf-16"),
            ):
                if head.startswith(mark):
                    return name, None
            if b"\0" in head:
                even, odd = head[::2].count(0), head[1::2].count(0)
                name = "utf-16-le" if odd > even else "utf-16-be"
                return name, name
            decoder = codecs.getincrementaldecoder("utf-8")()
            handle.seek(0)
            for block in iter(partial(handle.read, 1 << 20), b""):
                decoder.decode(block)
            decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return (found := _not_unicode(path)), found
    return "utf-8", None


def _not_unicode(path: Path) -> str:
    """Returns what a text is in that is not UTF-8: Japanese if it holds kana then, else Windows text."""
    with _bytes(path) as handle:
        head = handle.read(SNIFFED_CHARS)
    for encoding in ("cp932", "euc_jp"):
        with suppress(UnicodeDecodeError):
            text = codecs.getincrementaldecoder(encoding)().decode(head)
            foreign = [character for character in text if character > "\x7f"]
            if sum("\u3040" <= character <= "\u30ff" for character in foreign) * 10 > len(foreign):
                return encoding
    return "cp1252"


def _dialect(path: Path, encoding: str, usual: str) -> tuple[str, tuple[str, ...] | None]:
    """Returns the delimiter, and names for the columns where the first line holds none."""
    with _bytes(path) as handle:
        text = io.TextIOWrapper(handle, encoding, newline="", errors="replace").read(SNIFFED_CHARS)
    first, _, rest = text.partition("\n")
    if (told := told_delimiter(first)) is not None:
        records = _records(rest, told)
        return told, _names(records) if len(records) > 1 else None
    best = max((usual, *DELIMITERS.replace(usual, "")), key=lambda mark: _fit(_records(text, mark)))
    records = _records(text, best)
    return best, _names(records) if len(records) > 1 else None


def _records(text: str, delimiter: str) -> list[list[str]]:
    csv.field_size_limit(sys.maxsize)
    found: list[list[str]] = []
    try:
        for cells in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter):
            if cells:
                found.append(cells)
            if len(found) == SNIFFED:
                break
    except csv.Error:
        pass
    return found[:-1] if len(text) == SNIFFED_CHARS and 1 < len(found) < SNIFFED else found  # the last may be cut


def _fit(records: list[list[str]]) -> float:
    """Returns how well a delimiter cuts: the share of records with as many cells as the first, if it has several."""
    if not records or len(records[0]) < 2:
        return 0.0
    return sum(len(cells) == len(records[0]) for cells in records) / len(records)


def _names(records: list[list[str]]) -> tuple[str, ...] | None:
    """Returns names for the columns of a table whose first record is data; None if it is a header.

    It is data if a cell of it is a number, a sentence, or a short value that its own column repeats.
    """
    first = [cell.strip() for cell in records[0]]
    columns = [[cells[i].strip() for cells in records[1:] if len(cells) == len(first)] for i in range(len(first))]
    repeats = [Counter(column)[cell] >= max(2, len(column) / 50) for cell, column in zip(first, columns)]
    if USUAL_NAMES & {cell.lower() for cell in first}:
        return None
    if not any(_like_data(cell) or again for cell, again in zip(first, repeats) if cell):
        return None
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    answers = {first[-1], *columns[-1]}
    if 4 <= len(first) <= 12 and answers <= set(letters[: len(first) - 2]):
        return ("question", *letters[: len(first) - 2], "answer")
    return tuple(f"column_{i + 1}" for i in range(len(first)))


def _like_data(cell: str) -> bool:
    words = cell.split()
    return (
        bool(re.fullmatch(r"[-+]?[$€£]?\d[\d.,]*%?", cell))
        or len(cell) > 100
        or (len(words) > 4 and cell[-1] in ".?!:")
    )


def _excel_notes(path: Path) -> Iterator[str]:
    """Yields what an Excel file holds that rows do not show: merged cells, formulas and errors."""
    merged: list[str] = []
    formulas = failed = 0
    with path.open("rb") as handle:
        check_book(handle, path)
    try:
        with zipfile.ZipFile(path) as book:
            for name in book.namelist():
                if re.fullmatch(r"xl/worksheets/[^/]+\.xml", name):
                    with book.open(name) as sheet:
                        xml = sheet.read(300_000_000)
                    merged += [ref.decode() for ref in re.findall(rb'<mergeCell\s+ref="([A-Z0-9:]{1,30})"', xml)]
                    formulas += len(re.findall(rb"<f[ />]", xml))
                    failed += len(re.findall(rb'<c [^>]{0,100}\bt="e"', xml))
    except BROKEN:
        return  # the reader says what is wrong
    if merged:
        yield f"merged cells ({', '.join(merged[:5])}): only the first cell of each has the value, the others are empty"
    if failed:
        yield f"{failed} cells hold an error (#N/A and the like): read as empty"
    if formulas:
        yield f"{formulas} formulas: the values that the spreadsheet program last stored are used"


# --- columns ---------------------------------------------------------------------------------------------------------

NUMBER = re.compile(r"[-+−]?[$€£]?\s?\d[\d.,'\u00a0\u202f]*\s?%?")
YES_NO = ({"yes", "no"}, {"true", "false"}, {"y", "n"})


class _Tally:
    """Counts what stands in one column, some rows at a time; none of the values is kept."""

    def __init__(self, name: str, before: int) -> None:
        self.name = name
        self.empty = array("q", range(1, before + 1))  # rows before the first that names the column
        self.types: Counter[type] = Counter()
        self.counts: Counter[str] | None = Counter()  # None: more than COUNTED
        self.hashes, self.words = array("q"), array("q")
        self.first: dict[str, None] = {}  # the first distinct values
        self.longest, self.longest_row = 0, 1
        self.numbers, self.json = True, True  # whether all texts so far are
        self.held: set[type] = set()  # what they hold, if they are JSON

    def add(self, before: int, values: list[Any]) -> None:
        """Counts the values of the rows after row `before`."""
        rows = [
            i
            for i, value in enumerate(values, before + 1)
            if value is not None and not (isinstance(value, str) and not value.strip())
        ]
        if len(rows) < len(values):
            self.empty.extend(sorted(set(range(before + 1, before + len(values) + 1)) - set(rows)))
            values = [values[i - before - 1] for i in rows]
        texts = [text_of(value) for value in values]
        self.types.update(map(type, values))
        self.hashes.extend(map(hash, texts))
        self.words.extend(text.count(" ") + 1 for text in texts)
        lengths = [len(text) for text in texts]
        if lengths and (most := max(lengths)) > self.longest:
            self.longest, self.longest_row = most, rows[lengths.index(most)]
        distinct = dict.fromkeys(texts)
        if len(self.first) < 10:
            self.first = dict.fromkeys([*self.first, *distinct][:20])
        if self.counts is not None:
            self.counts.update(texts)
            self.counts = self.counts if len(self.counts) <= COUNTED else None
        self.numbers = self.numbers and all(NUMBER.fullmatch(text.strip()) for text in distinct)
        self.json = self.json and all(text.lstrip()[:1] in "[{" for text in distinct)
        if self.json:
            self.held |= {type(_json(text)) for text in distinct}

    def column(self) -> Column:
        """Returns what was counted."""
        kinds: Counter[Kind] = Counter()
        for kind, count in self.types.items():
            kinds[_TYPES.get(kind, "text")] += count
        nested = bool(kinds.keys() & {"list", "object"})
        distinct = len(self.counts) if self.counts is not None else len(np.unique(np.array(self.hashes)))
        return Column(
            name=self.name,
            kind=self._kind(kinds),
            filled=len(self.hashes),
            empty=tuple(self.empty),
            distinct=None if nested else distinct,
            counts=self.counts if self.counts is not None and not nested else {},
            words=int(median(self.words[:: max(1, len(self.words) // 10_000)])) if self.words else 0,
            longest=self.longest,
            longest_row=self.longest_row,
            kinds=dict(kinds),
        )

    def _kind(self, kinds: Mapping[Kind, int]) -> Kind:
        if not kinds:
            return "empty"
        if len(kinds) > 1:
            return "mixed"
        kind = next(iter(kinds))
        if kind != "text":
            return kind
        if self.numbers:
            return "number"
        if {text.strip().lower() for text in list(self.first)[:10]} in YES_NO:
            return "yes/no"
        if self.json and self.held in ({list}, {dict}):
            return "list" if self.held == {list} else "object"
        return "text"


_TYPES: dict[type, Kind] = {
    bool: "yes/no",
    int: "number",
    float: "number",
    list: "list",
    dict: "object",
    str: "text",
}


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
