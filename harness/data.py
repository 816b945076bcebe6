"""Data files and hub ids -> rows: plain dictionaries, as they stand in the file, with the digest of what was read.

    load_rows(DataSource(file="tickets.csv"), base=folder_of_the_task) -> Rows
    assign_ids(rows.rows, None) -> ["0", "1", ...]

CSV and TSV cells are always text ("007" stays "007"); JSON, Parquet and Excel cells keep their type. Not-a-number is
None. Where a file, a folder or a split can be meant in two ways, the reader refuses and names the candidates.
"""

from __future__ import annotations

import base64
import csv
import datetime
import decimal
import gzip
import hashlib
import io
import json
import re
import stat
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

from .errors import DataError, nearest

SPLIT_NAMES = ("train", "training", "validation", "valid", "val", "dev", "test", "testing", "eval")
_SHARD = re.compile(r"^(?P<split>.+)-(?P<part>\d{5})-of-(?P<parts>\d{5})(-[0-9a-f]+)?$")
_HUB_ID = re.compile(r"^\w[\w.-]*(/\w[\w.-]*)?$")
_COMMIT = re.compile(r"@([0-9a-f]{40})/")
_LFS_POINTER = b"version https://git-lfs"


@dataclass(frozen=True, slots=True)
class DataSource:
    """Where rows come from: one of `file` (relative to the task file) and `hub` (a data set's id)."""

    file: str | None = None
    hub: str | None = None
    config: str | None = None  # hub: the data set's configuration
    split: str | None = None
    revision: str | None = None  # hub: commit, tag or branch
    sha256: str | None = None  # of the file; of several files: of their lines "<sha256>  <name>"
    header: tuple[str, ...] | None = None  # the file has no header row; a name given more than once makes a list
    id: str | None = None  # the column of sample ids
    sheet: str | None = None  # Excel
    delimiter: str | None = None  # CSV, TSV
    encoding: str | None = None  # default: UTF-8, or what the byte order mark says
    file_column: str | None = None  # folder of files: a further name for `_file` (MMLU: subject)


@dataclass(frozen=True, slots=True)
class Rows:
    """What was read, and proof of it."""

    rows: tuple[dict[str, Any], ...]
    digest: str  # sha256 of the files read (several: of their list of digests), or the hub's commit
    origin: str  # for people: what was read
    files: tuple[str, ...]  # paths read; none for the hub


def load_rows(source: DataSource, *, base: Path, override: Path | None = None, split: str | None = None) -> Rows:
    """Returns the rows of one split.

    `base` is the folder of the task file: `file` must lie inside it. `override` is a file or a folder named on the
    command line, and may be anywhere. `split` asks for another split than the source's own (few-shot rows).
    Raises DataError for whatever is missing, unreadable, ambiguous, empty, or not what `sha256` promises.
    """
    asked, own = split or source.split, split in (None, source.split)
    if override is not None:
        return _read_path(_Place(Path(override)), source, asked, own)
    if bool(source.file) == bool(source.hub):
        raise DataError("a task's data needs one of `file` and `hub`", where=str(base), fix="write data: {file: ...}")
    if source.file:
        found = _read_path(_inside(Path(base), source.file), source, asked, own)
        if own and source.sha256 and source.sha256.lower() != found.digest:
            raise DataError(
                f"the data has changed: sha256 is {found.digest}, the task says {source.sha256}",
                where=found.origin,
                fix="restore the file, or write the new sha256 into the task and raise its version",
            )
        return found
    return _read_hub(source, Path(base), asked, own)


