"""Real servers on loopback: `transformers serve`, and one of ours that echoes log-probabilities as vLLM does.

What a model says through a server is what it says in process.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import harness
from harness.backends import load
from harness.config.base import validate
from harness.config.model import model_of
from harness.config.run import RunConfig
from harness.errors import BackendError
from harness.values import GenerateRequest, LoglikelihoodRequest, Message, Prompt, Request
from tests.support.asking import prompt_of

pytestmark = [pytest.mark.shared, pytest.mark.slow]

TEMPLATE = "{{ bos_token }}{% for m in messages %}{{ m.content }}{% endfor %}"
PROMPTS = ("Once upon a time", "The little dog", "Lily saw a", "One day, Tom")


def serve(folder: Path, cache: Path) -> Iterator[str]:
    """Starts `transformers serve` with one model, yields its address, and ends it by its process id."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    cache.mkdir()
    own = {"HF_HUB_CACHE": str(cache), "HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    command = [str(Path(sys.executable).with_name("transformers")), "serve", str(folder), "--device", "cpu"]
    command += ["--dtype", "float32", "--host", "127.0.0.1", "--port", str(port)]
    process = subprocess.Popen(command, env=os.environ | own, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(600):
            assert process.poll() is None, "transformers serve ended: are its `serving` packages installed?"
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1).read()
                break
            except OSError:
                time.sleep(0.1)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait(10)


@pytest.fixture(scope="module")
def chatty(shared: Path, tmp_path_factory) -> Path:
    """A copy of the model with a chat template that says what the user says, and nothing else."""
    folder = tmp_path_factory.mktemp("served") / "chatty"
    folder.mkdir()
    for file in (shared / "models" / "stories260K").iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(settings | {"chat_template": TEMPLATE}))
    return folder


@pytest.fixture(scope="module")
def url(chatty: Path, tmp_path_factory) -> Iterator[str]:
    pytest.importorskip("uvicorn"), pytest.importorskip("fastapi")
    yield from serve(chatty, tmp_path_factory.mktemp("hub") / "cache")


@pytest.fixture(scope="module")
def here(chatty: Path) -> Any:
    made = load(model_of(name="m", path=str(chatty), dtype="fp32", device="cpu", threads=1))
    yield made
    made.close()


def there(url: str, folder: Path, **changes: Any):
    limits = {"concurrency": 2}
    given = {"name": "m", "backend": "openai", "model": str(folder), "base_url": url, "limits": limits}
    return load(model_of(**given | changes))


def requests(chat: bool) -> list[Request]:
    prompts = [(Message("user", text),) if chat else text for text in PROMPTS]
    return [GenerateRequest(f"k{i}", str(i), prompt_of(p), max_tokens=24, stop=(".",)) for i, p in enumerate(prompts)]


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "in-one-piece"])
@pytest.mark.parametrize("api", ["completions", "chat"])
def test_a_served_model_writes_what_it_writes_in_process(url, chatty, here, api, stream):
    asked = requests(chat=api == "chat")
    wanted = {r.key: r for r in here.answer(asked)}
    served = {r.key: r for r in there(url, chatty, api=api, stream=stream).answer(asked)}
    for key, response in served.items():
        assert response.error is None
        assert response.text == wanted[key].text
        assert response.finish_reason == wanted[key].finish_reason
        assert response.output_tokens == wanted[key].output_tokens
        assert response.input_tokens == wanted[key].input_tokens
        assert response.provider.model_version.startswith(str(chatty))


TASK = """task: stories
data: {file: stories.jsonl}
kind: generate
prompt: "{begin}"
answer: word
max_tokens: 12
chat: CHAT
extract: {regex: {pattern: "^ *([A-Za-z]+)"}}
"""


