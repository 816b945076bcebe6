"""Records the golden runs and writes down what they must show. Run by hand, from the repository's folder:

    python -m tests.golden.make             what the recorded runs show now becomes what they must show
    python -m tests.golden.make --record    the runs themselves are made anew first; their seconds change

Regenerate only when a figure is meant to change, and say so in the changelog. A failing golden test is otherwise a
mistake in the code.

    talks     a conversation and a task that a judge model scores; two scripted models, one the baseline
    served    a server that fails now and then, beside a scripted model; priced, timed, retried
    bench     the same two under load

The fourth, results/quickstart, is the run that the README shows; here only what it must show is written.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.golden.outer import (
    HERE,
    ROOT,
    RUNS,
    as_json,
    bench_again,
    copied,
    cost,
    expected,
    figures,
    said,
    views,
    without_computer,
)
from tests.support.servers import Reply, SyntheticServer

TALKS, N = 7, 8  # samples of each task: few, as all of it is committed
Rule = dict[str, str]


def rows(file: str, split: str | None = None, n: int = N) -> list[dict[str, Any]]:
    """Returns the first rows of a bundled task's data."""
    every = map(json.loads, (ROOT / "tasks" / file).read_text().splitlines())
    return [row for row in every if split is None or row["split"] == split][:n]


def fake(name: str, rules: Sequence[Rule]) -> dict[str, Any]:
    return {"name": name, "backend": "fake", "script": list(rules)}


# --- talks


def talk_rules(every: int) -> list[Rule]:
    """Returns answers of a service desk that remembers all but the `every`-th thing; the last turn is tried first."""
    rules = []
    for i, row in enumerate(rows("parcel_desk.jsonl", n=TALKS)):
        answers = [("in the parcel", row["item"]), ("from tomorrow", row["new_city"]), ("did I give", row["parcel"])]
        wrong = ["I do not know", row["city"], "KP-00000"]
        for j, (asked, right) in enumerate(answers):
            text = wrong[j] if (i + j) % every == 0 else right
            rules.append({"prompt": rf"{row['parcel']}(.|\n)*{asked}.*\n?[aA]ssistant:$", "text": text})
    return [*rules, {"prompt": "should have come to", "text": "Hello, I look for it."}]


def reply_rules(every: int) -> list[Rule]:
    rules = []
    for i, row in enumerate(rows("support_replies.jsonl", n=TALKS)):
        text = f"{row['good']} Have a good day." if i % every else "No problem, we refund everything!"
        said_of = {3: {"text": "an odd reply"}, 4: {"text": "a mute reply"}, 5: {"error": "connection lost"}}
        answer = said_of.get(i, {"text": text}) if every == 2 else {"text": text}
        rules.append({"prompt": re.escape(row["message"]), **answer})
    return rules


def verdict(word: str) -> str:
    return json.dumps({"reason": "the rule", "verdict": word})


JUDGE = [
    {"prompt": "an odd reply", "text": "I had rather not say"},
    {"prompt": "a mute reply", "error": "gone"},
    {"prompt": "No problem|everything", "text": verdict("fail")},
    {"text": verdict("pass")},
]


def talks() -> dict[str, Any]:
    return {
        "run": "talks",
        "tasks": ["parcel-desk", "support-replies"],
        "models": [
            fake("forgetful", [*talk_rules(2), *reply_rules(2)]),
            fake("attentive", [*talk_rules(7), *reply_rules(5)]),
        ],
        "baseline": "forgetful",
        "judge": fake("judge", JUDGE),
        "machine": "cloud-cpu",
        "first": TALKS,
        "max_errors": 0.2,
        "latency": {"requests": 4, "warmup": 1},
    }


# --- served and bench

INVOICES, MESSAGES = rows("invoice_fields.jsonl", "test"), rows("costly_routing.jsonl", "test")
DESKS = ("greeting", "refund", "safety", "technical")


