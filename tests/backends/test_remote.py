"""Where a request goes and what may go with it."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import pytest

from harness.backends import about
from harness.config.model import ModelConfig, model_of
from harness.errors import ConfigError, PolicyError
from harness.security.egress import is_loopback, server

HOSTS = {
    "127.0.0.1": True,
    "127.8.9.1": True,
    "localhost": True,
    "::1": True,
    "0.0.0.0": False,
    "10.0.0.1": False,
    "127.0.0.1.example.com": False,
    "localhost.example.com": False,
    "127.1": False,
    "2130706433": False,
    "example.com": False,
}


def test_this_machine_is_only_what_cannot_be_another():
    assert {host: is_loopback(host) for host in HOSTS} == HOSTS


def model(**changes) -> ModelConfig:
    return model_of(**{"name": "m", "backend": "openai", **changes})


CASES = [  # model, runs on, prompts leave for, may score
    (model(), "api.openai.com", "api.openai.com", False),
    (model(api="completions"), "api.openai.com", "api.openai.com", False),
    (model(base_url="http://127.0.0.1:8000/v1"), "this machine", None, False),
    (model(base_url="http://localhost:8000/v1", api="completions"), "this machine", None, True),
    (model(base_url="https://gpu.example.com/v1", api="completions"), "gpu.example.com", "gpu.example.com", True),
    (model(base_url="https://127.0.0.1@evil.example/v1"), None, None, None),
    (model(backend="anthropic"), "api.anthropic.com", "api.anthropic.com", False),
    (
        model(backend="google"),
        "generativelanguage.googleapis.com",
        "generativelanguage.googleapis.com",
        False,
    ),
    (model(backend="transformers", path="m"), "this machine", None, True),
    (model(backend="fake"), "this machine", None, True),
    (model(backend="recorded"), "recorded", None, True),
]


@pytest.mark.parametrize(("config", "runs_on", "leaves_for", "scores"), CASES, ids=lambda value: str(value)[:30])
def test_where_a_model_runs_and_where_its_prompts_go(config, runs_on, leaves_for, scores):
    if runs_on is None:
        with pytest.raises(Exception, match="user name"):
            about(config).place(config)
        return
    place, can = about(config).place(config), about(config).capabilities(config)
    assert (place.name, place.egress, can.loglikelihood) == (runs_on, leaves_for, scores)


def test_http_to_another_host_is_spoken_only_where_the_run_file_says_so():
    with pytest.raises(ConfigError, match=r"http to 10\.0\.0\.1 would send prompts and key unencrypted"):
        server(model(base_url="http://10.0.0.1/v1"))
    stated = model(base_url="http://10.0.0.1/v1", allow_http=True)
    assert (server(stated).host, server(stated).port, server(stated).egress) == ("10.0.0.1", 80, "10.0.0.1")


def test_asking_where_loads_no_sdk():
    code = (
        "import sys; from harness.backends import about; from harness.config.model import BACKENDS, model_of; "
        "models = [model_of(name='m', backend=b, **({'path': 'x'} if b == 'transformers' else {})) for b in BACKENDS]; "
        "assert len({about(m).place(m).name for m in models} | {about(m).capabilities(m) for m in models}) > 6; "
        "print({'openai', 'anthropic', 'google.genai', 'httpx2', 'torch'} & set(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "set()"


def request(url: str, **headers: str) -> SimpleNamespace:
    from httpx2 import URL

    return SimpleNamespace(url=URL(url), headers={"accept": "*/*", "X-Stainless-OS": "Linux", **headers})


def test_a_request_to_another_host_or_port_is_stopped(monkeypatch):
    monkeypatch.setenv("A_KEY", "planted-secret")
    place = server(model(base_url="https://h.example:99/v1", api_key_env="A_KEY"))
    own = request("https://h.example:99/v1/models")
    place.guard(own)
    assert own.headers == {"accept": "*/*", "authorization": "Bearer planted-secret"}
    for url in ("https://h.example/v1", "https://other.example:99/v1", "https://h.example.evil:99/v1"):
        other = request(url)
        with pytest.raises(PolicyError, match="was stopped"):
            place.guard(other)
        assert "authorization" not in other.headers


def test_the_key_is_read_when_it_is_used(monkeypatch):
    monkeypatch.setenv("A_KEY", "first-value")
    place = server(model(base_url="https://h/v1", api_key_env="A_KEY"))
    monkeypatch.setenv("A_KEY", "second-value")
    sent = request("https://h/v1/models")
    place.guard(sent)
    assert sent.headers["authorization"] == "Bearer second-value"
    assert "value" not in repr(place)


def test_a_redirect_is_told_and_nothing_reaches_the_other_place(monkeypatch):
    import threading
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    from harness.backends import load
    from harness.values import GenerateRequest, Prompt

    reached: list[str] = []

    class Other(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            reached.append(self.path)

        do_GET = do_POST

        def log_message(self, *args) -> None:
            pass

    class Asked(Other):
        def do_POST(self) -> None:
            self.send_response(307)
            self.send_header("location", f"http://127.0.0.1:{other.server_address[1]}{self.path}")
            self.send_header("content-length", "0")
            self.end_headers()

        do_GET = do_POST

    other, first = (ThreadingHTTPServer(("127.0.0.1", 0), kind) for kind in (Other, Asked))
    for each in (other, first):
        threading.Thread(target=each.serve_forever, daemon=True).start()
    made = load(model(base_url=f"http://127.0.0.1:{first.server_address[1]}/v1"))
    (response,) = made.answer([GenerateRequest("k", "s", Prompt("hello"))])
    for each in (other, first):
        each.shutdown(), each.server_close()
    assert response.error.startswith("redirect: to http://127.0.0.1:") and reached == []
