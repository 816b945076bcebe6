"""Small files that hold gigabytes, endless columns or pipes are told in three lines, and not read to their end."""

from __future__ import annotations

import gzip
import json
import os
import sys
import zipfile
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from harness.config.yaml_file import read_yaml
from harness.errors import ConfigError, DataError
from harness.tasks.data import bounds, files, formats, spreadsheet
from harness.tasks.data.columns import columns_of, read_table
from harness.tasks.data.read import DataSource, load_rows

BLOCK = 1_000_000


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Lowers the bound from 256 MB, so that a test takes milliseconds; the way is the same."""
    for module in (bounds, formats, spreadsheet):
        monkeypatch.setattr(module, "MOST_BYTES", 4 * BLOCK)


def packed(path: Path) -> None:
    with gzip.open(path, "wb") as handle:
        handle.write(b'{"q": "x"}\n')
        for _ in range(40):
            handle.write(b" " * BLOCK)


def packed_csv(path: Path) -> None:
    with gzip.open(path, "wb") as handle:
        handle.write(b"q,answer\n")
        for _ in range(30):
            handle.write(b"a,b\n" * (BLOCK // 4))


def book(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("xl/styles.xml", "w") as member:
        for _ in range(5):
            member.write(b" " * BLOCK)


def sheets(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for i in range(300):
            archive.writestr(f"xl/worksheets/sheet{i}.xml", "")


def far_cell(path: Path) -> None:
    import openpyxl

    made = openpyxl.Workbook()
    made.active.append(["q", "answer"])
    made.active["XFD3000"] = "z"
    made.save(path)


def many_rows(path: Path) -> None:
    place = pyarrow.array([0] * 1_200_000)
    same = pyarrow.table({"q": pyarrow.array(["x"]).take(place)})
    pyarrow.parquet.write_table(same, path, row_group_size=1_200_000)


def one_value_often(path: Path) -> None:
    value = pyarrow.DictionaryArray.from_arrays(
        pyarrow.array([0] * 2_000, pyarrow.int32()), pyarrow.array(["x" * 50_000])
    )
    pyarrow.parquet.write_table(pyarrow.table({"q": value}), path, compression="zstd")


def wide(path: Path) -> None:
    path.write_text(",".join(f"c{i}" for i in range(100_000)) + "\n" + ",".join("1" * 100_000) + "\n")


def wide_row(path: Path) -> None:
    path.write_text(json.dumps({f"k{i}": i for i in range(5_000)}) + "\n")


def deep(path: Path) -> None:
    path.write_text('{"q": ' + "[" * 500 + "]" * 500 + "}\n")


HOSTILE: dict[str, tuple[str, Callable[[Path], None], str]] = {
    "spaces in a gzip file": ("a.jsonl.gz", packed, "unpacks to more than"),
    "rows in a gzip file": ("a.csv.gz", packed_csv, "unpacks to more than"),
    "a member of an Excel file": ("a.xlsx", book, "the file unpacks to 5 MB, and 4 MB are the most"),
    "sheets": ("a.xlsx", sheets, "300 sheets, and 200 are the most"),
    "a cell far away": ("a.xlsx", far_cell, "16,384 columns, and 2,000 are the most"),
    "rows of a Parquet file": ("a.parquet", many_rows, "1,200,000 rows in a file of"),
    "one value of a Parquet file": ("a.parquet", one_value_often, "unpacks to more than"),
    "a header": ("a.csv", wide, "100,000 columns, and 2,000 are the most"),
    "a row": ("a.jsonl", wide_row, "5,000 columns, and 2,000 are the most"),
    "lists in lists": ("a.jsonl", deep, "stand in each other more than 100 times"),
    "a JSON list": ("a.json", lambda path: path.write_text("[" + " " * 5 * BLOCK + "]"), "is read as a whole"),
    "a text": ("a.txt", lambda path: path.write_text("x" * 5 * BLOCK), "is read as a whole"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", HOSTILE)
def test_a_file_that_would_fill_the_memory_is_told(tmp_path: Path, name: str):
    file, write, message = HOSTILE[name]
    write(tmp_path / file)
    for read in (
        lambda: read_table(tmp_path / file),
        lambda: load_rows(DataSource(file=file), base=tmp_path),
    ):
        with pytest.raises(DataError) as caught:
            read()
        lines = str(caught.value).splitlines()
        assert message in lines[0] and len(lines) == 3 and all(len(line) < 300 for line in lines)


@pytest.mark.parametrize("at", [4, 6, 8], ids=["version", "flags", "method"])
def test_an_excel_file_packed_in_a_way_that_is_not_known_is_told(tmp_path: Path, at: int):
    with zipfile.ZipFile(tmp_path / "a.xlsx", "w") as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
    data = bytearray((tmp_path / "a.xlsx").read_bytes())
    for place in (at, data.index(b"PK\x01\x02") + at + 2):  # in the file's own header and in the directory
        data[place] = 0xFF
    (tmp_path / "a.xlsx").write_bytes(data)
    with pytest.raises(DataError, match="not a readable Excel file"):
        read_table(tmp_path / "a.xlsx")


@pytest.mark.slow
def test_keys_that_every_row_makes_anew_are_no_columns():
    with pytest.raises(DataError, match="columns, and 2,000 are the most"):
        columns_of([{f"k{i}": 1} for i in range(5_000)])


def test_what_people_have_is_read(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(bounds, "MOST_BYTES", 1_000)  # text packs to a hundredth, and that is no bomb
    with gzip.open(tmp_path / "a.jsonl.gz", "wt") as handle:
        handle.write("".join(json.dumps({"q": f"Where is parcel {i}?", "a": i % 3}) + "\n" for i in range(5_000)))
    assert len(load_rows(DataSource(file="a.jsonl.gz"), base=tmp_path).rows) == 5_000
    (tmp_path / "b.csv").write_text(",".join(f"c{i}" for i in range(1_500)) + "\n" + ",".join(["1"] * 1_500) + "\n")
    assert len(load_rows(DataSource(file="b.csv"), base=tmp_path).rows[0]) == 1_500
    nested: object = "x"
    for _ in range(50):
        nested = [nested]
    (tmp_path / "c.jsonl").write_text(json.dumps({"q": nested}) + "\n")
    assert list(files.iter_rows(tmp_path / "c.jsonl")) == [{"q": nested}]


@pytest.mark.skipif(sys.platform == "win32", reason="it has no pipes in folders")
def test_a_pipe_is_told_and_not_waited_for(tmp_path: Path):
    for name in ("a.csv", "a.yaml"):
        os.mkfifo(tmp_path / name)
    with pytest.raises(DataError, match="this is a device or pipe, not a file"):
        read_table(tmp_path / "a.csv")
    with pytest.raises(DataError, match="this is a device or pipe, not a file"):
        load_rows(DataSource(file="a.csv"), base=tmp_path)
    with pytest.raises(ConfigError, match="this is a device or pipe, not a file"):
        read_yaml(tmp_path / "a.yaml")


def test_a_card_of_a_data_set_with_aliases_in_aliases_is_passed_over(tmp_path: Path):
    names = "abcdefghijklmnopqrstuvwxyz"
    lines = ["a: &a [x, x]"]
    lines += [f"{b}: &{b} [*{a}, *{a}, *{a}, *{a}, *{a}, *{a}, *{a}, *{a}]" for a, b in pairwise(names)]
    card = "\n".join(["---", *lines, "configs: [{config_name: *z}, {config_name: *y}]", "---", ""])
    (tmp_path / "README.md").write_text(card)
    (tmp_path / "test.csv").write_text("q\nx\n")
    found = load_rows(DataSource(hub="x/y", split="test"), base=tmp_path, override=tmp_path)
    assert found.rows == ({"q": "x"},)
