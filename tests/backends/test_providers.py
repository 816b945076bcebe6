"""The Anthropic and Google backends against streams as their servers send them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from harness.backends import load
from harness.backends.servers import hold
from harness.config.model import model_of
from harness.errors import BackendError
from harness.values import GenerateRequest, LoglikelihoodRequest, Message, Prompt, Request, Sampling
from tests.support.servers import Reply, SyntheticServer

pytestmark = pytest.mark.slow

PRICE = {"input": 1.0, "output": 10.0, "cache_read": 0.1, "cache_write": 2.0}
TURNS = (Message("system", "be brief"), Message("user", "hello"), Message("assistant", "yes?"), Message("user", "why"))
KINDS = ["anthropic", "google"]


@pytest.fixture(autouse=True)
def short_waits(monkeypatch):
    monkeypatch.setattr(hold, "FIRST_WAIT_S", 0.01)
    monkeypatch.setenv("A_KEY", "planted-secret-value")


def stream(*events: dict[str, Any]) -> Reply:
    names = (f"event: {event['type']}\n" if "type" in event else "" for event in events)
    lines = (f"{name}data: {json.dumps(event)}\n\n" for name, event in zip(names, events))
    return Reply(body="".join(lines).encode())


def claude(
    text: str = "hi", stop: str = "end_turn", sequence: str | None = None, details: Any = None
) -> tuple[dict[str, Any], ...]:
    """An answer of Anthropic's: 4 fresh, 5 read and 6 written input tokens; 9 output tokens, 3 of them thinking."""
    opening = {"input_tokens": 4, "cache_read_input_tokens": 5, "cache_creation_input_tokens": 6, "output_tokens": 1}
    return (
        {"type": "message_start", "message": {"model": "claude-x-20260101", "usage": opening, "content": []}},
        {"type": "ping"},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "hmm"}},
        {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": text}},
        {"type": "a_new_event", "with": {"new": "fields"}},
        {
            "type": "message_delta",
            "delta": {"stop_reason": stop, "stop_sequence": sequence, "stop_details": details},
            "usage": {"output_tokens": 9, "output_tokens_details": {"thinking_tokens": 3}},
        },
        {"type": "message_stop"},
    )


def gemini(text: str = "hi", finish: str | None = "STOP", **more: Any) -> tuple[dict[str, Any], ...]:
    """An answer of Google's: 15 input tokens, 5 of them cached; 6 tokens of text beside 3 of thinking."""
    used = {"promptTokenCount": 15, "cachedContentTokenCount": 5, "candidatesTokenCount": 6, "thoughtsTokenCount": 3}
    thought = {"content": {"parts": [{"text": "hmm", "thought": True}], "role": "model"}}
    said = {"content": {"parts": [{"text": text}]}} | ({"finishReason": finish} if finish else {})
    return (
        {"candidates": [thought], "modelVersion": "gemini-x-001", "aNewField": 1},
        {"candidates": [said], "usageMetadata": used, **more},
    )


def script(reply: Any) -> Any:
    """Answers posts as told, and the list of models not at all."""
    return lambda order, body: (reply(body) if callable(reply) else reply) if body else Reply(status=404)


def asked(kind: str, reply: Any, *, request: Request | None = None, **changes: Any):
    with SyntheticServer(script(reply)) as server:
        given = {"name": "m", "backend": kind, "base_url": server.url, "price": PRICE, "api_key_env": "A_KEY"}
        model = load(model_of(**given | changes))
        (response,) = model.answer([request or GenerateRequest("k", "s", Prompt("hello"), max_tokens=9)])
        model.close()
        return response, server


def answer(kind: str, **changes: Any) -> Reply:
    return stream(*{"anthropic": claude, "google": gemini}[kind](**changes))


@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_is_read_with_its_version_tokens_and_times(kind):
    response, _ = asked(kind, answer(kind))
    assert (response.text, response.finish_reason, response.error) == ("hi", "stop", None)
    assert (response.input_tokens, response.output_tokens) == (15, 9)
    assert response.provider.model_version in ("claude-x-20260101", "gemini-x-001")
    assert (response.provider.cached_tokens, response.thinking.tokens) == (5, 3)
    assert len(response.thinking.text) == 3
    assert 0 < response.ttft_s <= response.last_token_s <= response.e2e_s
    written = 6 if kind == "anthropic" else 0
    usd = ((15 - 5 - written) * 1.0 + 5 * 0.1 + written * 2.0 + 9 * 10.0) / 1e6
    assert response.usd == pytest.approx(usd)


