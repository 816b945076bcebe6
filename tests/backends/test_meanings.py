"""One table of refusals and one of endings, for every provider: as each really says it, for a run and for a load."""

from __future__ import annotations

import json
from typing import Any

import pytest

from harness.backends import load
from harness.backends.servers import dispatch
from harness.backends.servers.meanings import ENDINGS, Ending, Meaning, ending, refusal
from harness.backends.servers.reading import Reading
from harness.backends.servers.replies import (
    BadReply,
    Piece,
    Told,
    anthropic_piece,
    google_piece,
    openai_piece,
    openai_usage,
)
from harness.config.model import model_of
from harness.errors import HarnessError
from harness.measure.load.drive import run_load
from harness.measure.load.scenario import Scenario
from harness.values import GenerateRequest, LoglikelihoodRequest, Prompt
from tests.support.servers import Reply, SyntheticServer, stream_to

REASON = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}
FIELD = {"fieldViolations": [{"field": "generation_config.topK", "description": "not supported"}]}
REFUSALS: list[tuple[int, dict[str, Any], Meaning]] = [
    # OpenAI
    (429, {"error": {"code": "insufficient_quota", "type": "insufficient_quota"}}, Meaning.NO_CREDIT),
    (429, {"error": {"code": "rate_limit_exceeded", "type": "tokens"}}, Meaning.BUSY),
    (401, {"error": {"code": "invalid_api_key"}}, Meaning.KEY),
    (404, {"error": {"code": "model_not_found"}}, Meaning.NO_MODEL),
    (403, {"error": {"code": "unsupported_country_region_territory"}}, Meaning.NOT_HERE),
    (400, {"error": {"code": "context_length_exceeded", "param": "messages"}}, Meaning.TOO_LONG),
    (400, {"error": {"code": "unsupported_value", "param": "temperature"}}, Meaning.PARAMETER),
    (400, {"error": {"code": None, "param": "seed", "type": "invalid_request_error"}}, Meaning.PARAMETER),
    (500, {"error": {"type": "server_error"}}, Meaning.TRANSIENT),
    # Azure
    (400, {"error": {"innererror": {"code": "ResponsibleAIPolicyViolation"}}}, Meaning.WITHHELD),
    # Anthropic
    (529, {"type": "error", "error": {"type": "overloaded_error"}}, Meaning.BUSY),
    (429, {"type": "error", "error": {"type": "rate_limit_error"}}, Meaning.BUSY),
    (402, {"type": "error", "error": {"type": "billing_error"}}, Meaning.NO_CREDIT),
    (401, {"type": "error", "error": {"type": "authentication_error"}}, Meaning.KEY),
    (404, {"type": "error", "error": {"type": "not_found_error"}}, Meaning.NO_MODEL),
    (413, {"type": "error", "error": {"type": "request_too_large"}}, Meaning.TOO_LONG),
    (400, {"type": "error", "error": {"type": "invalid_request_error"}}, Meaning.PERMANENT),
    (500, {"type": "error", "error": {"type": "api_error"}}, Meaning.TRANSIENT),
    # Google
    (429, {"error": {"code": 429, "status": "RESOURCE_EXHAUSTED"}}, Meaning.BUSY),
    (400, {"error": {"code": 400, "status": "INVALID_ARGUMENT", "details": [REASON]}}, Meaning.KEY),
    (400, {"error": {"code": 400, "status": "INVALID_ARGUMENT", "details": [FIELD]}}, Meaning.PARAMETER),
    (400, {"error": {"code": 400, "status": "INVALID_ARGUMENT"}}, Meaning.PERMANENT),
    (400, {"error": {"code": 400, "status": "FAILED_PRECONDITION"}}, Meaning.NOT_HERE),
    (503, {"error": {"code": 503, "status": "UNAVAILABLE"}}, Meaning.TRANSIENT),
    # vLLM, llama.cpp and what has no body of its own
    (400, {"error": {"type": "BadRequestError", "param": "input_tokens", "code": 400}}, Meaning.TOO_LONG),
    (422, {"detail": [{"loc": ["body", "top_k"], "msg": "unexpected"}]}, Meaning.PARAMETER),
    (400, {"error": {"code": 400, "type": "exceed_context_size_error"}}, Meaning.TOO_LONG),
    (503, {"error": {"code": 503, "type": "unavailable_error"}}, Meaning.TRANSIENT),
    (403, {}, Meaning.KEY),
    (404, {}, Meaning.NO_MODEL),
    (408, {}, Meaning.TRANSIENT),
    (307, {}, Meaning.REDIRECT),
    (418, {}, Meaning.PERMANENT),
]  # fmt: skip


@pytest.mark.parametrize(("status", "body", "meaning"), REFUSALS, ids=lambda value: str(value)[:60])
def test_every_provider_is_read_by_the_same_table(status, body, meaning):
    assert refusal(status, {}, body).meaning is meaning


