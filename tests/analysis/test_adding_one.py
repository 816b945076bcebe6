"""A statistic is one function and one line in `STATISTICS`: it then stands in rows, the table and every format."""

from __future__ import annotations

import csv
import io
import json
import sys
from pathlib import Path

import pytest

import harness
from harness.analysis import statistics
from harness.config.base import validate
from harness.config.run import RunConfig

FILE = '''
"""How often a model answers in one word."""

from harness.stats import wilson


def terse(records, clusters):
    """Returns the share of answers of one word; nothing where none was found."""
    answers = [record.answer for record in records if record.answer is not None]
    if not answers:
        return {}
    return {"one_word": wilson(sum(len(answer.split()) == 1 for answer in answers), len(answers))}
'''
TASK = """
task: words
data: {file: words.jsonl}
kind: generate
prompt: "Say {word}"
answer: word
score: exact_match
"""


def test_one_file_and_one_line_add_a_statistic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "terseness.py").write_text(FILE)
    monkeypatch.syspath_prepend(str(tmp_path))
    from terseness import terse

    monkeypatch.setattr(statistics, "STATISTICS", (*statistics.STATISTICS, terse))
    (tmp_path / "words.yaml").write_text(TASK)
    (tmp_path / "words.jsonl").write_text('{"word": "one"}\n{"word": "two"}\n')
    script = [{"prompt": "one", "text": "one"}, {"text": "two of them"}]
    models = [{"name": "m", "backend": "scripted", "script": script}]
    given = {"run": "r", "tasks": [str(tmp_path / "words.yaml")], "models": models, "latency": {"requests": 0}}
    run = harness.run(validate(RunConfig, given, "r.yaml"), out=tmp_path / "out")

    found = run.summary.rows[0].metrics["one_word"]
    assert (found.value, found.n, found.method) == (0.5, 2, "wilson")
    assert found.low == pytest.approx(0.0945, abs=1e-4)  # Wilson's, for 1 of 2
    assert "one_word" in run.table() and "50.0" in run.table()
    (line,) = csv.DictReader(io.StringIO(run.table("csv")))
    assert float(line["metrics_one_word_value"]) == 0.5
    stored = json.loads((run.folder / "summary.json").read_text("utf-8"))
    assert stored["rows"][0]["metrics"]["one_word"]["value"] == 0.5
    sys.modules.pop("terseness")
