"""The streaming client against a real socket. Times are only bounded from below, by the server's own delays."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import socket
import threading
import time
from dataclasses import replace

import pytest

from harness.errors import BackendError, HarnessError, PolicyError
from harness.measure.load.drive import FAILURES_IN_A_ROW, run_load
from harness.measure.load.greeting import greet
from harness.measure.load.scenario import Scenario
from harness.measure.load.summary import load_summary
from harness.measure.load.target import RequestFailed
from harness.measure.load.timed import Slo, Timed
from harness.values import GenerateRequest, Message, Prompt, Request, Sampling
from tests.support.servers import Reply, SyntheticServer, count_tokens, stream_to

pytestmark = pytest.mark.slow

REQUEST = GenerateRequest(key="k", sample_id="s", prompt=Prompt("hello"), max_tokens=9, stop=("END",))


def one(server: SyntheticServer, request: Request = REQUEST, **options) -> Timed:
    target = stream_to(server.url, **options)
    return run_load(target, [request], Scenario("concurrency", requests=1, warmup=0), count=count_tokens).timed[0]


def reply(**fields) -> Timed:
    with SyntheticServer(Reply(**fields)) as server:
        return one(server)


def test_no_moment_is_before_the_server_wrote():
    # a timer is never early, so these hold however busy the machine is; exact moments are in test_load.py
    timed = reply(tokens=5, ttft_s=0.05, gap_s=0.02)
    assert (timed.error, timed.chunks, timed.streamed) == (None, 5, 5)
    assert timed.ttft_s >= 0.05
    assert timed.t_last - timed.t_send >= 0.13
    assert timed.t_send <= timed.t_first <= timed.t_last <= timed.t_end


def test_what_is_sent_is_the_request_and_asks_for_usage():
    with SyntheticServer() as server:
        one(server, extra={"ignore_eos": True})
    assert server.headers[0][":request"] == "POST /v1/chat/completions HTTP/1.1"
    assert "authorization" not in server.headers[0]
    assert server.bodies[0] == {
        "model": "m",
        "messages": [{"role": "user", "content": "hello"}],
        "max_tokens": 9,
        "temperature": 0.0,
        "stop": ["END"],
        "stream": True,
        "stream_options": {"include_usage": True},
        "ignore_eos": True,
    }


def test_openais_own_server_gets_its_own_words(monkeypatch):
    monkeypatch.setenv("TEST_KEY", "secret")
    own = [stream_to("https://api.openai.com/v1", api=api, api_key_env="TEST_KEY") for api in ("chat", "completions")]
    found = [{"max_tokens", "max_completion_tokens"} & target.body(REQUEST).keys() for target in own]
    assert found == [{"max_completion_tokens"}, {"max_tokens"}]


def test_messages_go_as_they_are_and_sampling_with_its_seed():
    turns = (Message("system", "Be brief."), Message("user", "hi"))
    request = GenerateRequest("k", "s", Prompt(messages=turns), sampling=Sampling(temperature=0.7, seed=4))
    with SyntheticServer() as server:
        one(server, request)
    assert server.bodies[0]["messages"][0] == {"role": "system", "content": "Be brief."}
    assert (server.bodies[0]["temperature"], server.bodies[0]["seed"]) == (0.7, 4)


def test_the_completions_interface_streams_text():
    with SyntheticServer(Reply(tokens=3)) as server:
        timed = one(server, api="completions")
    assert (timed.error, timed.chunks) == (None, 3)
    assert server.bodies[0]["prompt"] == "hello"


def test_messages_cannot_go_to_the_completions_interface():
    request = GenerateRequest("k", "s", Prompt(messages=(Message("user", "hi"),)))
    with SyntheticServer() as server, pytest.raises(BackendError, match="takes text, not messages"):
        one(server, request, api="completions")


def test_the_key_is_read_from_the_environment_when_it_is_used(monkeypatch):
    monkeypatch.setenv("TEST_KEY", "secret")
    with SyntheticServer() as server:
        target = stream_to(server.url, api_key_env="TEST_KEY")
        run_load(target, [REQUEST], Scenario("concurrency", requests=1, warmup=0))
    assert server.headers[0]["authorization"] == "Bearer secret"
    assert "secret" not in repr(vars(target)).replace(repr(getattr(target, "_session", "")), "")


def test_a_key_that_is_not_set_is_said_before_anything_is_sent(monkeypatch):
    monkeypatch.delenv("TEST_KEY", raising=False)
    with pytest.raises(BackendError, match="environment variable TEST_KEY is not set"):
        stream_to("http://127.0.0.1:1/v1", api_key_env="TEST_KEY")


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "ftp://x/v1", "http://"])
def test_what_is_no_address_is_refused(url):
    with pytest.raises(HarnessError, match="is no address of a server"):
        stream_to(url)


# --- shapes of a stream ---------------------------------------------------------------------------------------------


def test_an_empty_role_chunk_is_not_the_first_token():
    timed = reply(empty_first=True, ttft_s=0.05, tokens=3)
    assert timed.ttft_s >= 0.05 and timed.chunks == 3


@pytest.mark.parametrize("key", ["reasoning_content", "reasoning"])
def test_reasoning_first_is_the_first_token_and_the_answer_comes_later(key):
    timed = reply(tokens=6, thinking=3, thinking_key=key, gap_s=0.02)
    assert (timed.chunks, timed.streamed) == (6, 6)
    assert timed.t_first_answer - timed.t_send >= 0.06 and timed.t_first <= timed.t_first_answer
    assert timed.usage.reasoning_tokens == 3


def test_several_tokens_in_a_chunk_are_counted_by_usage():
    timed = reply(tokens=12, per_chunk=5)
    assert (timed.chunks, timed.streamed, timed.usage.output_tokens) == (3, 12, 12)


def test_cached_tokens_are_kept():
    assert reply(cached_tokens=5, input_tokens=7).usage.cached_tokens == 5


def test_missing_usage_leaves_our_count():
    timed = reply(usage="missing", tokens=6)
    assert (timed.usage, timed.streamed, timed.error) == (None, 6, None)


@pytest.mark.parametrize(
    "told",
    [
        '{"prompt_tokens": "many", "completion_tokens": 1}',
        '{"prompt_tokens": 7, "completion_tokens": Infinity}',
        '{"prompt_tokens": 7, "completion_tokens": 6, "prompt_tokens_details": {"cached_tokens": "all"}}',
        '{"prompt_tokens": 7, "completion_tokens": -6}',
        '{"prompt_tokens": 7}',
        "[1]",
    ],
)
def test_usage_that_cannot_be_read_is_missing_and_the_answer_stands(told):
    event = '{"choices":[{"delta":{"content":"tok tok "},"finish_reason":"stop"}],"usage":' + told + "}"
    timed = reply(body=f"data: {event}\n\n".encode())
    assert (timed.error, timed.usage, timed.streamed) == (None, None, 2)


def test_a_lie_in_usage_is_seen():
    timed = reply(usage=60, tokens=6)
    assert timed.usage_differs and timed.streamed == 6


def test_zero_tokens_is_an_empty_answer():
    timed = reply(tokens=0)
    assert (timed.error, timed.chunks, timed.ttft_s, timed.usage.output_tokens) == (None, 0, None, 0)


def test_a_stream_without_its_done_line_is_complete_if_it_gave_a_finish_reason():
    assert reply(body=b'data: {"choices":[{"delta":{"content":"x"},"finish_reason":"stop"}]}\n\n').error is None


# --- failures -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"status": 401}, "http 401"),
        ({"status": 429}, "http 429"),
        ({"status": 500}, "http 500"),
        ({"status": 503}, "http 503"),
        ({"status": 302, "body": b""}, "http 302"),
        ({"cut_after": 2}, "cut"),
        ({"cut_after": 0}, "cut"),
        ({"no_done": True}, "cut"),
        ({"garbage_at": 1}, "invalid"),
        ({"error_at": 1}, "server error"),
        ({"body": b"data: [1, 2]\n\n"}, "invalid"),
        ({"body": b'data: {"choices": [7]}\n\n'}, "invalid"),
        ({"body": b'data: {"choices": [{"delta": {"content": 7}}]}\n\n'}, "invalid"),
        ({"body": b'data: {"choices": [{"delta": {"content": [7]}}]}\n\n'}, "invalid"),
        ({"body": b"data: " + b"[" * 100_000 + b"\n\n"}, "invalid"),
        ({"body": b"<html>welcome</html>"}, "invalid"),
        ({"body": b""}, "cut"),
        ({"body": b"data: " + b"x" * 1_200_000}, "cut"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_failure_has_its_kind_and_no_numbers_of_an_answer(fields, error):
    timed = reply(**fields)
    assert timed.error == error
    assert timed.counted is None and not timed.meets(Slo())


def test_retry_after_is_kept_where_it_is_given():
    assert reply(status=429, retry_after="2.5").retry_after_s == 2.5
    assert reply(status=429).retry_after_s is None
    assert [reply(status=429, retry_after=no).retry_after_s for no in ("nan", "inf", "-3")] == [None] * 3
    assert reply(status=429, retry_after="Fri, 31 Dec 2100 23:59:59 GMT").retry_after_s > 3600
    assert reply(status=429, retry_after="soon").retry_after_s is None


def test_a_server_that_never_answers_is_a_timeout():
    with SyntheticServer(Reply(hang=True)) as server:
        assert one(server, timeout_s=0.2).error == "timeout"


def test_a_closed_port_is_refused():
    with SyntheticServer() as server:
        url = server.url
    target = stream_to(url)
    assert run_load(target, [REQUEST], Scenario("concurrency", requests=1, warmup=0)).timed[0].error == "refused"


def test_a_host_name_that_is_not_found_has_its_own_kind(monkeypatch):
    def unknown(*_, **__):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    target = stream_to("https://no-such-host.invalid/v1")
    done = run_load(target, [replace(REQUEST, sensitivity="public")], Scenario("concurrency", requests=3, warmup=0))
    assert load_summary(done).failed == {"dns": 3} and done.round_trips_s == ()


@pytest.mark.parametrize(
    ("number", "kind"),
    [(errno.ENETUNREACH, "unreachable"), (errno.EHOSTUNREACH, "unreachable"), (errno.EMFILE, "no socket left")],
)
def test_what_is_not_the_servers_fault_is_not_called_refused(monkeypatch, number, kind):
    async def fails(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("asyncio.selector_events.BaseSelectorEventLoop.sock_connect", fails)
    target = stream_to("http://127.0.0.1:9/v1")
    assert run_load(target, [REQUEST], Scenario("concurrency", requests=1, warmup=0)).timed[0].error == kind


def test_plain_text_where_tls_was_expected_is_a_tls_failure():
    with SyntheticServer() as server:
        target = stream_to(server.url.replace("http:", "https:"), timeout_s=5)
        timed = run_load(target, [REQUEST], Scenario("concurrency", requests=1, warmup=0)).timed[0]
    assert timed.error == "tls"


def test_a_server_that_fails_forever_ends_the_scenario_and_nothing_is_retried():
    with SyntheticServer(Reply(status=500)) as server:
        done = run_load(stream_to(server.url), [REQUEST], Scenario("concurrency", requests=1000, warmup=0))
        asked = len(server.bodies)
    assert done.stopped == f"failing: {FAILURES_IN_A_ROW} requests in a row, the last with http 500"
    assert asked == done.issued == FAILURES_IN_A_ROW
    assert load_summary(done).failed == {"http 500": FAILURES_IN_A_ROW}


def test_a_wall_clock_that_steps_back_changes_nothing(monkeypatch):
    steps = iter(range(10**9, 0, -1000))
    monkeypatch.setattr(time, "time", lambda: float(next(steps)))
    timed = reply(tokens=3, gap_s=0.01)
    assert timed.t_sched <= timed.t_send <= timed.t_first <= timed.t_last <= timed.t_end


# --- loads ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "scenario",
    [
        Scenario("concurrency", requests=30, warmup=2),
        Scenario("concurrency", level=4, requests=30, warmup=4, cooldown=4),
        Scenario("rate", level=100.0, requests=30, warmup=2),
        Scenario("offline", requests=30, warmup=0),
    ],
    ids=lambda s: s.name,
)
def test_every_scenario_runs_over_http_and_a_stall_shows_in_the_response_time(scenario):
    with SyntheticServer(Reply(tokens=3, gap_s=0.002), stall_at=10, stall_s=0.4) as server:
        found = load_summary(run_load(stream_to(server.url), [REQUEST], scenario))
    assert (found.n, found.failed, found.output_tokens) == (30, {}, 90)
    assert found.response_s.max >= 0.35
    assert found.response_s.p50 <= found.response_s.max
    assert found.round_trip_p50_s > 0


def test_the_round_trip_of_a_server_that_is_gone_is_unknown():
    with SyntheticServer() as server:
        target = stream_to(server.url)
    assert asyncio.run(target.round_trip()) is None


def test_nothing_is_left_running_after_a_scenario():
    before = threading.active_count()
    with SyntheticServer() as server:
        one(server)
    assert threading.active_count() == before


# --- the way to the server ------------------------------------------------------------------------------------------


def test_a_load_goes_through_the_proxy_that_is_named():
    with SyntheticServer(Reply(tokens=3)) as proxy:
        timed = one_at("http://127.0.0.1:9/v1", proxy=f"http://127.0.0.1:{proxy.port}")
    assert timed.error is None and timed.streamed is not None
    assert proxy.headers[0][":request"] == "POST http://127.0.0.1:9/v1/chat/completions HTTP/1.1"


def one_at(url: str, **options) -> Timed:
    return run_load(stream_to(url, **options), [REQUEST], Scenario("concurrency", requests=1, warmup=0)).timed[0]


def test_a_certificate_is_trusted_where_its_file_is_named(tmp_path):
    import ssl
    import subprocess
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
    ]
    command += ["2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    try:
        subprocess.run([*command, "-out", str(cert), "-keyout", str(key)], check=True, capture_output=True)
    except (OSError, subprocess.SubprocessError):
        pytest.skip("needs the command openssl to make a certificate")

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'data: {"choices":[{"delta":{"content":"x"},"finish_reason":"stop"}]}\n\n')

        def log_message(self, *args):
            pass

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(str(cert), str(key))
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"https://127.0.0.1:{server.server_address[1]}/v1"
    try:
        assert one_at(url).error == "tls"
        assert one_at(url, ca_file=str(cert)).error is None
    finally:
        server.shutdown()
        server.server_close()


def test_the_key_may_come_from_a_command():
    import sys

    with SyntheticServer() as server:
        one(server, api_key_command=(sys.executable, "-c", "print('opaque-value-of-a-keyring-9')"))
    assert server.headers[0]["authorization"] == "Bearer opaque-value-of-a-keyring-9"


def test_restricted_data_is_not_sent_to_another_host_under_load_either(monkeypatch: pytest.MonkeyPatch):
    restricted = replace(REQUEST, sensitivity="restricted")
    with SyntheticServer() as server:
        assert one(server, restricted).error is None  # a server of this machine
        monkeypatch.setattr("harness.security.egress.is_loopback", lambda host: False)  # as if it were elsewhere
        with pytest.raises(PolicyError, match="restricted data on their way to 127"):
            one(server, restricted, allow_http=True)
        assert len(server.bodies) == 1


def test_what_a_server_refuses_is_left_out_of_the_whole_load_and_told():
    told = {"message": "Unsupported value: temperature", "param": "temperature", "code": "unsupported_value"}
    refusal = Reply(status=400, body=json.dumps({"error": told}).encode())
    with SyntheticServer(lambda n, body: refusal if "temperature" in body else Reply()) as server:
        target = stream_to(server.url)
        greeting = greet(target, REQUEST)
        assert list(greeting.left_out) == ["temperature"] and "Unsupported value" in greeting.left_out["temperature"]
        assert "temperature" not in target.body(REQUEST) and "max_tokens" in target.body(REQUEST)


def test_a_first_answer_that_ends_badly_is_an_answer_and_one_that_is_cut_off_is_none():
    with SyntheticServer(Reply(finish_reason="error")) as server:
        assert greet(stream_to(server.url), REQUEST).seconds > 0
    with SyntheticServer(Reply(cut_after=1)) as server, pytest.raises(RequestFailed):
        greet(stream_to(server.url), REQUEST)


def test_the_time_of_a_token_is_of_those_that_came_after_the_first_moment():
    hidden = Reply(tokens=4, hidden_thinking=900, gap_s=0.02)
    several = Reply(tokens=10, per_chunk=5, gap_s=0.1)
    for reply, least, later in ((hidden, 0.02, 3), (several, 0.02, 5)):
        with SyntheticServer(reply) as server:
            timed = one(server)
        assert timed.after_first == later and least <= timed.tpot_s < 3 * least