def test_what_is_sent_fits_anthropics_typed_model():
    from anthropic.types.message_create_params import MessageCreateParamsStreaming
    from pydantic import TypeAdapter

    request = GenerateRequest(
        "k", "s", Prompt(messages=TURNS), stop=("\n", "END"), sampling=Sampling(temperature=0.5, top_k=3)
    )
    response, server = asked("anthropic", answer("anthropic"), request=request)
    assert "white space alone" in response.provider.refused["stop"]
    body = server.bodies[-1]
    assert (body.pop("temperature"), body.pop("top_k")) == (0.5, 3)
    TypeAdapter(MessageCreateParamsStreaming).validate_python(body)
    assert body["system"] == "be brief" and [turn["role"] for turn in body["messages"]] == ["user", "assistant", "user"]
    assert body["stop_sequences"] == ["END"] and body["max_tokens"] == 256
    assert server.headers[-1]["x-api-key"] == "planted-secret-value"
    assert server.headers[-1]["anthropic-version"]


def test_what_is_sent_fits_googles_typed_model():
    from google.genai import types

    request = GenerateRequest(
        "k", "s", Prompt(messages=TURNS), stop=("END",), sampling=Sampling(temperature=0.5, seed=2)
    )
    _, server = asked("google", answer("google"), request=request)
    body = server.bodies[-1]
    types.GenerateContentConfig.model_validate(body["generationConfig"])
    [types.Content.model_validate(turn) for turn in body["contents"]]
    assert [turn["role"] for turn in body["contents"]] == ["user", "model", "user"]
    assert body["systemInstruction"]["parts"] == [{"text": "be brief"}]
    assert body["generationConfig"]["stopSequences"] == ["END"] and body["generationConfig"]["seed"] == 2
    assert "/v1beta/models/m:streamGenerateContent" in server.headers[-1][":request"]
    assert server.headers[-1]["x-goog-api-key"] == "planted-secret-value"


STRANGE = {
    "anthropic": [
        {"type": "message_start"},
        {"type": "message_start", "message": {"usage": None}},
        {"type": "content_block_delta"},
        {"type": "content_block_delta", "delta": {"type": "of_tomorrow", "new": 1}},
        {"type": "message_delta", "delta": {}, "usage": {"output_tokens": None, "new_tokens": 3}},
        {"type": "of_tomorrow", "with": {"new": ["fields"]}},
    ],
    "google": [
        {},
        {"candidates": []},
        {"candidates": [{"content": {}}]},
        {"candidates": [{"content": {"parts": [{"ofTomorrow": {}}]}}], "new": 1},
        {"usageMetadata": {"newTokens": 3}},
        {"candidates": [{"safetyRatings": None, "finishMessage": None}]},
    ],
}


@pytest.mark.parametrize(
    ("kind", "strange"), [(kind, event) for kind in KINDS for event in STRANGE[kind]], ids=lambda value: str(value)[:40]
)
def test_new_and_missing_fields_never_fail_an_answer(kind, strange):
    whole = {"anthropic": claude, "google": gemini}[kind]()
    response, _ = asked(kind, stream(whole[0], strange, *whole[1:]))
    assert (response.error, response.text, response.output_tokens) == (None, "hi", 9)


@pytest.mark.parametrize("kind", KINDS)
def test_an_unknown_model_is_told_with_the_nearest_one_the_server_lists(kind):
    listed = {"data": [{"id": "model-xl", "type": "model"}], "models": [{"name": "models/model-xl"}], "has_more": False}
    missing = {"error": {"message": "no such model", "type": "not_found_error", "status": "NOT_FOUND", "code": 404}}
    answers = lambda order, body: (
        Reply(status=404, body=json.dumps(missing).encode()) if body else Reply(body=json.dumps(listed).encode())
    )
    with SyntheticServer(answers) as server:
        given = {"name": "m", "model": "model-x", "backend": kind, "base_url": server.url, "api_key_env": "A_KEY"}
        model = load(model_of(**given))
        with pytest.raises(BackendError, match=r"no model-x \(404\): no such model(.|\n)*'model-xl'"):
            list(model.answer([GenerateRequest("k", "s", Prompt("hello"))]))


@pytest.mark.parametrize("kind", KINDS)
def test_no_header_tells_of_the_machine(kind):
    _, server = asked(kind, answer(kind))
    assert not {name for name in server.headers[-1] if name.startswith(("x-stainless", "x-goog-api-client"))}


