"""Planted keys go through every error, log line and file of a run: none comes out."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.security.secrets import HIDDEN, Redacting, is_secret, redact, redacted, without_own
from tests.support.servers import Reply, SyntheticServer

ROOT = Path(__file__).parents[2]
BY_LOOK = (
    "sk-proj-abcDEF0123456789abcDEF",
    "sk-ant-api03-abcDEF0123456789-_x",
    "sk-or-v1-0123456789abcdef0123456789",
    "gsk_0123456789abcdefABCDEF",
    "xai-0123456789abcdefABCDEF",
    "pplx-0123456789abcdefABCDEF",
    "nvapi-0123456789abcdefABCDEF",
    "r8_0123456789abcdefABCDEF",
    "hf_abcdefghijklmnopqrstuvwxyz",
    "ghp_0123456789abcdefABCDEF",
    "gho_0123456789abcdefABCDEF",
    "ghs_0123456789abcdefABCDEF",
    "github_pat_0123456789abcdef",
    "glpat-0123456789abcdefABCD",
    "npm_0123456789abcdefABCDEF",
    "xoxb-0123456789-abcdefABCDEF",
    "pypi-AgEIcHlwaS5vcmcCJDAx",
    "AIzaSyA0123456789abcdefABCDEF",
    "AKIAIOSFODNN7EXAMPLE",
    "ASIAIOSFODNN7EXAMPLE",
    "ya29.a0AfH6SMBx0123456789",
    "SG.abcdefghij.0123456789abcdef",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl",
)
BY_NAME = {
    "OPENAI_API_KEY": "opaque value one of ours",
    "HF_TOKEN": "opaque value two of ours",
    "DB_PASSWORD": "opaque value three of ours",
    "CLIENT_SECRET": "opaque value four of ours",
    "MY_CREDENTIALS": "opaque value five of ours",
    "BACKUP_KEY2": "opaque value six of ours",
    "SSH_PASSPHRASE": "opaque value seven of ours",
}
PLANTED = (*BY_LOOK, *BY_NAME.values())


def test_thirty_keys_are_planted():
    assert len(set(PLANTED)) == 30


@pytest.mark.parametrize("frame", ["{}", "the key {} is wrong", "x-api-key: {}", '{{"key": "{}"}}', "({})", "key={},"])
def test_every_planted_key_is_hidden_wherever_it_stands(frame: str):
    for key in PLANTED:
        assert key not in (found := redact(frame.format(key), BY_NAME)), found
        assert HIDDEN in found


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("https://me:pass-word@host:99/v1", f"https://{HIDDEN}@host:99/v1"),
        ("https://0123456789abcdef@host/repo.git", f"https://{HIDDEN}@host/repo.git"),
        ("Authorization: Bearer abc.def.ghi", f"Authorization: Bearer {HIDDEN}"),
        ("Authorization: Basic bWU6cGFzcw==", f"Authorization: Basic {HIDDEN}"),
        ("GET /v1?key=abcdefgh&x=1", f"GET /v1?key={HIDDEN}&x=1"),
        ("-----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY-----\nrest", f"{HIDDEN}\nrest"),
        ("-----BEGIN PRIVATE KEY-----\nabc and then cut", HIDDEN),
    ],
)
def test_other_shapes_of_secrets_are_hidden(text: str, left: str):
    assert redact(text, {}) == left


@pytest.mark.parametrize(
    "text",
    [
        "task-risk-desk skill sk-1 hf_x",
        "https://host:8000/v1/chat@2",
        "sha256 3f5a9c" * 8,
        "the bearer of news is basic",
        "model gpt-4o answered in 0.31 s",
    ],
)
def test_ordinary_text_is_left_alone(text: str):
    assert redact(text, {"A_TOKEN": "x", "HOME": "host", "KEYBOARD": "answered"}) == text


def test_values_inside_values_are_hidden():
    found = redacted({"a": [{"b": BY_LOOK[0]}, 3, None, True], BY_LOOK[1]: ("x",)})
    assert found == {"a": [{"b": HIDDEN}, 3, None, True], HIDDEN: ["x"]}


def test_an_answer_loses_our_own_keys_and_nothing_else():
    own = {"OPENAI_API_KEY": "opaque value of ours", "LOCAL_API_KEY": "unused"}
    assert without_own("opaque value of ours, unused, sk-0123456789", own) == f"{HIDDEN}, unused, sk-0123456789"


@pytest.mark.parametrize("name", ["OPENAI_API_KEY", "hf_token", "APIKEY", "X_SECRET", "PGPASSWORD", "K_KEY1"])
def test_a_variable_is_known_by_its_name(name: str):
    assert is_secret(name)
    assert not is_secret(name + "BOARD_LAYOUT")


def test_a_log_line_and_its_traceback_are_without_secrets():
    try:
        raise ValueError(f"no: {BY_LOOK[0]}")
    except ValueError:
        record = logging.LogRecord("x", logging.INFO, "f", 1, "sent %s", (BY_LOOK[1],), sys.exc_info())
    line = Redacting("%(message)s").format(record)
    assert line.startswith(f"sent {HIDDEN}\nTraceback") and line.endswith(f"ValueError: no: {HIDDEN}")


TASK = """task: t
data: {file: t.csv}
kind: generate
prompt: "{q}"
answer: a
"""


def command(place: Path, *arguments: str, code: str | None = None) -> str:
    """Returns all that a command of the harness prints, on both streams."""
    environment = os.environ | BY_NAME | {"PYTHONPATH": str(ROOT)}
    line = [sys.executable, *(["-c", code] if code else ["-m", "harness", *arguments])]
    done = subprocess.run(line, capture_output=True, text=True, cwd=place, env=environment, timeout=120)
    return done.stdout + done.stderr


def planted_in(text: str) -> list[str]:
    return [key for key in PLANTED if key in text]


@pytest.mark.slow
def test_no_file_and_no_output_of_a_run_holds_a_planted_key(tmp_path: Path):
    """The backend's errors, the run file, and answers that send our own keys back are full of them."""
    rows = [f"q{i},a" for i in range(len(PLANTED))] + [f"e{i},a" for i in range(len(BY_NAME))]
    (tmp_path / "t.csv").write_text("q,a\n" + "\n".join(rows) + "\n")
    (tmp_path / "t.yaml").write_text(TASK)
    rules = [{"prompt": rf"^q{i}$", "error": f"401: the key {key} is refused"} for i, key in enumerate(PLANTED)]
    rules += [{"prompt": rf"^e{i}$", "text": f"you sent {key}"} for i, key in enumerate(BY_NAME.values())]
    (tmp_path / "s.yaml").write_text(json.dumps({"answers": rules}))
    answering = {"name": "m", "backend": "scripted", "script": "s.yaml"}
    extra = {f"header{i}": key for i, key in enumerate(PLANTED)}
    with SyntheticServer(Reply(text="a", tokens=1)) as server:
        asked = {"name": "far", "backend": "openai", "base_url": server.url, "model": "x", "extra": extra}
        (tmp_path / "run.yaml").write_text(json.dumps({"run": "r", "tasks": ["t.yaml"], "models": [answering, asked]}))
        printed = command(tmp_path, "run", "run.yaml", "--out", "out")
    printed += command(tmp_path, "table", "out", "--json") + command(tmp_path, "verify", "out")
    assert f"{len(PLANTED)} backend_error" in printed, printed
    assert planted_in(printed) == []
    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert len(files) >= 7
    assert {path.name: planted_in(path.read_text()) for path in files} == {path.name: [] for path in files}
    assert (tmp_path / "out" / "responses.jsonl").read_text().count(HIDDEN) >= len(PLANTED) + len(BY_NAME)


