"""The formats of data files, each read to rows: CSV, TSV, JSONL, JSON, Parquet, Excel, plain text.

CSV and TSV cells are always text ("007" stays "007"); JSON, Parquet and Excel cells keep their type. Not-a-number is
None. A new one is a function and a line in `READERS`.
"""

from __future__ import annotations

import csv
import io
import json
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

from harness.errors import DataError
from harness.tasks.data.bounds import MOST_BYTES, MOST_TIMES, read_whole
from harness.tasks.data.spreadsheet import read_excel
from harness.tasks.data.tables import check_names, first_line, rows_of_arrow, table


@dataclass(frozen=True, slots=True)
class DataSource:
    """Where rows come from: one of `file` (relative to the task file) and `hub` (a data set's id)."""

    file: str | None = None
    hub: str | None = None
    config: str | None = None  # hub: the data set's configuration
    split: str | None = None
    revision: str | None = None  # hub: commit, tag or branch
    sha256: str | None = None  # of the file; of several files: of their lines "<sha256>  <name>"
    header: tuple[str, ...] | None = None  # the names of the columns of a file without a header row
    id: str | None = None  # the column of sample ids
    sheet: str | None = None  # Excel
    delimiter: str | None = None  # CSV, TSV
    encoding: str | None = None  # default: UTF-8, or what the byte order mark says


DEEPEST = 100  # levels of lists and objects within each other
MOST_ROWS = 1_000_000  # of a Parquet file of fewer bytes than rows
AS_IT_STANDS = DataSource()  # a file of which nothing is said


def _text(handle: BinaryIO, path: Path, source: DataSource, newline: str) -> io.TextIOWrapper:
    """Returns the handle as text. `newline` is "\\n" (lines end there only) or "" (as csv wants it)."""
    head = handle.read(4)
    handle.seek(0)
    encoding = source.encoding
    if head.startswith(b"\xef\xbb\xbf") and (encoding or "utf-8").lower().replace("_", "-") in ("utf-8", "utf8"):
        encoding = "utf-8-sig"
    if encoding is None:
        if head in (b"\xff\xfe\0\0", b"\0\0\xfe\xff"):
            encoding = "utf-32"
        elif head[:2] in (b"\xff\xfe", b"\xfe\xff"):
            encoding = "utf-16"
        elif b"\0" in head:
            fix = "name its encoding in the task's data, e.g. encoding: utf-16-le"
            raise DataError("the text holds zero bytes: UTF-16 without a byte order mark?", where=str(path), fix=fix)
    try:
        return io.TextIOWrapper(handle, encoding or "utf-8", newline=newline)
    except LookupError:
        fix = "write a name Python knows: utf-8, utf-16, cp1252, shift_jis, ..."
        raise DataError(f"unknown encoding '{encoding}'", where=str(path), fix=fix) from None


def _read_csv(handle: BinaryIO, path: Path, source: DataSource, delimiter: str = ",") -> Iterator[dict[str, object]]:
    csv.field_size_limit(sys.maxsize)  # the module's limit of 128 kB is less than one long document
    text = _text(handle, path, source, newline="")
    first = text.readline()
    told = told_delimiter(first)
    rest = text if told is not None else chain([first], text)
    skipped = 0 if told is None else 1
    try:
        reader = csv.reader(rest, delimiter=source.delimiter or told or delimiter, strict=True)
    except TypeError:
        raise DataError(
            f"delimiter {source.delimiter!r} is not one character", where=str(path), fix='write ";"'
        ) from None

    def lines() -> Iterator[tuple[int, list[Any]]]:
        start = 1 + skipped
        try:
            for cells in reader:
                if cells:
                    yield start, [None if cell in ERRORS else cell for cell in cells]
                start = reader.line_num + 1 + skipped
        except csv.Error as error:
            fix = 'a cell with a quote in it is written "like ""this"""'
            raise DataError(f"not readable as CSV: {error}", where=f"{path}, line {start}", fix=fix) from None

    yield from table(lines(), path, source.header, "line", source.delimiter or told or delimiter)


_TOLD = re.compile(r'\ufeff?"?sep=(.)"?[\r\n]*', re.IGNORECASE)


