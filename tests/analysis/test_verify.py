"""`verify`: every file of a run, to the line; what was noted elsewhere; and runs that another version judged."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import harness
from harness.analysis import judged_by as judges
from harness.analysis.alike import first_difference, line_of
from harness.errors import ConfigError, StoreError
from harness.store.manifest import write_manifest
from tests.benchmarks.fuzz_verify import made, tried
from tests.golden.outer import BENCH, RUNS
from tests.support.chains import rechain


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return made(tmp_path)


def edited(file: Path, change: Any) -> None:
    """Changes the content of a JSON file in place, by a function that does so."""
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def in_line(file: Path, number: int, old: str, new: str) -> None:
    lines = file.read_text().splitlines(keepends=True)
    assert old in lines[number - 1]
    lines[number - 1] = lines[number - 1].replace(old, new, 1)
    file.write_text("".join(lines))


def test_an_untouched_run_is_ok_with_its_head_and_the_digest_of_its_manifest(folder: Path):
    found = harness.verify(folder)
    last = json.loads((folder / "responses.jsonl").read_text().splitlines()[-1])
    assert found.ok and found.head == last["hash"] and found.judged_by is None
    assert found.manifest == json.loads((folder / "manifest.json").read_text())["digest"]
    assert found.says.endswith(f"; head {found.head}; manifest {found.manifest}")


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("plan.json", lambda plan: plan["tasks"]["capitals"].update(licence="MIT")),
        ("plan.json", lambda plan: plan["tasks"]["capitals"].update(sensitivity="public")),
        ("plan.json", lambda plan: plan["models"]["a"].update(digest="0" * 64)),
        ("plan.json", lambda plan: plan.update(created="2020-01-01T00:00:00+00:00")),
        ("plan.json", lambda plan: plan["identity"].update(seed=7)),
        ("plan.json", lambda plan: plan["machine"].update(date="2020-01-01")),
        ("plan.json", lambda plan: plan["host"].update(cores=64)),
        ("summary.json", lambda held: held["sealed"].update(kind="kernel", reason="")),
        ("summary.json", lambda held: held["notes"].pop()),
        ("summary.json", lambda held: held["rows"][0]["cost"].update(usd=0.0)),
        ("summary.json", lambda held: held.update(judged_by=None)),
        ("manifest.json", lambda held: held["files"].pop("table.md")),
        ("manifest.json", lambda held: held["files"]["table.md"].update(sha256="0" * 64)),
    ],
)
def test_whatever_is_changed_in_a_document_is_found(folder: Path, name: str, change: Any):
    edited(folder / name, change)
    found = harness.verify(folder)
    assert not found.ok and name.split(".")[0] in found.says
    if name == "plan.json":  # judging again hides nothing but what judging makes
        with pytest.raises(StoreError):
            harness.score(folder)
        assert not harness.verify(folder).ok


def test_the_line_is_named_of_each_file_that_has_lines(folder: Path):
    whole = folder.parent / "whole"
    shutil.copytree(folder, whole)
    for name, number, old, new in (
        ("samples.jsonl", 2, '"expected":"4"', '"expected":"5"'),
        ("responses.jsonl", 2, "it is 5", "it is 4"),
        ("measurements.jsonl", 1, '"sealed":"none', '"sealed":"kernel'),
        ("records.jsonl", 2, '"value":0.0', '"value":1.0'),
        ("table.md", 8, "| a |", "| c |"),
        ("table.csv", 2, "a", "c"),
    ):
        in_line(folder / name, number, old, new)
        found = harness.verify(folder)
        assert (found.ok, found.file, found.broken_line) == (False, str(folder / name), number), found.says
        shutil.copy(whole / name, folder / name)
    assert harness.verify(folder).ok


def test_a_figure_is_named_with_its_row_and_the_line_it_stands_in(folder: Path):
    edited(folder / "summary.json", lambda held: held["rows"][2]["accuracy"].update(value=1.0))
    found = harness.verify(folder)
    assert "accuracy.value of b on sums does not follow from the responses" in found.says
    assert found.broken_line is not None
    assert '"value": 1.0' in (folder / "summary.json").read_text().splitlines()[found.broken_line - 1]


@pytest.mark.parametrize("name", ["samples.jsonl", "responses.jsonl", "measurements.jsonl"])
def test_lines_cut_off_stay_found_when_the_run_is_judged_again(folder: Path, name: str):
    file = folder / name
    file.write_text("".join(file.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(StoreError, match=r"lost lines|does not follow what it stands on"):
        harness.score(folder)
    assert not harness.verify(folder).ok


def test_answers_that_were_counted_and_are_gone_are_found_though_nothing_else_notes_them(folder: Path):
    file = folder / "responses.jsonl"
    file.write_text("".join(file.read_text().splitlines(keepends=True)[:-1]))
    for name in ("summary.json", "manifest.json"):
        (folder / name).unlink()
    harness.score(folder)
    assert "it tells of 1 more responses of b on capitals than there are" in harness.verify(folder).says


def test_a_chain_written_anew_is_found_by_the_head_or_the_manifest_that_was_noted(folder: Path):
    noted = harness.verify(folder)
    assert noted.head is not None and noted.manifest is not None
    for hash in (noted.head, noted.manifest, f" {noted.head.upper()} "):
        assert harness.verify(folder, head=hash).ok
    in_line(folder / "responses.jsonl", 2, "it is 5", "it is 4")
    rechain(folder)
    harness.score(folder)
    assert harness.verify(folder).ok  # it is whole in itself
    for hash in (noted.head, noted.manifest):
        found = harness.verify(folder, head=hash)
        assert not found.ok and "the noted head is not there" in found.says


def test_a_manifest_or_a_log_that_is_missing_is_found(folder: Path):
    for name in ("manifest.json", "responses.jsonl", "measurements.jsonl", "records.jsonl", "table.md", "summary.json"):
        kept = (folder / name).read_bytes()
        (folder / name).unlink()
        found = harness.verify(folder)
        assert not found.ok and name in found.says, found.says
        (folder / name).write_bytes(kept)


def test_a_run_of_another_version_is_intact_and_says_so_until_somebody_touches_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
):
    """Another version comes to other figures: here one whose mean is a little higher."""
    now = judges.judged_by()
    monkeypatch.setattr("harness.analysis.verify.judged_by", lambda: replace(now, code="another"))
    assert "their records and scores follow" in harness.verify(folder).says  # its figures are the same
    edited(folder / "summary.json", lambda held: held["rows"][0]["accuracy"].update(low=0.01))
    write_manifest(folder)
    found = harness.verify(folder)
    assert found.ok and found.judged_by == now
    assert f"code {now.code}" in found.says and "`harness score` makes them anew" in found.says
    text = (folder / "table.md").read_text()
    (folder / "table.md").write_text(text + "and more\n")
    found = harness.verify(folder)
    assert not found.ok and "table.md: it was changed since the run was judged" in found.says
    monkeypatch.undo()
    (folder / "table.md").write_text(text)
    assert "accuracy.low" in harness.verify(folder).says  # this very version would not have come to it


@pytest.mark.slow
@pytest.mark.parametrize("source", [*RUNS.values(), BENCH], ids=[*RUNS, "bench"])
def test_runs_of_earlier_versions_are_intact(source: Path):
    found = harness.verify(source)
    assert found.ok, found.says
    assert found.judged_by is None or "`harness score` makes them anew" in found.says


@pytest.mark.parametrize(
    ("name", "number", "old", "new"),
    [
        ("responses.jsonl", 3, '"text":', '"texts":'),
        ("plan.json", 1, '"seed":0', '"seed":1'),
    ],
)
def test_runs_of_earlier_versions_that_were_changed_are_found(
    tmp_path: Path, name: str, number: int, old: str, new: str
):
    folder = Path(shutil.copytree(RUNS["served"], tmp_path / "run"))
    in_line(folder / name, number, old, new)
    found = harness.verify(folder)
    assert not found.ok and name in found.says


def test_weights_and_data_are_compared_with_the_plan(folder: Path, tmp_path: Path):
    good = harness.verify(folder, data=[str(tmp_path / "sums.jsonl"), f"capitals={tmp_path / 'capitals.jsonl'}"])
    assert good.ok and good.says.count("is that of the plan") == 2
    other = tmp_path / "other.jsonl"
    other.write_text((tmp_path / "sums.jsonl").read_text().replace('"4"', '"5"'))
    for given in (str(other), f"sums={other}"):
        assert not harness.verify(folder, data=[given]).ok
    with pytest.raises(ConfigError, match="the run has no 'sum'"):
        harness.verify(folder, data=[f"sum={other}"])
    with pytest.raises(ConfigError, match="none whose files could be compared"):
        harness.verify(folder, models=[str(tmp_path)])


@pytest.mark.slow
def test_the_weights_of_a_run_are_told_from_others(tmp_path: Path):
    models = Path(harness.__file__).parent / "demo" / "models"
    quickstart = RUNS["quickstart"]
    assert harness.verify(quickstart, models=[str(models / "demo-0.1m")]).ok
    copy = Path(shutil.copytree(models / "demo-0.1m", tmp_path / "weights"))
    (copy / "README.md").write_text("another card")
    assert harness.verify(quickstart, models=[f"demo-0.1m={copy}"]).ok
    data = bytearray((copy / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (copy / "model.safetensors").write_bytes(data)
    found = harness.verify(quickstart, models=[str(copy)])
    assert not found.ok and "model demo-0.1m" in found.says and "DIFFERS" in found.says
    assert "model.safetensors" in found.says


def test_what_first_differs_is_found_and_the_line_that_it_stands_in():
    held = {"a": [1, {"b": 2.0}], "c": "x"}
    assert first_difference(held, {"c": "x", "a": [1.0, {"b": 2.0 + 1e-13}]}) is None
    assert first_difference(held, {"a": [1, {"b": 2.1}], "c": "x"}) == ("a", 1, "b")
    assert first_difference(held, {"a": [1], "c": "x"}) == ("a",)
    assert first_difference(held, {"a": [True, {"b": 2.0}], "c": "x"}) == ("a", 0)
    assert first_difference({"a": None}, {}) == ("a",) == first_difference({}, {"a": None})
    key = ("a", 1, "b")
    assert line_of(held, key) == 5 and '"b": 2.0' in json.dumps(held, indent=2).splitlines()[4]


@pytest.mark.slow
def test_changes_at_random_are_found_and_renderings_are_none_the_worse(tmp_path: Path):
    tally = tried(tmp_path, changes=300, renderings=60)
    assert tally.wrong == []
    assert tally.located > 150
