"""Task files and data files with something wrong in them: seeded, and hostile where a careless reader would run code.

case = mutant(7)              the same for the same number
judge(case, folder)           None if it was accepted or refused in words; else what went wrong
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import random
import shutil
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from harness.config.run import TaskUse
from harness.errors import HarnessError
from harness.tasks import authoring
from harness.tasks.kinds import script
from harness.tasks.load import load_tasks
from harness.tasks.prompt_layouts import formats
from harness.tasks.prompts import check_columns
from harness.tasks.rubric import with_prompt
from harness.tasks.self_test import self_test
from harness.tasks.shots import shots_for

ADDED = ("score", "extract", "choices", "shots", "system", "prepare", "prompts", "costs", "constrain", "wrong")
ADDED += ("turns", "scored", "labels", "rotate", "rubric")
CANARY = "it-ran"  # a file of this name in the working folder says that code ran
ROWS = [
    {"id": f"r{i}", "q": f"What is {i} and {i}?", "a": str(2 * i), "team": ["billing", "sales", "other"][i % 3]}
    | {"A": f"x{i}", "B": "yes", "C": "no", "right": "ABC"[i % 3], "split": "train" if i % 4 == 0 else "test"}
    | {"said": [None, f"x{i}"]}
    for i in range(24)
]
COMMON = {"version": 1, "asks": "something", "licence": "none", "sensitivity": "internal", "cluster": "team"}
TASKS: tuple[dict[str, Any], ...] = (
    {"kind": "choice", "prompt": "Ticket: {q}\nTeam:", "choices": ["billing", "sales", "other"], "answer": "team"},
    {"kind": "choice", "prompt": "{q}\n{choices}\nAnswer:", "choices": {"columns": ["A", "B", "C"]}}
    | {"continuation": "letter", "answer": "right", "answer_is": "letter", "shots": {"n": 2, "from": "train"}},
    {"kind": "generate", "prompt": "{q}", "answer": "a", "extract": {"regex": {"pattern": r"(\d+)", "pick": "last"}}}
    | {"score": {"number": {"absolute": 0.5}}, "also": {"text": "first_line"}, "stop": ["\n"], "slices": ["team"]},
    {"kind": "conversation", "turns": ["{q}", "And {A}?"], "scored": {1: {"answer": "a", "score": "number"}}}
    | {"answer": "said", "over_turns": "all", "transcript": "Q: {turn}\nA:"},
    {"kind": "generate", "prompt": "{q}", "answer": "a", "score": ["exact_match", {"regex": {"pattern": "^[0-9]+$"}}]},
    {"kind": "generate", "prompt": "{q}", "answer": "a"}
    | {"rubric": {"criteria": "Is it {q}?", "scale": {"no": 0, "yes": 1.0}, "human": "B", "of": "A", "max_tokens": 9}},
    {"kind": "conversation", "turns": ["{q}", "And {A}?"], "scored": {1: {}, 2: {}}}
    | {"rubric": {"criteria": "c", "scale": [1, 5], "prompt": "{asked} {answer} {team} {reply} {mark} {expected}"}},
)
JUNK: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1e308, float("nan"), 10**30, "", " ", "x" * 5000, "é\u2028\u202e", "\ud7ff", "{", "{}"),
    *("{q.__class__}", "{q!r}", "{{q}}", "{0}", "{choices}", "../../etc/passwd", "/etc/passwd", "/dev/zero", "."),
    *("(a+)+$", "(", "(?P<a>", "[", "\\", "__import__('os').system('touch it-ran')", "os:system", "subprocess:run"),
    *({}, [], [[]], [None], {"": ""}, {"x": {"y": {"z": 1}}}, ["a"] * 300, {"python": "os:system"}),
    *({"fields": {"a": "b"}}, {"hub": "x/y"}, {"file": ".."}, {"n": 10**9}, {"columns": ["A"]}, {"regex": "(a*)*b"}),
    *("text", "number", "json", "label", "letter", "entities", "multi_label", "date", "python", "promptfoo"),
)
SNIPPETS = (
    "!!python/object/apply:os.system ['touch it-ran']",
    "!!python/name:os.system",
    "!ruby/object:Gem::Installer",
    "&a [*a, *a]",
    "*nothing",
    "<<: *a",
    "{{ cycler.__init__.__globals__.os.system('touch it-ran') }}",
    "{% for x in range(10**9) %}",
    "${jndi:ldap://x}",
    "$(touch it-ran)",
    "`touch it-ran`",
    '=cmd|"/C touch it-ran"!A1',
    "@SUM(1+1)",
    "---\n",
    "...\n",
    "? [a, b]\n: c\n",
    "\t",
    "\x00",
    "\ufeff",
    "\x85",
    "[" * 400,
    "{a: " * 400,
    "- " * 2000,
    '"' * 999,
    "9" * 5000,
    "\\ud83d",
    "NaN",
    "1e999",
)
SUFFIXES = (".jsonl", ".csv", ".json", ".tsv", ".parquet", ".xlsx", ".csv.gz")


@dataclass(frozen=True, slots=True)
class Mutant:
    """One task file and its data, at least one of them damaged."""

    number: int
    task: bytes
    data: bytes
    suffix: str


def mutant(number: int) -> Mutant:
    """Returns the mutant of a number: its task, its data, or both are changed one to four times."""
    draw = random.Random(number)
    suffix = draw.choices(SUFFIXES, weights=(8, 8, 4, 2, 1, 1, 1))[0]
    values = {"task": "t", "data": {"file": f"t{suffix}", "split": "test", "id": "id"}, **COMMON, **draw.choice(TASKS)}
    data = _data(suffix)
    which = draw.choice(("values", "text", "data", "data", "values and data"))
    if "values" in which:
        for _ in range(draw.randint(1, 4)):
            _spoil(values, draw)
    task = yaml.safe_dump(values, allow_unicode=True, sort_keys=draw.random() < 0.5).encode("utf-8", "surrogatepass")
    if which == "text":
        task = _damage(task, draw)
    if "data" in which:
        data = _damage(data, draw)
    return Mutant(number, task, data, suffix)


def judge(case: Mutant, folder: Path) -> str | None:
    """Returns None if the mutant was read, tried and judged, or refused by a HarnessError; else the traceback."""
    path = folder / "t.yaml"
    path.write_bytes(case.task)
    (folder / f"t{case.suffix}").write_bytes(case.data)
    steps: tuple[Callable[[], Any], ...] = (lambda: _try_task(path), lambda: authoring.look(folder / f"t{case.suffix}"))
    try:
        for step in steps:
            try:
                step()
            except HarnessError as error:
                if not error.what or len(str(error)) > 20_000:
                    return f"a message of {len(str(error))} characters: {str(error)[:200]}"
    except Exception:
        return traceback.format_exc()
    finally:
        (folder / f"t{case.suffix}").unlink()
    return "code ran" if Path(CANARY).exists() or (folder / CANARY).exists() else None


def _try_task(path: Path) -> None:
    from dataclasses import replace

    for task in load_tasks(TaskUse(task=str(path))):
        check_columns(task.config, [*task.samples, *task.pool], task.where)
        few = replace(task, samples=task.samples[:5])
        for one in (few, *formats(few, 2, seed=0)):
            for sample in one.samples:
                script(one.config, sample, shots_for(one, sample, 0))
        self_test(with_prompt(few))


@cache
def _data(suffix: str) -> bytes:
    if suffix in (".parquet", ".xlsx"):
        import pandas

        out = io.BytesIO()
        frame = pandas.DataFrame(ROWS)
        frame.to_parquet(out) if suffix == ".parquet" else frame.to_excel(out, index=False)
        return out.getvalue()
    if suffix == ".json":
        return json.dumps(ROWS, indent=1).encode()
    if suffix == ".jsonl":
        return "".join(json.dumps(row) + "\n" for row in ROWS).encode()
    text = io.StringIO()
    table = csv.DictWriter(text, list(ROWS[0]), delimiter="\t" if suffix == ".tsv" else ",")
    table.writeheader()
    table.writerows(ROWS)
    return gzip.compress(text.getvalue().encode(), mtime=0) if suffix.endswith(".gz") else text.getvalue().encode()


def _spoil(values: dict[str, Any], draw: random.Random) -> None:
    """Puts junk in the place of a key's value, at any depth; renames a key, takes it out, or adds one."""
    at: Any = values
    while True:
        keys = list(at) if isinstance(at, dict) else list(range(len(at)))
        if not keys:
            return
        key = draw.choice(keys)
        if isinstance(at[key], dict | list) and draw.random() < 0.6:
            at[key] = dict(at[key]) if isinstance(at[key], dict) else list(at[key])
            at = at[key]
            continue
        break
    way = draw.random()
    junk = draw.choice(JUNK)
    if way < 0.7:
        at[key] = draw.choice((junk, f"{at[key]}{junk}"[:6000], [at[key], junk], {"x": junk}))
    elif way < 0.8:
        del at[key]
    elif isinstance(at, dict):
        at[draw.choice((*ADDED, str(junk)))] = junk
    else:
        at.append(junk)


def _damage(content: bytes, draw: random.Random) -> bytes:
    """Returns the bytes after one to four cuts, swaps, repeats and insertions."""
    for _ in range(draw.randint(1, 4)):
        i, j = sorted(draw.randrange(len(content) + 1) for _ in range(2))
        j = min(j, i + draw.choice((1, 3, 30, 300)))
        snippet = draw.choice(SNIPPETS).encode("utf-8", "surrogatepass")
        way = draw.randrange(7)
        if way == 0:
            content = content[:i] + content[j:]
        elif way == 1:
            content = content[:i] + snippet + content[i:]
        elif way == 2:
            content = content[:i] + snippet + content[j:]
        elif way == 3:
            content = content[:i] + bytes(draw.randrange(256) for _ in range(draw.randint(1, 8))) + content[j:]
        elif way == 4:
            content = content[:j] + content[i:j] * draw.choice((1, 2, 50)) + content[j:]
        elif way == 5:
            content = content[:i]
        else:
            content = content.replace(content[i:j] or b"\n", snippet[:20], 1)
    return content


def clean(folder: Path) -> None:
    """Empties the folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