def told_delimiter(line: str) -> str | None:
    """Returns the delimiter that the first line of a CSV names for spreadsheet programs ("sep=;"), None without."""
    found = _TOLD.fullmatch(line)
    return found[1] if found else None


# What a spreadsheet shows where a formula failed, as programs in several languages export it: no value.
ERRORS = frozenset(
    [
        "#N/A",
        "#DIV/0!",
        "#REF!",
        "#VALUE!",
        "#NAME?",
        "#NUM!",
        "#NULL!",
        "#SPILL!",
        "#CALC!",
        "#FIELD!",
        "#GETTING_DATA",
        "#NV",
        "#BEZUG!",
        "#WERT!",
        "#ZAHL!",
        "#VALEUR!",
        "#NOM?",
        "#NOMBRE!",
        "#NUL!",
        "#¡VALOR!",
        "#¿NOMBRE?",
        "#¡REF!",
        "#¡NUM!",
        "#¡DIV/0!",
        "#VALORE!",
        "#NOME?",
        "#RIF!",
        "#VALOR!",
        "#N/D",
        "#VERW!",
        "#WAARDE!",
        "#NAAM?",
        "#GETAL!",
        "#Н/Д",
        "#ЗНАЧ!",
        "#ССЫЛКА!",
        "#ИМЯ?",
        "#ДЕЛ/0!",
        "#ARG!",
        "#ADR!",
        "#NAZWA?",
        "#LICZBA!",
        "Err:502",
        "Err:504",
    ]
)


def _read_tsv(handle: BinaryIO, path: Path, source: DataSource) -> Iterator[dict[str, object]]:
    yield from _read_csv(handle, path, source, delimiter="\t")


_DECODER = json.JSONDecoder(parse_constant=lambda name: None if name == "NaN" else float(name))


def json_value(text: str, path: Path, line: int | None) -> Any:
    """Returns the value of one JSON text. `line` is the number of its only line; None: the text is the file."""
    where = f"{path}, line {line or 1}"
    try:
        value = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        place = (error.lineno, error.colno) if line is None else (line, error.pos + 1)
        where = f"{path}, line {place[0]}, column {place[1]}"
        fix = "mend the line" if line is None else "mend or remove the line; JSONL has one whole object on each line"
        raise DataError(f"not JSON: {error.msg}", where=where, fix=fix) from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"not JSON that can be read: {error}", where=where, fix="mend the line") from None
    if text.count("[") + text.count("{") > DEEPEST and _deeper(value, DEEPEST):
        what = f"lists or objects stand in each other more than {DEEPEST} times"
        raise DataError(what, where=where, fix="flatten them")
    if "\\ud" in text or "\\uD" in text:
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            fix = "write the character whole; \\ud83d alone is one half of a pair"
            raise DataError("the text holds half a character (a lone surrogate)", where=where, fix=fix) from None
    return value


def _deeper(value: Any, levels: int) -> bool:
    """Returns whether lists and objects stand in each other more often than that."""
    held = [value]
    for _ in range(levels + 1):
        held = [one for each in held for one in (each.values() if isinstance(each, dict) else each)]
        held = [one for one in held if isinstance(one, dict | list)]
        if not held:
            return False
    return True


def _read_jsonl(handle: BinaryIO, path: Path, source: DataSource) -> Iterator[dict[str, object]]:
    # Lines end at \n only: U+2028 and its like are ordinary characters inside a JSON string.
    for number, line in enumerate(_text(handle, path, source, newline="\n"), 1):
        if line.isspace():
            continue
        if number == 1 and line.startswith("["):
            raise DataError("this is a JSON list, not JSONL", where=str(path), fix=f"rename it to {stem_of(path)}.json")
        row = json_value(line, path, number)
        if not isinstance(row, dict):
            what = f"the line holds {_kind(row)}, not an object"
            raise DataError(what, where=f"{path}, line {number}", fix='write one {"column": value, ...} on each line')
        yield row


