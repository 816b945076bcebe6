"""Times what a person's own file goes through, and prints a table: python -m tests.benchmarks.own_file [ROWS] [BIG]

`init`, and `check` of 100 rows drawn, on ROWS (100,000) rows of CSV and on BIG (1,000,000) lines of JSONL, each in a
process of its own with its peak memory; then every scorer on ROWS answers, with finding the answer, on one core.
Seconds are of processor time (and by the clock). Exits 1 where a target of the project is missed.
"""

from __future__ import annotations

import csv
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
os.environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}

TARGETS = {"init": 5.0, "scorer": 20.0, "memory": 600}  # seconds, seconds, MB for the large file
PARTS = ("par", "con", "re", "un", "mo", "ti", "sa", "cel", "tact", "turn", "der", "ney")
WORDS = [a + b + c for a in PARTS for b in PARTS for c in PARTS]
TEAMS = ("billing", "shipping", "returns", "technical", "accounts")


# --- files -----------------------------------------------------------------------------------------------------------


def tickets(n: int) -> Iterator[dict[str, str]]:
    """Yields rows of an id, a text of 25 words that hardly repeats, and one of five teams."""
    draw = random.Random(0)
    for i in range(n):
        yield {"id": f"T{i}", "ticket": " ".join(draw.choices(WORDS, k=24)) + f" {i}.", "team": draw.choice(TEAMS)}


def write(path: Path, n: int) -> None:
    with path.open("w", newline="", encoding="utf-8") as handle:
        if path.suffix == ".csv":
            table = csv.DictWriter(handle, ["id", "ticket", "team"])
            table.writeheader()
            table.writerows(tickets(n))
        else:
            handle.writelines(json.dumps(row) + "\n" for row in tickets(n))


def init_file(path: Path) -> None:
    from harness.tasks.authoring import look, write

    write(look(path))


def plan_file(path: Path) -> None:
    from harness.config.base import validate
    from harness.config.run import RunConfig
    from harness.runs.check import report

    models = [{"name": "none", "backend": "fake"}]
    config = {"run": "r", "tasks": [str(path.with_suffix(".yaml"))], "models": models, "limit": 100}
    assert report(validate(RunConfig, config, "benchmark")).passed


STEPS: dict[str, Callable[[Path], None]] = {"init": init_file, "check --limit 100": plan_file}


def step(name: str, path: Path) -> None:
    """Does one step and prints its seconds of processor time and by the clock, and its peak memory in MB."""
    started = time.perf_counter()
    STEPS[name](path)
    used = resource.getrusage(resource.RUSAGE_SELF)
    wall = time.perf_counter() - started
    print(json.dumps([used.ru_utime + used.ru_stime, wall, used.ru_maxrss / 1024]))


def files(small: int, big: int) -> bool:
    good = True
    with tempfile.TemporaryDirectory() as folder:
        for name, n, timed in (("small.csv", small, True), ("big.jsonl", big, False)):
            path = Path(folder) / name
            write(path, n)
            size = f"{n:,} rows, {path.stat().st_size / 1e6:,.0f} MB {path.suffix[1:]}"
            for what in STEPS:
                command = [sys.executable, "-m", "tests.benchmarks.own_file", "--step", what, str(path)]
                done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
                cpu, wall, memory = json.loads(done.stdout)
                missed = (timed and what == "init" and cpu > TARGETS["init"]) or memory > TARGETS["memory"]
                good &= not missed
                print(
                    line(f"{what}, {size}", cpu, wall, f"{memory:,.0f} MB" + (" MISSED" if missed else "")), flush=True
                )
    return good


# --- scorers ---------------------------------------------------------------------------------------------------------


def sentence(draw: random.Random, n: int = 30) -> str:
    return " ".join(draw.choices(WORDS, k=n)).capitalize() + "."


def changed(draw: random.Random, text: str) -> str:
    return " ".join(draw.choice(WORDS) if draw.random() < 0.3 else word for word in text.split())


def free(draw: random.Random) -> tuple[Any, str]:
    text = sentence(draw)
    return text, changed(draw, text)


def number(draw: random.Random) -> tuple[Any, str]:
    value = draw.randrange(1, 10**6)
    return value, f"{sentence(draw)} {sentence(draw)} The answer is {value + draw.randrange(2):,}."


def short(draw: random.Random) -> tuple[Any, str]:
    return draw.choice(TEAMS), f"{sentence(draw)} The answer is **{draw.choice(TEAMS)}**."


def object_of(draw: random.Random) -> dict[str, Any]:
    return {
        "name": " ".join(draw.choices(WORDS, k=3)),
        "total": draw.randrange(999),
        "due": f"2024-05-{draw.randint(10, 28)}",
    }


def record(draw: random.Random) -> tuple[Any, str]:
    right = object_of(draw)
    return right, f"Here it is:\n```json\n{json.dumps(right | {'total': draw.randrange(999)}, indent=1)}\n```"


def named(draw: random.Random) -> tuple[Any, str]:
    right = [{"type": draw.choice(TEAMS), "text": draw.choice(WORDS)} for _ in range(4)]
    return right, json.dumps(right[:3])


def labels(draw: random.Random) -> tuple[Any, str]:
    return draw.sample(TEAMS, 2), json.dumps(draw.sample(TEAMS, 2))


def spans(draw: random.Random) -> tuple[Any, str]:
    return [[draw.choice(WORDS), draw.choice(WORDS)]], f"{draw.choice(WORDS)} and {draw.choice(WORDS)}"