def test_the_words_of_a_message_decide_nothing():
    prose = "Rate limit: insufficient_quota, context length exceeded, region not supported, API key not valid, 'seed'"
    found = refusal(400, {}, {"error": {"message": prose}})
    assert (found.meaning, found.parameter, found.said) == (Meaning.PERMANENT, "", prose)


def test_a_server_that_asks_to_wait_is_busy_and_milliseconds_are_the_more_exact():
    found = refusal(503, {"retry-after": "2", "retry-after-ms": "1500"}, {})
    assert (found.meaning, found.wait_s) == (Meaning.BUSY, 1.5)


def test_the_parameter_is_the_one_a_field_names():
    said = [refusal(status, {}, body) for status, body, meaning in REFUSALS if meaning is Meaning.PARAMETER]
    assert [found.parameter for found in said] == ["temperature", "seed", "top_k", "top_k"]


@pytest.mark.slow
@pytest.mark.parametrize(("status", "body", "meaning"), REFUSALS, ids=lambda value: str(value)[:60])
def test_a_load_reads_refusals_by_the_same_table(status, body, meaning):
    with SyntheticServer(Reply(status=status, body=json.dumps(body).encode())) as server:
        target = stream_to(server.url)
        done = run_load(target, [asked()], Scenario("concurrency", requests=1, warmup=0))
    assert done.timed[0].error == f"http {status}"
    assert refusal(status, {}, body).kind == f"http {status}"


def asked(prompt: str = "hello") -> GenerateRequest:
    return GenerateRequest("k", "s", Prompt(prompt), max_tokens=9)


FATAL = {Meaning.NO_CREDIT, Meaning.KEY, Meaning.NO_MODEL, Meaning.NOT_HERE}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["openai", "anthropic", "google"])
@pytest.mark.parametrize("meaning", [Meaning.NO_CREDIT, Meaning.KEY, Meaning.NOT_HERE, Meaning.TOO_LONG])
def test_a_refusal_leads_to_the_same_at_every_provider(kind, meaning, monkeypatch):
    monkeypatch.setattr(dispatch, "FIRST_WAIT_S", 0.01)
    monkeypatch.setenv("A_KEY", "planted-secret-value")
    status, body = next((status, body) for status, body, found in REFUSALS if found is meaning)
    script = lambda order, sent: Reply(status=status, body=json.dumps(body).encode()) if sent else Reply(status=404)
    with SyntheticServer(script) as server:
        given = {"name": "m", "backend": kind, "base_url": server.url, "api_key_env": "A_KEY"}
        model = load(model_of(**given))
        if meaning in FATAL:
            with pytest.raises(HarnessError):
                list(model.answer([asked()]))
        else:
            (response,) = model.answer([asked()])
            assert response.error.startswith("context too long")


# --- endings ---------------------------------------------------------------------------------------------------------


def test_every_ending_of_the_providers_sdks_is_in_the_table():
    from typing import get_args

    from anthropic.types import StopReason
    from openai.types.chat.chat_completion import Choice

    ours = set(ENDINGS)
    assert set(get_args(StopReason)) <= ours
    assert set(get_args(Choice.model_fields["finish_reason"].annotation)) <= ours


@pytest.mark.parametrize(
    ("reason", "means"),
    [("length", Ending.LENGTH), ("max_tokens", Ending.LENGTH), ("MAX_TOKENS", Ending.LENGTH), ("new_one", None)],
)
def test_an_ending_is_known_or_none(reason, means):
    assert ending(reason) is means


def events(*chunks: dict[str, Any]) -> Reply:
    return Reply(body=b"".join(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks))


def answered(reply: Reply):
    with SyntheticServer(lambda order, body: reply if body else Reply(status=404)) as server:
        (response,) = load(model_of(name="m", backend="openai", base_url=server.url)).answer([asked()])
        timed = run_load(stream_to(server.url), [asked()], Scenario("concurrency", requests=1, warmup=0)).timed[0]
    return response, timed


@pytest.mark.slow
def test_an_ending_that_nobody_knows_is_taken_for_a_stop_and_named():
    response, timed = answered(events({"choices": [{"delta": {"content": "hi"}, "finish_reason": "tired"}]}))
    assert (response.error, response.finish_reason, timed.error) == (None, "stop", None)
    assert "'tired' is not known here" in response.provider.refused["finish_reason"]


def test_an_answer_that_the_server_gave_up_is_no_answer(monkeypatch):
    monkeypatch.setattr(dispatch, "FIRST_WAIT_S", 0.01)
    response, timed = answered(events({"choices": [{"delta": {"content": "hi"}, "finish_reason": "abort"}]}))
    assert response.error.startswith("server error: the answer ended by 'abort'") and timed.error == "server error"


# --- pieces ----------------------------------------------------------------------------------------------------------