def _read_json(handle: BinaryIO, path: Path, source: DataSource) -> Iterator[dict[str, object]]:
    text = read_whole(_text(handle, path, source, newline="\n"), path, "write it as JSONL: one object on each line")
    try:
        value = json_value(text, path, None)
    except DataError as error:
        if "Extra data" not in error.what:
            raise
        handle = io.BytesIO(text.encode("utf-8"))  # several values one after the other: JSONL under another name
        yield from _read_jsonl(handle, path, replace(source, encoding="utf-8"))
        return
    if isinstance(value, dict):
        lists = [key for key, held in value.items() if isinstance(held, list)]
        if len(lists) > 1 and len(lists) == len(value) and all(_is_split(key) and value[key] for key in lists):
            yield from (_of_split(row, key, i, path) for key in lists for i, row in enumerate(value[key], 1))
            return
        if len(lists) != 1:
            found = ", ".join(f"'{key}'" for key in lists) or "none"
            fix = "keep one list of objects in the file, or write JSONL"
            raise DataError(f"one key should hold the list of rows; keys with lists: {found}", where=str(path), fix=fix)
        value = value[lists[0]]
    if not isinstance(value, list):
        raise DataError(f"the file holds {_kind(value)}, not rows", where=str(path), fix="write a list of objects")
    for number, row in enumerate(value, 1):
        if not isinstance(row, dict):
            fix = 'write each row as {"column": value, ...}'
            raise DataError(f"row {number} is {_kind(row)}, not an object", where=str(path), fix=fix)
        yield row


def _is_split(key: str) -> bool:
    return bool({"train", "val", "valid", "validation", "dev", "test"} & set(re.split(r"[\W_]+", key.lower())))


def _of_split(row: Any, split: str, number: int, path: Path) -> dict[str, object]:
    """Returns a row of a file that has a list for each split: an object, or a list of cells; with column `split`."""
    if isinstance(row, list):
        row = {f"column_{i}": cell for i, cell in enumerate(row, 1)}
    if not isinstance(row, dict):
        fix = 'write each row as {"column": value, ...}'
        raise DataError(f"row {number} of '{split:.60}' is {_kind(row)}, not an object", where=str(path), fix=fix)
    return {**row, "split": split}


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


def _read_parquet(handle: BinaryIO, path: Path, source: DataSource) -> Iterator[dict[str, object]]:
    import pyarrow
    import pyarrow.parquet

    try:
        file = pyarrow.parquet.ParquetFile(handle)
        check_names(file.schema_arrow.names, str(path), None)
        size, held = handle.seek(0, io.SEEK_END), 0
        if file.metadata.num_rows > max(MOST_ROWS, size):
            what = f"{file.metadata.num_rows:,} rows in a file of {size:,} bytes"
            raise DataError(what, where=str(path), fix="look whether that is what it should hold")
        for batch in file.iter_batches(batch_size=256):
            held += _size(batch)
            if held > max(MOST_BYTES, MOST_TIMES * size):
                what = f"the file unpacks to more than {held / 1e6:,.0f} MB"
                raise DataError(what, where=str(path), fix="look whether that is what it should hold")
            yield from rows_of_arrow(batch)
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"not a readable Parquet file: {first_line(error)}", where=str(path), fix="download it again"
        ) from None


def _size(batch: Any) -> int:
    """Returns the bytes of an Arrow batch, a value that stands in many rows counted in each."""
    return sum(one.dictionary_decode().nbytes if hasattr(one, "indices") else one.nbytes for one in batch.columns)


def _read_text(handle: BinaryIO, path: Path, source: DataSource) -> Iterator[dict[str, object]]:
    """Yields one row: the whole file in the column `text`."""
    text = read_whole(_text(handle, path, source, ""), path, "split it into several files")
    if text:
        yield {"text": text}


READERS: dict[str, Callable[[BinaryIO, Path, DataSource], Iterator[dict[str, object]]]] = {
    ".csv": _read_csv,
    ".tsv": _read_tsv,
    ".jsonl": _read_jsonl,
    ".ndjson": _read_jsonl,
    ".json": _read_json,
    ".parquet": _read_parquet,
    ".xlsx": lambda handle, path, source: read_excel(handle, path, source.sheet, source.header),
    ".txt": _read_text,
}


def suffix_of(path: Path) -> str:
    """Returns the format's suffix: ".csv", ".jsonl.gz", ..."""
    name = path.name.lower()
    inner = Path(name.removesuffix(".gz")).suffix
    return inner + ".gz" if name.endswith(".gz") else inner


def stem_of(path: Path) -> str:
    return path.name[: len(path.name) - len(suffix_of(path))]
