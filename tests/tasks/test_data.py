"""Rows as they stand in the file, from every format and layout; and what is told when they cannot be read."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

import openpyxl
import pyarrow
import pyarrow.parquet
import pytest

from harness.errors import DataError
from harness.tasks.data.files import iter_rows
from harness.tasks.data.read import DataSource, assign_ids, load_rows


def rows_of(path: Path, **options) -> list[dict]:
    return list(load_rows(DataSource(file=path.name, **options), base=path.parent).rows)


def error_of(call: Callable, *arguments, **options) -> DataError:
    with pytest.raises(DataError) as caught:
        call(*arguments, **options)
    return caught.value


def put(folder: Path, **files: str | bytes) -> Path:
    """Writes files; a double underscore in a name is a slash, the last single one a dot: a__test_csv is a/test.csv."""
    for name, content in files.items():
        path = folder / ".".join(name.replace("__", "/").rsplit("_", 1))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


CSV = "text,label\nhello,a\nbye,b\n"
TWO = [{"text": "hello", "label": "a"}, {"text": "bye", "label": "b"}]
JSONL = '{"text": "hello", "label": "a"}\n{"text": "bye", "label": "b"}\n'


def parquet(rows: list[dict]) -> bytes:
    sink = pyarrow.BufferOutputStream()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), sink)
    return sink.getvalue().to_pybytes()


def excel(path: Path, **sheets: list[list]) -> Path:
    book = openpyxl.Workbook()
    book.remove(book.active)
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(row)
    book.save(path)
    return path


# ---- formats ---------------------------------------------------------------------------------------------------------

SAME_ROWS = {
    "plain.csv": CSV.encode(),
    "crlf.csv": CSV.replace("\n", "\r\n").encode(),
    "old_mac.csv": CSV.replace("\n", "\r").encode(),
    "no_last_newline.csv": CSV.rstrip().encode(),
    "blank_lines.csv": CSV.replace("\n", "\n\n").encode(),
    "bom.csv": b"\xef\xbb\xbf" + CSV.encode(),
    "utf16.csv": CSV.encode("utf-16"),
    "utf16be.csv": b"\xfe\xff" + CSV.encode("utf-16-be"),
    "utf32.csv": CSV.encode("utf-32"),
    "spaced_header.csv": CSV.replace("text,label", " text , label").encode(),
    "quoted.csv": b'"text","label"\r\n"hello","a"\r\n"bye","b"\r\n',
    "tabs.tsv": CSV.replace(",", "\t").encode(),
    "UPPER.CSV": CSV.encode(),
    "packed.csv.gz": gzip.compress(CSV.encode()),
    "plain.jsonl": JSONL.encode(),
    "other.ndjson": JSONL.encode(),
    "crlf.jsonl": JSONL.replace("\n", "\r\n").encode(),
    "bom.jsonl": b"\xef\xbb\xbf" + JSONL.encode(),
    "utf16.jsonl": JSONL.encode("utf-16"),
    "blank_lines.jsonl": JSONL.replace("\n", "\n \n").encode(),
    "packed.jsonl.gz": gzip.compress(JSONL.encode()),
    "list.json": json.dumps(TWO, indent=1).encode(),
    "one_key.json": json.dumps({"canary": "guid", "examples": TWO}).encode(),
    "lines.json": JSONL.encode(),
    "bom.json": b"\xef\xbb\xbf" + json.dumps(TWO).encode(),
    "packed.json.gz": gzip.compress(json.dumps(TWO).encode()),
    "table.parquet": parquet(TWO),
}


@pytest.mark.parametrize("name", SAME_ROWS)
def test_every_format_gives_the_same_rows(tmp_path, name):
    (tmp_path / name).write_bytes(SAME_ROWS[name])
    assert rows_of(tmp_path / name) == TWO


def test_excel_gives_the_same_rows(tmp_path):
    path = excel(tmp_path / "a.xlsx", tickets=[["text", "label"], ["hello", "a"], [None, None], ["bye", "b"]])
    assert rows_of(path) == TWO


def test_quoted_cells_keep_commas_quotes_newlines_and_line_separators(tmp_path):
    cell = 'a, "b"\nc\r\nd\u2028e\u2029f\x85g\x0bh'
    text = 'text,label\n"' + cell.replace('"', '""') + '",x\n'
    (tmp_path / "a.csv").write_bytes(text.encode())
    assert rows_of(tmp_path / "a.csv") == [{"text": cell, "label": "x"}]


def test_line_separators_inside_json_strings_do_not_end_the_line(tmp_path):
    text = "a\u2028b\u2029c\x85d\x0be\x1cf"
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": text}, ensure_ascii=False) + "\n")
    assert rows_of(tmp_path / "a.jsonl") == [{"text": text}]


def test_csv_cells_stay_text(tmp_path):
    put(tmp_path, a_csv="id,n,flag\n007,1.50,true\n,NA,null\n")
    assert rows_of(tmp_path / "a.csv") == [
        {"id": "007", "n": "1.50", "flag": "true"},
        {"id": "", "n": "NA", "flag": "null"},
    ]


def test_json_cells_keep_their_type_and_not_a_number_is_none(tmp_path):
    put(tmp_path, a_jsonl='{"id": "007", "n": 7, "x": 1.5, "no": null, "nan": NaN, "list": ["a", {"b": [1]}]}\n')
    assert rows_of(tmp_path / "a.jsonl") == [
        {"id": "007", "n": 7, "x": 1.5, "no": None, "nan": None, "list": ["a", {"b": [1]}]}
    ]


def test_parquet_cells_are_plain_python_values(tmp_path):
    import datetime
    import decimal

    row = {
        "id": "007",
        "endings": ["a", "b"],
        "nested": {"text": ["x"], "score": [float("nan"), 1.0]},
        "nan": float("nan"),
        "day": datetime.date(2025, 1, 15),
        "price": decimal.Decimal("12.50"),
        "raw": b"\x00\xff",
        "took": datetime.timedelta(seconds=90),
    }
    (tmp_path / "a.parquet").write_bytes(parquet([row]))
    (found,) = rows_of(tmp_path / "a.parquet")
    assert found == {
        "id": "007",
        "endings": ["a", "b"],
        "nested": {"text": ["x"], "score": [None, 1.0]},
        "nan": None,
        "day": "2025-01-15",
        "price": "12.50",
        "raw": "AP8=",
        "took": 90.0,
    }
    assert type(found["endings"]) is list and type(found["nested"]) is dict
    json.dumps(found)


def test_excel_cells_keep_their_type_and_the_sheet_is_found_by_name(tmp_path):
    import datetime

    path = excel(
        tmp_path / "a.xlsx",
        notes=[["written by me"]],
        tickets=[["id", "n", "x", "day", "note"], ["007", 7, 1.5, datetime.date(2025, 1, 15), None]],
    )
    assert rows_of(path, sheet="tickets") == [{"id": "007", "n": 7, "x": 1.5, "day": "2025-01-15", "note": None}]


def test_empty_sheets_beside_the_only_filled_one_do_not_matter(tmp_path):
    assert len(rows_of(excel(tmp_path / "a.xlsx", Sheet1=[["a"], [1]], Sheet2=[], Sheet3=[]))) == 1


def test_excel_formulas_give_the_values_they_were_saved_with(tmp_path):
    path = excel(tmp_path / "a.xlsx", s=[["n", "twice"], [1, "=A2*2"]])
    error = error_of(rows_of, path)
    assert error.what == "the formula =A2*2 in column 2 was never computed"
    assert error.where == f"{path}, row 2" and "spreadsheet program and save" in error.fix
    _store_computed(path, "A2*2", "2")
    assert rows_of(path) == [{"n": 1, "twice": 2}]


def _store_computed(path: Path, formula: str, value: str) -> None:
    """Writes the value of a formula into the file, as a spreadsheet program does when it saves."""
    import zipfile

    with zipfile.ZipFile(path) as book:
        parts = {name: book.read(name) for name in book.namelist()}
    name = "xl/worksheets/sheet1.xml"
    old = f"<f>{formula}</f><v />" if f"<f>{formula}</f><v />".encode() in parts[name] else f"<f>{formula}</f><v></v>"
    assert old.encode() in parts[name]
    parts[name] = parts[name].replace(old.encode(), f"<f>{formula}</f><v>{value}</v>".encode())
    with zipfile.ZipFile(path, "w") as book:
        for name, data in parts.items():
            book.writestr(name, data)


def test_a_file_without_a_header_row_takes_its_names_from_the_task(tmp_path):
    put(tmp_path, a_csv="hello,a\nbye,b\n")
    assert rows_of(tmp_path / "a.csv", header=("text", "label")) == TWO
    path = excel(tmp_path / "a.xlsx", s=[["hello", "a"], ["bye", "b"]])
    assert rows_of(path, header=("text", "label")) == TWO


def test_a_header_row_that_the_task_names_too_is_no_row(tmp_path):
    put(tmp_path, a_csv=CSV)
    assert rows_of(tmp_path / "a.csv", header=("text", "label")) == TWO


def test_delimiter_and_encoding_are_taken_from_the_task(tmp_path):
    put(tmp_path, a_csv="text;label\ncafé;a\n".encode("cp1252"))
    assert rows_of(tmp_path / "a.csv", delimiter=";", encoding="cp1252") == [{"text": "café", "label": "a"}]
    put(tmp_path, b_csv=b"\xef\xbb\xbf" + CSV.encode())
    assert rows_of(tmp_path / "b.csv", encoding="UTF-8") == TWO
    put(tmp_path, c_csv=CSV.encode("utf-16-le"))
    assert rows_of(tmp_path / "c.csv", encoding="utf-16-le") == TWO


def test_the_unnamed_first_column_that_pandas_writes_is_let_pass(tmp_path):
    put(tmp_path, a_csv=",text\n0,hello\n")
    assert rows_of(tmp_path / "a.csv") == [{"": "0", "text": "hello"}]


def test_what_a_spreadsheet_leaves_behind_the_table_is_left_out(tmp_path):
    put(tmp_path, a_csv="a;b;;\n1;2;;\n;;;\n;4; ;\n;;;\n")
    assert rows_of(tmp_path / "a.csv", delimiter=";") == [{"a": "1", "b": "2"}, {"a": "", "b": "4"}]


def test_a_cell_longer_than_the_csv_modules_limit_is_read(tmp_path):
    put(tmp_path, a_csv="text,label\n" + "x" * 300_000 + ",a\n")
    assert len(rows_of(tmp_path / "a.csv")[0]["text"]) == 300_000


def test_rows_are_yielded_one_at_a_time(tmp_path):
    put(tmp_path, a_jsonl='{"n": 1}\n{"n": 2}\nbroken\n')
    rows = iter_rows(tmp_path / "a.jsonl")
    assert next(rows) == {"n": 1} and next(rows) == {"n": 2}
    with pytest.raises(DataError, match="line 3"):
        next(rows)


# ---- files that cannot be read ---------------------------------------------------------------------------------------

BAD_FILES = {  # name: (content, options, words of what, end of where, words of fix)
    "ragged.csv": (b"a,b\n1,2\n\n1,2,3\n", {}, "has 3 cells, but there are 2 columns", "line 4", "needs quotes"),
    "short.csv": (b"a,b\n1\n", {}, "has 1 cells, but there are 2 columns", "line 2", "mend the row"),
    "after_quote.csv": (b'a,b\n"x\ny",2\n1\n', {}, "has 1 cells", "line 4", "mend"),
    "headed.csv": (b"1,2,3\n", {"header": ("a", "b")}, "has 3 cells", "line 1", "`header:` in the task"),
    "twice.csv": (b"a,b,a\n1,2,3\n", {}, "two columns are named 'a' (1 and 3)", "line 1", "rename"),
    "unnamed.csv": (b"a,,b\n1,2,3\n", {}, "column 2 has no name", "line 1", "`header:`"),
    "nameless.csv": (b"a,b,\n1,2,\n3,4,5\n", {}, "column 3 has no name", "line 3", "`header:`"),
    "semicolon.csv": (b"text;label\nx;y\n", {}, "another delimiter?", "line 1", 'delimiter: ";"'),
    "tabbed.csv": (b"text\tlabel\nx\ty\n", {}, "another delimiter?", "line 1", 'delimiter: "\\t"'),
    "commas.tsv": (b"text,label\nx,y\n", {}, "another delimiter?", "line 1", 'delimiter: ","'),
    "open_quote.csv": (b'a,b\n1,2\n"x,3\n4,5\n', {}, "not readable as CSV", "line 3", '""'),
    "long_delimiter.csv": (b"a,b\n1,2\n", {"delimiter": "||"}, "'||' is not one character", ".csv", "write"),
    "latin.csv": (
        b"text,label\nok,a\ncaf\xe9,b\n",
        {},
        "byte 19 (0xe9) is not utf-8 text",
        "line 3",
        "encoding: cp1252",
    ),
    "latin.jsonl": (b'{"a": "caf\xe9"}\n', {}, "byte 10 (0xe9) is not utf-8 text", "line 1", "encoding: cp1252"),
    "cut16.csv": ("a,b\n1,2\n".encode("utf-16")[:-1], {}, "is not utf-16", "line 2", "encoding:"),
    "no_bom.csv": (CSV.encode("utf-16-le"), {}, "zero bytes: UTF-16 without", ".csv", "encoding: utf-16-le"),
    "encoding.csv": (CSV.encode(), {"encoding": "utf8mb4"}, "unknown encoding 'utf8mb4'", ".csv", "utf-8"),
    "binary.csv": (CSV.encode(), {"encoding": "hex"}, "unknown encoding 'hex'", ".csv", "utf-8"),
    "bad.jsonl": (b'{"a": 1}\n{"a": }\n', {}, "not JSON: Expecting value", "line 2, column 7", "one whole object"),
    "torn.jsonl": (b'{"a": 1}\n{"a": "x', {}, "not JSON: Unterminated string", "line 2, column 7", "mend or remove"),
    "pretty.jsonl": (b'{\n  "a": 1\n}\n', {}, "not JSON", "line 1, column 3", "one whole object on each line"),
    "list.jsonl": (b'[{"a": 1}]\n', {}, "a JSON list, not JSONL", ".jsonl", "list.json"),
    "text.jsonl": (b'{"a": 1}\n"x"\n', {}, "the line holds a text, not an object", "line 2", "column"),
    "half.jsonl": (b'{"a": "\\ud83d"}\n', {}, "half a character", "line 1", "half of a pair"),
    "deep.jsonl": (b'{"a": ' + b"[" * 200_000 + b"\n", {}, "not JSON that can be read", "line 1", "mend"),
    "digits.jsonl": (b'{"a": ' + b"9" * 5000 + b"}\n", {}, "not JSON that can be read", "line 1", "mend"),
    "bad.json": (b'[\n {"a": 1},\n {"a" 2}\n]', {}, "not JSON: Expecting ':'", "line 3, column 7", "mend"),
    "number.json": (b"7", {}, "the file holds a number, not rows", ".json", "list of objects"),
    "rows.json": (b'[{"a": 1}, [2]]', {}, "row 2 is a list, not an object", ".json", "column"),
    "two_lists.json": (b'{"train": [], "test": []}', {}, "keys with lists: 'train', 'test'", ".json", "one list"),
    "no_list.json": (b'{"a": 1}', {}, "keys with lists: none", ".json", "JSONL"),
    "cut.jsonl.gz": (gzip.compress(JSONL.encode())[:-12], {}, "not a whole gzip file", ".gz", "again"),
    "fake.csv.gz": (CSV.encode(), {}, "not a whole gzip file", ".gz", "again"),
    "fake.parquet": (b"hello", {}, "not a readable Parquet file", ".parquet", "download"),
    "fake.xlsx": (b"hello", {}, "not a readable Excel file", ".xlsx", "save it as .xlsx"),
    "cut.parquet": (parquet(TWO)[:-40], {}, "not a readable Parquet file", ".parquet", "download"),
    "pointer.parquet": (b"version https://git-lfs.github.com/spec/v1\n", {}, "Git LFS pointer", ".parquet", "git lfs"),
    "words.docx": (b"hello", {}, "'.docx' is no format read here", ".docx", ".csv, .tsv, .jsonl"),
    "old.xls": (b"hello", {}, "'.xls' is no format read here", ".xls", ".xlsx"),
    "empty.csv": (b"", {}, "holds no rows", ".csv", "fill it"),
    "header_only.csv": (b"a,b\n", {}, "holds no rows", ".csv", "fill it"),
    "empty.jsonl": (b"", {}, "holds no rows", ".jsonl", "fill it"),
    "empty.json": (b"[]", {}, "holds no rows", ".json", "fill it"),
    "blank.jsonl": (b"\n \n", {}, "holds no rows", ".jsonl", "fill it"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_file_that_cannot_be_read_is_told_with_place_and_fix(tmp_path, name):
    content, options, what, where, fix = BAD_FILES[name]
    (tmp_path / name).write_bytes(content)
    error = error_of(rows_of, tmp_path / name, **options)
    assert what in error.what
    assert error.where.startswith(str(tmp_path / name)) and error.where.endswith(where)
    assert fix in error.fix


def test_a_parquet_file_with_two_columns_of_one_name_is_refused(tmp_path):
    table = pyarrow.Table.from_arrays([pyarrow.array([1]), pyarrow.array([2])], names=["a", "a"])
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    assert error_of(rows_of, tmp_path / "a.parquet").what == "two columns are named 'a' (1 and 2)"


def test_excel_headers_and_sheets_that_cannot_be_used_are_told(tmp_path):
    path = excel(tmp_path / "a.xlsx", one=[["a", None, "b"], [1, 2, 3]], two=[["a"], [1]])
    assert error_of(rows_of, path).what == "several sheets hold data: 'one', 'two'"
    error = error_of(rows_of, path, sheet="one")
    assert error.what == "column 2 has no name" and "merged cells" in error.fix and error.where.endswith("row 1")
    error = error_of(rows_of, path, sheet="tow")
    assert error.what == "no sheet 'tow'" and error.fix == "did you mean 'two'?"
    path = excel(tmp_path / "b.xlsx", one=[["a"], [1, 2]])
    assert error_of(rows_of, path).what == "the row has 2 cells, but there are 1 columns"


def test_a_file_without_the_right_to_read_it_is_told(tmp_path, monkeypatch):
    put(tmp_path, a_csv=CSV)

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)  # root may read anything
    assert error_of(rows_of, tmp_path / "a.csv").what == "the file cannot be read: Permission denied"


# ---- what was read ---------------------------------------------------------------------------------------------------


def test_the_digest_is_the_sha256_of_the_file(tmp_path):
    put(tmp_path, a_csv=CSV)
    digest = hashlib.sha256(CSV.encode()).hexdigest()
    found = load_rows(DataSource(file="a.csv", sha256=digest.upper()), base=tmp_path)
    assert (found.digest, found.origin, found.files) == (digest, str(tmp_path / "a.csv"), (str(tmp_path / "a.csv"),))


def test_a_changed_file_is_refused_with_both_digests(tmp_path):
    put(tmp_path, a_csv=CSV)
    error = error_of(load_rows, DataSource(file="a.csv", sha256="ab" * 32), base=tmp_path)
    assert hashlib.sha256(CSV.encode()).hexdigest() in error.what and "ab" * 32 in error.what
    assert error.where == str(tmp_path / "a.csv") and "raise its version" in error.fix


def test_the_digest_of_several_files_changes_with_each_name_and_byte(tmp_path):
    def digest(**files: str) -> str:
        folder = tmp_path / str(len(os.listdir(tmp_path)))
        put(folder, **files)
        return load_rows(DataSource(), base=tmp_path, override=folder).digest

    first = digest(a_csv=CSV, b_csv=CSV)
    assert first == digest(a_csv=CSV, b_csv=CSV)
    assert len({first, digest(a_csv=CSV, c_csv=CSV), digest(a_csv=CSV, b_csv=CSV + "x,y\n"), digest(a_csv=CSV)}) == 4


def test_neither_or_both_of_file_and_hub_is_refused(tmp_path):
    for source in (DataSource(), DataSource(file="a.csv", hub="x/y")):
        assert "one of `file` and `hub`" in error_of(load_rows, source, base=tmp_path).what


# ---- paths -----------------------------------------------------------------------------------------------------------


def test_a_missing_file_is_told_with_the_nearest_name(tmp_path):
    put(tmp_path, tickets_csv=CSV, notes_md="x")
    error = error_of(load_rows, DataSource(file="tikets.csv"), base=tmp_path)
    assert error.what == "no such data file" and error.where == str(tmp_path / "tikets.csv")
    assert error.fix == "did you mean 'tickets.csv'?"
    error = error_of(load_rows, DataSource(), base=tmp_path, override=tmp_path / "no" / "a.csv")
    assert error.fix == f"there is no folder {tmp_path / 'no'}"


def test_hidden_files_are_not_offered_for_a_missing_one(tmp_path):
    put(tmp_path, a_csv=CSV)
    (tmp_path / ".git").mkdir()
    assert error_of(load_rows, DataSource(file="data.jsonl"), base=tmp_path).fix == "known: a.csv"
    (tmp_path / "a.csv").unlink()
    assert error_of(load_rows, DataSource(file="data.jsonl"), base=tmp_path).fix == "nothing is in its folder"


@pytest.mark.parametrize(
    "file", ["/etc/passwd", "../a.csv", "sub/../../a.csv", "a\0.csv", "..\\a.csv", "C:\\a.csv", "..", " "]
)
def test_a_task_may_not_name_a_file_outside_its_folder(tmp_path, file):
    put(tmp_path, a_csv=CSV)
    (tmp_path / "task").mkdir()
    error = error_of(load_rows, DataSource(file=file), base=tmp_path / "task")
    assert "does not lie in the task's folder" in error.what and "--data TASK=PATH" in error.fix


def test_a_link_that_leads_out_of_the_tasks_folder_is_refused_but_may_be_named_by_the_person(tmp_path):
    put(tmp_path, secret_csv=CSV)
    task = tmp_path / "task"
    put(task, data__test_csv=CSV)
    (task / "link.csv").symlink_to(tmp_path / "secret.csv")
    (task / "folder").symlink_to(tmp_path)
    (task / "data" / "train.csv").symlink_to(tmp_path / "secret.csv")
    for source in (DataSource(file="link.csv"), DataSource(file="folder/secret.csv"), DataSource(file="folder")):
        error = error_of(load_rows, source, base=task)
        assert "outside the task's folder" in error.what and str(tmp_path) in error.what
    assert "outside" in error_of(load_rows, DataSource(file="data", split="train"), base=task).what
    assert load_rows(DataSource(file="data", split="test"), base=task).rows
    assert load_rows(DataSource(), base=task, override=task / "link.csv").rows


def test_a_sibling_that_is_a_link_out_of_the_tasks_folder_is_refused(tmp_path):
    put(tmp_path, secret_csv=CSV)
    task = put(tmp_path / "task", a_test_csv=CSV)
    (task / "a_train.csv").symlink_to(tmp_path / "secret.csv")
    assert "outside" in error_of(load_rows, DataSource(file="a_test.csv", split="test"), base=task, split="train").what


def test_devices_pipes_loops_and_impossible_names_are_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "loop.csv").symlink_to(tmp_path / "loop.csv")
    for name in ("/dev/zero", tmp_path / "pipe.csv"):
        error = error_of(load_rows, DataSource(), base=tmp_path, override=Path(name))
        assert error.what == "this is a device or pipe, not a file"
    for name in (tmp_path / "loop.csv", tmp_path / ("x" * 5000), Path("a\0b")):
        error = error_of(load_rows, DataSource(), base=tmp_path, override=name)
        assert "not a path that can be read" in error.what and len(error.where) <= 200
    assert error_of(load_rows, DataSource(file="pipe.csv"), base=tmp_path).what.startswith("this is a device")


# ---- splits of one file ----------------------------------------------------------------------------------------------

SPLIT = "text,split\na,train\nb,test\nc,train\n"


def texts(source: DataSource, base: Path, **options) -> str:
    return "".join(str(row.get("text", row)) for row in load_rows(source, base=base, **options).rows)


def test_a_column_named_split_is_what_splits_a_file(tmp_path):
    put(tmp_path, a_csv=SPLIT)
    source = DataSource(file="a.csv", split="test")
    assert texts(source, tmp_path) == "b"
    assert texts(source, tmp_path, split="train") == "ac"
    assert texts(DataSource(file="a.csv"), tmp_path) == "abc"
    assert texts(DataSource(hub="x/y", split="test"), tmp_path, override=tmp_path / "a.csv") == "b"


def test_an_unknown_split_is_told_with_those_there(tmp_path):
    put(tmp_path, a_csv=SPLIT)
    error = error_of(load_rows, DataSource(file="a.csv", split="tset"), base=tmp_path)
    assert error.what == "no row is of split 'tset'" and error.fix == "did you mean 'test'?"
    assert error.where == f"{tmp_path / 'a.csv'}, column 'split'"


def test_a_file_without_that_column_is_the_split_the_task_asks_for(tmp_path):
    put(tmp_path, a_csv=CSV)
    assert load_rows(DataSource(hub="x/y", split="test"), base=tmp_path, override=tmp_path / "a.csv").rows == tuple(TWO)


def test_another_split_is_read_from_the_sibling_that_names_it(tmp_path):
    put(tmp_path, q_test_csv="text\nt\n", q_train_csv="text\ns\n", q_test_labels_csv="text\nx\n")
    source = DataSource(hub="x/y", split="test")
    assert texts(source, tmp_path, override=tmp_path / "q_test.csv", split="train") == "s"
    found = load_rows(source, base=tmp_path, override=tmp_path / "q_test.csv", split="train")
    assert found.origin == str(tmp_path / "q_train.csv")


@pytest.mark.parametrize("name", ["q_test.csv", "q.csv", "q_train.csv"])
def test_another_split_that_is_nowhere_is_told(tmp_path, name):
    (tmp_path / name).write_text(CSV)
    error = error_of(load_rows, DataSource(file=name, split="test"), base=tmp_path, split="train")
    assert error.what == "this one file has no column 'split': where is split 'train'?"
    assert "one file per split (train.csv, ...)" in error.fix and "add the column 'split'" in error.fix


# ---- folders ---------------------------------------------------------------------------------------------------------

ONE = "text\n{}\n"
LAYOUTS = {  # files of a folder; config; the text of the rows of split "test"
    "a file per split": (dict(test_csv="t", train_csv="x"), None, "t"),
    "numbered parts": (dict([("test-00000-of-00002_csv", "t"), ("test-00001-of-00002_csv", "u")]), None, "tu"),
    "parts with a hash": (dict([("test-00000-of-00001-0a1b2c_csv", "t")]), None, "t"),
    "in data": (dict([("data__test-00000-of-00001_csv", "t"), ("data__train-00000-of-00001_csv", "x")]), None, "t"),
    "a folder per configuration": (dict(main__test_csv="t", socratic__test_csv="x"), "main", "t"),
    "a configuration in data": (dict(data__main__test_csv="t", data__other__test_csv="x"), "main", "t"),
    "the only configuration": (dict(default__test_csv="t", default__train_csv="x"), None, "t"),
    "no folder for the configuration": (dict(test_csv="t"), "all", "t"),
    "a folder per split": (dict(test__b_csv="u", test__a_csv="t", dev__a_csv="x"), None, "tu"),
    "numbered files in it": (dict([("main__test__0000_csv", "t"), ("main__test__0001_csv", "u")]), "main", "tu"),
    "the split in the name": (dict(tickets_test_csv="t", tickets_train_csv="x"), None, "t"),
    "one file of any name": (dict(tickets_csv="t", notes_txt="x"), None, "t"),
    "hidden and other files": ({"test_csv": "t", ".test_csv": "x", "test_md": "x", "test_txt": "x"}, None, "t"),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_folder_in_any_usual_layout_gives_its_split(tmp_path, name):
    files, config, expected = LAYOUTS[name]
    put(tmp_path, **{file: ONE.format(text) for file, text in files.items()})
    source = DataSource(hub="owner/name", config=config, split="test")
    assert texts(source, tmp_path, override=tmp_path) == expected


def test_a_folder_beside_the_task_is_read_the_same_way(tmp_path):
    put(tmp_path, questions__test_jsonl=JSONL, questions__train_jsonl=JSONL)
    assert len(load_rows(DataSource(file="questions", split="test"), base=tmp_path).rows) == 2


def test_rows_of_a_folder_of_files_tell_their_file_without_the_split_in_its_name(tmp_path):
    put(tmp_path, test__law_test_csv=CSV, test__art_csv=CSV, dev__law_dev_csv=CSV)
    source = DataSource(hub="x/y", split="test")
    found = load_rows(source, base=tmp_path, override=tmp_path)
    assert [row["_file"] for row in found.rows] == ["art", "art", "law", "law"]
    assert found.origin == f"{tmp_path / 'test'} (2 files)" and len(found.files) == 2
    assert [row["_file"] for row in load_rows(source, base=tmp_path, override=tmp_path, split="dev").rows] == [
        "law"
    ] * 2
    assert assign_ids(found.rows, None) == ["art/0", "art/1", "law/0", "law/1"]


def test_rows_of_numbered_parts_are_one_table(tmp_path):
    put(tmp_path, **{"test-00000-of-00002_csv": CSV, "test-00001-of-00002_csv": CSV})
    found = load_rows(DataSource(hub="x/y", split="test"), base=tmp_path, override=tmp_path)
    assert found.rows == (*TWO, *TWO)
    assert assign_ids(found.rows, None) == ["0", "1", "2", "3"]


def test_a_single_file_named_after_the_split_with_a_split_column_is_filtered_by_its_name_only(tmp_path):
    put(tmp_path, test_csv="text,split\na,ambiguous\n")
    assert texts(DataSource(hub="x/y", split="test"), tmp_path, override=tmp_path) == "a"


def test_without_a_split_all_files_of_the_folder_are_read(tmp_path):
    put(tmp_path, a_csv="text\nx\n", b_csv="text\ny\n")
    found = load_rows(DataSource(), base=tmp_path, override=tmp_path)
    assert [(row["text"], row["_file"]) for row in found.rows] == [("x", "a"), ("y", "b")]
    put(tmp_path / "one", data__a_csv="text\nz\n")
    assert texts(DataSource(), tmp_path, override=tmp_path / "one") == "z"


CARD = """---
configs:
- config_name: main
  data_files:
  - {split: test, path: "files/a-*"}
  - {split: train, path: [files/b-0.csv, files/b-1.csv]}
