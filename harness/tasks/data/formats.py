"""The formats of data files, each read to rows: CSV, TSV, JSONL, JSON, Parquet, Excel, plain text.

CSV and TSV cells are always text ("007" stays "007"); JSON, Parquet and Excel cells keep their type. Not-a-number is
None. A new one is a function and a line in `READERS`.
"""

from __future__ import annotations

import csv
import io
import json
import sys
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

from harness.errors import DataError, nearest
from harness.tasks.data.cell_values import ERRORS, plain, rows_of_arrow, told_delimiter


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

    yield from _table(lines(), path, source.header, "line", source.delimiter or told or delimiter)


def _read_tsv(handle: BinaryIO, path: Path, source: DataSource) -> Iterator[dict[str, object]]:
    yield from _read_csv(handle, path, source, delimiter="\t")


def _table(
    lines: Iterator[tuple[int, list[Any]]], path: Path, header: Sequence[str] | None, unit: str, delimiter: str | None
) -> Iterator[dict[str, object]]:
    """Yields rows of numbered lines of cells. Without `header` the first line names the columns.

    What a spreadsheet leaves behind the table is left out: empty columns without a name, and rows of empty cells.
    """
    names, spare = list(header or ()), 0
    if header is None:
        number, cells = next(lines, (1, []))
        names = [str("" if cell is None else cell).strip() for cell in cells]
        while len(names) > 1 and not names[-1]:
            names, spare = names[:-1], spare + 1
        _check_names(names, f"{path}, {unit} {number}", delimiter)
    for number, cells in lines:
        if cells == names:  # `header:` is given, and the file turns out to have the same header row
            continue
        if len(cells) > 1 and not any(map(_filled, cells)):
            continue
        if spare and len(cells) == len(names) + spare:
            for position, cell in enumerate(cells[-spare:], len(names) + 1):
                if _filled(cell):
                    raise DataError(f"column {position} has no name", where=f"{path}, {unit} {number}", fix=_UNNAMED)
            cells = cells[:-spare]
        if len(cells) != len(names):
            fix = "mend the row (a cell with the delimiter in it needs quotes)"
            if header is not None:
                fix += ", or `header:` in the task"
            what = f"the row has {len(cells)} cells, but there are {len(names)} columns"
            raise DataError(what, where=f"{path}, {unit} {number}", fix=fix)
        yield dict(zip(names, cells))


_UNNAMED = "name it (merged cells name only their first column), or list all names as `header:` if none is there"


def _filled(cell: Any) -> bool:
    return cell is not None and str(cell).strip() != ""


def _check_names(names: list[str], where: str, delimiter: str | None) -> None:
    """Refuses a header with two columns of one name, or one of no name (save the first of a CSV: pandas' index)."""
    if delimiter and len(names) == 1:
        for other in ";\t|,":
            if other != delimiter and other in names[0]:
                fix = f'write delimiter: "{other}" in the task\'s data'.replace("\t", "\\t")
                raise DataError(f"one column, named {names[0]!r}: another delimiter?", where=where, fix=fix)
    for position, name in enumerate(names):
        if not name and not (position == 0 and delimiter and len(names) > 1):
            raise DataError(f"column {position + 1} has no name", where=where, fix=_UNNAMED)
        if name in names[:position]:
            what = f"two columns are named '{name}' ({names.index(name) + 1} and {position + 1})"
            raise DataError(what, where=where, fix="rename one of them")


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
    if "\\ud" in text or "\\uD" in text:
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            fix = "write the character whole; \\ud83d alone is one half of a pair"
            raise DataError("the text holds half a character (a lone surrogate)", where=where, fix=fix) from None
    return value


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
    text = _text(handle, path, source, newline="\n").read()
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


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


