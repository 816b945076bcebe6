"""A key as people paste it: what stands around it is no part of it, and what cannot be a key is told before a run."""

from __future__ import annotations

import pytest

from harness.config.model import model_of
from harness.errors import BackendError
from harness.security.egress import Server, server
from harness.security.secrets import HIDDEN, redact

KEY = "abcd-0123456789"


def asked() -> Server:
    return server(model_of(name="m", backend="openai", base_url="http://127.0.0.1:9/v1", api_key_env="OUR_KEY"))


@pytest.mark.parametrize(
    "around", ["{}\n", " {}\r\n", "\ufeff{}", "{}\u200b", "\u00a0{}\u2060", '"{}"', "'{}' ", "`{}`"]
)
def test_what_stands_around_a_key_is_not_of_it_and_the_key_is_hidden(monkeypatch: pytest.MonkeyPatch, around: str):
    monkeypatch.setenv("OUR_KEY", around.format(KEY))
    assert asked().key() == KEY and asked().missing_key() == ""
    assert redact(f"it was {KEY}.") == f"it was {HIDDEN}."


@pytest.mark.parametrize(
    "value", ["abcd\nefgh-12345", "abcd efgh", "schlüssel-12345", "abcd\u200befgh", "abcd\x00efgh"[:4] + "\x7f"]
)
def test_what_no_key_can_hold_is_told(monkeypatch: pytest.MonkeyPatch, value: str):
    monkeypatch.setenv("OUR_KEY", value)
    with pytest.raises(BackendError, match="OUR_KEY holds what no key can hold"):
        asked().key()


@pytest.mark.parametrize("value", ["", " \n", '""', "\u200b"])
def test_nothing_is_no_key(monkeypatch: pytest.MonkeyPatch, value: str):
    monkeypatch.setenv("OUR_KEY", value)
    with pytest.raises(BackendError, match="OUR_KEY is empty"):
        asked().key()
