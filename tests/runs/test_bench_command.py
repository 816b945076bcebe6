"""`harness bench` from a run file to its folder: a model in this process, a server, made-up prompts, mistakes."""

from __future__ import annotations

import json
import socket
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.analysis.bench import finish
from harness.api import folder_for
from harness.config.assemble import assemble
from harness.config.base import validate
from harness.config.run import RunConfig
from harness.measure.other_work import Bystanders
from harness.runs.bench import make_bench
from harness.security.egress import PROVIDERS
from tests.support.commands import harness
from tests.support.servers import Reply, SyntheticServer

SUMS = "".join(json.dumps({"q": f"{i}+{i}", "a": str(2 * i)}) + "\n" for i in range(8))
TASK = "task: sums\ndata: {file: sums.jsonl}\nkind: generate\nprompt: '{q}='\nanswer: a\nextract: number\n"
CHOICE = (
    TASK.replace("sums\n", "pick\n").replace("generate", "choice").replace("extract: number", "choices: ['0', '2']")
)


SERVER = {"name": "m", "backend": "openai", "base_url": "http://127.0.0.1:9/v1", "price": {"input": 1, "output": 2}}
UNPRICED = {**SERVER, "price": None}


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("sums.jsonl").write_text(SUMS)
    Path("sums.yaml").write_text(TASK)
    Path("answers.yaml").write_text('answers: [{sample: "1", text: "2"}, {text: "no 5"}]')
    return tmp_path


def write(bench: dict[str, Any], **model: Any) -> None:
    config = {"run": "mine", "tasks": ["sums.yaml"], "models": [{"name": "m", **model}], "bench": bench}
    Path("bench.yaml").write_text(json.dumps(config))


def lines(kind: str) -> list[dict[str, Any]]:
    every = map(json.loads, Path("out/measurements.jsonl").read_text().splitlines())
    return [line for line in every if line["kind"] == kind]


@pytest.mark.slow
def test_a_model_in_this_process_is_measured_under_every_load(capsys):
    write(
        {"concurrency": [2], "rate": [200], "offline": True, "requests": 24, "warmup": 2, "slo": {"response_s": 5}},
        backend="fake",
        script="answers.yaml",
    )
    code, out, err = harness(capsys, "bench", "bench.yaml", "--out", "out")
    assert code == 0, err
    assert {p.name for p in Path("out").iterdir()} >= {"plan.json", "measurements.jsonl", "summary.json"}
    summary = json.loads(Path("out/summary.json").read_text())
    assert [row["scenario"] for row in summary["rows"]] == ["single", "concurrency 2", "offline", "rate 200"]
    assert "m · sums · single: 24 requests" in err
    assert all(len(line) <= 100 for line in out.splitlines())
    single = summary["rows"][0]
    # the script says 1 ms for each prompt token and 10 ms for each one written: "no 5" is two
    assert single["tpot_s"]["p50"] == pytest.approx(0.010)
    assert single["response_s"]["p95"] is None  # 24 requests are too few
    assert single["round_trip_p50_s"] is None and "round trip" not in out
    assert single["quality_goodput_per_s"] == pytest.approx(single["goodput_per_s"] * 3 / 24)
    # warm-up and cool-down are written down too, but stand in no percentile
    written = Counter(line["scenario"] for line in lines("request"))
    assert written.pop("rate 200") >= 24 + 2  # and those that came while the last of them were out
    assert written == {"single": 24 + 2, "concurrency 2": 24 + 2 + 2, "offline": 24}
    assert lines("request")[0].keys() >= {"t_sched", "t_send", "t_first", "t_first_answer", "t_last", "t_end", "usage"}
    assert summary["models"]["m"]["load_s"] >= 0 and "loaded in" in out
    assert summary["workloads"][0]["first_request_s"] > 0


@pytest.mark.slow
def test_requests_are_on_disk_while_their_load_still_runs(capsys):
    held = []

    def reply(order: int, body: dict[str, Any]) -> Reply:
        held.append(len(lines("request")))
        return Reply()

    with SyntheticServer(reply) as server:
        write({"requests": 100, "warmup": 0}, backend="openai", base_url=server.url)
        assert harness(capsys, "bench", "bench.yaml", "--out", "out")[0] == 0
    assert held[0] == 0 and 60 < held[-1] < 100 and len(lines("request")) == 100