def assign_ids(rows: Sequence[Mapping[str, Any]], id_column: str | None) -> list[str]:
    """Returns one id a row: the text of `id_column`, or the position ("<_file>/<n>" where rows have `_file`).

    Raises DataError naming the rows (counted from 1) whose id is missing, empty or already taken.
    """
    if id_column is None:
        return _positions(rows)
    ids: list[str] = []
    first: dict[str, int] = {}
    for number, row in enumerate(rows, 1):
        if id_column not in row:
            fix = nearest(id_column, row)
            raise DataError(f"row {number} has no column '{id_column}', which holds the ids", where="data: id", fix=fix)
        value = row[id_column]
        name = "" if value is None else str(value).strip()
        if not name:
            raise DataError(f"row {number} has an empty id", where=f"column '{id_column}'", fix="give every row an id")
        if name in first:
            raise DataError(
                f"rows {first[name]} and {number} have the same id '{name}'",
                where=f"column '{id_column}'",
                fix="make ids unique, or leave out `id:` to number the rows by position",
            )
        first[name] = number
        ids.append(name)
    return ids


def _positions(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    ids, count = [], {}
    for row in rows:
        file = row.get("_file")
        number = count[file] = count.get(file, -1) + 1
        ids.append(str(number) if file is None else f"{file}/{number}")
    return ids


# ---- one file -> rows ------------------------------------------------------------------------------------------------


def iter_rows(path: Path, source: DataSource = DataSource()) -> Iterator[dict[str, Any]]:
    """Yields the rows of one file in order, holding one row (JSON: the file; Parquet: one batch) in memory."""
    with _open(path) as raw:
        yield from _parse(raw, path, source)


def _open(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise DataError(f"the file cannot be read: {error.strerror}", where=str(path), fix="check its rights") from None


def _parse(raw: BinaryIO, path: Path, source: DataSource) -> Iterator[dict[str, Any]]:
    suffix = _suffix(path)
    reader = READERS.get(suffix.removesuffix(".gz"))
    if reader is None:
        known = ", ".join(READERS)
        raise DataError(f"'{path.suffix}' is no format read here", where=str(path), fix=f"save it as one of: {known}")
    if raw.read(len(_LFS_POINTER)) == _LFS_POINTER:
        raise DataError("this is a Git LFS pointer, not the data itself", where=str(path), fix="run `git lfs pull`")
    raw.seek(0)
    handle = gzip.GzipFile(fileobj=raw) if suffix.endswith(".gz") else raw
    try:
        yield from reader(handle, path, source)
    except UnicodeDecodeError as error:
        handle.seek(0)
        raise _undecodable(handle.read(), error.encoding, path) from None
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"not a whole gzip file: {error}", where=str(path), fix="download or pack it again") from None


def _undecodable(data: bytes, encoding: str, path: Path) -> DataError:
    try:
        data.decode(encoding)
        start, line = 0, 1
    except UnicodeDecodeError as error:
        start, line = error.start, data.count(b"\n", 0, error.start) + 1
    return DataError(
        f"byte {start} (0x{data[start]:02x}) is not {encoding} text",
        where=f"{path}, line {line}",
        fix="name the file's encoding in the task's data, e.g. encoding: cp1252, or save the file as UTF-8",
    )


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


def _read_csv(handle: BinaryIO, path: Path, source: DataSource, delimiter: str = ",") -> Iterator[dict[str, Any]]:
    delimiter = source.delimiter or delimiter
    csv.field_size_limit(sys.maxsize)  # the module's limit of 128 kB is less than one long document
    try:
        reader = csv.reader(_text(handle, path, source, newline=""), delimiter=delimiter, strict=True)
    except TypeError:
        raise DataError(f"delimiter {delimiter!r} is not one character", where=str(path), fix='write ";"') from None

    def lines() -> Iterator[tuple[int, list[str]]]:
        start = 1
        try:
            for cells in reader:
                if cells:
                    yield start, cells
                start = reader.line_num + 1
        except csv.Error as error:
            fix = 'a cell with a quote in it is written "like ""this"""'
            raise DataError(f"not readable as CSV: {error}", where=f"{path}, line {start}", fix=fix) from None

    yield from _table(lines(), path, source.header, "line", delimiter)


def _read_tsv(handle: BinaryIO, path: Path, source: DataSource) -> Iterator[dict[str, Any]]:
    yield from _read_csv(handle, path, source, delimiter="\t")


def _table(
    lines: Iterator[tuple[int, list[Any]]], path: Path, header: Sequence[str] | None, unit: str, delimiter: str | None
) -> Iterator[dict[str, Any]]:
    """Yields rows of numbered lines of cells. Without `header` the first line names the columns."""
    names, repeated = list(header or ()), set()
    if header is None:
        number, cells = next(lines, (1, []))
        names = [str("" if cell is None else cell).strip() for cell in cells]
        _check_names(names, f"{path}, {unit} {number}", delimiter)
    else:
        repeated = {name for name in names if names.count(name) > 1}
    for number, cells in lines:
        if len(cells) != len(names):
            fix = "mend the row (a cell with the delimiter in it needs quotes)"
            if header is not None:
                fix += ", or `header:` in the task"
            what = f"the row has {len(cells)} cells, but there are {len(names)} columns"
            raise DataError(what, where=f"{path}, {unit} {number}", fix=fix)
        row: dict[str, Any] = {}
        for name, cell in zip(names, cells):
            if name in repeated:
                row.setdefault(name, []).append(cell)
            else:
                row[name] = cell
        yield row


def _check_names(names: list[str], where: str, delimiter: str | None) -> None:
    """Refuses a header with two columns of one name, or one of no name (save the first of a CSV: pandas' index)."""
    if delimiter and len(names) == 1:
        for other in ";\t|,":
            if other != delimiter and other in names[0]:
                fix = f'write delimiter: "{other}" in the task\'s data'.replace("\t", "\\t")
                raise DataError(f"one column, named {names[0]!r}: another delimiter?", where=where, fix=fix)
    for position, name in enumerate(names):
        if not name and not (position == 0 and delimiter and len(names) > 1):
            fix = "name it (merged cells name only their first column), or list all names as `header:` if none is there"
            raise DataError(f"column {position + 1} has no name", where=where, fix=fix)
        if name in names[:position]:
            what = f"two columns are named '{name}' ({names.index(name) + 1} and {position + 1})"
            raise DataError(what, where=where, fix="rename one of them")


_DECODER = json.JSONDecoder(parse_constant=lambda name: None if name == "NaN" else float(name))


def _json(text: str, path: Path, line: int | None) -> Any:
    """Returns the value of one JSON text. `line` is the number of its only line; None: the text is the file."""
    where = f"{path}, line {line or 1}"
    try:
        value = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        where = f"{path}, line {line or error.lineno}, column {error.colno}"
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


def _read_jsonl(handle: BinaryIO, path: Path, source: DataSource) -> Iterator[dict[str, Any]]:
    # Lines end at \n only: U+2028 and its like are ordinary characters inside a JSON string.
    for number, line in enumerate(_text(handle, path, source, newline="\n"), 1):
        if line.isspace():
            continue
        if number == 1 and line.startswith("["):
            raise DataError("this is a JSON list, not JSONL", where=str(path), fix=f"rename it to {_stem(path)}.json")
        row = _json(line, path, number)
        if not isinstance(row, dict):
            what = f"the line holds {_kind(row)}, not an object"
            raise DataError(what, where=f"{path}, line {number}", fix='write one {"column": value, ...} on each line')
        yield row


def _read_json(handle: BinaryIO, path: Path, source: DataSource) -> Iterator[dict[str, Any]]:
    text = _text(handle, path, source, newline="\n").read()
    try:
        value = _json(text, path, None)
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


def _read_parquet(handle: BinaryIO, path: Path, source: DataSource) -> Iterator[dict[str, Any]]:
    import pyarrow
    import pyarrow.parquet

    try:
        file = pyarrow.parquet.ParquetFile(handle)
        _check_names(file.schema_arrow.names, str(path), None)
        for batch in file.iter_batches(batch_size=4096):
            for row in batch.to_pylist():
                yield _plain(row)
    except pyarrow.ArrowException as error:
        raise DataError(f"not a Parquet file: {_first_line(error)}", where=str(path), fix="download it again") from None


def _read_excel(handle: BinaryIO, path: Path, source: DataSource) -> Iterator[dict[str, Any]]:
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
        (number, [_plain(cell) for cell in cells] + [None] * (width - len(cells))) for number, cells in values.items()
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
        raise DataError(f"not a readable Excel file: {_first_line(error)}", where=str(path), fix=fix) from None
    if name is not None and not sheets:
        raise DataError(f"no sheet '{name}'", where=str(path), fix=nearest(name, book.sheetnames))
    filled = {title: rows for title, rows in sheets.items() if rows}
    if len(filled) > 1:
        named = ", ".join(f"'{title}'" for title in filled)
        raise DataError(f"several sheets hold data: {named}", where=str(path), fix="name one: sheet: ... in the data")
    return next(iter(filled.values()), {})


def _rows_of(sheet: Any) -> dict[int, list[Any]]:
    rows = {}
    for number, row in enumerate(sheet.iter_rows(values_only=True), 1):
        filled = [position for position, cell in enumerate(row, 1) if cell is not None]
        if filled:
            rows[number] = list(row[: filled[-1]])
    return rows


READERS: dict[str, Callable[[BinaryIO, Path, DataSource], Iterator[dict[str, Any]]]] = {
    ".csv": _read_csv,
    ".tsv": _read_tsv,
    ".jsonl": _read_jsonl,
    ".ndjson": _read_jsonl,
    ".json": _read_json,
    ".parquet": _read_parquet,
    ".xlsx": _read_excel,
}


def _plain(value: Any) -> Any:
    """Returns a cell as JSON knows it: not-a-number is None, dates are ISO text, bytes are base64 text."""
    if isinstance(value, float):
        return None if value != value else value
    if isinstance(value, dict):
        return {key: _plain(held) for key, held in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(held) for held in value]
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    if isinstance(value, decimal.Decimal):
        return str(value)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return value


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _suffix(path: Path) -> str:
    """Returns the format's suffix: ".csv", ".jsonl.gz", ..."""
    name = path.name.lower()
    inner = Path(name.removesuffix(".gz")).suffix
    return inner + ".gz" if name.endswith(".gz") else inner


def _stem(path: Path) -> str:
    return path.name[: len(path.name) - len(_suffix(path))]


def _is_data(path: Path) -> bool:
    return _suffix(path).removesuffix(".gz") in READERS and not path.name.startswith(".") and path.is_file()


# ---- a path, as the task or the person wrote it ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Place:
    """A file or folder to read. `within`: whatever is read must lie in this folder, links followed."""

    path: Path
    within: Path | None = None

    def at(self, path: Path) -> _Place:
        return replace(self, path=path)

    def kind(self) -> str:
        """Returns "file" or "folder", or raises DataError: missing, a device, or leading out of `within`."""
        where = str(self.path)
        try:
            mode = self.path.stat().st_mode
            real = self.path.resolve()
        except FileNotFoundError:
            folder = self.path.parent
            there = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
            fix = nearest(self.path.name, there) if there else f"there is no folder {folder}"
            raise DataError("no such data file", where=where, fix=fix) from None
        except (OSError, ValueError, RuntimeError) as error:
            fix = "write the path of a file or folder that exists"
            raise DataError(f"not a path that can be read: {_first_line(error)}", where=where[:200], fix=fix) from None
        if self.within is not None and not real.is_relative_to(self.within.resolve()):
            fix = "copy the data into the task's folder, or run with --data TASK=PATH"
            raise DataError(f"the data lies outside the task's folder: it leads to {real}", where=where, fix=fix)
        if stat.S_ISDIR(mode):
            return "folder"
        if not stat.S_ISREG(mode):
            raise DataError("this is a device or pipe, not a file", where=where, fix="save the data in a file")
        return "file"


def _inside(base: Path, file: str) -> _Place:
    """Returns the place of a task's `file:`. A task may read only what lies in its own folder."""
    parts = re.split(r"[/\\]", file)
    if not file.strip() or "\0" in file or ".." in parts or Path(file).is_absolute() or re.match(r"^[A-Za-z]:", file):
        fix = "write a path below the task's folder; for data elsewhere run with --data TASK=PATH"
        raise DataError(f"`file: {file!r}` does not lie in the task's folder", where=str(base), fix=fix)
    return _Place(base / file, within=base)


# ---- a path and a split -> rows --------------------------------------------------------------------------------------


def _read_path(place: _Place, source: DataSource, asked: str | None, own: bool) -> Rows:
    if place.kind() == "folder":
        files, named = _files_of(place, source.config, asked)
        if named is not None:
            return _read_files(place, files, source, named)
        place = place.at(files[0])  # the only file, and not named after a split
    return _read_single(place, source, asked, own)


def _read_single(place: _Place, source: DataSource, asked: str | None, own: bool) -> Rows:
    """Returns one split of a single file: by its column `split`, else the whole file, else from its sibling."""
    path = place.path
    first = next(iter_rows(path, source), {})
    if asked is not None and "split" in first:
        found = _read_files(place, [path], source, named=False)
        rows = tuple(row for row in found.rows if str(row.get("split")) == asked)
        if not rows:
            there = {str(row.get("split")) for row in found.rows}
            raise DataError(f"no row is of split '{asked}'", where=f"{path}, column 'split'", fix=nearest(asked, there))
        return replace(found, rows=rows)
    if own:
        return _read_files(place, [path], source, named=False)
    sibling = _sibling(path, str(asked))
    if sibling is None:
        end = _suffix(path)
        raise DataError(
            f"this one file has no column 'split': where is split '{asked}'?",
            where=str(path),
            fix=f"give a folder with one file per split ({asked}{end}, ...), or add the column 'split'",
        )
    place.at(sibling).kind()
    return _read_files(place.at(sibling), [sibling], source, named=False)


def _sibling(path: Path, split: str) -> Path | None:
    """Returns tickets_train.csv for tickets_test.csv and "train", if that is a file of its own."""
    parts = re.split(r"([-_.])", _stem(path))
    for index in range(len(parts) - 1, -1, -1):
        if parts[index].lower() in SPLIT_NAMES:
            other = path.with_name(
                "".join([*parts[:index], split, *parts[index + 1 :]]) + path.name[len(_stem(path)) :]
            )
            return other if other != path and other.is_file() else None
    return None


def _read_files(place: _Place, files: Sequence[Path], source: DataSource, named: bool) -> Rows:
    """Returns the rows of files in order. `named`: each row is told in `_file` which file it comes from."""
    rows: list[dict[str, Any]] = []
    digests = []
    split = files[0].parent.name  # of a folder of files: the files' names may repeat it
    for path in files:
        place.at(path).kind()
        with _open(path) as raw:
            digests.append(hashlib.file_digest(raw, "sha256").hexdigest())
            raw.seek(0)
            new = list(_parse(raw, path, source))
        if named:
            stem = _stem(path).removesuffix(f"_{split}").removeprefix(f"{split}_")
            for row in new:
                row["_file"] = stem
                if source.file_column:
                    row.setdefault(source.file_column, stem)
        rows += new
    if not rows:
        where = str(files[0]) if len(files) == 1 else str(place.path)
        raise DataError("the data holds no rows", where=where, fix="fill it, or name another file")
    digest = digests[0]
    if len(files) > 1:
        listed = "".join(f"{digest}  {path.name}\n" for digest, path in zip(digests, files))
        digest = hashlib.sha256(listed.encode()).hexdigest()
    origin = str(files[0]) if len(files) == 1 else f"{files[0].parent} ({len(files)} files)"
    return Rows(tuple(rows), digest, origin, tuple(map(str, files)))


# ---- a folder and a split -> files -----------------------------------------------------------------------------------


def _files_of(place: _Place, config: str | None, split: str | None) -> tuple[list[Path], bool | None]:
    """Returns the files of a split, and whether their names mean something (None: one file, not named by split).

    In order: what README.md says; `<config>/`, `data/` or the folder itself holding `<split>.csv`,
    `<split>-00000-of-00001.parquet` or a folder `<split>/`; one configuration's folder of these; a file with the
    split in its name (`tickets_test.csv`); the only data file there.
    """
    folder = place.path
    if split is None:
        return _files_without_split(folder, config)
    listed = _files_of_card(folder, config, split)
    if listed:
        return listed, False
    roots = [root for root in (folder / str(config), folder / "data" / str(config)) if config and root.is_dir()]
    roots = roots[:1] or [folder, folder / "data"]
    groups = [group for root in roots for group in _groups(root, split)]
    if not groups:
        held = [path for root in roots for path in _data_files(root)]
        groups = [([path], False) for path in held if split in re.split(r"[-_.]", _stem(path))]
        if config is None:
            inner = [entry for entry in sorted(folder.iterdir()) if entry.is_dir() and not entry.name.startswith(".")]
            groups += [group for root in inner if root not in roots for group in _groups(root, split)]
        if not groups and len(held) == 1 and not _splits_named(held):
            return held, None
    if len(groups) > 1:
        named = ", ".join(str(files[0].relative_to(folder)) for files, _ in groups[:6])
        fix = f"name one of them: --data TASK={groups[0][0][0]}" if config else "name `config:`, or one of these paths"
        raise DataError(f"several files could be split '{split}': {named}", where=str(folder), fix=fix)
    if not groups:
        raise _no_split(folder, roots, config, split)
    return groups[0]


def _no_split(folder: Path, roots: Sequence[Path], config: str | None, split: str) -> DataError:
    inner = {entry.name for root in roots if root.is_dir() for entry in root.iterdir() if entry.is_dir()}
    there = _splits_named([path for root in roots for path in _data_files(root)]) | inner
    fix = nearest(split, there) or f"put {split}.csv, {split}.jsonl or a folder {split}/ of such files there"
    what = f"no file here is split '{split}'" + (f" of config '{config}'" if config else "")
    return DataError(what, where=str(folder), fix=fix)


def _data_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if _is_data(path)) if folder.is_dir() else []


