"""`harness cost`, `harness prices` and the memory in `harness models`, as a person meets them."""

from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from harness.cost.prices import list_prices, read_prices
from harness.models.folder import fit
from harness.models.footprint import SHARE
from harness.reports import cost_text
from harness.reports.layout import number
from harness.reports.model_text import memory_lines
from harness.security.egress import place_of
from tests.support.chains import rechain
from tests.support.commands import harness
from tests.support.servers import Reply, SyntheticServer

RUN = {
    "run": "mine",
    "tasks": ["sums.yaml"],
    "models": [{"name": "m", "backend": "fake", "script": "answers.yaml"}],
    "machine": "l4",
    "latency": {"requests": 0},
}


@pytest.fixture(autouse=True)
def recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> Path:
    """A run of twelve sums, nine of them right, recorded in `out`."""
    monkeypatch.chdir(tmp_path)
    rows = [{"id": f"s{i}", "q": f"{i}+{i}", "a": str(2 * i)} for i in range(12)]
    Path("sums.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = "task: sums\ndata: {file: sums.jsonl, id: id}\nkind: generate\nprompt: '{q}='\nanswer: a\nextract: number\n"
    Path("sums.yaml").write_text(task)
    rules = [{"sample": f"s{i}", "text": f"it is {2 * i if i < 9 else 0}"} for i in range(12)]
    Path("answers.yaml").write_text(json.dumps({"answers": rules, "sleep_s": 0.005}))
    Path("run.yaml").write_text(json.dumps(RUN))
    assert harness(capsys, "run", "run.yaml", "--out", "out")[0] == 0
    return tmp_path


def as_json(capsys, *arguments: str) -> list:
    """Returns the rows that `harness cost` tells a program."""
    return json.loads(harness(capsys, "cost", *arguments, "--json")[1])["rows"]


def test_a_recorded_run_is_priced_at_every_utilisation(capsys):
    code, out, err = harness(capsys, "cost", "out", "--volume", "100000", "--against", "openai/gpt-5-mini")
    assert code == 0, err
    assert all(len(line) <= 100 for line in out.splitlines())
    for part in (
        "100 %",
        "50 %",
        "30 %",
        "10 %",
        "30 % (stated)",
        "openai/gpt-5-mini",
        "$/correct",
        "Break-even",
        "Capacity",
    ):
        assert part in out, part
    for label in ("Measured: ", "Assumed: l4 at $0.8/h", "Assumed: utilisation", "read on 2026-10-14"):
        assert label in out, label
    assert "100,000 requests a month: 1 machine," in out and "What it hangs on" in out
    assert "Measured on " in out and "WARNING" not in out


def test_the_report_adds_up_and_has_its_prices_with_it(capsys):
    _, out, _ = harness(capsys, "cost", "out", "--against", "gpt-5-mini", "--json")
    found = json.loads(out)
    (row,) = found["rows"]
    wall = json.loads(Path("out/summary.json").read_text())["rows"][0]["throughput"]["wall_s"]
    for share, cost in row["by_utilisation"].items():
        bill = wall / 3600 * 0.80 / float(share)
        assert cost["usd"] == pytest.approx(bill, rel=1e-9)
        assert sum(cost["parts"].values()) == pytest.approx(bill, rel=1e-9)
        assert cost["usd_per_correct"] == pytest.approx(bill / 9)
    span = row["usd_per_correct_interval"]
    assert span["low"] < span["value"] < span["high"]
    assert row["api"]["price"]["retrieved"] == "2026-10-14" and row["api"]["price"]["source"]


@pytest.mark.slow
def test_another_machine_may_be_named_and_figures_are_drawn(capsys):
    pytest.importorskip("matplotlib")
    code, out, err = harness(capsys, "cost", "out", "--machine", "h100", "--against", "gpt-5", "--plots")
    assert code == 0 and "h100 at $2/h" in out, err
    assert "WARNING: the run did not name h100" in out
    assert {p.name for p in Path("out-cost").glob("*.svg")} == {"cost-accuracy.svg", "cost-m-sums.svg"}


@pytest.mark.slow
def test_the_capacity_of_a_benchmark_takes_the_place_of_the_pass(capsys):
    Path("bench.yaml").write_text(json.dumps(RUN | {"bench": {"requests": 5, "warmup": 0}}))
    assert harness(capsys, "bench", "bench.yaml", "--out", "load")[0] == 0
    most = json.loads(Path("load/summary.json").read_text())["workloads"][0]["most_requests_per_s"]
    _, out, _ = harness(capsys, "cost", "out", "--bench", "load", "--volume", "1000", "--json")
    (row,) = json.loads(out)["rows"]
    assert row["service"]["requests_per_s"] == pytest.approx(most)
    # a busy machine at that speed: H / 3600 for so many requests
    assert row["at_capacity"]["usd_per_1k_samples"] == pytest.approx(0.80 / 3600 / most * 1e3)
    assert f"at {number(most)} requests/s" in harness(capsys, "cost", "out", "--bench", "load")[1]
    slo = {"requests": 5, "warmup": 0, "slo": {"ttft_s": 1e-9}}
    Path("bench.yaml").write_text(json.dumps(RUN | {"bench": slo}))
    assert harness(capsys, "bench", "bench.yaml", "--out", "never")[0] == 0
    code, _, err = harness(capsys, "cost", "out", "--bench", "never")
    assert code == 2 and "the benchmark has no capacity of m on sums" in err


@pytest.mark.slow
def test_six_busy_shapes_of_a_server_give_tokens_requests_and_correct_answers_their_price(capsys):
    a, b, c = 2e-4, 4e-4, 2e-6  # seconds of a busy server with one slot

    def seconds(i: int, o: int) -> float:
        return a * i + b * o + c * (i * o + o * o / 2)

    free = [0.0]

    def slot(order: int, body: dict[str, Any]) -> Reply:
        if not body:
            return Reply(status=404)
        i, o = len(body["messages"][0]["content"].split()), body["max_tokens"]
        now = time.monotonic()
        free[0] = max(now, free[0]) + seconds(i, o)
        return Reply(ttft_s=free[0] - now, tokens=o, input_tokens=i)

    def sums(order: int, body: dict[str, Any]) -> Reply:
        return Reply(text="it is 0", tokens=20 + order % 3, input_tokens=60) if body else Reply(status=404)

    shapes = [{"input": i, "output": o} for i, o in ((10, 5), (100, 5), (10, 50), (100, 50), (200, 10), (20, 80))]
    with SyntheticServer(slot) as busy:
        model = {"name": "m", "backend": "openai", "base_url": busy.url}
        made = {"run": "shapes", "models": [model], "machine": "l4"}
        offline = {"lengths": shapes, "requests": 20, "single": False, "offline": True}
        Path("bench.yaml").write_text(json.dumps({**made, "bench": offline}))
        code, out, err = harness(capsys, "bench", "bench.yaml", "--out", "load")
        assert code == 0, err
    with SyntheticServer(sums) as server:
        Path("run.yaml").write_text(json.dumps(RUN | {"models": [{**model, "base_url": server.url}]}))
        code, _, err = harness(capsys, "run", "run.yaml", "--out", "asked")
        assert code == 0, err
    code, out, err = harness(capsys, "cost", "asked", "--bench", "load", "--volume", "100000", "--against", "gpt-5")
    assert code == 0, err
    told = " ".join(out.split())
    assert "30 %, by the fit" in told and "By the fit: measured on 6 shapes at once; one left out is missed" in told
    assert "Capacity: " in told and "by the fit of 6 shapes in load, with no bound on latency" in told
    assert "WARNING: its" not in told
    (row,) = as_json(capsys, "asked", "--bench", "load", "--volume", "100000", "--against", "gpt-5")
    records = [json.loads(line) for line in Path("asked/records.jsonl").read_text().splitlines()]
    fit = json.loads(Path("load/summary.json").read_text())["fits"]["m"]
    lengths = [(r["input_tokens"], r["output_tokens"]) for r in records]
    for share, cost in row["fitted"]["by_utilisation"].items():
        each = [fit["a"] * i + fit["b"] * o + fit["c"] * (i * o + o * o / 2) for i, o in lengths]
        bill = sum(each) * 0.80 / 3600 / float(share)
        assert cost["usd"] == pytest.approx(bill, rel=1e-9) and sum(cost["parts"].values()) == pytest.approx(bill)
        tokens = [sum(one) * cost[f"usd_per_1m_{way}"] for one, way in zip(zip(*lengths), ("input", "output"))]
        assert sum(tokens) / 1e6 == pytest.approx(bill, rel=1e-9)
        assert cost["usd_per_correct"] == pytest.approx(bill / sum(r["value"] for r in records))
    # a slot is never early: what was planted is the least that can come out
    assert row["service"]["requests_per_s"] == pytest.approx(len(each) / sum(each))
    assert sum(each) >= 0.9 * sum(seconds(i, o) for i, o in lengths)
    span = row["fitted"]["usd_per_correct_interval"]
    assert span["value"] == pytest.approx(row["fitted"]["by_utilisation"]["0.3"]["usd_per_correct"])


@pytest.mark.slow
def test_shapes_that_allow_no_fit_leave_the_rest_of_a_benchmark_as_it_is(capsys):
    with SyntheticServer(lambda order, body: Reply(tokens=5, input_tokens=9)) as server:
        model = {"name": "m", "backend": "openai", "base_url": server.url}
        shapes = [{"input": 9 + i, "output": 5} for i in range(6)]  # one output: its price shows nowhere
        bench = {"lengths": shapes, "requests": 3, "single": False, "offline": True}
        Path("bench.yaml").write_text(json.dumps({"run": "same", "models": [model], "bench": bench}))
        code, out, err = harness(capsys, "bench", "bench.yaml", "--out", "load")
    assert code == 0, err
    assert "m: no seconds of a token: these shapes cannot tell prompt, answer and context apart" in " ".join(
        out.split()
    )
    code, _, err = harness(capsys, "cost", "out", "--bench", "load")
    assert code == 2 and "the benchmark has no capacity of m on sums" in err


def test_a_model_that_our_price_file_lacks_is_priced_by_the_package(capsys):
    pytest.importorskip("genai_prices")
    code, out, err = harness(capsys, "cost", "out", "--against", "google/gemini-2.0-flash")
    assert code == 0, err
    assert "google/gemini-2.0-flash" in out and " by genai-prices " in out
    api = as_json(capsys, "out", "--against", "google/gemini-2.0-flash")[0]["api"]
    records = [json.loads(line) for line in Path("out/records.jsonl").read_text().splitlines()]
    rates = [r["input_tokens"] * 0.10 + r["output_tokens"] * 0.40 for r in records]  # USD for 1M, each on its own
    assert api["usd_per_request"] == pytest.approx(sum(rates) / 1e6 / len(records))


def test_peaks_and_redundancy_of_the_machine_file_decide_how_many_machines_are_paid(capsys):
    traffic = {"peak_to_mean": 3, "headroom": 0.5, "redundancy": 2, "rented": {"per_hour": 1}}
    Path("two.yaml").write_text(json.dumps({"name": "two", "source": "s", "date": "2026-01-01", **traffic}))
    _, out, _ = harness(capsys, "cost", "out", "--machine", "two.yaml", "--volume", "1000", "--json")
    (row,) = json.loads(out)["rows"]
    assert (row["month"]["replicas"], row["month"]["usd"]) == (2, pytest.approx(2 * 730))
    month = row["service"]["requests_per_s"] * 730 * 3600
    _, out, _ = harness(capsys, "cost", "out", "--machine", "two.yaml", "--volume", str(month), "--json")
    assert json.loads(out)["rows"][0]["month"]["replicas"] == 5  # 3 x 1.5 machines at the peak


def test_what_all_rows_rest_on_is_said_once(capsys):
    plan = json.loads(Path("run.yaml").read_text())
    plan["models"].append({**plan["models"][0], "name": "n"})
    Path("run.yaml").write_text(json.dumps(plan))
    harness(capsys, "run", "run.yaml", "--out", "both")
    _, out, _ = harness(capsys, "cost", "both")
    assert out.count("What it costs") == 2 and out.count("Assumed: l4 at") == 1


def as_if_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes a server on this computer count as one that is paid."""
    at = "harness.backends.servers.about.place_of"
    monkeypatch.setattr(at, lambda config: replace(place_of(config), name="api.example.com"))


@pytest.mark.slow
def test_what_an_api_was_paid_adds_up_with_retries_failures_and_cache_hits(capsys, monkeypatch):
    as_if_elsewhere(monkeypatch)
    asked: Counter[str] = Counter()

    def reply(order: int, body: dict[str, Any]) -> Reply:
        if not body:
            return Reply(status=404)
        prompt = body["messages"][-1]["content"]
        asked[prompt] += 1
        once = asked[prompt] == 1
        return {
            "0+0=": Reply(text="it is 0", tokens=3),
            "1+1=": Reply(status=429) if once else Reply(text="it is 2", tokens=3),
            "2+2=": Reply(status=500),  # for ever: given up, and nothing billed
            "3+3=": Reply(no_done=True)
            if once
            else Reply(text="it is 6", tokens=3),  # cut after its tokens were billed
            "4+4=": Reply(text="it is 8", tokens=3, cached_tokens=5),
        }.get(prompt, Reply())

    price = {"input": 1.0, "output": 10.0, "cache_read": 0.1}
    with SyntheticServer(reply) as server:
        model = {"name": "m", "backend": "openai", "base_url": server.url, "price": price, "limits": {"attempts": 2}}
        Path("run.yaml").write_text(json.dumps(RUN | {"models": [model], "first": 5}))
        code, _, err = harness(capsys, "run", "run.yaml", "--out", "paid")
    assert code in (0, 3), err
    full, cached = (7 * 1.0 + 3 * 10.0) / 1e6, (2 * 1.0 + 5 * 0.1 + 3 * 10.0) / 1e6
    bill = 3 * full + (7 * 1.0 + 4 * 10.0) / 1e6 + cached
    code, out, err = harness(capsys, "cost", "paid", "--json")
    assert code == 0, err
    paid = json.loads(out)["rows"][0]["paid"]
    assert (paid["usd"], paid["reason"]) == (pytest.approx(bill, rel=1e-9), None)
    assert paid["usd_per_request"] == pytest.approx(bill / 5) and paid["usd_per_correct"] == pytest.approx(bill / 4)
    assert "What was paid" in harness(capsys, "cost", "paid")[1]


@pytest.mark.slow
def test_answers_retries_failures_timed_requests_and_verdicts_add_up_to_the_servers_own_bill(capsys, monkeypatch):
    as_if_elsewhere(monkeypatch)
    Path("kind.yaml").write_text(
        "task: kind\ndata: {file: sums.jsonl, id: id}\nkind: generate\nprompt: 'say {q}'\nrubric: {criteria: Kind.}\n"
    )
    prices = {"m": {"input": 1.3, "output": 10.7, "cache_read": 0.13}, "j": {"input": 3.1, "output": 15.9}}
    asked: Counter[str] = Counter()
    ledger: list[float] = []  # of the servers: each answer they began to send, in USD

    def billed(name: str, reply: Reply) -> Reply:
        rates, cached = prices[name], reply.cached_tokens or 0
        parts = ((reply.input_tokens - cached, "input"), (cached, "cache_read"), (reply.tokens, "output"))
        if reply.status == 200:
            ledger.append(sum(tokens * rates.get(kind, 0) for tokens, kind in parts) / 1e6)
        return reply

    def model(order: int, body: dict[str, Any]) -> Reply:
        if not body:
            return Reply(status=404)
        prompt = body["messages"][-1]["content"]
        asked[prompt] += 1
        good = Reply(text=f"it is {prompt}", tokens=3 + len(prompt), input_tokens=9 + order)
        if "2+2" in prompt:
            return Reply(status=500)  # for ever
        if "1+1" in prompt and asked[prompt] == 1:
            return Reply(status=429)
        if "3+3" in prompt and asked[prompt] == 1:
            return billed("m", Reply(no_done=True))  # cut after its tokens were billed
        return billed("m", replace(good, cached_tokens=5) if "4+4" in prompt else good)

    def judge(order: int, body: dict[str, Any]) -> Reply:
        if not body:
            return Reply(status=404)
        if order % 3 == 1:
            return Reply(status=503)
        return billed("j", Reply(text='{"reason": "", "verdict": 3}', tokens=4 + order, input_tokens=100 + order))

    with SyntheticServer(model) as asks, SyntheticServer(judge) as judges:
        at = {"m": asks.url, "j": judges.url}
        of = {
            name: {"name": name, "backend": "openai", "base_url": at[name], "price": prices[name]}
            for name in ("m", "j")
        }
        of["m"]["limits"] = {"attempts": 2}
        run = {**RUN, "tasks": ["sums.yaml", "kind.yaml"], "models": [of["m"]], "judge": of["j"], "first": 5}
        Path("run.yaml").write_text(json.dumps({**run, "latency": {"requests": 4, "warmup": 1}}))
        code, _, err = harness(capsys, "run", "run.yaml", "--out", "paid")
    assert code in (0, 3), err
    code, out, err = harness(capsys, "cost", "paid", "--json")
    assert code == 0, err
    found = json.loads(out)
    assert found["spent"]["usd"] == pytest.approx(sum(ledger), rel=1e-9)
    answers = sum(row["paid"]["usd"] for row in found["rows"])
    beside, judging = found["spent"]["beside_answers_usd"], found["judge"]["usd"]
    assert min(answers, beside, judging) > 0
    assert answers + beside + judging == pytest.approx(sum(ledger), rel=1e-9)
    assert f"Paid ${sum(ledger):.4f} to providers in all" in harness(capsys, "cost", "paid")[1]


@pytest.mark.slow
def test_an_api_without_a_price_has_an_unknown_bill(capsys, monkeypatch):
    as_if_elsewhere(monkeypatch)
    with SyntheticServer() as server:
        Path("run.yaml").write_text(
            json.dumps(RUN | {"models": [{"name": "m", "backend": "openai", "base_url": server.url}]})
        )
        harness(capsys, "run", "run.yaml", "--out", "paid")
    code, out, err = harness(capsys, "cost", "paid")
    assert code == 0, err
    assert "What was paid" in out and "Unknown: the provider's price or its count of tokens is not known." in out
    assert as_json(capsys, "paid")[0]["paid"]["usd"] is None


@pytest.mark.parametrize(
    ("arguments", "messages"),
    [
        (["--against", "openai/gpt-5-mni"], ["no price for 'openai/gpt-5-mni'", "did you mean 'openai/gpt-5-mini'?"]),
        (["--machine", "l40"], ["no machine named 'l40'", "did you mean 'l4'?"]),
        (["--machine", "zero.yaml"], ["owned.hours_available"]),
        (["--machine", "negative.yaml"], ["rented.per_hour", "given: -1"]),
        (["--machine", "over.yaml"], ["utilisation", "given: 1.5"]),
        (["--machine", "salvage.yaml"], ["`salvage` 10 is more than the price 9"]),
        (["--machine", "chip.yaml"], ["'a100', 'h100', 'h200', 'l4' (given: 'h10')", "did you mean 'h100'?", ".yaml"]),
        (["--machine", "sheet.yaml"], ["key 'chip.gb_per_s' is missing"]),
        (["--bench", "out"], ["out holds no benchmark of load", "`harness bench` named"]),
    ],
)
def test_a_mistake_gets_short_lines_and_exit_code_2(capsys, arguments: list[str], messages: list[str]):
    base = {"name": "x", "source": "s", "date": "2026-01-01"}
    owned = {"price": 9, "years": 1, "watts": 9, "power_price": 1}
    files = {
        "zero": {"owned": owned | {"hours_available": 0}},
        "negative": {"rented": {"per_hour": -1}},
        "over": {"rented": {"per_hour": 1}, "utilisation": 1.5},
        "salvage": {"owned": owned | {"salvage": 10}},
        "chip": {"rented": {"per_hour": 1}, "chip": "h10"},
        "sheet": {"rented": {"per_hour": 1}, "chip": {"tflops": 1, "gb": 1}},
    }
    for name, values in files.items():
        Path(f"{name}.yaml").write_text(json.dumps(base | values))
    code, out, err = harness(capsys, "cost", "out", *arguments)
    assert (code, out) == (2, "") and len(err.strip().splitlines()) <= 3
    assert all(message in err for message in messages), err


@pytest.mark.parametrize("volume", ["inf", "nan", "0", "1e16"])
def test_a_volume_that_nobody_serves_is_refused(capsys, volume: str):
    code, out, err = harness(capsys, "cost", "out", "--volume", volume)
    assert (code, out) == (2, "") and "--volume" in err and "Traceback" not in err


def test_a_run_without_a_machine_asks_for_one(capsys):
    Path("run.yaml").write_text(json.dumps({**RUN, "machine": None}))
    harness(capsys, "run", "run.yaml", "--out", "bare")
    code, _, err = harness(capsys, "cost", "bare")
    assert code == 2 and "no machine: the run names none" in err and "--machine" in err
    assert harness(capsys, "cost", "nowhere")[0] == 2


def test_prices_are_listed_with_their_age_and_old_ones_are_named(capsys):
    code, out, _ = harness(capsys, "prices")
    assert code == 0 and "gpt-5-mini" in out and all(len(line) <= 100 for line in out.splitlines())
    assert "WARNING" not in cost_text.prices(list_prices(read_prices(), date(2025, 8, 13)))
    late = cost_text.prices(list_prices(read_prices(), date(2028, 1, 1)))
    assert "WARNING: 11 of 11 were read more than 90 days ago" in late and " old" in late
    rows = json.loads(harness(capsys, "prices", "--json")[1])
    assert {"provider", "model", "input", "output", "retrieved", "age_days", "stale", "source"} <= set(rows[0])


def test_a_model_folder_says_what_it_takes_and_what_fits(tmp_path: Path):
    config = {"num_hidden_layers": 2, "num_attention_heads": 4, "hidden_size": 64, "max_position_embeddings": 128}
    (tmp_path / "config.json").write_text(json.dumps(config))
    cache = 2 * 2 * 64 * 4  # keys and values of two layers, four bytes a number
    free = (1000 + 70 * cache) / SHARE + 1
    memory = fit(tmp_path, 1000, "F32", free, "GPU 0")
    assert memory.cache_bytes_per_token == cache
    assert memory.largest_context == {1: 70, 8: 8, 64: 1}
    assert memory.concurrency_at_full_context == 0
    assert memory.as_json()["largest_context"] == {"1": 70, "8": 8, "64": 1}
    shown = "\n".join(memory_lines(memory))
    assert "1,024 bytes a token" in shown and "1 × 70, 8 × 8, 64 × 1 tokens" in shown and "GPU 0" in shown
    (tmp_path / "config.json").write_text("{}")
    unknown = "\n".join(memory_lines(fit(tmp_path, 1000, "F32", free, "GPU 0")))
    assert "unknown: " in unknown and "fits" not in unknown


def test_a_model_is_projected_for_a_machine_apart_from_what_is_known_of_it(capsys):
    code, out, err = harness(capsys, "models", "demo-2m", "--machine", "h100", "--tokens", "500,100")
    assert code == 0, err
    block = out[out.index("  projected ") : out.index("  chat template")].splitlines()
    assert block[0] == "  projected     for h100, not measured: requests of 500 tokens in, 100 out"
    labels = [
        "saturated",
        "a request",
        "one stream",
        "fits",
        "price",
        "100 % in use",
        "30 % in use",
        "assumed",
        "at best",
    ]
    assert [line[4:16].strip() for line in block[1:]] == labels
    assert all(len(line) <= 100 for line in block)
    (found,) = json.loads(harness(capsys, "models", "demo-2m", "--machine", "h100", "--tokens", "500,100", "--json")[1])
    projected = found["projected"]
    assert projected["label"] == "projected" and projected["gpu_s"] > 0
    assert projected["active_parameters"] == found["parameters"] == 1_967_808
    assert f"{projected['gpu_s']:.3g} GPU-seconds" in block[2]
    assert "projected" not in harness(capsys, "models", "demo-2m")[1]


def test_a_request_of_1000_and_300_tokens_is_projected_unless_another_is_asked_for(capsys):
    _, out, _ = harness(capsys, "models", "demo-2m", "--machine", "h100")
    assert "requests of 1,000 tokens in, 300 out" in out
    assert "unknown     1,300 tokens are more than the model's context of 1,024; project for shorter requests" in out
    assert "machine 'laptop' names no chip" in harness(capsys, "models", "demo-2m", "--machine", "laptop")[1]


@pytest.mark.parametrize("tokens", ["1000", "0,10", "a,b", "1,2,3", "-1,5", "1.5,2", "99999999,1"])
def test_lengths_that_are_none_get_short_lines_and_exit_code_2(capsys, tokens: str):
    code, out, err = harness(capsys, "models", "demo-2m", "--machine", "h100", "--tokens", tokens)
    assert (code, out) == (2, "") and len(err.strip().splitlines()) == 3
    assert f"'{tokens}' is no length of a request" in err and "--tokens 1000,300" in err


def of_a_model_folder(capsys) -> None:
    """A run of a model whose files are known, measured on this processor, in `known`."""
    run = RUN | {"models": [{"name": "m", "path": "demo-0.1m", "threads": 1}], "first": 2}
    Path("run.yaml").write_text(json.dumps(run))
    assert harness(capsys, "run", "run.yaml", "--out", "known")[0] == 0


@pytest.mark.slow
def test_what_another_machine_should_cost_stands_beside_what_was_measured_and_never_among_it(capsys):
    of_a_model_folder(capsys)
    code, out, err = harness(capsys, "cost", "known", "--machine", "h200")
    assert code == 0, err
    measured, _, beside = out.partition("  projected     for h200, not measured: requests of ")
    assert "What it costs" in measured and "Measured: seconds" in measured and "GPU-seconds" not in measured
    assert "GPU-seconds" in beside and "100 % in use" in beside and "Measured: seconds" not in beside
    (row,) = as_json(capsys, "known", "--machine", "h200")
    done = json.loads(Path("known/summary.json").read_text())["rows"][0]["throughput"]
    projected = row["projected"]
    assert projected["input_tokens"] == done["input_tokens"] / 2 and projected["output_tokens"] > 0
    assert projected["by_utilisation"]["1"]["usd_per_request"] == pytest.approx(projected["gpu_s"] * 2.6 / 3600)
    assert row["by_utilisation"]["1"]["usd_per_1k_samples"] > 1e3 * projected["gpu_s"] * 2.6 / 3600  # of a processor


@pytest.mark.slow
def test_nothing_is_projected_where_the_seconds_are_the_priced_chips_own(capsys):
    of_a_model_folder(capsys)
    file = Path("known/measurements.jsonl")

    def measured_on(device: str | None) -> None:
        written = [json.loads(line) for line in file.read_text().splitlines()]
        named = (line | ({"device_name": device} if line["kind"] == "model" else {}) for line in written)
        file.write_text("".join(json.dumps(line) + "\n" for line in named))
        rechain(file.parent)

    def projected(machine: str) -> bool:
        return "projected" in json.loads(harness(capsys, "cost", "known", "--machine", machine, "--json")[1])["rows"][0]

    assert projected("l4") and not projected("cloud-cpu")
    measured_on("NVIDIA L4")
    assert not projected("l4") and projected("h100")
    measured_on("NVIDIA L40S")
    assert projected("l4")
    own = {"name": "l4", "source": "s", "date": "2026-01-01", "rented": {"per_hour": 1}}
    Path("own.yaml").write_text(json.dumps(own | {"chip": {"tflops": 100, "gb_per_s": 1000, "gb": 48}}))
    assert not projected("own.yaml")  # the machine that the run named, and it was measured on an accelerator
    measured_on(None)
    assert projected("own.yaml")


@pytest.mark.slow
def test_what_a_run_does_not_know_of_its_model_is_not_projected(capsys):
    assert "projected" not in harness(capsys, "cost", "out", "--machine", "h100")[1]
    of_a_model_folder(capsys)
    summary = json.loads(Path("known/summary.json").read_text())
    summary["rows"][0]["throughput"]["output_tokens"] = None
    Path("known/summary.json").write_text(json.dumps(summary))
    _, out, _ = harness(capsys, "cost", "known", "--machine", "h100")
    assert "  projected     for h100, not measured\n    unknown     the lengths of its requests are unknown" in out