SAME = {  # one answer in the words of each: two words, seven tokens in and nine out, three of them thinking
    "openai": (
        openai_piece,
        [
            {"choices": [{"delta": {"reasoning": "hmm"}}]},
            {"choices": [{"delta": {"content": "hi"}, "finish_reason": "length"}]},
            {"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 9,
                                      "prompt_tokens_details": {"cached_tokens": 5},
                                      "completion_tokens_details": {"reasoning_tokens": 3}}},
        ],
    ),
    "anthropic": (
        anthropic_piece,
        [
            {"type": "message_start",
             "message": {"usage": {"input_tokens": 2, "cache_read_input_tokens": 5, "output_tokens": 1}}},
            {"type": "content_block_delta", "delta": {"thinking": "hmm"}},
            {"type": "content_block_delta", "delta": {"text": "hi"}},
            {"type": "message_delta", "delta": {"stop_reason": "max_tokens"},
             "usage": {"output_tokens": 9, "output_tokens_details": {"thinking_tokens": 3}}},
        ],
    ),
    "google": (
        google_piece,
        [
            {"candidates": [{"content": {"parts": [{"text": "hmm", "thought": True}]}}]},
            {"candidates": [{"content": {"parts": [{"text": "hi"}]}, "finish_reason": "MAX_TOKENS"}],
             "usage_metadata": {"prompt_token_count": 7, "cached_content_token_count": 5,
                                "candidates_token_count": 6, "thoughts_token_count": 3}},
        ],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("read", "bodies"), SAME.values(), ids=SAME)
def test_one_answer_is_the_same_in_the_words_of_each_provider(read, bodies):
    reading = Reading(0.0, lambda: 9.0)
    for moment, body in enumerate(bodies, start=1):
        reading.take(read(body, float(moment)))
    reading.close()
    used = reading.used
    assert (reading.text[-1], reading.thinking, reading.ending) == ("hi", ["hmm"], Ending.LENGTH)
    assert (used.input, used.output, used.cache_read, used.reasoning) == (7, 9, 5, 3)
    assert (reading.last - reading.first, reading.first_answer, reading.ended) == (1.0, reading.last, 9.0)


def test_what_comes_after_the_end_is_no_part_of_the_answer_but_for_the_usage():
    reading = Reading(0.0)
    for piece in (Piece(text="a", finish="stop", t=1.0), Piece(text="b", t=2.0, told=Told(3, 4))):
        reading.take(piece)
    assert (reading.text, reading.last, reading.used.output) == (["a"], 1.0, 4)


@pytest.mark.parametrize("body", [[1], {"choices": [7]}, {"choices": [{"delta": {"content": 7}}]}, {"choices": [[]]}])
def test_what_has_another_shape_is_invalid(body):
    with pytest.raises(BadReply, match="invalid"):
        openai_piece(body)


def test_tokens_that_are_not_told_are_unknown_and_never_0():
    assert openai_usage({"prompt_tokens": 7}) is openai_usage({"prompt_tokens": -7, "completion_tokens": 1}) is None


# --- a parameter on trial --------------------------------------------------------------------------------------------


def test_a_parameter_that_a_message_only_mentions_stays_where_leaving_it_out_does_not_help(monkeypatch):
    """The server says of one prompt that it does not like its `temperature`; the prompt is what it does not like."""

    def script(order: int, body: dict[str, Any]) -> Reply:
        if not body:
            return Reply(status=404)
        if body["messages"][0]["content"] == "bad":
            return Reply(status=400, body=json.dumps({"error": {"message": "bad at any temperature"}}).encode())
        return Reply(tokens=2)

    with SyntheticServer(script) as server:
        limits = {"concurrency": 1}
        model = load(model_of(name="m", backend="openai", base_url=server.url, limits=limits))
        (bad,), (good,) = model.answer([asked("bad")]), model.answer([asked("good")])
        assert "temperature" in server.bodies[-1]
    assert bad.error == "http 400: bad at any temperature" and len(bad.attempts) == 2
    assert good.error is None and not good.provider.refused


@pytest.mark.slow
def test_a_text_that_a_server_refuses_does_not_stop_the_scoring_of_others():
    def script(order: int, body: dict[str, Any]) -> Reply:
        if not body:
            return Reply(status=404)
        if body["prompt"].startswith("bad"):
            return Reply(status=400, body=json.dumps({"error": {"message": "no"}}).encode())
        echoed = {"tokens": ["a", " b"], "token_logprobs": [None, -0.5], "top_logprobs": [None, {" b": -0.5}]}
        told = {"choices": [{"text": "", "logprobs": {**echoed, "text_offset": [0, 1]}}]}
        return Reply(body=json.dumps({**told, "usage": {"prompt_tokens": 2, "completion_tokens": 1}}).encode())

    with SyntheticServer(script) as server:
        given = {"name": "m", "backend": "openai", "base_url": server.url, "api": "completions"}
        model = load(model_of(**given, limits={"concurrency": 1}))
        requests = [LoglikelihoodRequest(name, name, Prompt(name), (" b",)) for name in ("bad", "a")]
        found = {response.key: response for response in model.answer(requests)}
    assert found["a"].logprobs == (-0.5,) and found["bad"].error.startswith("http 400")
