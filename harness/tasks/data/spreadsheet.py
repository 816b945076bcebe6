"""Excel files to rows: the values that were last stored, of one sheet."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from harness.errors import DataError, nearest
from harness.tasks.data.bounds import MOST_BYTES
from harness.tasks.data.tables import MOST_COLUMNS, first_line, plain, table, too_many_columns

MOST_SHEETS = 200
# what an archive, or the XML in it, that is no Excel file gives rise to; a seal or method that is not known is Runtime
BROKEN = (zipfile.BadZipFile, KeyError, OSError, ValueError, SyntaxError, RuntimeError, EOFError, zlib.error)


def check_book(handle: BinaryIO, path: Path) -> None:
    """Raises DataError for an Excel file that unpacks to more than can be held, or has sheets without end."""
    try:
        members = zipfile.ZipFile(handle).infolist()
    except BROKEN:
        return  # the reader says what is wrong
    size = sum(member.file_size for member in members)
    if size > MOST_BYTES:
        what = f"the file unpacks to {size / 1e6:,.0f} MB, and {MOST_BYTES / 1e6:,.0f} MB are the most"
        raise DataError(what, where=str(path), fix="export the sheet as CSV")
    sheets = sum(member.filename.startswith("xl/worksheets/") for member in members)
    if sheets > MOST_SHEETS:
        what = f"{sheets:,} sheets, and {MOST_SHEETS} are the most"
        raise DataError(what, where=str(path), fix="export the sheet that holds the data as CSV")
    handle.seek(0)


def read_excel(
    handle: BinaryIO, path: Path, sheet: str | None, header: Sequence[str] | None
) -> Iterator[dict[str, object]]:
    """Yields the rows of a sheet, by default of the only one that holds data."""
    check_book(handle, path)
    values = _sheet_cells(handle, path, sheet, computed=True)
    for number, cells in _sheet_cells(handle, path, sheet, computed=False).items():
        for position, cell in enumerate(cells):
            known = values.get(number, [])[position : position + 1]
            if isinstance(cell, str) and cell.startswith("=") and known in ([], [None]):
                fix = "open the file in a spreadsheet program and save it, so that it holds the values"
                what = f"the formula {cell} in column {position + 1} was never computed"
                raise DataError(what, where=f"{path}, row {number}", fix=fix)
    width = len(header or next(iter(values.values()), ()))
    rows = (
        (number, [plain(cell) for cell in cells] + [None] * (width - len(cells))) for number, cells in values.items()
    )
    yield from table(rows, path, header, "row", None)


def _sheet_cells(handle: BinaryIO, path: Path, name: str | None, computed: bool) -> dict[int, list[Any]]:
    """Returns the cells of each row that has any, without the empty ones at its end; formulas, or their values."""
    import openpyxl

    try:
        book = openpyxl.load_workbook(handle, read_only=True, data_only=computed)
        sheets = {sheet.title: _rows_of(sheet) for sheet in book.worksheets if name in (None, sheet.title)}
    except BROKEN as error:
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
    sheet.reset_dimensions()  # what the file says of them may be a million columns of nothing
    for number, cells in enumerate(sheet.iter_rows(), 1):
        if len(cells) > MOST_COLUMNS:
            raise too_many_columns(len(cells), f"sheet '{sheet.title:.60}', row {number}")
        row = [None if cell.data_type == "e" else cell.value for cell in cells]
        filled = [position for position, cell in enumerate(row, 1) if cell is not None]
        if filled:
            rows[number] = row[: filled[-1]]
    return rows