@pytest.mark.slow
def test_loads_beside_other_work_say_so_but_a_server_on_this_computer_is_none(capsys, monkeypatch):
    told = []

    def between(before: Any, after: Any, *, served_here: bool) -> Bystanders:
        told.append(served_here)
        return Bystanders(others=None if served_here else 0.43, stolen=0.0)

    monkeypatch.setattr("harness.runs.loads.between", between)
    write({"concurrency": [2], "requests": 4, "warmup": 0}, backend="fake", script="answers.yaml")
    _, out, _ = harness(capsys, "bench", "bench.yaml", "--out", "out")
    assert lines("load")[0]["row"]["bystanders"] == {"others": 0.43, "stolen": 0.0}
    text = " ".join(out.split())
    assert "other work took up to 43 %" in text and "(m · sums, single; m · sums, concurrency 2)" in text
    with SyntheticServer(lambda order, body: Reply()) as server:
        write({"requests": 4, "warmup": 0}, backend="openai", base_url=server.url)
        _, out, _ = harness(capsys, "bench", "bench.yaml", "--out", "other")
    assert told == [False, False, True] and "other work" not in out


@pytest.mark.slow
def test_a_load_that_was_too_much_says_what_its_times_are_worth(capsys):
    free = [0.0]

    def one_slot(order: int, body: dict[str, Any]) -> Reply:  # 100 a second at most
        now = time.monotonic()
        free[0] = max(now, free[0]) + 0.010
        return Reply(ttft_s=free[0] - now)

    with SyntheticServer(one_slot) as server:
        write({"single": False, "rate": [300], "requests": 30}, backend="openai", base_url=server.url)
        _, out, err = harness(capsys, "bench", "bench.yaml", "--out", "out")
        assert "rate 300: saturated: requests came faster than answers" in " ".join(out.split())
        assert "/s; saturated" in err and any(line.rstrip().endswith("saturated") for line in out.splitlines())
        slo = {"response_s": 0.05}
        write({"single": False, "rate": [300], "requests": 30, "slo": slo}, backend="openai", base_url=server.url)
        _, out, _ = harness(capsys, "bench", "bench.yaml", "--out", "other")
    assert "missed the bounds already; its times are of the answers that came until then" in " ".join(out.split())


@pytest.mark.slow
def test_user_speed_and_system_speed_stand_in_different_tables(capsys):
    write({"requests": 5, "warmup": 0}, backend="fake")
    _, out, _ = harness(capsys, "bench", "bench.yaml")
    users, system = out.split("What the system does")
    assert "user" in users and "tok/s out" not in users
    assert "out" in system and "user" not in system.split("A percentile")[0]


@pytest.mark.slow
def test_an_answer_in_one_piece_has_no_tpot_and_cannot_miss_its_bound(capsys):
    with SyntheticServer(Reply(text="it is 2")) as server:  # four tokens by the server's count
        load = {"concurrency": [2], "requests": 20, "warmup": 0, "slo": {"tpot_s": 0.001}}
        write(load, backend="openai", base_url=server.url)
        code, out, err = harness(capsys, "bench", "bench.yaml", "--out", "out")
    assert code == 0, err
    for row in json.loads(Path("out/summary.json").read_text())["rows"]:
        assert (row["at_once"], row["tpot_s"]["n"], row["tpot_s"]["mean"], row["tpot_s"]["p50"]) == (20, 0, None, None)
        assert row["user_tokens_per_s_p50"] is None and row["ttft_s"]["p50"] > 0
        assert row["attainment"] == 1.0 and row["goodput_per_s"] == pytest.approx(row["requests_per_s"])
    (single,) = [line for line in out.splitlines() if line.startswith("single ")][:1]
    assert single.split()[4] == "–" and " 0 " not in single
    told = " ".join(out.split())
    assert "single: 20 answers came in one piece: how long a token took (TPOT) is unknown." in told
    assert "concurrency 2: 20 answers have no TPOT, and so cannot miss its bound in the SLO." in told
    assert "round trip: the network alone" in told