def test_no_message_of_an_error_holds_a_planted_key(tmp_path: Path):
    names = json.dumps(list(PLANTED))
    code = f"""
import sys, logging
from harness.cli import app as cli
from harness.errors import ConfigError
def fail():
    kind = ConfigError if sys.argv[1] == "mistake" else ValueError
    logging.getLogger("harness").warning("log %s", {names})
    raise kind("what {{}}".format({names}))
cli.app = fail
for kind in ("mistake", "bug"):
    sys.argv = ["harness", kind]
    try:
        cli.main()
    except SystemExit as stop:
        print(stop.code)
"""
    printed = command(tmp_path, code=code)
    assert planted_in(printed) == []
    assert printed.count(HIDDEN) >= 4 * len(PLANTED) - 4
    assert printed.startswith("2\n1\n") and "error: what" in printed and "ValueError: what" in printed


def test_a_key_that_is_set_later_is_hidden_from_then_on(monkeypatch: pytest.MonkeyPatch):
    value = "opaque value set later"
    monkeypatch.delenv("LATE_API_KEY", raising=False)
    assert redact(value) == value and redacted([value]) == [value]
    monkeypatch.setenv("LATE_API_KEY", value)
    assert redact(value) == HIDDEN and redacted([value]) == [HIDDEN] and without_own(value) == HIDDEN
    monkeypatch.setenv("LATE_API_KEY", "another opaque value")
    assert redact(value) == value and redact("another opaque value") == HIDDEN


def test_the_environment_is_read_once_for_a_value_of_many_texts(monkeypatch: pytest.MonkeyPatch):
    reads: list[int] = []

    class Counted(dict[str, str]):
        def __iter__(self) -> Iterator[str]:
            reads.append(1)
            return super().__iter__()

    monkeypatch.setattr("os.environ", Counted(BY_NAME))
    texts = {f"key {i}": [f"text {i}", BY_NAME["HF_TOKEN"]] for i in range(500)}
    assert redacted(texts) == {f"key {i}": [f"text {i}", HIDDEN] for i in range(500)}
    assert len(reads) == 1
