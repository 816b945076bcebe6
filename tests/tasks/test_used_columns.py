"""A run folder holds the columns that its task uses and no others; with data that are not public it is its owner's."""

from __future__ import annotations

import json
import stat
import sys
from pathlib import Path
from typing import Any

import pytest

import harness
from harness.api import score as finish
from harness.config.base import validate
from harness.config.run import RunConfig, TaskUse
from harness.errors import TaskError
from harness.tasks.load import load_task
from harness.tasks.used_columns import columns_used

ROW = {
    "ref": "T1",
    "question": "Who pays?",
    "context": "The buyer pays.",
    "answer": "buyer",
    "A": "buyer",
    "B": "seller",
    "channel": "mail",
    "client": "c7",
    "street": "Main Street 5",
    "iban": "DE89",
    "listed": ["buyer", "seller"],
}
HEAD = "task: t\ndata: {file: t.jsonl, id: ref}\n"
ASKED = "kind: generate\nprompt: '{question}'\nanswer: answer\n"
USED = {
    "prompt and answer": (ASKED, {"question", "answer"}),
    "slices and cluster": (ASKED + "slices: [channel]\ncluster: client\n", {"question", "answer", "channel", "client"}),
    "system and target": (ASKED + "system: 'Of {client}'\ntarget: '{A}.'\n", {"question", "answer", "client", "A"}),
    "a scorer's own column": (ASKED + "score: [text, citation]\n", {"question", "answer", "context"}),
    "a scorer's option": (ASKED + "score: [text, {citation: {context: A}}]\n", {"question", "answer", "A"}),
    "columns of choices": (
        "kind: choice\nprompt: '{question}'\nanswer: answer\nchoices: {columns: [A, B]}\n",
        {"question", "answer", "A", "B"},
    ),
    "a list of choices": (
        "kind: choice\nprompt: '{question}'\nanswer: answer\nchoices: listed\n",
        {"question", "answer", "listed"},
    ),
    "several prompts": (
        "kind: generate\nprompts: {a: '{question}', b: '{question} {channel}'}\nanswer: answer\n",
        {"question", "answer", "channel"},
    ),
    "what is to be kept": (ASKED + "keep_columns: [street]\n", {"question", "answer", "street"}),
}


def made(folder: Path, keys: str, **more: Any) -> Path:
    rows = [{**ROW, "ref": f"T{i}", "question": f"Who pays {i}?", **more} for i in range(4)]
    (folder / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "t.yaml").write_text(HEAD + keys)
    return folder / "t.yaml"


def run(task: Path, out: Path) -> harness.Run:
    given = {"run": "r", "tasks": [str(task)], "models": [{"name": "m", "backend": "scripted"}]}
    return harness.run(
        validate(RunConfig, given | {"latency": {"requests": 0}, "despite_self_test": True}, "test"), out=out
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", USED)
def test_a_run_folder_holds_the_columns_that_are_used_and_no_others(tmp_path: Path, name: str):
    keys, columns = USED[name]
    result = run(made(tmp_path, keys), tmp_path / "out")
    lines = [json.loads(line) for line in (tmp_path / "out" / "samples.jsonl").read_text().splitlines()]
    assert all(set(line["row"]) <= columns for line in lines)
    assert set().union(*(line["row"] for line in lines)) == columns
    before = [(r.sample_id, r.value) for r in result.records().itertuples()]
    assert [(r.sample_id, r.value) for r in finish(tmp_path / "out").records().itertuples()] == before
    held = "".join(path.read_text() for path in (tmp_path / "out").iterdir() if path.suffix in (".json", ".jsonl"))
    assert "DE89" not in held and ("Main Street" in held) == ("street" in columns)


def test_a_function_of_ones_own_may_read_any_column(tmp_path: Path):
    (tmp_path / "own.py").write_text("def judge(expected, answer, row):\n    return float(row['iban'] == 'DE89')\n")
    task = made(tmp_path, ASKED + "score: {python: 'own:judge'}\n")
    assert columns_used(load_task(TaskUse(task=str(task))).config) is None


def test_a_column_to_be_kept_that_is_not_there_is_told(tmp_path: Path):
    with pytest.raises(TaskError, match=r"keep_columns names column 'stret'(.|\n)*did you mean 'street'"):
        load_task(TaskUse(task=str(made(tmp_path, ASKED + "keep_columns: [stret]\n"))))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="rights are of another kind there")
@pytest.mark.parametrize(("sensitivity", "private"), [("public", False), ("internal", True)])
def test_a_folder_with_data_that_are_not_public_is_its_owners(tmp_path: Path, sensitivity: str, private: bool):
    (tmp_path / "there").mkdir(mode=0o755)
    task = made(tmp_path, ASKED + f"sensitivity: {sensitivity}\n")
    for out in (tmp_path / "new" / "run", tmp_path / "there"):
        run(task, out)
        assert (stat.S_IMODE(out.stat().st_mode) == 0o700) == private