def _splits_named(files: Iterable[Path]) -> set[str]:
    words = {word for path in files for word in re.split(r"[-_.]", _stem(path).lower())}
    return words & set(SPLIT_NAMES)


def _files_without_split(folder: Path, config: str | None) -> tuple[list[Path], bool]:
    files = _data_files(folder / config) if config else _data_files(folder) or _data_files(folder / "data")
    splits = _splits_named(files)
    if len(files) > 1 and splits:
        fix = f"name one in the task's data, e.g. split: {min(splits)}"
        raise DataError(f"the folder holds several splits: {', '.join(sorted(splits))}", where=str(folder), fix=fix)
    if not files:
        fix = f"put files there that end in {', '.join(READERS)}, or name a `split:`"
        raise DataError("the folder holds no data files", where=str(folder), fix=fix)
    return files, len(files) > 1 and not _shards(files)


def _groups(root: Path, split: str) -> list[tuple[list[Path], bool]]:
    """Returns each set of files in `root` that could be the whole split."""
    groups: list[tuple[list[Path], bool]] = []
    files = _data_files(root)
    sharded = [path for path in files if (match := _SHARD.match(_stem(path))) and match["split"] == split]
    for suffix in sorted({_suffix(path) for path in sharded}):
        parts = [path for path in sharded if _suffix(path) == suffix]
        promised = int(_SHARD.match(_stem(parts[0]))["parts"])  # type: ignore[index]
        if len(parts) != promised:
            what = f"{len(parts)} of the {promised} parts of split '{split}' are there"
            raise DataError(what, where=str(root), fix="download the missing parts")
        groups.append((parts, False))
    groups += [([path], False) for path in files if _stem(path) == split]
    inner = _data_files(root / split)
    if inner:
        groups.append((inner, not _shards(inner)))
    return groups