def date(draw: random.Random) -> tuple[Any, str]:
    return f"2024-05-{draw.randint(10, 28)}", f"{draw.randint(10, 28)} May 2024"


def quoted(draw: random.Random) -> tuple[Any, str]:
    context = sentence(draw, 100)
    return "x", f'{sentence(draw, 8)} "{" ".join(context.split()[20:30])}"'


def formula(draw: random.Random) -> tuple[Any, str]:
    a, b = draw.randint(1, 99), draw.randint(1, 99)
    return f"\\frac{{{a}}}{{{b}}}", f"{sentence(draw)} So it is $\\boxed{{\\dfrac{{{a}}}{{{b}}}}}$."


# scorer -> (how the answer is found, how it is judged, what makes an expected value and a response)
FAMILIES: dict[str, tuple[Any, Any, Callable[[random.Random], tuple[Any, str]]]] = {
    "exact_match": ("first_line", {"exact_match": {"ignore_case": True, "ignore_punctuation": True}}, free),
    "text": ("text", "text", free),
    "contains": ("text", "contains", short),
    "regex": ("text", {"regex": {"pattern": r"(?i)\bthe answer is\b"}}, short),
    "token_f1": ("text", "token_f1", free),
    "edit_similarity": ("text", "edit_similarity", free),
    "chrf": ("text", "chrf", free),
    "rouge_l": ("text", "rouge_l", free),
    "number": ("number", "number", number),
    "date": ("text", "date", date),
    "latex": ("boxed", "latex", formula),
    "boolean": ("text", "boolean", lambda draw: (draw.random() < 0.5, draw.choice(["Yes.", "No."]))),
    "label": ({"label": list(TEAMS)}, "label", short),
    "letter": (
        "letter",
        "choice",
        lambda draw: (draw.choice("ABCD"), f"{sentence(draw)} The answer is ({draw.choice('ABCD')})."),
    ),
    "multi_label": ("json", "multi_label", labels),
    "fields": ("json", {"fields": {"name": "text", "total": "number", "due": "date"}}, record),
    "entities": ("json", "entities", named),
    "spans": ("text", "spans", spans),
    "citation": ("text", "citation", quoted),
    "answer_or_abstain": ("text", "answer_or_abstain", free),
    "refusal": ("text", "refusal", lambda draw: (draw.choice(["safe", "unsafe"]), sentence(draw, 60))),
    "instructions": (
        "text",
        "instructions",
        lambda draw: (["punctuation:no_comma", "length_constraints:number_words"], sentence(draw, 60)),
    ),
    "promptfoo": ("text", "promptfoo", short),
    "bias": ({"label": list(TEAMS)}, "bias", short),
}
ROW = {"context": " ".join(WORDS[:200]), "assertion": "icontains"}
ROW |= {"unknown": TEAMS[0], "biased": TEAMS[1:3], "ambiguous": True}
ROW |= {"kwargs": [{}, {"num_words": 40, "relation": "at least"}]}


def scorers(n: int) -> bool:
    from harness.scoring.scorers import SCORERS
    from harness.tasks.kinds import task_from
    from harness.tasks.score_answer import judge
    from harness.values import Response, Sample

    missing = set(SCORERS) - {"code", "python", "choice", *FAMILIES}
    assert not missing, f"scorers without a line here: {missing}"
    good = True
    draw = random.Random(0)
    task = {"task": "t", "data": {"file": "t.jsonl"}, "prompt": "{q}", "answer": "a"}
    pick = task_from({**task, "kind": "choice", "choices": list(TEAMS)}, "benchmark")
    logprobs = [tuple(-draw.random() for _ in TEAMS) for _ in range(1000)]
    sample = Sample("0", "t", {}, TEAMS[0], TEAMS, TEAMS, 0)
    responses = [(sample, Response("", None, logprobs=one)) for one in logprobs]
    cases = [("(choices by log-probability)", pick, responses)]
    for name, (extract, score, make) in FAMILIES.items():
        config = task_from({**task, "kind": "generate", "extract": extract, "score": score}, "benchmark")
        made = [make(draw) for _ in range(1000)]
        pairs = [(Sample("0", "t", ROW, a), Response("", None, text=b, finish_reason="stop")) for a, b in made]
        cases.append((name, config, pairs))
    for name, config, pairs in cases:
        failed = {str(score.failure) for score in (judge(config, *pair) for pair in pairs[:200])} & {"scorer_error"}
        assert not failed, name
        cpu, wall = time.process_time(), time.perf_counter()
        for i in range(n):
            judge(config, *pairs[i % len(pairs)])
        took = time.process_time() - cpu
        missed = took * 100_000 / n > TARGETS["scorer"]
        good &= not missed
        print(
            line(f"{n:,} answers by {name}", took, time.perf_counter() - wall, "MISSED" if missed else ""), flush=True
        )
    return good


def line(what: str, cpu: float, wall: float, more: str = "") -> str:
    return f"{what:58}{cpu:8.1f} s{wall:8.1f} s  {more}"


def main(rows: int, big: int) -> int:
    print(f"{'':58}{'processor':>10}{'clock':>10}  peak memory")
    both = [files(rows, big), scorers(rows)]
    return int(not all(both))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--step"]:
        step(sys.argv[2], Path(sys.argv[3]))
        raise SystemExit
    given = [int(value) for value in sys.argv[1:]]
    raise SystemExit(main(*(given + [100_000, 1_000_000][len(given) :])))
