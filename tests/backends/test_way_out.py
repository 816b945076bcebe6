"""The way to a server: through the proxy that is named and no other, to a certificate that is trusted, with one key."""

from __future__ import annotations

import json
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import certifi
import pytest

from harness.backends import load
from harness.backends.servers import hold
from harness.config.model import ModelConfig, model_of
from harness.errors import BackendError, ConfigError, PolicyError
from harness.runs.planned_model import find_model
from harness.security.egress import server
from harness.security.secrets import HIDDEN, redact, without_own
from harness.values import GenerateRequest, Prompt

ANSWER = {
    "choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 1},
}


@pytest.fixture(autouse=True)
def short_waits(monkeypatch):
    monkeypatch.setattr(hold, "FIRST_WAIT_S", 0.002)


class Listening:
    """A server on loopback that gives one answer to everything, and keeps what it was asked."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.asked: list[str] = []
        self.keys: list[str | None] = []
        here = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("content-length", 0)))
                here.asked.append(self.path)
                here.keys.append(self.headers.get("authorization"))
                data = json.dumps(ANSWER).encode()
                self.send_response(200)
                self.send_header("content-length", str(len(data)))
                self.send_header("content-type", "application/json")
                self.end_headers()
                self.wfile.write(data)

            def do_GET(self) -> None:
                self.send_error(404)

            def log_message(self, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if context is not None:
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def listening() -> Iterator[Listening]:
    made = Listening()
    yield made
    made.close()


def config(**changes: Any) -> ModelConfig:
    return model_of(**{"name": "m", "backend": "openai", "stream": False, **changes})


def ask(port: int, scheme: str = "http", **changes: Any) -> str | None:
    made = load(config(base_url=f"{scheme}://127.0.0.1:{port}/v1", **changes))
    (response,) = made.answer([GenerateRequest("k", "s", Prompt("hello"), sensitivity="public")])
    return response.text


# --- proxies ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_requests_go_through_the_proxy_that_is_named(listening: Listening):
    proxy = Listening()
    assert ask(listening.port, proxy=f"http://127.0.0.1:{proxy.port}") == "hi"
    proxy.close()
    assert proxy.asked == [f"http://127.0.0.1:{listening.port}/v1/chat/completions"] and listening.asked == []


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["anthropic", "google"])
def test_every_backend_uses_its_proxy(backend: str, listening: Listening):
    proxy = Listening()
    url = f"http://127.0.0.1:{listening.port}"
    made = load(config(backend=backend, base_url=url, proxy=f"http://127.0.0.1:{proxy.port}"))
    list(
        made.answer([GenerateRequest("k", "s", Prompt("hello"), sensitivity="public")])
    )  # whatever they make of the answer
    proxy.close()
    assert proxy.asked and all(path.startswith(url) for path in proxy.asked) and listening.asked == []


def test_a_backend_sends_nothing_restricted_to_another_host(listening: Listening):
    """The proxy here would take it on to a host elsewhere."""
    made = load(config(base_url="http://far.example/v1", allow_http=True, proxy=f"http://127.0.0.1:{listening.port}"))
    with pytest.raises(PolicyError, match=r"restricted data on their way to far\.example were stopped"):
        list(made.answer([GenerateRequest("k", "s", Prompt("hello"), sensitivity="restricted")]))
    assert not [path for path in listening.asked if "completions" in path]


def test_a_proxy_elsewhere_lets_data_out_even_to_a_server_here():
    here = {"base_url": "http://127.0.0.1:8000/v1"}
    assert server(config(**here, proxy="http://proxy.example.com:3128")).egress == "proxy.example.com"
    assert server(config(**here, proxy="http://127.0.0.1:3128")).egress is None
    there = config(base_url="https://api.example.com/v1", proxy="http://proxy.example.com:3128")
    assert server(there).egress == "api.example.com"


@pytest.mark.parametrize(
    ("proxy", "message"),
    [
        ("proxy.example.com:3128", "is no address of a proxy"),
        ("socks5://h:1", "is no address of a proxy"),
        ("http://h", "is no address of a proxy"),
        ("http://h:port", "is no address of a proxy"),
        ("http://me:sk-planted-0123456789@h:3128", "holds a user name"),
    ],
)
def test_an_address_that_is_no_proxy_is_told(proxy: str, message: str):
    with pytest.raises(ConfigError, match=message) as caught:
        server(config(base_url="https://h/v1", proxy=proxy))
    assert "planted" not in str(caught.value)


# --- certificates ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def signed(tmp_path_factory) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that nobody but its maker trusts, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    names = [str(folder / "cert.pem"), str(folder / "key.pem")]
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    try:
        subprocess.run([*command, "-out", names[0], "-keyout", names[1]], check=True, capture_output=True)
    except (OSError, subprocess.SubprocessError):
        pytest.skip("needs the command openssl to make a certificate")
    return Path(names[0]), Path(names[1])


@pytest.mark.slow
def test_only_a_trusted_certificate_is_spoken_to(signed: tuple[Path, Path]):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*map(str, signed))
    there = Listening(context)
    try:
        with pytest.raises(BackendError, match="no answer: tls"):
            ask(there.port, "https")
        assert there.asked == []
        assert ask(there.port, "https", ca_file=str(signed[0])) == "hi"
    finally:
        there.close()


def test_a_file_without_certificates_is_told(tmp_path: Path):
    (tmp_path / "empty.pem").write_text("nothing")
    for name in ("empty.pem", "missing.pem"):
        with pytest.raises(ConfigError, match=f"{name} holds no certificates"):
            server(config(base_url="https://h/v1", ca_file=str(tmp_path / name)))


# --- keys ------------------------------------------------------------------------------------------------------------


def printing(text: str, code: int = 0) -> tuple[str, ...]:
    return (sys.executable, "-c", f"import sys; print({text!r}); sys.exit({code})")


@pytest.mark.slow
def test_a_key_that_a_command_prints_is_sent_and_hidden_everywhere(listening: Listening):
    key = "opaque-value-of-a-keyring-7"
    assert ask(listening.port, api_key_command=printing(key)) == "hi"
    assert listening.keys == [f"Bearer {key}"]
    assert redact(f"the key {key} was refused", {}) == f"the key {HIDDEN} was refused"
    assert without_own(f"you sent {key}", {}) == f"you sent {HIDDEN}"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "state"),
    [
        (printing("half-a-key-and-then-an-error", 3), "ended with code 3"),
        (printing(""), "printed no key"),
        (("no-such-command-here",), "could not be run"),
    ],
)
def test_a_command_without_a_key_is_told_and_what_it_printed_is_not(command, state, listening: Listening):
    with pytest.raises(BackendError, match=state) as caught:
        ask(listening.port, api_key_command=command)
    assert "half-a-key" not in str(caught.value) and listening.asked == []


def test_a_key_stands_in_one_place_only(monkeypatch):
    with pytest.raises(ConfigError, match="both `api_key_env` and `api_key_command`"):
        server(config(base_url="https://h/v1", api_key_env="A_KEY", api_key_command=("x",)))
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    assert server(config(api_key_command=("x",))).key_env is None  # at the provider's own address too


def test_the_way_to_a_server_changes_no_answer():
    plain = config(base_url="https://h/v1")
    other = config(base_url="https://h/v1", proxy="http://p:1", api_key_command=("x",), ca_file=certifi.where())
    assert find_model(plain).digest == find_model(other).digest
