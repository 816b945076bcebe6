"""A run folder from anybody: read without a traceback, without following a link, and without writing into it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

import harness
from harness.analysis.reading import reading
from harness.errors import StoreError
from harness.store.chain import append_chained, checked_lines
from harness.store.files import write_text_atomic
from harness.store.folder import RunFolder
from harness.store.log import ResponseLog
from harness.store.opening import DEEPEST, parsed, parsed_line, read_whole
from tests.benchmarks.fuzz_folders import reach, tried
from tests.benchmarks.fuzz_verify import made

FILES = ("plan.json", "samples.jsonl", "responses.jsonl", "measurements.jsonl", "records.jsonl", "summary.json")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return made(tmp_path)


def answers(folder: Path) -> list[Any]:
    """Returns what each way to read a folder gave: a value, or an error of three lines; anything else is raised."""
    shutil.copytree(folder.parent / "kept", folder.parent / "whole", dirs_exist_ok=True)
    found = []
    for way in reach(folder, folder.parent).values():
        try:
            found.append(way())
        except StoreError as error:
            found.append(error)
    return found


@pytest.mark.parametrize("name", FILES)
def test_no_file_is_opened_through_a_link(folder: Path, name: str):
    shutil.copytree(folder, folder.parent / "kept")
    (folder / name).rename(folder.parent / name)
    (folder / name).symlink_to(folder.parent / name)
    found = answers(folder)
    assert not found[0].ok and f"{name} is a link" in found[0].says
    assert any(isinstance(one, StoreError) and "is a link" in one.what for one in found[1:])


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
@pytest.mark.parametrize("name", FILES)
def test_nothing_waits_for_a_pipe(folder: Path, name: str):
    shutil.copytree(folder, folder.parent / "kept")
    (folder / name).unlink()
    os.mkfifo(folder / name)
    found = answers(folder)
    assert not found[0].ok and f"{name} is no regular file" in found[0].says


def test_reading_writes_nothing_and_takes_no_time_of_the_files(folder: Path):
    shutil.copytree(folder, folder.parent / "kept")
    shutil.copytree(folder, folder.parent / "whole")
    for name in ("summary.json", "records.jsonl", "table.md", "table.csv", "manifest.json"):
        (folder / name).unlink()
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    for name, way in reach(folder, folder.parent).items():
        if name != "score":
            way()
            assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before, name


def test_a_writer_follows_no_link_either(folder: Path):
    mine = folder.parent / "mine.txt"
    mine.write_text("mine")
    for name in (".table.md.part", "table.md"):
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(mine)
    write_text_atomic(folder / "table.md", "new")
    assert mine.read_text() == "mine" and (folder / "table.md").read_text() == "new"
    for name in ("responses.jsonl", "measurements.jsonl", ".lock", "plan.json"):
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(mine)
    with pytest.raises(StoreError, match="is a link"):
        ResponseLog(folder / "responses.jsonl")
    with pytest.raises(StoreError, match="is a link"):
        append_chained(folder / "measurements.jsonl", [{"a": 1}])
    with pytest.raises(StoreError, match="is a link"):
        RunFolder.create_or_resume(folder, {"digest": "d", "identity": {}})
    assert mine.read_text() == "mine"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"a": NaN}', "NaN is no number"),
        ('{"a": -Infinity}', "-Infinity is no number"),
        ('{"a": 1e999}', "too large"),
        ('{"a": ' + "9" * 400 + "}", "400 digits"),
        ("[" * (DEEPEST + 1) + "]" * (DEEPEST + 1), "nested too deeply"),
        ("[" * 100_000, "nested too deeply"),
        ('{"a": 1, "a": 2}', "the key 'a' stands twice"),
        ('{"a": 1', "Expecting"),
        ("\ufeff{}", "BOM"),
    ],
)
def test_json_is_read_strictly(text: str, why: str):
    with pytest.raises(ValueError, match=why):
        parsed(text.encode())
    if "twice" not in why:
        with pytest.raises(ValueError, match=why):
            parsed_line(text.encode())


def test_what_is_legitimate_json_is_read():
    text = '{"a": [1, -0.0, 1e308, 5e-324, 123456789012345678901234567890], "b": {"c": null}, "é": "\\ud83d"}'
    assert parsed(text.encode()) == parsed_line(text.encode())
    assert parsed(("[" * DEEPEST + "]" * DEEPEST).encode()) is not None


def test_a_line_that_is_no_json_is_named_and_not_left_out(folder: Path):
    for name in ("records.jsonl", "measurements.jsonl"):
        lines = (folder / name).read_text().splitlines(keepends=True)
        (folder / name).write_text("".join([lines[0], "{\n", *lines[1:]]))
    with pytest.raises(StoreError) as said:
        harness.open_run(folder).records()
    assert said.value.where == f"{folder / 'records.jsonl'}, line 2"
    with pytest.raises(StoreError) as said:
        harness.score(folder)
    assert said.value.where == f"{folder / 'measurements.jsonl'}, line 2"


def test_a_file_without_bound_is_not_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("harness.store.opening.WHOLE_BYTES", 10)
    monkeypatch.setattr("harness.store.opening.LINE_BYTES", 10)
    (tmp_path / "big").write_bytes(b"x" * 11)
    with pytest.raises(StoreError, match="has over"):
        read_whole(tmp_path / "big")
    with pytest.raises(StoreError, match="a line of big has over"):
        list(checked_lines(tmp_path / "big", ""))


def test_an_error_of_ours_keeps_its_traceback_and_one_of_a_changed_folder_does_not(folder: Path):
    with pytest.raises(ZeroDivisionError), reading(folder):
        raise ZeroDivisionError("ours")
    (folder / "table.md").write_text("changed")
    with pytest.raises(StoreError, match="do not go together") as said, reading(folder):
        raise ZeroDivisionError("theirs")
    assert len(said.value.lines()) == 3


@pytest.mark.slow
def test_folders_damaged_at_random_are_read_or_refused_in_three_lines(tmp_path: Path):
    tally = tried(tmp_path, folders=80)
    assert tally.wrong == []
    assert sum(count for name, count in tally.outcomes.items() if name.endswith("lines")) > 100
