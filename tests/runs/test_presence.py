"""A server that nobody runs is found before another model of the run has done its work."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest

import harness
from tests.support.servers import SyntheticServer

ROWS = [{"q": f"{i}+{i}", "a": str(2 * i)} for i in range(4)]
KEYS = {"task": "sums", "kind": "generate", "prompt": "{q}=", "answer": "a", "max_tokens": 4}
HERE = {"name": "here", "backend": "scripted", "script": [{"text": "4"}]}


def closed_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


def served(url: str) -> dict[str, Any]:
    return {"name": "served", "backend": "openai", "base_url": url}


def run(tmp_path: Path, *models: dict[str, Any]) -> tuple[Any, list[Any]]:
    heard: list[Any] = []
    done = harness.run(
        tasks=[harness.make_task(ROWS, **KEYS)],
        models=list(models),
        latency=0,
        out=tmp_path / "out",
        on_event=heard.append,
    )
    return done, heard


@pytest.mark.parametrize("order", [1, -1])
def test_nothing_is_begun_where_nobody_answers(tmp_path: Path, order: int):
    models = [HERE, served(f"http://127.0.0.1:{closed_port()}/v1")][::order]
    with pytest.raises(harness.HarnessError, match="nobody answers for model served, so nothing was begun"):
        run(tmp_path, *models)
    assert not (tmp_path / "out" / "responses.jsonl").exists() or not (tmp_path / "out/responses.jsonl").read_text()


def test_one_that_is_there_is_asked_and_one_that_is_done_need_not_be_there_any_more(tmp_path: Path):
    with SyntheticServer() as server:
        url = server.url
        done, _ = run(tmp_path, HERE, served(url))
    assert {row.model for row in done.rows} == {"here", "served"}
    again, heard = run(tmp_path, HERE, served(url))  # nobody is there now, and nothing is owed
    assert heard == [] and json.loads((tmp_path / "out" / "summary.json").read_text())["rows"]
    assert len(again.rows) == 2