def test_a_refusal_is_told_by_the_providers_own_signal():
    response, _ = asked("anthropic", answer("anthropic", text="", stop="refusal", details={"category": "bio"}))
    assert response.provider.refusal == "bio" and response.error is None
    response, _ = asked("google", answer("google", text="", finish="SAFETY"))
    assert response.provider.refusal == "SAFETY" and response.error is None
    blocked = stream({"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}})
    response, _ = asked("google", blocked)
    assert response.provider.refusal == "prompt: PROHIBITED_CONTENT" and response.text == ""


@pytest.mark.parametrize(("kind", "reason"), [("anthropic", "max_tokens"), ("google", "MAX_TOKENS")])
def test_stopped_by_length_is_recorded(kind, reason):
    response, _ = asked(kind, answer(kind, **{"stop" if kind == "anthropic" else "finish": reason}))
    assert response.finish_reason == "length"


def test_the_stop_string_is_the_one_the_server_names():
    response, _ = asked("anthropic", answer("anthropic", stop="stop_sequence", sequence="END"))
    assert (response.stop_string, response.finish_reason) == ("END", "stop")


@pytest.mark.parametrize("kind", KINDS)
def test_a_stream_that_ends_early_is_cut_and_tried_again(kind):
    whole, tries = {"anthropic": claude, "google": gemini}[kind](), []

    def reply(body: Any) -> Reply:
        tries.append(body)
        return stream(*(whole[:1] if len(tries) == 1 else whole))

    response, _ = asked(kind, reply)
    assert [line.outcome for line in response.attempts] == ["cut", "answered"]


BUSY = {"anthropic": 529, "google": 429}


@pytest.mark.parametrize("kind", KINDS)
def test_faults_end_as_they_do_for_every_backend(kind):
    tries: list[Any] = []
    replies = [
        Reply(status=BUSY[kind], retry_after="0.05"),
        Reply(status=500),
        Reply(body=b'data: {"type": "content\n\n'),
        answer(kind),
    ]

    def reply(body: Any) -> Reply:
        tries.append(body)
        return replies[len(tries) - 1]

    response, _ = asked(kind, reply)
    assert response.error is None
    assert [line.outcome for line in response.attempts] == [
        f"http {BUSY[kind]}",
        "http 500",
        response.attempts[2].outcome,
        "answered",
    ]
    assert response.attempts[2].outcome in ("invalid", "cut", "server error")


@pytest.mark.parametrize("kind", KINDS)
def test_a_refused_key_is_told_without_the_key(kind):
    about = [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}]
    message = "API key not valid: planted-secret-value"
    said = {"error": {"message": message, "status": "INVALID_ARGUMENT", "details": about}}
    refused = Reply(status=400 if kind == "google" else 401, body=json.dumps(said).encode())
    with pytest.raises(BackendError, match="refuses the key in A_KEY") as caught:
        asked(kind, refused)
    assert "planted" not in str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
def test_a_refused_parameter_is_left_out_and_named(kind):
    def reply(body: Any) -> Reply:
        if "temperature" in body or "temperature" in body.get("generationConfig", {}):
            said = {"error": {"message": "temperature is not supported by this model", "type": "invalid_request"}}
            return Reply(status=400, body=json.dumps(said).encode())
        return answer(kind)

    response, _ = asked(kind, reply)
    assert response.text == "hi" and "not supported" in response.provider.refused["temperature"]


@pytest.mark.parametrize("kind", KINDS)
def test_choices_are_not_scored_and_what_to_do_is_told(kind):
    with SyntheticServer(Reply(status=404)) as server, pytest.raises(BackendError, match="as: generate"):
        model = load(model_of(name="m", backend=kind, base_url=server.url))
        list(model.answer([LoglikelihoodRequest("k", "s", Prompt("a"), ("b", "c"))]))


@pytest.mark.parametrize(("kind", "variable"), [("anthropic", "ANTHROPIC_API_KEY"), ("google", "GEMINI_API_KEY")])
def test_a_providers_own_key_is_needed_at_its_own_address_only(kind, variable, monkeypatch):
    monkeypatch.delenv(variable, raising=False)
    with pytest.raises(BackendError, match=f"{variable} is not set"):
        load(model_of(name="m", backend=kind))
    monkeypatch.setenv(variable, "planted-secret-value")
    _, server = asked(kind, answer(kind), api_key_env=None)
    assert "planted-secret-value" not in json.dumps(server.headers)


@pytest.mark.parametrize(("kind", "package"), [("openai", "openai"), ("anthropic", "anthropic")])
def test_a_package_that_is_not_installed_is_told_with_how_to_install_it(kind, package, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, f"harness.backends.servers.{kind}", raising=False)
    with pytest.raises(BackendError, match=rf"needs the package {package}(.|\n)*\[api\]"):
        load(model_of(name="m", backend=kind))
