"""One table of refusals and one of endings, for every provider: as each really says it, for a run and for a load."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from harness.backends import load
from harness.backends.servers import hold
from harness.backends.servers.endings import ENDINGS, Ending, ending
from harness.backends.servers.meanings import Meaning, refusal
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
    (529, {"type": "error", "error": {"type": "overloaded_error"}}, Meaning.ABSENT),
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
    (503, {"error": {"code": 503, "status": "UNAVAILABLE"}}, Meaning.ABSENT),
    # vLLM, llama.cpp and what has no body of its own
    (400, {"error": {"type": "BadRequestError", "param": "input_tokens", "code": 400}}, Meaning.TOO_LONG),
    (422, {"detail": [{"loc": ["body", "top_k"], "msg": "unexpected"}]}, Meaning.PARAMETER),
    (400, {"error": {"code": 400, "type": "exceed_context_size_error"}}, Meaning.TOO_LONG),
    (503, {"error": {"code": 503, "type": "unavailable_error"}}, Meaning.ABSENT),
    (403, {}, Meaning.KEY),
    (404, {}, Meaning.NO_MODEL),
    (408, {}, Meaning.TRANSIENT),
    (307, {}, Meaning.REDIRECT),
    (418, {}, Meaning.PERMANENT),
    (500, {"error": "the engine died"}, Meaning.TRANSIENT),
    (502, {}, Meaning.ABSENT),
    (503, {}, Meaning.ABSENT),
    (504, {"error": {"message": "upstream timed out"}}, Meaning.ABSENT),
    # no credit: by status, by code, and in words alone
    (402, {"error": {"message": "Insufficient Balance"}}, Meaning.NO_CREDIT),
    (402, {}, Meaning.NO_CREDIT),
    (400, {"error": {"type": "invalid_request_error", "message": "Your credit balance is too low to access the API"}},
     Meaning.NO_CREDIT),
    (400, {"error": {"code": "billing_hard_limit_reached", "type": "insufficient_quota"}}, Meaning.NO_CREDIT),
    (400, {"error": {"message": "Billing hard limit has been reached"}}, Meaning.NO_CREDIT),
    (400, {"error": {"message": "Budget has been exceeded! Current cost: 1.2, Max budget: 1.0"}}, Meaning.NO_CREDIT),
    (400, {"error": {"type": "invalid_request_error",
                     "message": "You have reached your specified API usage limits. Access again on 2026-12-01"}},
     Meaning.NO_CREDIT),
    (403, {"error": "Your team has either used all available credits or reached its monthly spending limit."},
     Meaning.NO_CREDIT),
    (412, {"error": {"message": "Account is suspended, possibly due to reaching the monthly spending limit"}},
     Meaning.NO_CREDIT),
    (429, {"error": {"type": "exceeded_current_quota_error"}}, Meaning.NO_CREDIT),
    (400, {"error": {"status": "FAILED_PRECONDITION", "message": "Please enable billing on project 7"}},
     Meaning.NO_CREDIT),
    # a quota of a day, whose delay is no delay
    (429, {"error": {"status": "RESOURCE_EXHAUSTED", "details": [
        {"violations": [{"quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier"}]}, {"retryDelay": "35s"}]}},
     Meaning.QUOTA),
    (429, {"error": {"status": "RESOURCE_EXHAUSTED", "message": "You exceeded your current quota, see your plan",
                     "details": [{"violations": [{"quotaId": "GenerateRequestsPerMinute"}]}, {"retryDelay": "35s"}]}},
     Meaning.BUSY),
    # moderation: of the prompt, whatever status it has
    (403, {"error": {"code": 403, "message": "Input was flagged", "metadata": {"reasons": ["violence"]}}},
     Meaning.WITHHELD),
    (400, {"error": {"type": "invalid_request_error", "message": "Output blocked by content filtering policy"}},
     Meaning.WITHHELD),
    (400, {"error": {"code": "invalid_request_error", "message": "Content Exists Risk"}}, Meaning.WITHHELD),
    (400, {"error": {"code": "data_inspection_failed"}}, Meaning.WITHHELD),
    (400, {"error": {"code": "invalid_prompt", "message": "your prompt was flagged"}}, Meaning.WITHHELD),
    (403, {"code": "The caller does not have permission", "error": "Content violates usage guidelines. Team: 7"},
     Meaning.WITHHELD),
]  # fmt: skip


@pytest.mark.parametrize(("status", "body", "meaning"), REFUSALS, ids=lambda value: str(value)[:60])
def test_every_provider_is_read_by_the_same_table(status, body, meaning):
    assert refusal(status, {}, body).meaning is meaning


def test_the_words_of_a_message_decide_nothing():
    prose = "Rate limit: insufficient_quota, context length exceeded, region not supported, API key not valid, 'seed'"
    found = refusal(400, {}, {"error": {"message": prose}})
    assert (found.meaning, found.parameter, found.said) == (Meaning.PERMANENT, "", prose)


def test_words_that_were_sent_decide_nothing_when_an_error_repeats_them():
    prompt = "Ticket: my credit balance is too low and my order was blocked by our content filter"
    echo = {"error": {"message": f"Value error, cannot be processed: {prompt}"}}
    assert refusal(400, {}, echo, sent=prompt).meaning is Meaning.PERMANENT
    assert refusal(400, {}, echo).meaning is Meaning.NO_CREDIT


IN_STREAM = [
    ({"error": {"code": 429, "message": "upstream rate limited"}}, Meaning.BUSY),
    ({"error": {"code": "503", "message": "loading"}}, Meaning.ABSENT),
    ({"error": {"code": 529}}, Meaning.ABSENT),
    ({"error": {"type": "overloaded_error"}}, Meaning.ABSENT),
    ({"error": {"code": 402, "message": "Insufficient credits"}}, Meaning.NO_CREDIT),
    ({"error": {"code": "rate_limit_exceeded"}}, Meaning.BUSY),
    ({"error": {"message": "told to fail"}}, Meaning.TRANSIENT),
    ({"error": "told to fail"}, Meaning.TRANSIENT),
    ({"error": {"code": 200}}, Meaning.TRANSIENT),
]


@pytest.mark.parametrize(("body", "meaning"), IN_STREAM, ids=lambda value: str(value)[:60])
def test_an_error_in_a_stream_means_what_its_status_would(body, meaning):
    assert refusal(None, {}, body).meaning is meaning


WAITS = [
    ({"retry-after": "2", "retry-after-ms": "1500"}, {}, 1.5),
    ({"retry-after": "0"}, {}, 0.0),
    ({"retry-after": "Thu, 01 Jan 1998 12:00:30 GMT"}, {}, 0.0),
    ({"retry-after": "86400"}, {}, 86400.0),
    ({"retry-after": "99999999999999"}, {}, None),
    ({}, {"error": {"details": [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "35s"}]}}, 35.0),
    ({}, {"error": {"details": [{"retryDelay": "0.25s"}]}}, 0.25),
    ({}, {"error": {"details": [{"retryDelay": "soon"}, 7, None]}}, None),
    ({}, {"error": {"retry_after": 4}}, 4.0),
    ({}, {"error": {"metadata": {"retry_after_seconds": "9"}}}, 9.0),
    ({}, {"error": {"metadata": [1], "details": "many", "retry_after": True}}, None),
]


@pytest.mark.parametrize(("headers", "body", "wait_s"), WAITS, ids=lambda value: str(value)[:60])
def test_a_wait_is_read_wherever_a_server_says_it(headers, body, wait_s):
    assert refusal(429, headers, body).wait_s == wait_s


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


FATAL = {Meaning.NO_CREDIT, Meaning.QUOTA, Meaning.KEY, Meaning.NO_MODEL, Meaning.NOT_HERE}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["openai", "anthropic", "google"])
@pytest.mark.parametrize("meaning", [Meaning.NO_CREDIT, Meaning.KEY, Meaning.NOT_HERE, Meaning.TOO_LONG])
def test_a_refusal_leads_to_the_same_at_every_provider(kind, meaning, monkeypatch):
    monkeypatch.setattr(hold, "FIRST_WAIT_S", 0.01)
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
    assert {reason.lower() for reason in get_args(StopReason)} <= ours
    assert set(get_args(Choice.model_fields["finish_reason"].annotation)) <= ours


@pytest.mark.parametrize(
    ("reason", "means"),
    [("length", Ending.LENGTH), ("max_tokens", Ending.LENGTH), ("MAX_TOKENS", Ending.LENGTH), ("COMPLETE", Ending.STOP),
     ("Stop", Ending.STOP), ("content-filter", Ending.WITHHELD), ("SAFETY", Ending.WITHHELD),
     ("cancelled", Ending.BROKEN), ("OTHER", Ending.BROKEN), ("new_one", Ending.UNKNOWN),
     ("stopped by nobody", Ending.UNKNOWN)],
)  # fmt: skip
def test_an_ending_is_known_by_one_table_or_unknown(reason, means):
    assert ending(reason) is means


def events(*chunks: dict[str, Any]) -> Reply:
    return Reply(body=b"".join(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks))


def answered(reply: Reply):
    with SyntheticServer(lambda order, body: reply if body else Reply(status=404)) as server:
        (response,) = load(model_of(name="m", backend="openai", base_url=server.url)).answer([asked()])
        timed = run_load(stream_to(server.url), [asked()], Scenario("concurrency", requests=1, warmup=0)).timed[0]
    return response, timed


def whole_text(text: str, finish: Any = None, **more: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish, **more}]}


DONE = b"data: [DONE]\n\n"
USED = {"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}}
PARTS = [{"type": "text", "text": "bil"}, {"type": "text", "text": "ling"}]
THOUGHT = [{"type": "thinking", "thinking": [{"type": "text", "text": "hmm"}]}, {"type": "text", "text": "billing"}]
MESSAGE = {"choices": [{"message": {"content": "billing"}, "finish_reason": None}], "usage": USED["usage"]}


def sse(*chunks: dict[str, Any], end: bytes = DONE) -> Reply:
    return Reply(body=b"".join(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks) + end)


WAYS_TO_SAY_BILLING = {
    "a finish with every chunk": sse(whole_text("bil", "stop"), whole_text("ling", "stop"), USED),
    "no finish but the end of the stream": sse(whole_text("bil"), whole_text("ling"), USED),
    "an empty finish": sse(whole_text("bil", ""), whole_text("ling", ""), USED),
    "a finish and no end": sse(whole_text("billing", "stop"), end=b""),
    "several answers": sse({"choices": [*whole_text("bil")["choices"], {"index": 1, "delta": {"content": "ship"}}]},
                           {"choices": [{"index": 1, "delta": {"content": "ping"}, "finish_reason": "stop"}]},
                           whole_text("ling", "stop"), USED),
    "content in parts": sse({"choices": [{"delta": {"content": PARTS}, "finish_reason": "stop"}]}),
    "thinking among the parts": sse({"choices": [{"delta": {"content": THOUGHT}, "finish_reason": "stop"}]}),
    "one JSON value to a stream": Reply(body=json.dumps(MESSAGE).encode()),
    "the same over several lines": Reply(body=json.dumps(MESSAGE, indent=2).encode()),
    "an event in several lines": Reply(
        body=b'data: {"choices": [{"delta":\ndata: {"content": "billing"}}]}\n\n' + DONE),
    "CRLF, no blanks, comments": Reply(
        body=b': hello\r\nevent: x\r\ndata:{"choices":[{"delta":{"content":"billing"}}]}\r\n\r\ndata:[DONE]\r\n\r\n'),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("reply", WAYS_TO_SAY_BILLING.values(), ids=WAYS_TO_SAY_BILLING)
def test_an_answer_is_read_however_a_server_puts_it(reply):
    response, timed = answered(reply)
    assert (response.text, response.error, response.finish_reason, timed.error) == ("billing", None, "stop", None)
    assert len(response.attempts) == 1


@pytest.mark.slow
def test_line_separators_that_are_text_end_no_line():
    text = "a\u2028b\u2029c\x85d"
    body = json.dumps(whole_text(text, "stop"), ensure_ascii=False)
    response, timed = answered(Reply(body=f"data: {body}\n\n".encode() + DONE))
    assert (response.text, timed.error) == (text, None)


@pytest.mark.slow
def test_an_answer_that_ends_at_its_limit_without_saying_so_is_cut_off():
    full = {"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 9}}
    response, _ = answered(sse(whole_text("one two three four five six"), full))
    assert response.finish_reason == "length" and "not told" in response.provider.refused["finish_reason"]


@pytest.mark.slow
def test_several_answers_are_told_and_their_tokens_are_not_those_of_the_first():
    response, timed = answered(WAYS_TO_SAY_BILLING["several answers"])
    assert "the first is read" in response.provider.refused["n"] and response.output_tokens is None
    assert timed.tpot_s is None


@pytest.mark.slow
def test_an_ending_that_nobody_knows_is_a_failure_that_is_paid_once():
    response, timed = answered(sse(whole_text("hi", "tired"), USED))
    assert response.error == "unknown ending: 'tired' is not known here: the answer may be whole or not"
    assert len(response.attempts) == 1 and timed.error == "unknown ending"


NO_ANSWERS = {
    "an error with 200": (Reply(body=json.dumps({"error": {"message": "the engine is out of order"}}).encode()),
                          "server error: the engine is out of order"),
    "a page with 200": (Reply(body=b"<html><script>x()</script><title>Sign in</title><p>Please log in</html>"),
                        "invalid: no answer but a text: Sign in Please log in"),
    "other JSON with 200": (Reply(body=b'{"status": "ok"}'), "invalid: no answer: {'status': 'ok'}"),
    "JSON that is no object": (Reply(body=b"[1, 2]"), "invalid: no JSON object: 1"),
    "an endless line": (Reply(body=b"x" * (1 << 26)), "invalid: an answer of more than 32 MiB"),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("reply", "error"), NO_ANSWERS.values(), ids=NO_ANSWERS)
def test_what_is_no_answer_says_in_the_servers_words_what_it_is(reply, error, monkeypatch):
    monkeypatch.setattr(hold, "FIRST_WAIT_S", 0.01)
    response, timed = answered(reply)
    assert response.error.startswith(error) and len(response.error) < 600
    assert timed.error == error.partition(":")[0]


@pytest.mark.slow
def test_an_answer_that_the_server_gave_up_is_no_answer(monkeypatch):
    monkeypatch.setattr(hold, "FIRST_WAIT_S", 0.01)
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


def test_text_after_a_finish_is_text_and_a_reason_that_is_no_stop_counts():
    reading = Reading(0.0)
    for piece in (Piece(text="a", finish="stop", t=1.0), Piece(text="b", finish="length", t=2.0, told=Told(3, 4))):
        reading.take(piece)
    reading.take(Piece(finish="stop"))
    assert (reading.text, reading.last, reading.used.output) == (["a", "b"], 2.0, 4)
    assert reading.ending is Ending.LENGTH


@pytest.mark.parametrize("body", [[1], {"choices": [7]}, {"choices": [{"delta": {"content": 7}}]}, {"choices": [[]]}])
def test_what_has_another_shape_is_invalid(body):
    with pytest.raises(BadReply, match="invalid"):
        openai_piece(body)


def test_tokens_that_are_not_told_are_unknown_and_never_0():
    assert openai_usage({"prompt_tokens": 7}) is openai_usage({"prompt_tokens": -7, "completion_tokens": 1}) is None


# --- a parameter on trial --------------------------------------------------------------------------------------------


def refusing(said: dict[str, Any], when: Any) -> Any:
    body = json.dumps({"error": said}).encode()
    return lambda order, sent: (
        Reply(status=404) if not sent else Reply(status=400, body=body) if when(sent) else Reply(tokens=2)
    )


ECHO = "[{'type': 'value_error', 'msg': 'cannot be processed', 'input': {'temperature': 0.0, 'max_tokens': 9}}]"
NAMED = [  # what a server says of a request, and whether the parameter `temperature` is taken for what it is about
    ({"message": "Unsupported value", "param": "temperature", "code": "unsupported_value"}, True),
    ({"message": "no", "param": "temperature", "code": None}, True),
    ({"message": "`temperature` is deprecated for this model.", "type": "invalid_request_error"}, True),
    ({"message": "temperature: Extra inputs are not permitted", "type": "invalid_request_error"}, True),
    ({"message": "Unsupported parameter: 'temperature' is not supported with this model."}, True),
    ({"message": "Unrecognized request argument supplied: temperature", "param": None}, True),
    ({"message": "property 'temperature' is unsupported"}, True),
    ({"message": "bad at any temperature"}, False),
    ({"message": ECHO, "param": None, "code": 400}, False),
    ({"message": "messages: too many", "param": "messages"}, False),
]


@pytest.mark.parametrize(("said", "named"), NAMED, ids=lambda value: str(value)[:50])
def test_a_parameter_is_left_out_where_it_is_what_the_error_is_about(said, named):
    with SyntheticServer(refusing(said, lambda sent: "temperature" in sent)) as server:
        (response,) = load(model_of(name="m", backend="openai", base_url=server.url)).answer([asked()])
    assert (response.error is None) is named and len(response.attempts) == 1 + named
    assert named is (response.error is None and "temperature" in response.provider.refused)


def test_a_parameter_that_one_prompt_is_refused_for_stays_with_the_others():
    said = {"message": "stop: too many", "param": "stop", "code": "invalid_value"}
    script = refusing(said, lambda sent: sent.get("stop") == ["bad"])
    with SyntheticServer(script) as server:
        model = load(model_of(name="m", backend="openai", base_url=server.url, limits={"concurrency": 1}))
        found = [next(iter(model.answer([replace(asked(), stop=(stop,))]))) for stop in ("bad", "good", "bad")]
        assert server.bodies[-2]["stop"] == ["good"]  # of the three, the second
    assert [len(r.attempts) for r in found] == [2, 1, 1] and all(r.error is None for r in found)
    assert ["stop" in r.provider.refused for r in found] == [True, False, True]


@pytest.mark.parametrize("code", ["unsupported_parameter", None])
def test_a_limit_with_another_name_is_found_by_all_that_are_in_flight(code):
    said = "Unsupported parameter: 'max_tokens' is not supported. Use 'max_completion_tokens' instead."
    script = refusing({"message": said, "param": "max_tokens", "code": code}, lambda sent: "max_tokens" in sent)
    slow = lambda order, sent: replace(script(order, sent), ttft_s=0.05)
    with SyntheticServer(slow) as server:
        model = load(model_of(name="m", backend="openai", base_url=server.url, limits={"concurrency": 8}))
        responses = list(model.answer([replace(asked(), key=f"k{i}") for i in range(24)]))
    assert all(r.error is None for r in responses) and max(len(r.attempts) for r in responses) == 2


@pytest.mark.parametrize("kind", ["openai", "anthropic", "google"])
def test_a_prompt_that_is_withheld_is_a_refusal_the_first_one_too(kind, monkeypatch):
    monkeypatch.setenv("A_KEY", "planted-secret-value")
    said = {"error": {"code": 403, "message": "flagged", "metadata": {"reasons": ["x"], "flagged_input": "..."}}}
    script = lambda order, body: Reply(status=403, body=json.dumps(said).encode()) if body else Reply(status=404)
    with SyntheticServer(script) as server:
        given = {"name": "m", "backend": kind, "base_url": server.url, "api_key_env": "A_KEY"}
        (response,) = load(model_of(**given)).answer([asked()])
    assert response.error is None and response.provider.refusal == "content filter: the prompt"


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