- config_name: other
  default: true
  data_files:
  - {split: test, path: files/b-0.csv}
  - {split: bad, path: ../../secret.csv}
---
# A data set
"""


def test_the_data_sets_card_says_which_files_are_a_split(tmp_path):
    root = put(tmp_path / "set", **{f"files__{n}_csv": ONE.format(n) for n in ("a-0", "a-1", "b-0", "b-1")})
    put(root, README_md=CARD)
    put(tmp_path, secret_csv=ONE.format("s"))
    main = DataSource(hub="x/y", config="main", split="test")
    assert texts(main, tmp_path, override=root) == "a-0a-1"
    assert texts(main, tmp_path, override=root, split="train") == "b-0b-1"
    assert texts(DataSource(hub="x/y", split="test"), tmp_path, override=root) == "b-0"  # the default
    assert "split 'bad'" in error_of(load_rows, DataSource(hub="x/y", split="bad"), base=root, override=root).what


def test_a_card_with_several_configurations_needs_one_named(tmp_path):
    put(tmp_path, test_csv=CSV, README_md=CARD.replace("  default: true\n", ""))
    error = error_of(load_rows, DataSource(hub="x/y", split="test"), base=tmp_path, override=tmp_path)
    assert error.what == "several configurations: main, other" and "config:" in error.fix


@pytest.mark.parametrize("card", ["no front matter", "---\n{\n---\n", "---\n- a\n---\n", "---\nconfigs: 7\n---\n"])
def test_a_card_that_says_nothing_is_passed_over(tmp_path, card):
    put(tmp_path, test_csv=CSV, README_md=card)
    assert len(load_rows(DataSource(hub="x/y", split="test"), base=tmp_path, override=tmp_path).rows) == 2


REFUSED = {  # files of a folder; source; words of what; words of fix
    "two formats": (
        ("test.csv", "test.jsonl"),
        {},
        "could be split 'test': test.csv, test.jsonl",
        "one of these paths",
    ),
    "file and folder": (("test.csv", "test/a.csv"), {}, "could be split 'test': test.csv, test/a.csv", "paths"),
    "two configurations": (("a/test.csv", "b/test.csv"), {}, "split 'test': a/test.csv, b/test.csv", "name `config:`"),
    "two of that name": (("q_test.csv", "r_test.csv"), {}, "split 'test': q_test.csv, r_test.csv", "paths"),
    "a name and a folder": (("q_test.csv", "r/test.csv"), {}, "split 'test': q_test.csv, r/test.csv", "paths"),
    "with a configuration": (("c/test.csv", "c/test.tsv"), {"config": "c"}, "c/test.csv, c/test.tsv", "--data TASK="),
    "misspelt configuration": (("main/test.csv",), {"config": "mian"}, "no folder here is config 'mian'", "'main'"),
    "misspelt split": (("test.csv", "train.csv"), {"split": "tset"}, "no file here is split 'tset'", "'test'"),
    "only another split": (("train.csv",), {}, "no file here is split 'test'", "known: train"),
    "no data": (("a.txt",), {}, "no file here is split 'test'", "put test.csv, test.jsonl or a folder test/"),
    "missing part": (
        ("test-00000-of-00002.parquet",),
        {},
        "1 of the 2 parts of split 'test' are there",
        "missing parts",
    ),
    "no split named": (("train.csv", "test.csv"), {"split": None}, "several splits: test, train", "split: test"),
    "no split, no data": (("a.txt",), {"split": None}, "holds no data files", "put .csv"),
    "empty": (("test.csv", "train.csv"), {"split": "train"}, "holds no rows", "fill it"),
    "all empty": (("test/a.csv", "test/b.csv"), {}, "holds no rows", "fill it"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_folder_that_can_be_meant_in_two_ways_or_none_is_refused(tmp_path, name):
    files, options, what, fix = REFUSED[name]
    for file in files:
        put(tmp_path, **{file.replace("/", "__").replace(".", "_"): "" if name.endswith("empty") else CSV})
    source = DataSource(**{"hub": "x/y", "split": "test", **options})
    error = error_of(load_rows, source, base=tmp_path, override=tmp_path)
    assert what in error.what and fix in error.fix and str(tmp_path) in error.where


# ---- the hub ---------------------------------------------------------------------------------------------------------


class FakeHub:
    """Stands for `datasets.load_dataset`: notes what was asked, answers or fails."""

    def __init__(self, rows: list[dict] = TWO, files: tuple[str, ...] = (), error: Exception | None = None) -> None:
        self.rows, self.files, self.error, self.asked = rows, files, error, None

    def __call__(self, *arguments, **options):
        import datasets

        self.asked = (*arguments, options)
        if self.error:
            raise self.error
        table = datasets.Dataset.from_list(self.rows)
        table.info.download_checksums = {file: {} for file in self.files}
        return table


@pytest.fixture
def hub(monkeypatch):
    import datasets

    def install(*arguments, **options) -> FakeHub:
        fake = FakeHub(*arguments, **options)
        monkeypatch.setattr(datasets, "load_dataset", fake)
        return fake

    return install


def test_a_hub_data_set_is_loaded_at_its_pinned_revision(tmp_path, hub):
    fake = hub(rows=[{"q": "x", "choices": ["a", "b"], "n": 7, "nan": float("nan")}])
    source = DataSource(hub="cais/mmlu", config="all", split="test", revision="c" * 40)
    found = load_rows(source, base=tmp_path)
    assert fake.asked == ("cais/mmlu", "all", {"split": "test", "revision": "c" * 40})
    assert found.rows == ({"q": "x", "choices": ["a", "b"], "n": 7, "nan": None},)
    assert (found.digest, found.files) == ("c" * 40, ())
    assert found.origin == f"cais/mmlu (all, test) at {'c' * 40}"
    load_rows(source, base=tmp_path, split="dev")
    assert fake.asked[-1]["split"] == "dev"


@pytest.mark.parametrize("there", ["owner/name/test.csv", "owner/name/name.py", "owner/name"])
def test_what_lies_in_the_working_folder_never_stands_for_a_hub_data_set(tmp_path, hub, monkeypatch, there):
    put(tmp_path / Path(there).parent, **{Path(there).name.replace(".", "_"): CSV.replace("q", "other")})
    monkeypatch.chdir(tmp_path)
    fake, source = hub(rows=TWO[:1]), DataSource(hub="owner/name", split="test")
    assert load_rows(source, base=tmp_path).rows == tuple(TWO[:1])
    assert fake.asked[0] == "hf://datasets/owner/name"  # the only address under which the library asks nobody else
    hub(error=ConnectionError("Couldn't reach 'owner/name'"))
    assert error_of(load_rows, source, base=tmp_path).fix.endswith("--data TASK=owner/name")


def test_the_library_reads_no_folder_under_the_address_of_the_hub(tmp_path, monkeypatch):
    put(tmp_path / "owner" / "name", test_csv=CSV)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    error = error_of(load_rows, DataSource(hub="owner/name", split="test"), base=tmp_path)
    assert error.what.startswith("the data set cannot be loaded")


def test_the_commit_of_an_unpinned_data_set_is_what_its_files_tell(tmp_path, hub):
    hub(files=("hf://datasets/x/y@" + "d" * 40 + "/test.parquet",))
    assert load_rows(DataSource(hub="x/y", split="test", revision="main"), base=tmp_path).digest == "d" * 40


def test_without_a_commit_the_digest_is_of_the_rows(tmp_path, hub):
    hub()
    first = load_rows(DataSource(hub="x/y", split="test"), base=tmp_path)
    hub(rows=TWO[::-1])
    second = load_rows(DataSource(hub="x/y", split="test"), base=tmp_path)
    assert first.digest != second.digest and len(first.digest) == 64
    assert first.origin == "x/y (default, test) at unknown revision"


@pytest.mark.parametrize("error", [ConnectionError("Couldn't reach 'x/y'\nmore"), ValueError("Couldn't reach 'x/y'")])
def test_a_data_set_that_cannot_be_had_is_told_with_the_way_out(tmp_path, hub, error):
    hub(error=error)
    told = error_of(load_rows, DataSource(hub="x/y", config="c", split="test"), base=tmp_path)
    assert told.what == "the data set cannot be loaded: Couldn't reach 'x/y'"
    assert told.where == "hub: x/y, config: c, split: test" and "--data TASK=PATH" in told.fix


HUB_MISTAKES = {
    "a path": (dict(hub="/data/mmlu", split="test"), "'/data/mmlu' is no hub id", "--data TASK=PATH"),
    "a way out": (dict(hub="../mmlu", split="test"), "'../mmlu' is no hub id", "--data TASK=PATH"),
    "no split": (dict(hub="x/y"), "needs a split", "split: test"),
    "a sha256": (dict(hub="x/y", split="test", sha256="a" * 64), "`sha256:` is for files", "revision"),
    "no rows": (dict(hub="x/y", split="test"), "holds no rows", "another split"),
}


@pytest.mark.parametrize("name", HUB_MISTAKES)
def test_a_hub_id_that_cannot_be_used_is_told(tmp_path, hub, name):
    options, what, fix = HUB_MISTAKES[name]
    hub(rows=[])
    error = error_of(load_rows, DataSource(**options), base=tmp_path)
    assert what in error.what and fix in error.fix


# ---- ids -------------------------------------------------------------------------------------------------------------


def test_ids_are_positions_or_the_text_of_a_column():
    assert assign_ids([{"a": 1}, {"a": 1}], None) == ["0", "1"]
    assert assign_ids([{"a": "007"}, {"a": 7}, {"a": " x "}], "a") == ["007", "7", "x"]
    assert assign_ids([], None) == []


ID_MISTAKES = {
    "missing": ([{"id": 1}, {"x": 2}], "row 2 has no column 'id'", "known: x"),
    "misspelt": ([{"idd": 1}], "row 1 has no column 'id'", "did you mean 'idd'?"),
    "none": ([{"id": 1}, {"id": None}], "row 2 has an empty id", "every row"),
    "blank": ([{"id": "  "}], "row 1 has an empty id", "every row"),
    "twice": ([{"id": "a"}, {"id": "b"}, {"id": "a "}], "rows 1 and 3 have the same id 'a'", "by position"),
    "same text": ([{"id": 1}, {"id": "1"}], "rows 1 and 2 have the same id '1'", "by position"),
}


@pytest.mark.parametrize("name", ID_MISTAKES)
def test_ids_that_are_missing_empty_or_taken_are_told_by_row(name):
    rows, what, fix = ID_MISTAKES[name]
    error = error_of(assign_ids, rows, "id")
    assert what in error.what and fix in error.fix and "id" in error.where


# ---- real files ------------------------------------------------------------------------------------------------------


@pytest.mark.shared
def test_the_original_mmlu_folders_are_read(shared):
    header = ("question", "A", "B", "C", "D", "answer")
    source = DataSource(hub="cais/mmlu", config="all", split="test", revision="x", header=header)
    found = load_rows(source, base=Path(), override=shared / "data" / "mmlu")
    assert len(found.rows) == 3023 and len(found.files) == 14
    assert {row["answer"] for row in found.rows} == set("ABCD")
    assert all(all(row[letter] != "" for letter in "ABCD") for row in found.rows)
    shots = load_rows(source, base=Path(), override=shared / "data" / "mmlu", split="dev")
    assert len(shots.rows) == 70
    assert {row["_file"] for row in shots.rows} == {row["_file"] for row in found.rows}
    assert len(set(assign_ids(found.rows, None))) == 3023


@pytest.mark.shared
def test_files_of_real_projects_have_the_rows_their_list_says(shared):
    for name, n in {
        "arc_easy.jsonl": 2376,
        "banking77_test.csv": 3080,
        "hellaswag_val.parquet": 10042,
        "truthfulqa.csv": 790,
        "xstest_prompts.csv": 450,
        "scored_outputs/xstest_gpt4_labelled.csv": 450,
        "lambada_openai.jsonl": 5153,
    }.items():
        assert len(load_rows(DataSource(), base=Path(), override=shared / "data" / name).rows) == n, name


@pytest.mark.shared
def test_banking77_shots_come_from_the_file_beside_the_test_file(shared):
    source = DataSource(hub="PolyAI/banking77", split="test")
    found = load_rows(source, base=Path(), override=shared / "data" / "banking77_test.csv", split="train")
    assert len(found.rows) == 10003 and not any("\r" in row["category"] for row in found.rows)


@pytest.mark.shared
def test_hellaswag_from_parquet_and_from_jsonl_is_the_same(shared):
    parquet_rows = load_rows(DataSource(), base=Path(), override=shared / "data" / "hellaswag_val.parquet").rows
    jsonl_rows = load_rows(DataSource(), base=Path(), override=shared / "data" / "hellaswag_val_1000.jsonl").rows
    assert parquet_rows[:1000] == jsonl_rows