def answer(prompt: str, every: int) -> tuple[str, int, str]:
    """Returns the task that a prompt is of, the number of its row, and an answer that is wrong for every n-th row."""
    for i, row in enumerate(INVOICES):
        if row["text"] in prompt:
            given = row["fields"] if i % every else row["fields"] | {"total": 1.5, "currency": "XXX"}
            return "invoice", i, json.dumps(given)
    for i, row in enumerate(MESSAGES):
        if prompt.rstrip().endswith(f"Message: {row['message']}\nDesk:"):
            return "desk", i, row["desk"] if i % every else DESKS[i // every % len(DESKS)]
    return "other", -1, "none"


class Flaky:
    """Replies by prompt: some fail at first and are mended by asking again, some fail for good."""

    def __init__(self, every: int) -> None:
        self.every, self.asked = every, Counter()

    def __call__(self, order: int, body: dict[str, Any]) -> Reply:
        if not body:  # the list of models
            return Reply(status=404)
        prompt = body["prompt"] if "prompt" in body else body["messages"][-1]["content"]
        task, i, text = answer(prompt, self.every)
        self.asked[prompt] += 1
        first = self.asked[prompt] == 1
        if first and i == 3:
            return Reply(status=429, retry_after="0")
        if task == "desk" and first and i == 5:
            return Reply(status=500)
        if task == "desk" and first and i == 6:
            return Reply(text=text, tokens=4, cut_after=0)
        if task == "desk" and i == 7:
            return Reply(status=400)
        tokens = len(text.split())
        return Reply(
            text=text,
            tokens=tokens,
            ttft_s=0.002 + 0.0005 * (i % 5),
            hidden_thinking=3 if i % 4 == 0 else 0,
            input_tokens=len(prompt.split()),
            cached_tokens=8 if i % 2 else 0,
        )


def steady(order: int, body: dict[str, Any]) -> Reply:
    """A server that streams: a few right answers in one piece, the others in tokens that take their time."""
    if not body:
        return Reply(status=404)
    prompt = body["prompt"] if "prompt" in body else body["messages"][-1]["content"]
    _, i, text = answer(prompt, 3)
    counted = {"input_tokens": len(prompt.split()), "cached_tokens": 4}
    if i % 4 == 1:
        return Reply(text=text, tokens=len(text.split()), ttft_s=0.004, **counted)
    usage = "true" if i % 5 else 7  # some claim other counts than they sent
    return Reply(tokens=6, ttft_s=0.003, gap_s=0.001, usage=usage, **counted)


def two(url: str) -> list[dict[str, Any]]:
    prompts = [(row["text"], "invoice") for row in INVOICES] + [(row["message"], "desk") for row in MESSAGES]
    rules = []
    for text, kind in prompts:
        asked = text if kind == "invoice" else f"Message: {text}\nDesk:"
        shown = f"{re.escape(text)}\nDesk:" if kind == "desk" else re.escape(text)
        rules.append({"prompt": shown, "text": answer(asked, 4)[2]})
    price = {"input": 1.0, "output": 10.0}
    model = {"name": "served", "backend": "openai", "base_url": url, "price": price, "limits": {"concurrency": 4}}
    return [model, fake("local", rules)]


def served(url: str) -> dict[str, Any]:
    return {
        "run": "served",
        "tasks": ["invoice-fields", {"task": "costly-routing", "as": "generate"}],
        "models": two(url),
        "baseline": "local",
        "machine": "cloud-cpu",
        "first": N,
        "latency": {"requests": 20, "warmup": 1},
    }


def bench(url: str) -> dict[str, Any]:
    load = {"rate": [40], "requests": 30, "warmup": 1, "slo": {"response_s": 1.0}}
    return served(url) | {"run": "bench", "bench": load}


# --- recording

KEPT = {"plan.json", "samples.jsonl", "responses.jsonl", "verdicts.jsonl", "measurements.jsonl", "summary.json"}


def record(name: str, config: dict[str, Any], command: str = "run") -> None:
    """Makes a run in its folder, and keeps what was recorded there and its summary."""
    folder = HERE / name
    shutil.rmtree(folder, ignore_errors=True)
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "run.yaml"
        file.write_text(json.dumps(config))
        arguments = [command, str(file), "--out", str(folder.relative_to(ROOT))]  # relative: no path of ours is kept
        done = subprocess.run([sys.executable, "-m", "harness", *arguments], cwd=ROOT, check=False)
    assert done.returncode in (0, 3), f"exit code {done.returncode}"  # 3: too many errors in a row, as is meant
    for path in folder.iterdir():
        if path.name not in KEPT:
            path.unlink()
        elif path.suffix == ".json":  # without its white space
            path.write_text(json.dumps(json.loads(path.read_text()), ensure_ascii=False, separators=(",", ":")) + "\n")


def record_all() -> None:
    record("talks", talks())
    with SyntheticServer(Flaky(5)) as server:
        record("served", served(server.url))
    with SyntheticServer(steady) as server:
        record("bench", bench(server.url), "bench")
    _thin(HERE / "bench" / "measurements.jsonl")


def _thin(path: Path) -> None:
    """Keeps two requests of each scenario: a benchmark that is read again is read from its loads."""
    seen: Counter[str] = Counter()
    kept = []
    for text in path.read_text().splitlines(keepends=True):
        line = json.loads(text)
        if line["kind"] == "request":
            scenario = f"{line['model']} {line['task']} {line['scenario']}"
            seen[scenario] += 1
            if seen[scenario] > 2:
                continue
        kept.append(text)
    path.write_text("".join(kept))


def write_expected() -> None:
    """Writes what the recorded runs show, judged anew."""
    with tempfile.TemporaryDirectory() as place:
        copies = {name: copied(name, Path(place)) for name in RUNS}
        for name, folder in copies.items():
            said("score", folder)
            kept = expected(name)
            kept.mkdir(exist_ok=True)
            for file, arguments in views(name).items():
                (kept / file).write_text(said("table", folder, *arguments))
            (kept / "figures.json").write_text(as_json(figures(json.loads(said("table", folder, "--format", "json")))))
        load = copied("bench", Path(place))
        found = cost(Path(place), copies["served"], load)
        (expected("served") / "cost.json").write_text(as_json(figures(found)))
        summary, text = bench_again(load)
        expected("bench").mkdir(exist_ok=True)
        (expected("bench") / "table.txt").write_text(without_computer(text))
        (expected("bench") / "figures.json").write_text(as_json(figures(summary)))


if __name__ == "__main__":
    if "--record" in sys.argv[1:]:
        record_all()
    write_expected()
