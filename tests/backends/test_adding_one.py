"""A backend is one file and one line in the table: here one of another package, which harness never names."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import harness
from harness.config.base import validate
from harness.config.model import BACKENDS, BackendEntry, ScriptedModel
from harness.config.run import RunConfig

FILE = """
from harness.backends import Capabilities, ModelCard, Place
from harness.values import Response


class Echo:
    def __init__(self, config):
        self.config = config

    @classmethod
    def capabilities(cls, config):
        return Capabilities(loglikelihood=False)

    @classmethod
    def place(cls, config):
        return Place("the next room")

    def answer(self, requests):
        for request in requests:
            yield Response(request.key, request.prompt.text, text=request.prompt.text.split()[-1], finish_reason="stop")

    def describe(self):
        return ModelCard(self.config.name, self.config.backend, "the next room")

    def computed(self):
        return None

    def close(self):
        pass
"""
TASK = """
task: last
data: {file: last.jsonl}
kind: generate
prompt: "Say {word}"
answer: word
score: exact_match
licence: Apache-2.0
source: written for this test
"""


def test_one_file_and_one_line_add_a_backend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "echoes.py").write_text(FILE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(BACKENDS, "echo", BackendEntry("echoes:Echo", ScriptedModel))
    (tmp_path / "last.yaml").write_text(TASK)
    (tmp_path / "last.jsonl").write_text('{"word": "one"}\n{"word": "two"}\n')
    models = [{"name": "echo", "backend": "echo"}]
    given = {"run": "r", "tasks": [str(tmp_path / "last.yaml")], "models": models, "latency": {"requests": 0}}
    result = harness.run(validate(RunConfig, given, "r.yaml"), out=tmp_path / "out")
    row = result.summary.rows[0]
    assert (row.accuracy.value, row.place.name) == (1.0, "the next room")
    sys.modules.pop("echoes")
