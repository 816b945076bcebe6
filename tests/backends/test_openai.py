"""The OpenAI backend against a server on loopback that misbehaves as told."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from harness.api import score as finish
from harness.api import verify as verified
from harness.backends import load
from harness.backends.servers import hold
from harness.config.base import validate
from harness.config.model import model_of
from harness.config.run import RunConfig
from harness.errors import BackendError, ConfigError, WorkStopped
from harness.runs.carry_out import carry_out
from harness.runs.plan import make_plan
from harness.values import Form, GenerateRequest, LoglikelihoodRequest, Message, Prompt, Request, Sampling, Writing
from tests.support.asking import prompt_of
from tests.support.servers import Reply, SyntheticServer

pytestmark = pytest.mark.slow

PRICE = {"input": 1.0, "output": 10.0}
GOOD = Reply(tokens=3)
USD = (7 * 1.0 + 3 * 10.0) / 1e6


@pytest.fixture(autouse=True)
def short_waits(monkeypatch):
    monkeypatch.setattr(hold, "FIRST_WAIT_S", 0.01)


class Asked:
    """Replies by prompt: the n-th attempt of a prompt gets the n-th of its replies, then the last. Keeps the order."""

    def __init__(self, **replies: tuple[Reply, ...]) -> None:
        self.replies, self.seen = replies, Counter()

    def __call__(self, order: int, body: dict[str, Any]) -> Reply:
        if not body:  # the list of models
            return Reply(status=404)
        prompt = body["prompt"] if "prompt" in body else body["messages"][-1]["content"]
        own = self.replies.get(prompt, (GOOD,))
        self.seen[prompt] += 1
        return own[min(self.seen[prompt], len(own)) - 1]


def backend(server: SyntheticServer, **changes: Any):
    limits = {"concurrency": 4, "sample_s": 20.0, "silence_s": 5.0, **changes.pop("limits", {})}
    given = {"name": "m", "backend": "openai", "base_url": server.url, "price": PRICE, "limits": limits, **changes}
    return load(model_of(**given))


def ask(*prompts: str, **changes: Any) -> list[Request]:
    return [
        GenerateRequest(f"key-{prompt}", prompt, prompt_of(prompt), **{"max_tokens": 5, **changes})
        for prompt in prompts
    ]


def answered(server_replies: Callable[[int, dict[str, Any]], Reply] | Reply, *prompts: str, **changes: Any):
    with SyntheticServer(server_replies) as server:
        model = backend(server, **changes)
        responses = {r.key.removeprefix("key-"): r for r in model.answer(ask(*prompts))}
        model.close()
        return responses


def outcomes(response) -> list[str]:
    return [line.outcome for line in response.attempts]


# --- faults: in bounded time each sample ends exactly once, and the totals are exact ----------------------------------

STREAM = b'data: {"choices":[{"index":0,"delta":{"content":"tok "},"finish_reason":null}]}\n\n'
END = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":3}}\n\n'
LATE = b'data: {"choices":[{"index":0,"delta":{"content":"more"},"finish_reason":null}]}\n\n'

FAULTS = {  # name -> (replies to the attempts, outcomes expected, USD expected; None: unknown)
    "busy-asks-to-wait": ((Reply(status=429, retry_after="0.05"), GOOD), ["http 429", "answered"], USD),
    "busy-says-nothing": ((Reply(status=429), Reply(status=429), GOOD), ["http 429"] * 2 + ["answered"], USD),
    "fails-twice": ((Reply(status=500), Reply(status=502), GOOD), ["http 500", "http 502", "answered"], USD),
    "fails-forever": ((Reply(status=500),), ["http 500"] * 3, 0.0),
    "bad-request": ((Reply(status=400),), ["http 400"], 0.0),
    "no-json": ((Reply(garbage_at=1),), ["invalid"] * 3, None),
    "no-json-once": ((Reply(garbage_at=0), GOOD), ["invalid", "answered"], None),
    "truncated-body": ((Reply(body=b'data: {"choices": [{"del'),), ["cut"] * 3, None),
    "truncated-event": ((Reply(body=b'data: {"choices": [{"del\n\n'),), ["invalid"] * 3, None),
    "empty-body": ((Reply(body=b""),), ["cut"] * 3, None),
    "html": ((Reply(body=b"<html>gateway</html>"),), ["invalid"] * 3, None),
    "cut-stream": ((Reply(cut_after=2), GOOD), ["cut", "answered"], None),
    "no-end": ((Reply(no_done=True),), ["cut"] * 3, (7 * 1.0 + 4 * 10.0) / 1e6 * 3),
    "error-event": ((Reply(error_at=1), GOOD), ["server error", "answered"], None),
    "wrong-usage": ((Reply(tokens=3, usage=900),), ["answered"], None),
    "negative-usage": ((Reply(usage=-1),), ["answered"], None),
    "no-usage": ((Reply(usage="missing"),), ["answered"], None),
    "duplicates": ((Reply(body=STREAM + END + END + LATE + USAGE + USAGE + b"data: [DONE]\n\n"),), ["answered"], USD),
    "redirect": ((Reply(status=307),), ["redirect"], 0.0),
}


def test_whatever_the_server_does_each_sample_ends_once_and_totals_are_exact():
    script = Asked(**{name: replies for name, (replies, _, _) in FAULTS.items()})
    began = time.monotonic()
    with SyntheticServer(script) as server:
        model = backend(server)
        responses = list(model.answer(ask(*FAULTS, "good")))
    assert time.monotonic() - began < 30
    assert sorted(r.key for r in responses) == sorted(f"key-{name}" for name in [*FAULTS, "good"])
    for response in responses:
        name = response.key.removeprefix("key-")
        _, wanted, usd = FAULTS.get(name, ((), ["answered"], USD))
        assert outcomes(response) == wanted, name
        assert script.seen[name] == len(wanted), name
        assert (response.error is None) == (wanted[-1] == "answered"), name
        assert response.usd == (None if usd is None else pytest.approx(usd)), name
    found = {r.key.removeprefix("key-"): r for r in responses}
    assert found["duplicates"].text == "tok more"
    wrong = found["wrong-usage"]
    assert wrong.output_tokens is None and wrong.counted.how.startswith("not believed")
    assert wrong.counted.why == "900 output tokens, and 5 were allowed"
    assert wrong.billing.most_usd == pytest.approx((7 + 9000) / 1e6)  # what it may have charged
    assert found["no-usage"].output_tokens is None and found["negative-usage"].output_tokens is None
    assert found["no-usage"].counted.how == "not told by the server"
    assert found["good"].text == "tok tok tok " and found["good"].finish_reason == "stop"


def test_a_stalled_body_is_given_up_and_tried_again():
    stalled = Asked(stalled=(Reply(tokens=3, gap_s=30.0), GOOD), silent=(Reply(hang=True), GOOD))
    responses = answered(stalled, "stalled", "silent", limits={"silence_s": 1.5})
    assert outcomes(responses["stalled"]) == outcomes(responses["silent"]) == ["timeout", "answered"]


def test_a_body_that_drips_ends_with_the_samples_own_clock():
    dripping = Asked(slow=(Reply(tokens=10_000, gap_s=0.02),))
    responses = answered(dripping, "slow", "good", limits={"sample_s": 3.0})
    assert responses["slow"].error == "no answer within 3 s" and responses["good"].error is None


def test_nobody_there_is_told_before_anything_is_asked():
    with SyntheticServer() as server:
        pass
    with pytest.raises(BackendError, match="no answer: refused") as caught:
        backend(server)
    assert "check that the server runs" in str(caught.value)


@pytest.mark.slow
def test_a_host_that_is_not_found_is_told_and_later_is_a_failure_of_its_own_kind(monkeypatch):
    with SyntheticServer(Asked()) as server:
        model = backend(server, limits={"sample_s": 0.5})

    def unknown(*_, **__):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(WorkStopped, match=r"nothing was answered for 0\.5 s: dns"):
        list(model.answer(ask("a")))
    with pytest.raises(BackendError, match="no answer: dns") as caught:
        backend(server)
    assert "mend the host name" in str(caught.value)


def test_a_server_that_goes_away_stops_the_work():
    with SyntheticServer(Asked()) as server:
        model = backend(server, limits={"sample_s": 0.5})
    with pytest.raises(WorkStopped, match=r"nothing was answered for 0\.5 s: refused(.|\n)*goes on where it stopped"):
        list(model.answer(ask("a", "b")))


def test_a_refused_key_stops_before_anything_is_recorded(monkeypatch):
    monkeypatch.setenv("A_KEY", "sk-planted-0123456789")
    with SyntheticServer(Reply(status=401)) as server, pytest.raises(BackendError) as caught:
        backend(server, api_key_env="A_KEY")
    assert "refuses the key in A_KEY (401)" in str(caught.value) and "planted" not in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize(("value", "state"), [(None, "is not set"), ("", "is empty"), ("  ", "is empty")])
def test_a_key_that_is_missing_is_told_by_the_name_of_its_variable(monkeypatch, value, state):
    monkeypatch.delenv("A_KEY", raising=False)
    if value is not None:
        monkeypatch.setenv("A_KEY", value)
    with SyntheticServer(Asked()) as server, pytest.raises(BackendError, match=f"A_KEY {state}"):
        backend(server, api_key_env="A_KEY")


def test_an_unknown_model_is_told_with_the_nearest_one_the_server_lists():
    listed = json.dumps({"object": "list", "data": [{"id": "llama-3-8b"}, {"id": "qwen"}]}).encode()
    missing = json.dumps({"error": {"message": "no model llama-3-8", "code": "model_not_found"}}).encode()
    script = lambda order, body: Reply(status=404, body=missing) if body else Reply(body=listed)
    with SyntheticServer(script) as server:
        model = backend(server, model="llama-3-8")
        with pytest.raises(BackendError, match=r"no llama-3-8 \(404\): no model llama-3-8(.|\n)*'llama-3-8b'"):
            list(model.answer(ask("a", "b", "c")))


def test_an_account_without_credit_stops_the_run():
    broke = json.dumps({"error": {"message": "You exceeded your quota", "code": "insufficient_quota"}}).encode()
    script = lambda order, body: Reply(status=429, body=broke) if body else Reply(status=404)
    with SyntheticServer(script) as server, pytest.raises(BackendError, match="no credit left: You exceeded"):
        list(backend(server).answer(ask("a", "b")))


# --- what is sent ----------------------------------------------------------------------------------------------------


def sent(*requests: Request, **changes: Any) -> tuple[dict[str, Any], dict[str, str]]:
    with SyntheticServer(Asked()) as server:
        list(backend(server, **changes).answer(requests))
        return server.bodies[-1], server.headers[-1]


def test_requests_fit_the_sdks_typed_models():
    from openai.types.chat import completion_create_params as chat
    from openai.types.completion_create_params import CompletionCreateParamsStreaming
    from pydantic import TypeAdapter

    asked = {"stop": ("a", "b"), "sampling": Sampling(temperature=0.7, top_p=0.9, seed=4)}
    (request,) = ask("hello", **asked)
    body, _ = sent(request, logprobs=True)
    TypeAdapter(chat.CompletionCreateParamsStreaming).validate_python(body)
    assert body["messages"] == [{"role": "user", "content": "hello"}]
    assert (body["max_tokens"], body["temperature"], body["top_p"], body["seed"]) == (5, 0.7, 0.9, 4)
    body, _ = sent(request, logprobs=True, api="completions")
    TypeAdapter(CompletionCreateParamsStreaming).validate_python(body)
    assert body["prompt"] == "hello" and body["stop"] == ["a", "b"]


@pytest.mark.slow
def test_messages_and_what_the_run_file_adds_are_sent_as_they_are():
    turns = (Message("system", "be brief"), Message("user", "hello"))
    request = GenerateRequest("k", "s", Prompt(messages=turns), sampling=Sampling(temperature=1.0, top_k=5, min_p=0.1))
    body, _ = sent(request, extra={"reasoning_effort": "low"})
    assert body["messages"] == [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hello"}]
    assert (body["reasoning_effort"], body["top_k"], body["min_p"]) == ("low", 5, 0.1)


def test_only_named_headers_and_the_key_of_the_named_variable_are_sent(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-another-provider")
    monkeypatch.setenv("OPENAI_ORG_ID", "org-mine")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-Private: yes")
    _, headers = sent(*ask("a"))
    assert "authorization" not in headers
    assert not {name for name in headers if name.startswith(("x-", "openai-"))}
    monkeypatch.setenv("A_KEY", "sk-planted-0123456789")
    _, headers = sent(*ask("a"), api_key_env="A_KEY")
    assert headers["authorization"] == "Bearer sk-planted-0123456789"


def test_a_proxy_of_the_environment_is_not_used(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    assert sent(*ask("a"))[0]["model"] == "m"


def test_a_refused_parameter_is_left_out_and_named_with_every_answer():
    def script(order: int, body: dict[str, Any]) -> Reply:
        if "temperature" in body:
            said = {"message": "Unsupported value: 'temperature' does not support 0.0", "param": "temperature"}
            return Reply(status=400, body=json.dumps({"error": said}).encode())
        if "max_tokens" in body:
            said = {"message": "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."}
            said |= {"param": "max_tokens", "code": "unsupported_parameter"}
            return Reply(status=400, body=json.dumps({"error": said}).encode())
        return GOOD if body else Reply(status=404)

    with SyntheticServer(script) as server:
        responses = list(backend(server, limits={"concurrency": 1}).answer(ask("a", "b")))
        assert server.bodies[-1]["max_completion_tokens"] == 5
    assert [len(outcomes(r)) for r in responses] == [3, 1]
    assert all("does not support 0.0" in r.provider.refused["temperature"] for r in responses)


def test_the_form_of_an_answer_is_asked_for_where_the_interface_has_it_and_named_where_not():
    schema = '{"type": "object"}'
    with SyntheticServer(Asked()) as server:
        chat, old = backend(server), backend(server, api="completions")
        (held,) = chat.answer(ask("a", writing=Writing(form=Form(schema=schema))))
        assert server.bodies[-1]["response_format"]["json_schema"]["schema"] == {"type": "object"}
        list(chat.answer(ask("a", writing=Writing(form=Form(choices=("yes", "no"))))))
        assert server.bodies[-1]["structured_outputs"] == {"choice": ["yes", "no"]}
        assert server.bodies[-1]["regex"] == "(yes|no)"  # the same, for SGLang
        (free,) = old.answer(ask("a", writing=Writing(form=Form(schema=schema), thinking="off")))
        assert "response_format" not in server.bodies[-1]
        assert server.bodies[-1]["structured_outputs"] == {"json": {"type": "object"}}
    assert not held.provider.refused
    assert set(free.provider.refused) == {"thinking"}


@pytest.mark.slow
def test_stop_strings_are_cut_here_too_and_more_than_the_interface_takes():
    stops = ("one", "two", "three", "four", "END")
    with SyntheticServer(Asked(a=(Reply(text="all of it END and more"),))) as server:
        (response,) = backend(server).answer(ask("a", stop=stops))
        assert server.bodies[-1]["stop"] == list(stops[:4])
    assert (response.text, response.stop_string, response.finish_reason) == ("all of it ", "END", "stop")
    assert "stop" in response.provider.refused


# --- what is read ----------------------------------------------------------------------------------------------------


def test_times_are_those_of_the_stream_and_told_when_the_request_ran_alone():
    with SyntheticServer(Reply(tokens=4, ttft_s=0.1, gap_s=0.05, empty_first=True)) as server:
        model = backend(server)
        (alone,) = model.answer(ask("a"))
        both = list(model.answer(ask("a", "b")))
    assert 0.1 <= alone.ttft_s < alone.last_token_s <= alone.e2e_s  # an empty first chunk is no token
    assert alone.last_token_s - alone.ttft_s >= 0.14
    assert all(r.ttft_s is None and r.e2e_s is None for r in both)
    assert all(r.elapsed.first_token_s >= 0.1 for r in both)
    assert {r.batch_size for r in both} == {1, 2}


def test_the_times_of_a_request_alone_include_its_failed_attempts():
    with SyntheticServer(Asked(a=(Reply(status=429, retry_after="0.2"), GOOD))) as server:
        (response,) = backend(server).answer(ask("a"))
    assert response.ttft_s >= 0.2 > response.elapsed.first_token_s


def test_an_answer_in_one_piece_has_no_first_token():
    whole = {
        "model": "m-2026-01-01",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "length"}],
        "usage": {"prompt_tokens": 4, "completion_tokens": 2, "completion_tokens_details": {"reasoning_tokens": 1}},
        "a_new_field": {"nobody": ["knows"]},
    }
    (response,) = answered(Reply(body=json.dumps(whole).encode()), "a", stream=False).values()
    assert (response.text, response.finish_reason, response.output_tokens) == ("hi", "length", 2)
    assert response.ttft_s is None and response.e2e_s > 0
    assert response.provider.model_version == "m-2026-01-01" and response.thinking.tokens == 1


def test_cached_and_reasoning_tokens_are_parts_and_not_counted_twice():
    reply = Reply(tokens=4, thinking=2, cached_tokens=5)
    (response,) = answered(reply, "a", price={**PRICE, "cache_read": 0.1}).values()
    assert response.text == "tok tok " and (response.input_tokens, response.output_tokens) == (7, 4)
    assert (response.provider.cached_tokens, response.thinking.tokens) == (5, 2)
    assert len(response.thinking.text) == 8
    assert response.usd == pytest.approx((2 * 1.0 + 5 * 0.1 + 4 * 10.0) / 1e6)


def events(*chunks: dict[str, Any]) -> Reply:
    return Reply(body=b"".join(b"data: " + json.dumps(c).encode() + b"\n\n" for c in chunks) + b"data: [DONE]\n\n")


@pytest.mark.slow
def test_a_refusal_is_told_by_the_providers_own_signal_and_is_no_error():
    said = events({"choices": [{"delta": {"refusal": "I can't"}}]}, {"choices": [{"finish_reason": "stop"}]})
    filtered = events({"choices": [{"delta": {"content": "par"}, "finish_reason": "content_filter"}]})
    plain = events({"choices": [{"delta": {"content": "I refuse to guess"}, "finish_reason": "stop"}]})
    found = answered(Asked(said=(said,), filtered=(filtered,), plain=(plain,)), "said", "filtered", "plain")
    assert found["said"].provider.refusal == "I can't" and found["said"].text == ""
    assert found["filtered"].provider.refusal == "content_filter" and found["filtered"].text == "par"
    assert found["plain"].provider.refusal is None
    assert all(r.error is None for r in found.values())


@pytest.mark.slow
def test_token_logprobs_of_both_interfaces_are_kept():
    chat = events({"choices": [{"delta": {"content": "a"}, "logprobs": {"content": [{"token": "a", "logprob": -0.5}]},
                                "finish_reason": "stop"}]})  # fmt: skip
    old = events({"choices": [{"text": "a", "logprobs": {"token_logprobs": [-0.25]}, "finish_reason": "stop"}]})
    (response,) = answered(chat, "a", logprobs=True).values()
    assert response.provider.token_logprobs == (-0.5,)
    (response,) = answered(old, "a", logprobs=True, api="completions").values()
    assert response.provider.token_logprobs == (-0.25,)


STRANGE = [{}, {"choices": None}, {"choices": [{}]}, {"choices": [{"delta": None}]}, {"usage": "many"}, {"x": 1}]


@pytest.mark.slow
@pytest.mark.parametrize("strange", STRANGE, ids=json.dumps)
def test_new_and_missing_fields_never_fail_an_answer(strange):
    last = {"choices": [{"delta": {"content": "ok"}, "finish_reason": "stop"}]}
    (response,) = answered(events(strange, last), "a").values()
    assert response.error is None and response.text == "ok"


def test_chat_prompts_need_the_chat_interface():
    request = GenerateRequest("k", "s", Prompt(messages=(Message("user", "hello"),)))
    with SyntheticServer(Asked()) as server:
        (response,) = backend(server, api="completions").answer([request])
    assert "use `api: chat`" in response.error


# --- configuration ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"base_url": "localhost:8000/v1"}, "is no address of a server"),
        ({"base_url": "https://"}, "is no address of a server"),
        ({"base_url": "https://h:notaport/v1"}, "is no address"),
        ({"base_url": "https://a..b/v1"}, "is no address: .*label empty or too long"),
        ({"base_url": "https://me:sk-planted-0123456789@h/v1"}, "user name"),
        ({"base_url": "https://h/v1?key=sk-planted-0123456789"}, "a query"),
        ({"base_url": "http://example.com/v1"}, "http to example.com would send"),
        ({"base_url": "http://127.0.0.1.example.com/v1"}, "http to 127.0.0.1.example.com would send"),
    ],
)
def test_an_address_that_cannot_be_used_is_told(changes, message):
    with pytest.raises(ConfigError, match=message) as caught:
        load(model_of(name="m", backend="openai", **changes))
    assert "planted" not in str(caught.value)


@pytest.mark.slow
def test_a_spend_limit_needs_a_price():
    with SyntheticServer(Asked()) as server, pytest.raises(BackendError, match="a spend limit needs a price"):
        backend(server, price=None, limits={"max_cost": 1.0})


@pytest.mark.slow
@pytest.mark.parametrize("api", ["chat", "completions"])
def test_a_server_that_does_not_score_says_what_to_do(api):
    request = LoglikelihoodRequest("k", "s", Prompt("hello"), (" a", " b"))
    silent = json.dumps({"choices": [{"text": "hello a", "finish_reason": "length"}]}).encode()
    told = pytest.raises(BackendError, match=r"does not tell the log-probability(.|\n)*as: generate")
    with SyntheticServer(Reply(body=silent)) as server, told:
        list(backend(server, api=api).answer([request]))


@pytest.mark.slow
def test_a_server_that_refuses_to_echo_says_so_with_its_own_words():
    said = json.dumps({"error": {"message": "echo is not supported with this model"}}).encode()
    script = lambda order, body: Reply(status=400, body=said) if body else Reply(status=404)
    told = pytest.raises(BackendError, match="given text: echo is not supported with this model")
    with SyntheticServer(script) as server, told:
        list(backend(server, api="completions").answer([LoglikelihoodRequest("k", "s", Prompt("hello"), (" a", " b"))]))


def test_closing_twice_is_allowed():
    with SyntheticServer(Asked()) as server:
        model = backend(server)
        model.close(), model.close()


# --- a run -----------------------------------------------------------------------------------------------------------

TASK = """
task: sums
data: {file: sums.jsonl, id: id}
kind: generate
prompt: "{q}="
answer: a
extract: text
"""


@pytest.mark.slow
def test_killed_in_the_middle_and_resumed_nothing_answered_is_asked_twice(tmp_path):
    rows = [{"id": f"s{i}", "q": f"{i}+{i}", "a": "tok tok tok"} for i in range(60)]
    (tmp_path / "sums.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "sums.yaml").write_text(TASK)
    asked: Counter[str] = Counter()

    def script(order: int, body: dict[str, Any]) -> Reply:
        if not body:
            return Reply(status=404)
        prompt = body["messages"][-1]["content"]
        asked[prompt] += 1
        return Reply(status=429) if asked[prompt] == 1 and prompt.startswith("1") else Reply(tokens=3, ttft_s=0.02)

    with SyntheticServer(script) as server:
        limits = {"concurrency": 3, "attempts": 20}
        model = {"name": "m", "backend": "openai", "base_url": server.url, "price": PRICE, "limits": limits}
        given = {"run": "r", "tasks": [str(tmp_path / "sums.yaml")], "models": [model], "latency": {"requests": 0}}
        plan = make_plan(validate(RunConfig, given, "test"))
        out = tmp_path / "out"
        child = os.fork()
        if child == 0:
            try:
                for _ in carry_out(plan, out):
                    pass
            finally:
                os._exit(0)
        lines = lambda: (out / "responses.jsonl").read_bytes().count(b"\n") if (out / "responses.jsonl").exists() else 0
        while lines() < 20:
            time.sleep(0.01)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        kept = [json.loads(line) for line in (out / "responses.jsonl").read_text().splitlines()[: lines()]]
        answered_before = Counter({f"{row['q']}=": asked[f"{row['q']}="] for row in rows
                                   if row["id"] in {line["sample_id"] for line in kept}})  # fmt: skip
        assert 20 <= len(kept) < 60
        for _ in carry_out(plan, out):
            pass
    result = finish(out)
    assert result.complete and verified(out).ok
    assert {prompt: asked[prompt] for prompt in answered_before} == dict(answered_before)
    assert result.records()["value"].sum() == 60
    lines_after = [json.loads(line) for line in (out / "responses.jsonl").read_text().splitlines()]
    usd = sum(line["billing"]["usd"] for line in lines_after)
    assert usd == pytest.approx(60 * USD)


@pytest.mark.slow
def test_an_interrupted_run_ends_at_once_though_the_server_hangs():
    began = time.monotonic()
    with SyntheticServer(Asked(a=(Reply(hang=True),))) as server:
        child = os.fork()
        if child == 0:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            try:
                list(backend(server, limits={"sample_s": 100, "silence_s": 100}).answer(ask("a", "b", "c")))
            except KeyboardInterrupt:
                os._exit(7)
            os._exit(1)
        time.sleep(1.0)
        os.kill(child, signal.SIGINT)
        _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 7 and time.monotonic() - began < 15