def _shards(files: Iterable[Path]) -> bool:
    """Returns whether the files are numbered parts of one table, so that their names say nothing about the rows."""
    return all(_SHARD.match(_stem(path)) or _stem(path).isdigit() for path in files)


def _files_of_card(folder: Path, config: str | None, split: str) -> list[Path]:
    """Returns the files that the front matter of README.md lists for a split; none if it lists none."""
    card = folder / "README.md"
    if not card.is_file():
        return []
    import yaml

    front = re.match(r"---\r?\n(.{0,200000}?)\n---", card.read_text("utf-8", errors="replace"), re.DOTALL)
    try:
        meta = yaml.safe_load(front[1]) if front else None
    except yaml.YAMLError:
        return []
    held = meta.get("configs") if isinstance(meta, dict) else None
    configs = [entry for entry in held if isinstance(entry, dict)] if isinstance(held, list) else []
    names = [str(entry.get("config_name")) for entry in configs]
    if len(configs) > 1 and config is None:
        configs = [entry for entry in configs if entry.get("default")]
        if not configs:
            fix = "name one in the task's data: config: ..."
            raise DataError(f"several configurations: {', '.join(names[:12])}", where=str(card), fix=fix)
    elif config is not None and config in names:
        configs = [configs[names.index(config)]]
    elif config is not None:
        return []
    patterns: list[str] = []
    for entry in configs[:1]:
        listed = entry.get("data_files")
        for line in listed if isinstance(listed, list) else []:
            if isinstance(line, dict) and line.get("split") == split:
                path = line.get("path")
                patterns += path if isinstance(path, list) else [path]
    safe = [p for p in patterns if isinstance(p, str) and p and not Path(p).is_absolute() and ".." not in Path(p).parts]
    return sorted({path for pattern in safe for path in folder.glob(pattern) if _is_data(path)})