@pytest.mark.slow
def test_a_server_is_measured_by_its_address(capsys):
    with SyntheticServer(Reply(text="it is 2", cached_tokens=3, ttft_s=0.002)) as server:
        write({"rate": [100], "requests": 20, "warmup": 1, "slo": {"ttft_s": 1}}, backend="openai", base_url=server.url)
        code, out, err = harness(capsys, "bench", "bench.yaml", "--out", "out", "--json")
    assert code == 0, err
    single, rate = json.loads(out)["rows"]
    assert (single["n"], rate["scenario"], single["failed"]) == (20, "rate 100", {})
    assert single["ttft_s"]["p50"] >= 0.002 and single["round_trip_p50_s"] > 0
    assert single["cached_tokens"] == 20 * 3 and single["input_tokens"] == 20 * 7
    # eight prompts again and again, the first of them as warm-up: sample 1 alone is right, and is sent three times
    assert single["quality_goodput_per_s"] == pytest.approx(single["goodput_per_s"] * 3 / 20)
    assert server.bodies[0]["messages"][0]["content"] == "0+0="


@pytest.mark.slow
def test_a_load_asks_what_a_run_asks_and_judges_what_a_run_judges(capsys):
    writes = "constrain: {regex: '[0-9]+'}\nthinking: {switch: 'off'}\nstop: ['!']\n"
    Path("sums.yaml").write_text(TASK + writes)
    fields = ("messages", "max_tokens", "temperature", "stop", "regex", "structured_outputs", "chat_template_kwargs")

    def reply(order: int, body: dict[str, Any]) -> Reply:
        return Reply(text="<think>7! or 9?</think>2! and 3") if body else Reply(status=404)

    with SyntheticServer(reply) as server:
        model = {"backend": "openai", "base_url": server.url}
        write({"requests": 8, "warmup": 0, "slo": {"response_s": 60}}, **model)
        code, out, err = harness(capsys, "bench", "bench.yaml", "--out", "out", "--json")
        assert code == 0, err
        loads = server.bodies[:]
        code, _, err = harness(capsys, "run", "bench.yaml", "--out", "run")
        assert code == 0, err
        runs = [body for body in server.bodies[len(loads) :] if body]
    (row,) = json.loads(out)["rows"]
    (ran,) = json.loads(Path("run/summary.json").read_text())["rows"]
    put = [{json.dumps([body.get(name) for name in fields]) for body in bodies} for bodies in (loads, runs)]
    assert put[0] == put[1] and loads[0]["regex"] == "[0-9]+" and loads[0]["stop"] == ["!"]
    assert loads[0]["chat_template_kwargs"]["enable_thinking"] is False
    assert row["quality_goodput_per_s"] / row["goodput_per_s"] == pytest.approx(ran["accuracy"]["value"]) == 1 / 8