@pytest.mark.parametrize("api", ["completions", "chat"])
def test_a_run_on_the_served_model_has_the_accuracy_of_a_run_in_process(url, chatty, here, tmp_path, api):
    texts = {r.key: r.text for r in here.answer(requests(chat=api == "chat"))}
    words = [texts[f"k{i}"].split()[0].strip(",") if i % 2 else "never" for i in range(len(PROMPTS))]
    rows = [{"begin": prompt, "word": word} for prompt, word in zip(PROMPTS, words)]
    (tmp_path / "stories.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "stories.yaml").write_text(TASK.replace("CHAT", "'on'" if api == "chat" else "'off'"))
    models = [
        {"name": "served", "backend": "openai", "model": str(chatty), "base_url": url, "api": api},
        {"name": "here", "path": str(chatty), "dtype": "fp32", "device": "cpu", "threads": 1},
    ]
    given = {"run": "r", "tasks": [str(tmp_path / "stories.yaml")], "models": models, "latency": {"requests": 0}}
    result = harness.run(validate(RunConfig, given, "test"), out=tmp_path / "out")
    records = result.records()
    served, mine = (records[records.model == name].sort_values("sample_id") for name in ("served", "here"))
    assert list(served.answer) == list(mine.answer)
    served, mine = result.summary.rows
    assert served.accuracy == mine.accuracy and 0 < served.accuracy.value < 1


def test_a_server_without_echo_says_that_choices_run_as_text(url, chatty):
    with pytest.raises(BackendError, match="as: generate"):
        list(
            there(url, chatty, api="completions").answer([LoglikelihoodRequest("k", "s", Prompt("Once"), (" a", " b"))])
        )


# --- a server that echoes log-probabilities --------------------------------------------------------------------------


class Echo:
    """A completions server over the in-process model, with the echo of vLLM: every token, its log-probability, offset.

    `drift` nats are added for each request so far, as a server with a broken prefix cache does.
    """

    def __init__(self, loaded: Any, drift: float = 0.0) -> None:
        self.loaded, self.drift, self.count = loaded, drift, 0
        echo = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_error(404)

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                data = json.dumps(echo.answer(body["prompt"])).encode()
                self.send_response(200)
                self.send_header("content-length", str(len(data)))
                self.send_header("content-type", "application/json")
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/v1"

    def __enter__(self) -> Echo:
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.server.shutdown()
        self.server.server_close()

    def answer(self, prompt: str) -> dict[str, Any]:
        import torch

        self.count += 1
        encoded = self.loaded.tokenizer(prompt, return_offsets_mapping=True)
        ids, spans = encoded["input_ids"], encoded["offset_mapping"]
        with torch.no_grad():
            logprobs = self.loaded.model(torch.tensor([ids])).logits[0].log_softmax(-1)
        picked = [None] + [float(logprobs[i - 1, ids[i]]) + self.drift * self.count for i in range(1, len(ids))]
        tops = [None] + [{"top": float(logprobs[i - 1].max())} for i in range(1, len(ids))]
        spans = [(begin, end) for begin, end in spans]
        made = {"tokens": [prompt[b:e] for b, e in spans], "token_logprobs": picked, "top_logprobs": tops}
        told = {
            key: [*value, " x"][: len(ids) + 1] if key == "tokens" else [*value, -1.0] for key, value in made.items()
        }
        told["top_logprobs"][-1] = {" x": -1.0}
        told["text_offset"] = [begin for begin, _ in spans] + [len(prompt)]
        used = {"prompt_tokens": len(ids), "completion_tokens": 1}
        return {"choices": [{"text": prompt + " x", "logprobs": told, "finish_reason": "length"}], "usage": used}


CHOICES = (" there was", " a cat", " the", " upon")


def scored() -> list[Request]:
    return [
        LoglikelihoodRequest(f"k{i}", str(i), prompt_of(prompt), CHOICES)
        for i, prompt in enumerate((*PROMPTS, "Once upon "))
    ]


def test_choices_scored_by_echo_have_the_log_probabilities_of_the_process(chatty, here):
    wanted = {r.key: r for r in here.answer(scored())}
    with Echo(here.loaded) as echo:
        served = list(there(echo.url, chatty, api="completions").answer(scored()))
    assert len(served) == len(wanted)
    for response in served:
        assert response.error is None
        assert response.logprobs == pytest.approx(wanted[response.key].logprobs, abs=1e-4)
        assert response.greedy == wanted[response.key].greedy


def test_a_server_whose_scores_depend_on_the_order_is_refused(chatty, here):
    with Echo(here.loaded, drift=0.05) as echo, pytest.raises(BackendError, match="depend on the order"):
        list(there(echo.url, chatty, api="completions").answer(scored()))