# ---- the hub ---------------------------------------------------------------------------------------------------------


def _read_hub(source: DataSource, base: Path, asked: str | None, own: bool) -> Rows:
    hub = str(source.hub)
    if not _HUB_ID.match(hub):
        fix = "write owner/name; for a local copy run with --data TASK=PATH"
        raise DataError(f"'{hub}' is no hub id", where=str(base), fix=fix)
    if source.sha256:
        fix = "pin a hub data set by `revision:` (a commit) and leave out `sha256:`"
        raise DataError("`sha256:` is for files", where=f"hub: {hub}", fix=fix)
    for root in (base, Path.cwd()):
        if (root / hub).is_dir():
            return _read_path(_Place((root / hub).resolve()), source, asked, own)
    where = f"hub: {hub}" + (f", config: {source.config}" if source.config else "") + f", split: {asked}"
    if asked is None:
        raise DataError("a hub data set needs a split", where=where, fix="add split: test (or another) to the data")
    import datasets

    try:
        table = datasets.load_dataset(hub, source.config, split=asked, revision=source.revision)
    except (datasets.exceptions.DatasetsError, OSError, ValueError, RuntimeError) as error:
        what = f"the data set cannot be loaded: {_first_line(error)}"
        fix = "check the id, config and split, or give a local copy: --data TASK=PATH (a file or folder)"
        raise DataError(what, where=where, fix=fix) from None
    batches = table.with_format("arrow").iter(batch_size=4096)
    rows = tuple(_plain(row) for batch in batches for row in batch.to_pylist())
    if not rows:
        raise DataError("the data holds no rows", where=where, fix="name another split")
    commit = _commit_of(table, source.revision)
    digest = commit or hashlib.sha256(json.dumps(rows, sort_keys=True).encode()).hexdigest()
    return Rows(rows, digest, f"{hub} ({source.config or 'default'}, {asked}) at {commit or 'unknown revision'}", ())


def _commit_of(table: Any, revision: str | None) -> str | None:
    """Returns the hub commit that the rows come from: as pinned, else as the files' addresses tell; None if neither."""
    if revision and re.fullmatch(r"[0-9a-f]{40}", revision):
        return revision
    for address in table.info.download_checksums or {}:
        if match := _COMMIT.search(str(address)):
            return match[1]
    return None
