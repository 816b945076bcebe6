"""Batches: handed over once, remembered through a kill, paid at the batch price."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from harness.backends import load
from harness.backends.servers import batch
from harness.config.model import model_of
from harness.errors import LimitReached
from harness.values import GenerateRequest, Prompt, Request
from tests.support.asking import prompt_of

pytestmark = pytest.mark.slow

PRICE = {"openai": "openai/gpt-5", "anthropic": "anthropic/claude-haiku-4-5"}  # at half price in a batch
USD = {"openai": (7 * 0.625 + 2 * 5) / 1e6, "anthropic": (7 * 0.5 + 2 * 2.5) / 1e6}
KINDS = ["openai", "anthropic"]


class Provider:
    """The batch interfaces of both providers. Keeps what was handed over; answers with the last word of the prompt.

    The batch ends after `polls` questions about it; prompts that hold "bad" fail, those that hold "gone" get no answer.
    """

    def __init__(self, polls: int = 1) -> None:
        self.polls, self.asked, self.batches, self.files = polls, 0, [], {}
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.reply(provider.get(self.path))

            def do_POST(self) -> None:
                self.reply(provider.post(self.path, self.rfile.read(int(self.headers["content-length"]))))

            def reply(self, told: Any) -> None:
                data = told if isinstance(told, bytes) else json.dumps(told).encode()
                self.send_response(404 if told is None else 200)
                self.send_header("content-length", str(len(data)))
                self.send_header("content-type", "application/json")
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def post(self, path: str, raw: bytes) -> Any:
        if path == "/v1/files":
            lines = [json.loads(line) for line in re.findall(rb'^\{"custom_id.*$', raw, re.MULTILINE)]
            self.files[f"file-{len(self.files)}"] = {line["custom_id"]: line["body"] for line in lines}
            return {"id": f"file-{len(self.files) - 1}", "object": "file"}
        if path == "/v1/batches":
            self.batches.append(self.files[json.loads(raw)["input_file_id"]])
        elif path == "/v1/messages/batches":
            self.batches.append({line["custom_id"]: line["params"] for line in json.loads(raw)["requests"]})
        else:
            return None
        return {"id": f"batch-{len(self.batches) - 1}", "status": "validating", "processing_status": "in_progress"}

    def get(self, path: str) -> Any:
        if found := re.fullmatch(r"/v1/(?:messages/)?batches/batch-(\d+)", path):
            self.asked += 1
            done, number = self.asked > self.polls, found[1]
            return {
                "id": f"batch-{number}",
                "status": "completed" if done else "in_progress",
                "processing_status": "ended" if done else "in_progress",
                "output_file_id": f"out-{number}",
                "error_file_id": None,
                "results_url": f"{self.url}/v1/messages/batches/batch-{number}/results",
            }
        if found := re.fullmatch(r"/v1/files/out-(\d+)/content", path):
            return self.lines(int(found[1]), self.openai)
        if found := re.fullmatch(r"/v1/messages/batches/batch-(\d+)/results", path):
            return self.lines(int(found[1]), self.anthropic)
        return None

    def lines(self, number: int, told: Any) -> bytes:
        asked = {key: body["messages"][-1]["content"] for key, body in self.batches[number].items()}
        answered = [told(key, text) for key, text in reversed(asked.items()) if "gone" not in text]
        return "".join(json.dumps(line) + "\n" for line in answered).encode()

    def openai(self, key: str, text: str) -> dict[str, Any]:
        if "bad" in text:
            return {"custom_id": key, "response": {"status_code": 400, "body": {"error": {"message": "no good"}}}}
        choice = {"index": 0, "message": {"content": text.split()[-1]}, "finish_reason": "stop"}
        used = {"prompt_tokens": 7, "completion_tokens": 2}
        return {"custom_id": key, "response": {"status_code": 200, "body": {"choices": [choice], "usage": used}}}

    def anthropic(self, key: str, text: str) -> dict[str, Any]:
        if "bad" in text:
            fault = {"type": "error", "error": {"type": "invalid_request_error", "message": "no good"}}
            return {"custom_id": key, "result": {"type": "errored", "error": fault}}
        said = [{"type": "text", "text": text.split()[-1]}]
        used = {"input_tokens": 7, "output_tokens": 2}
        message = {"model": "claude-x", "content": said, "stop_reason": "end_turn", "usage": used}
        return {"custom_id": key, "result": {"type": "succeeded", "message": message}}


@pytest.fixture
def provider() -> Iterator[Provider]:
    made = Provider()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture(autouse=True)
def at_once(monkeypatch, tmp_path: Path):
    monkeypatch.setattr(batch, "POLL_S", 0.01)
    monkeypatch.setenv("HOME", str(tmp_path))


def model(provider: Provider, kind: str, **changes: Any):
    url = provider.url + ("/v1" if kind == "openai" else "")
    given = {"name": "m", "backend": kind, "base_url": url, "batch": True, "price": PRICE.get(kind)}
    return load(model_of(**given | changes))


def requests(*prompts: str) -> list[Request]:
    return [
        GenerateRequest(f"key-{i}", str(i), prompt_of(text), max_tokens=9, stop=("!",))
        for i, text in enumerate(prompts)
    ]


def notes(folder: Path) -> list[Path]:
    return list((folder / batch.FOLDER).glob("*"))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_is_handed_over_once_and_each_sample_ends_once_at_the_batch_price(provider, kind, tmp_path):
    asked = requests("say one", "a bad one", "say three", "a gone one")
    found = {r.key: r for r in model(provider, kind).answer(asked)}
    assert len(provider.batches) == 1 and len(found) == 4
    assert (found["key-0"].text, found["key-2"].text) == ("one", "three")
    assert found["key-1"].error == "no good" and found["key-3"].error == "the batch ended without an answer"
    assert found["key-0"].usd == pytest.approx(USD[kind])
    assert not found["key-1"].provisional and found["key-3"].provisional
    assert found["key-1"].usd == 0 and found["key-0"].e2e_s is None
    assert (found["key-0"].input_tokens, found["key-0"].output_tokens) == (7, 2)
    assert notes(tmp_path) == []


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_is_asked_in_one_piece_with_the_same_settings(provider, kind):
    list(model(provider, kind).answer(requests("say one", "say two")))
    body = provider.batches[0]["key-0"]
    assert body["temperature"] == 0.0 and body["max_tokens"] == 9 and "stream" not in body and "extra_body" not in body
    assert body.get("stop", body.get("stop_sequences")) == ["!"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_stopped_while_it_waits_asks_for_the_same_batch_again(provider, kind, tmp_path):
    asked = requests("say one", "say two", "say three")
    responses = model(provider, kind).answer(asked)
    first = next(responses)
    responses.close()  # as a kill would: the answers left are still owed
    (note,) = notes(tmp_path)
    assert "say" not in note.read_text()
    owed = [request for request in asked if request.key != first.key]
    more = GenerateRequest("key-9", "9", Prompt("say nine"), max_tokens=9)
    found = {r.key: r.text for r in model(provider, kind).answer([*owed, more])}
    assert [sorted(b) for b in provider.batches] == [["key-0", "key-1", "key-2"], ["key-9"]]
    assert found == {r.key: r.prompt.text.split()[-1] for r in [*owed, more]}
    assert notes(tmp_path) == []


def test_a_batch_that_could_exceed_the_spend_limit_is_not_handed_over(provider):
    with pytest.raises(LimitReached, match=r"the batch could cost \$"):
        list(model(provider, "openai", limits={"max_cost": 1e-6}).answer(requests("say one", "say two")))
    assert provider.batches == []


def test_a_batch_that_was_handed_over_is_collected_whatever_is_left_to_spend(provider):
    asked = requests("say one", "say two", "say three")
    responses = model(provider, "openai").answer(asked)
    first = next(responses)
    responses.close()
    owed = [request for request in asked if request.key != first.key]
    found = list(model(provider, "openai", limits={"max_cost": 1e-9}).answer(owed))
    assert {r.error for r in found} == {None} and len(found) == 2 and len(provider.batches) == 1


def test_a_provider_without_batches_says_so(provider):
    with pytest.raises(ValueError, match="`batch` means nothing for backend 'google'"):
        model(provider, "google")