def _read_parquet(handle: BinaryIO, path: Path, source: DataSource) -> Iterator[dict[str, object]]:
    import pyarrow
    import pyarrow.parquet

    try:
        file = pyarrow.parquet.ParquetFile(handle)
        _check_names(file.schema_arrow.names, str(path), None)
        for batch in file.iter_batches(batch_size=4096):
            yield from rows_of_arrow(batch)
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"not a readable Parquet file: {first_line(error)}", where=str(path), fix="download it again"
        ) from None


def _read_excel(handle: BinaryIO, path: Path, source: DataSource) -> Iterator[dict[str, object]]:
    values = _sheet_cells(handle, path, source.sheet, computed=True)
    for number, cells in _sheet_cells(handle, path, source.sheet, computed=False).items():
        for position, cell in enumerate(cells):
            known = values.get(number, [])[position : position + 1]
            if isinstance(cell, str) and cell.startswith("=") and known in ([], [None]):
                fix = "open the file in a spreadsheet program and save it, so that it holds the values"
                what = f"the formula {cell} in column {position + 1} was never computed"
                raise DataError(what, where=f"{path}, row {number}", fix=fix)
    width = len(source.header or next(iter(values.values()), ()))
    rows = (
        (number, [plain(cell) for cell in cells] + [None] * (width - len(cells))) for number, cells in values.items()
    )
    yield from _table(rows, path, source.header, "row", None)


def _sheet_cells(handle: BinaryIO, path: Path, name: str | None, computed: bool) -> dict[int, list[Any]]:
    """Returns the cells of each row that has any, without the empty ones at its end; formulas, or their values."""
    import openpyxl

    try:
        book = openpyxl.load_workbook(handle, read_only=True, data_only=computed)
        sheets = {sheet.title: _rows_of(sheet) for sheet in book.worksheets if name in (None, sheet.title)}
    except (zipfile.BadZipFile, KeyError, OSError, ValueError, SyntaxError) as error:
        fix = "open it in a spreadsheet program and save it as .xlsx, or export CSV"
        raise DataError(f"not a readable Excel file: {first_line(error)}", where=str(path), fix=fix) from None
    if name is not None and not sheets:
        raise DataError(f"no sheet '{name}'", where=str(path), fix=nearest(name, book.sheetnames))
    filled = {title: rows for title, rows in sheets.items() if rows}
    if len(filled) > 1:
        named = ", ".join(f"'{title}'" for title in filled)
        fix = "name one: --sheet of `harness init`, or `sheet` under `data` in the task file"
        raise DataError(f"several sheets hold data: {named}", where=str(path), fix=fix)
    return next(iter(filled.values()), {})


def _rows_of(sheet: Any) -> dict[int, list[Any]]:
    rows = {}
    for number, cells in enumerate(sheet.iter_rows(), 1):
        row = [None if cell.data_type == "e" else cell.value for cell in cells]
        filled = [position for position, cell in enumerate(row, 1) if cell is not None]
        if filled:
            rows[number] = row[: filled[-1]]
    return rows


def _read_text(handle: BinaryIO, path: Path, source: DataSource) -> Iterator[dict[str, object]]:
    """Yields one row: the whole file in the column `text`."""
    text = _text(handle, path, source, "").read()
    if text:
        yield {"text": text}


READERS: dict[str, Callable[[BinaryIO, Path, DataSource], Iterator[dict[str, object]]]] = {
    ".csv": _read_csv,
    ".tsv": _read_tsv,
    ".jsonl": _read_jsonl,
    ".ndjson": _read_jsonl,
    ".json": _read_json,
    ".parquet": _read_parquet,
    ".xlsx": _read_excel,
    ".txt": _read_text,
}


def first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def suffix_of(path: Path) -> str:
    """Returns the format's suffix: ".csv", ".jsonl.gz", ..."""
    name = path.name.lower()
    inner = Path(name.removesuffix(".gz")).suffix
    return inner + ".gz" if name.endswith(".gz") else inner


def stem_of(path: Path) -> str:
    return path.name[: len(path.name) - len(suffix_of(path))]
