"""Models of a run file: which keys mean something for which backend."""

from __future__ import annotations

from typing import Any

import pytest

from harness.config.assemble import Additions, assemble
from harness.config.base import validate
from harness.config.model import (
    BACKENDS,
    LocalModel,
    ObjectModel,
    ProviderModel,
    RecordedModel,
    ScriptedModel,
    ServerModel,
    read_model,
)
from harness.config.run import RunConfig
from harness.errors import ConfigError

NEEDED: dict[str, dict[str, Any]] = {"transformers": {"path": "m"}}
# of each key a value that is not its default
GIVEN: dict[str, Any] = {
    "path": "somewhere",
    "revision": "abc",
    "dtype": "fp16",
    "device": "cpu",
    "adapter": "a",
    "quantization": "4bit",
    "trust_remote_code": True,
    "engine": "plain",
    "batch_tokens": 9,
    "deterministic": True,
    "replicas": 2,
    "max_length": 99,
    "threads": 3,
    "model": "gpt",
    "api": "completions",
    "api_key_env": "A_KEY",
    "api_key_command": ["pass"],
    "proxy": "http://127.0.0.1:1",
    "ca_file": "c.pem",
    "stream": False,
    "batch": True,
    "logprobs": True,
    "extra": {"a": 1},
    "price": {"input": 1.0, "output": 2.0},
    "limits": {"attempts": 2},
    "base_url": "http://127.0.0.1:8000/v1",
    "allow_http": True,
    "script": "answers.csv",
    "chat_template": "on",
    "licence": "mit",
    "provenance": "maker",
    "accepted_by": "Jo Doe",
}
EVERY = {"name", "backend", "chat_template", "licence", "provenance", "accepted_by"}  # keys that each class has
KINDS = (LocalModel, ServerModel, ProviderModel, RecordedModel, ScriptedModel, ObjectModel)
REMOTE = {"model", "path", "api_key_env", "api_key_command", "proxy", "ca_file", "stream", "extra", "price", "limits"}
LOCAL = set(LocalModel.model_fields) - EVERY
MEANS = {  # which keys a backend has, written out a second time
    "transformers": LOCAL,
    "openai": REMOTE | {"api", "batch", "logprobs", "base_url"},
    "anthropic": REMOTE | {"batch", "base_url"},
    "google": REMOTE | {"logprobs", "base_url"},
    "recorded": {"script", "path", "model"},
    "scripted": {"script"},
    "python": set(),
}


def test_every_key_of_every_class_is_tried():
    keys = {key for kind in KINDS for key in kind.model_fields}
    assert keys - {"name", "backend"} == GIVEN.keys() and MEANS.keys() == BACKENDS.keys()


@pytest.mark.parametrize("key", GIVEN)
@pytest.mark.parametrize("backend", MEANS)
def test_a_key_that_means_nothing_for_its_backend_is_refused_with_a_fix(backend: str, key: str):
    settings = {"name": "m", "backend": backend, **NEEDED.get(backend, {}), key: GIVEN[key]}
    if key in MEANS[backend] | EVERY:
        assert getattr(read_model(settings, "r.yaml"), key) is not None
        return
    with pytest.raises(ConfigError) as caught:
        read_model(settings, "r.yaml")
    what, where, fix = str(caught.value).splitlines()
    assert f"`{key}` means nothing for backend '{backend}'" in what and "r.yaml" in where
    assert "leave it out" in fix and any(other in fix for other in MEANS)
    assert key == "allow_http" or any(key in MEANS[other] and other in fix for other in MEANS)


def test_http_may_be_allowed_where_there_is_an_address():
    asked = {"name": "m", "backend": "openai", "base_url": "http://far.example/v1", "allow_http": True}
    assert read_model(asked, "r.yaml").allow_http
    with pytest.raises(ConfigError, match="with a `base_url`"):
        read_model({"name": "m", "backend": "openai", "allow_http": True}, "r.yaml")


def test_a_key_at_its_default_says_nothing_untrue():
    every = {key: None for key in ("base_url", "adapter", "quantization")} | {
        "replicas": 1,
        "dtype": "auto",
        "extra": {},
    }
    assert read_model({"name": "m", "backend": "scripted", **every}, "r.yaml") == ScriptedModel(name="m")


@pytest.mark.parametrize(("old", "new", "more"), [("fake", "scripted", {}), ("local", "transformers", {"path": "m"})])
def test_another_name_of_a_backend_is_read(old: str, new: str, more: dict[str, str]):
    assert read_model({"name": "m", "backend": old, **more}, "r.yaml").backend == new


def test_a_backend_that_is_not_there_is_named_with_the_nearest():
    with pytest.raises(ConfigError, match=r"no backend 'opnai'(.|\n)*did you mean 'openai'"):
        read_model({"name": "m", "backend": "opnai"}, "r.yaml")


def test_only_what_can_change_an_answer_is_among_the_settings():
    asked = {"name": "m", "backend": "openai", "base_url": "http://127.0.0.1:1/v1"}
    plain = read_model(asked, "r.yaml").settings()
    price = {"input": 1.0, "output": 2.0}
    beside = {"price": price, "limits": {"attempts": 2}, "api_key_env": "A_KEY", "stream": False}
    assert read_model(asked | beside, "r.yaml").settings() == plain
    assert read_model(asked | {"extra": {"a": 1}}, "r.yaml").settings() != plain
    assert set(read_model({"name": "m", "backend": "scripted"}, "r.yaml").settings()) == {
        "backend",
        "chat_template",
        "script",
    }


@pytest.mark.parametrize(
    ("told", "meant"),
    [("float32", "fp32"), ("torch.bfloat16", "bf16"), ("float16", "fp16"), ("half", "fp16"), ("fp32", "fp32")],
)
def test_a_number_type_may_have_its_name_in_torch(told: str, meant: str):
    assert read_model({"name": "m", "path": "p", "dtype": told}, "r.yaml").dtype == meant


@pytest.mark.parametrize(("told", "meant"), [(False, "off"), (True, "on"), ("auto", "auto"), ("off", "off")])
def test_a_switch_may_be_true_or_false(told: object, meant: str):
    assert read_model({"name": "m", "path": "p", "chat_template": told}, "r.yaml").chat_template == meant


@pytest.mark.parametrize(("told", "requests"), [(0, 0), (7, 7), (False, 0), (True, 20), ({"requests": 3}, 3)])
def test_latency_may_be_a_number_of_requests(told: object, requests: int):
    run = validate(RunConfig, {"run": "r", "tasks": ["t"], "models": ["m"], "latency": told}, "r.yaml")
    assert run.latency.requests == requests
    assert assemble({"tasks": ["t"], "models": ["m"], "latency": told}, Additions(latency=5)).latency.requests == 5