@pytest.mark.slow
def test_the_providers_own_server_is_asked_in_its_own_words(capsys, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-planted-0123456789")
    with SyntheticServer() as server:
        here = {**PROVIDERS, "openai": replace(PROVIDERS["openai"], url=server.url)}
        monkeypatch.setattr("harness.security.egress.PROVIDERS", here)
        write({"requests": 3, "warmup": 0}, backend="openai", base_url=server.url)
        code, _, err = harness(capsys, "bench", "bench.yaml", "--out", "out")
    assert code == 0, err
    assert "max_completion_tokens" in server.bodies[0] and server.headers[0]["authorization"].startswith("Bearer sk-")


@pytest.mark.slow
def test_made_up_prompts_are_all_unlike_and_answers_that_stop_early_are_told(capsys):
    with SyntheticServer(Reply(tokens=4)) as server:
        shapes = [{"input": 12, "output": 4}, {"input": 30, "output": 9}]
        write({"lengths": shapes, "requests": 6, "warmup": 0}, backend="openai", base_url=server.url)
        code, out, err = harness(capsys, "bench", "bench.yaml", "--out", "out")
    assert code == 0, err
    prompts = [body["messages"][0]["content"] for body in server.bodies]
    assert len({prompt[:8] for prompt in prompts}) == len(prompts) == 2 * (1 + 6)
    assert [len(prompt.split()) for prompt in prompts] == [12] * 7 + [30] * 7
    assert "answers had 4 tokens, 9 were asked for" in out and "answers had 4 tokens, 4" not in out
    assert "no prefix cache could help" in out


@pytest.mark.slow
def test_a_prefix_cache_is_defeated_on_the_tasks_own_prompts_or_named(capsys):
    with SyntheticServer() as server:
        write({"requests": 10, "warmup": 0}, backend="openai", base_url=server.url)
        _, out, _ = harness(capsys, "bench", "bench.yaml", "--out", "out")
        assert "the server tells no cached tokens" in " ".join(out.split())
        sent = len(server.bodies)
        write({"requests": 10, "warmup": 0, "prefix_cache": "defeat"}, backend="openai", base_url=server.url)
        harness(capsys, "bench", "bench.yaml", "--out", "other")
    opening = [body["messages"][0]["content"][:9] for body in server.bodies[sent:]]
    assert len(set(opening)) == 11 and all(text.startswith("[") for text in opening)


@pytest.mark.slow
def test_six_busy_shapes_give_the_seconds_of_a_token(capsys):
    def busy(order: int, body: dict[str, Any]) -> Reply:
        i, o = len(body["messages"][0]["content"].split()), body["max_tokens"]
        return Reply(tokens=o, input_tokens=i)

    shapes = [{"input": i, "output": o} for i, o in ((4, 2), (40, 2), (4, 20), (40, 20), (90, 4), (10, 40))]
    with SyntheticServer(busy) as server:
        bench = {"lengths": shapes, "requests": 10, "single": False, "offline": True}
        write(bench, backend="openai", base_url=server.url)
        code, out, err = harness(capsys, "bench", "bench.yaml", "--out", "out")
    assert code == 0, err
    fit = json.loads(Path("out/summary.json").read_text())["fits"]["m"]
    assert fit["n"] == 6 and fit["label"] == "measured" and fit["error_mean"] is not None
    assert "busy seconds of a request" in out


@pytest.mark.slow
def test_joules_of_every_request_are_shared_out_and_an_unknown_energy_says_why(capsys, monkeypatch):
    class Joules:
        method, now = "rapl_package", 0.0

        def read(self):
            Joules.now += 4.0
            return {"package-0": Joules.now}

        def turns_at(self, device):
            return None

        def describe(self):
            return {}

    write({"requests": 6, "warmup": 2}, backend="fake", script="answers.yaml")
    _, out, _ = harness(capsys, "bench", "bench.yaml", "--out", "unknown")
    assert "m: energy unknown: the model does not run on a device of this machine." in out and "J /" not in out
    monkeypatch.setattr("harness.runs.loads.counters_of", lambda backend: ((Joules(),), None))
    monkeypatch.setattr("harness.runs.loads.at_rest", lambda backend, known: 5.0)
    _, out, _ = harness(capsys, "bench", "bench.yaml", "--out", "out")
    (row,) = json.loads(Path("out/summary.json").read_text())["rows"]
    answers = [line for line in lines("request")]
    written = sum(answer["usage"]["output_tokens"] for answer in answers)
    assert (row["energy"]["joules"], row["energy"]["j_per_sample"]) == (4.0, 4.0 / 8)  # the warm-up took its share
    assert row["energy"]["j_per_output_token"] == 4.0 / written
    assert "energy by rapl_package, of the whole device, warm-up included; at rest it draws 5.00 W." in out


@pytest.mark.slow
def test_figures_are_drawn_into_the_folder(capsys):
    pytest.importorskip("matplotlib")
    write({"requests": 5, "warmup": 3, "rate": [300]}, backend="fake")
    code, _, err = harness(capsys, "bench", "bench.yaml", "--out", "out", "--plots")
    assert code == 0, err
    drawn = Path("out/response-m-sums.svg").read_text()
    assert "single (n=5)" in drawn and "rate 300 (n=5)" in drawn  # as in the percentiles: no warm-up, no cool-down
    assert {p.name for p in Path("out").glob("*.svg")} == {"load-m-sums.svg", "response-m-sums.svg"}
    assert len(list(Path("out").glob("*.png"))) == 2


@pytest.mark.slow
def test_a_wall_clock_that_steps_back_moves_no_time_of_a_model_in_this_process(capsys, monkeypatch):
    steps = iter(range(10**9, 0, -1000))
    monkeypatch.setattr(time, "time", lambda: float(next(steps)))
    write({"requests": 20, "warmup": 1, "rate": [200]}, backend="fake")
    code, _, err = harness(capsys, "bench", "bench.yaml", "--out", "out")
    assert code == 0, err
    for row in json.loads(Path("out/summary.json").read_text())["rows"]:
        assert row["window_s"] > 0 and row["energy"]["window_s"] > 0
        assert 0 < row["service_s"]["mean"] <= row["response_s"]["mean"] < 60


def test_a_choice_task_is_asked_as_text_and_judged_so(capsys):
    Path("pick.yaml").write_text(CHOICE)
    Path("sums.jsonl").write_text('{"q": "0+0", "a": "0"}\n{"q": "1+1", "a": "2"}\n')
    config = validate(
        RunConfig, {"run": "r", "tasks": ["pick.yaml"], "models": [{"name": "m", "backend": "fake"}]}, "test"
    )
    (work,) = make_bench(config).workloads
    assert {request.mode for request in work.requests} == {"generate"}
    assert [work.judge(request, text) for request, text in zip(work.requests, ("2", "2"))] == [0.0, 1.0]


def test_a_folder_is_named_after_the_run_and_what_is_asked(place: Path):
    write({"requests": 5}, backend="fake")
    one = make_bench(assemble("bench.yaml"))
    write({"requests": 6}, backend="fake")
    two = make_bench(assemble("bench.yaml"))
    assert folder_for(one, None).name.endswith(f"-mine-bench-{one.digest[:8]}") and one.digest != two.digest


@pytest.mark.slow
def test_a_torn_last_line_does_not_stop_the_summary(capsys):
    write({"requests": 5, "warmup": 0}, backend="fake")
    harness(capsys, "bench", "bench.yaml", "--out", "out")
    with Path("out/measurements.jsonl").open("a") as file:
        file.write('{"kind": "load", "mod')
    assert len(finish(Path("out")).rows) == 1


@pytest.mark.parametrize(
    ("reply", "messages"),
    [
        (Reply(status=401), ["http 401", "api_key_env"]),
        (Reply(status=404), ["http 404", "the model's name"]),
        (Reply(status=429), ["http 429", "ask the provider for a higher limit"]),
        (Reply(status=429, retry_after="7"), ["wait 7 s"]),
        (Reply(status=503), ["http 503"]),
        (Reply(cut_after=1), ["cut"]),
        (Reply(garbage_at=0), ["invalid"]),
        (
            Reply(status=502, body=b"<html>\n<h1>Bad\n\nGateway</h1>\n" + b"x" * 400),
            ["http 502: <html> <h1>Bad Gateway"],
        ),
    ],
)
def test_a_server_that_does_not_answer_is_told_in_three_lines(capsys, reply: Reply, messages: list[str]):
    with SyntheticServer(reply) as server:
        write({"requests": 5}, backend="openai", base_url=server.url)
        code, out, err = harness(capsys, "bench", "bench.yaml", "--out", "out")
    assert (code, out) == (2, "") and "Traceback" not in err
    assert all(message in err for message in [*messages, server.url]), err
    told = err[err.index("error:") :].splitlines()
    assert [line[:5] for line in told] == ["error", "  at ", "  fix"] and max(map(len, told)) < 280


def test_a_host_that_is_not_found_is_told_with_its_name(capsys, monkeypatch):
    def unknown(*_, **__):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    write({"requests": 5}, backend="openai", base_url="https://no-such-host.invalid/v1")
    code, out, err = harness(capsys, "bench", "bench.yaml", "--out", "out")
    assert (code, out) == (2, "")
    told = err[err.index("error:") :].splitlines()
    assert len(told) == 3 and told[0].startswith("error: no answer to the first request: dns: ")
    assert "no-such-host.invalid" in told[1] and "mend the host name" in told[2]


@pytest.mark.slow
def test_a_server_that_is_gone_speaks_no_tls_or_gives_no_token_is_told(capsys):
    with SyntheticServer() as server:
        write({"requests": 5}, backend="openai", base_url=server.url.replace("http:", "https:"))
        code, _, err = harness(capsys, "bench", "bench.yaml", "--out", "tls")
        assert code == 2 and "tls" in err and "use http://" in err
    write({"requests": 5}, backend="openai", base_url=server.url)
    code, _, err = harness(capsys, "bench", "bench.yaml", "--out", "gone")
    assert code == 2 and "refused" in err and "start the server" in err
    with SyntheticServer(Reply(tokens=0)) as empty:
        write({"requests": 5, "warmup": 0}, backend="openai", base_url=empty.url)
        code, out, _ = harness(capsys, "bench", "bench.yaml", "--out", "empty", "--json")
    row = json.loads(out)["rows"][0]
    assert (code, row["empty"], row["ttft_s"]["mean"], row["tpot_s"]["mean"]) == (0, 5, None, None)


@pytest.mark.parametrize(
    ("change", "messages"),
    [
        ({"models": [{"name": "m", "backend": "google"}]}, ["backend 'google' cannot be put under load", "openai"]),
        ({"models": [{"name": "m", "backend": "scirpted"}]}, ["no backend 'scirpted'", "did you mean 'scripted'?"]),
        ({"models": [UNPRICED | {"limits": {"max_cost": 1}}]}, ["a spend limit needs a price", "add `price:"]),
        ({"models": [SERVER | {"batch": True}]}, ["the answers of a batch have no moments", "`batch: false`"]),
        ({"models": [SERVER | {"stream": False}]}, ["an answer in one piece has no first token"]),
        ({"bench": {"rate": [-1]}}, ["bench.rate.0"]),
        ({"bench": {"rate": [1, 2, 1]}}, ["bench.rate", "1 stands twice", "leave one of them out"]),
        ({"bench": {"lengths": [{"input": 9, "output": 5}] * 2}}, ["input 9, output 5 stands twice"]),
        ({"bench": {"slo": {"ttfts": 1}}}, ["unknown key 'ttfts'", "did you mean 'ttft_s'?"]),
        ({"tasks": []}, ["no tasks"]),
        ({"tasks": ["cloze.yaml"]}, ["scored by log-probability"]),
        ({"models": [{"name": "m", "backend": "openai", "base_url": "ftp://x"}]}, ["is no address"]),
        (
            {
                "models": [
                    {"name": "m", "backend": "openai", "base_url": "http://127.0.0.1:9/v1", "api_key_env": "NO_KEY"}
                ]
            },
            ["environment variable NO_KEY is not set"],
        ),
    ],
)
def test_a_mistake_gets_short_lines_and_exit_code_2(capsys, monkeypatch, change: dict[str, Any], messages: list[str]):
    monkeypatch.delenv("NO_KEY", raising=False)
    Path("cloze.yaml").write_text(TASK.replace("generate", "cloze").replace("extract: number\n", ""))
    write({"requests": 5}, backend="fake")
    Path("bench.yaml").write_text(json.dumps(json.loads(Path("bench.yaml").read_text()) | change))
    code, out, err = harness(capsys, "bench", "bench.yaml", "--out", "out")
    assert (code, out) == (2, "") and "Traceback" not in err
    assert all(message in err for message in messages), err


@pytest.mark.slow
def test_a_finished_benchmark_asks_nothing_again_and_is_no_table(capsys):
    write({"requests": 5, "warmup": 0}, backend="fake")
    assert harness(capsys, "bench", "bench.yaml", "--out", "out")[0] == 0
    before = Path("out/measurements.jsonl").read_bytes()
    assert harness(capsys, "bench", "bench.yaml", "--out", "out")[0] == 0
    assert Path("out/measurements.jsonl").read_bytes() == before
    for command in ("table", "score"):
        code, _, err = harness(capsys, command, "out")
        assert code == 2 and "holds a benchmark of load, no run" in err, command


@pytest.mark.slow
def test_a_benchmark_of_other_loads_is_not_gone_on_with(capsys):
    write({"requests": 5, "warmup": 0}, backend="fake")
    assert harness(capsys, "bench", "bench.yaml", "--out", "out")[0] == 0
    write({"requests": 6, "warmup": 0}, backend="fake")
    code, _, err = harness(capsys, "bench", "bench.yaml", "--out", "out")
    assert code == 2 and "another plan: bench.requests was 5, is 6" in err


@pytest.mark.slow
def test_the_cold_start_stands_apart_from_the_warm_requests(capsys):
    with SyntheticServer(lambda order, body: Reply(ttft_s=0.0 if order else 0.3)) as server:
        write({"rate": [50], "requests": 5, "warmup": 0}, backend="openai", base_url=server.url)
        code, out, _ = harness(capsys, "bench", "bench.yaml", "--out", "out", "--json")
    single, rate = json.loads(out)["rows"]
    assert code == 0 and single["first_request_s"] >= 0.3 and rate["first_request_s"] is None
