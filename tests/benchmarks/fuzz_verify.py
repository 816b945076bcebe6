"""Changes a run folder at random, and asks `verify` whether anything was changed.

    python -m tests.benchmarks.fuzz_verify --changes 10000 --renderings 500

A change is of meaning: a value, a key, a line, a byte of a table, a file. A rendering says the same: keys in another
order, blanks in JSON, other ends of lines, the last end of line left out. Missed is a change that verify calls ok;
wronged is a rendering that it does not. A traceback counts as missed.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import harness

PROMPTS = [("1+1", "2"), ("2+2", "4"), ("3+3", "6"), ("4+4", "8"), ("5+5", "10")]
TASK = """task: sums
data: {file: sums.jsonl}
kind: generate
prompt: "{q}="
answer: a
extract: number
slices: [group]
"""
CAPITALS = """task: capitals
sensitivity: internal
licence: CC-BY-4.0
data: {file: capitals.jsonl}
kind: choice
prompt: "{q}"
choices: [Paris, Oslo, Bern]
answer: a
"""
RULES = [{"prompt": "1.1", "text": "2"}, {"prompt": "2.2", "text": "it is 5"}, {"text": "no idea"}]


def made(place: Path) -> Path:
    """Returns the folder of a small run, judged, made in `place`."""
    rows = [{"q": q, "a": a, "group": "odd" if i % 2 else "even"} for i, (q, a) in enumerate(PROMPTS)]
    (place / "sums.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (place / "sums.yaml").write_text(TASK)
    asked = [{"q": "of France?", "a": "Paris"}, {"q": "of Norway?", "a": "Oslo"}, {"q": "of Bern?", "a": "Bern"}]
    (place / "capitals.jsonl").write_text("".join(json.dumps(row) + "\n" for row in asked))
    (place / "capitals.yaml").write_text(CAPITALS)
    models = [{"name": "a", "backend": "scripted", "script": RULES}, {"name": "b", "backend": "scripted"}]
    tasks = [str(place / "sums.yaml"), str(place / "capitals.yaml")]
    latency = {"requests": 2, "warmup": 1}
    run = {"run": "r", "tasks": tasks, "models": models, "machine": "cloud-cpu", "latency": latency}
    return harness.run(run, out=place / "run").folder


@dataclass
class Tally:
    """What was tried, and what went wrong."""

    tried: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    located: int = 0  # changes whose line was named, of files whose lines are checked one by one


# --- changes of meaning


def _inside(value: Any, dice: random.Random) -> tuple[Any, str | int] | None:
    """Returns a container within a value and one of its keys, at random; None where there is nothing inside."""
    places: list[tuple[Any, str | int]] = []

    def walk(one: Any) -> None:
        for key in list(one) if isinstance(one, dict) else range(len(one)):
            places.append((one, key))
            if isinstance(one[key], dict | list):
                walk(one[key])

    walk(value)
    return dice.choice(places) if places else None


def _other(value: Any, dice: random.Random) -> Any:
    """Returns another value than this, alike or of another type."""
    options: list[Any] = [None, "x", 7, -1, 0.25, True, [], {}, "9" * 30, 10**25, value]
    if isinstance(value, bool):
        options += [not value] * 8
    elif isinstance(value, int | float):
        options += [value + 1, value * 2, -value, value + 0.001] * 2
    elif isinstance(value, str) and value:
        at = dice.randrange(len(value))
        options += [value[:at] + value[at + 1 :], value + " ", value[:at] + "z" + value[at + 1 :], value.swapcase()] * 2
    elif isinstance(value, list) and value:
        options += [value[:-1], [*value, value[0]], value[::-1]] * 2
    different = [one for one in options if json.dumps(one) != json.dumps(value) and not _as_number(one, value)]
    return dice.choice(different)


def _as_number(one: Any, other: Any) -> bool:
    """Returns whether two values are the same number: 0 and -0.0, 1 and 1.0."""
    both = all(isinstance(each, int | float) and not isinstance(each, bool) for each in (one, other))
    return both and one == other


def _edit(content: Any, dice: random.Random) -> bool:
    """Changes something inside a JSON value; returns whether it could."""
    found = _inside(content, dice)
    if found is None:
        return False
    container, key = found
    kind = dice.randrange(5)
    if kind == 0:
        del container[key]
    elif kind == 1 and isinstance(container, dict):
        container[f"{key}_"] = container[key]
    else:
        container[key] = _other(container[key], dice)
    return True


def change_json(path: Path, dice: random.Random) -> str | None:
    content = json.loads(path.read_text())
    before = json.dumps(content, sort_keys=True)
    if not _edit(content, dice) or json.dumps(content, sort_keys=True) == before:
        return None
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    return "value"


def change_lines(path: Path, dice: random.Random) -> str | None:
    lines = path.read_text().splitlines()
    if not lines:
        return None
    at, kind = dice.randrange(len(lines)), dice.choice(["value", "value", "value", "delete", "copy", "swap", "junk"])
    if kind == "value":
        content = json.loads(lines[at])
        if not _edit(content, dice):
            return None
        lines[at] = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    elif kind == "delete":
        del lines[at]
    elif kind == "copy":
        lines.insert(dice.randrange(len(lines) + 1), lines[at])
    elif kind == "swap":
        to = dice.randrange(len(lines))
        if lines[to] == lines[at]:
            return None
        lines[at], lines[to] = lines[to], lines[at]
    else:
        lines.insert(at, dice.choice(["", "{}", "null", "[]", "{", '{"key": 1}']))
    path.write_text("".join(line + "\n" for line in lines))
    return kind


def change_text(path: Path, dice: random.Random) -> str | None:
    text = path.read_text()
    at = dice.randrange(len(text.rstrip()))
    new = text[:at] + dice.choice(["", "7", "x", "|"]) + text[at + 1 :]
    if new.split() == text.split():
        return None
    path.write_text(new)
    return "text"


def change_file(path: Path, dice: random.Random) -> str | None:
    kind = dice.choice(["removed", "emptied", "cut", "noise"])
    data = path.read_bytes()
    if kind == "removed":
        path.unlink()
    else:
        cut = data[: dice.randrange(len(data) - 2)]
        path.write_bytes({"emptied": b"", "cut": cut, "noise": cut + b"\xff\x00" + data[len(cut) :]}[kind])
    return kind


def change(path: Path, dice: random.Random) -> str | None:
    """Changes a file; returns how, or None where this time nothing came of it."""
    if dice.random() < 0.05:
        return change_file(path, dice)
    by_suffix: dict[str, Callable[[Path, random.Random], str | None]] = {
        ".json": change_json,
        ".jsonl": change_lines,
        ".md": change_text,
        ".csv": change_text,
    }
    return by_suffix[path.suffix](path, dice)


# --- the same, rendered otherwise


def _shuffled(value: Any, dice: random.Random) -> Any:
    if isinstance(value, dict):
        keys = list(value)
        dice.shuffle(keys)
        return {key: _shuffled(value[key], dice) for key in keys}
    return [_shuffled(one, dice) for one in value] if isinstance(value, list) else value


def render(path: Path, dice: random.Random) -> str | None:
    """Renders a file otherwise; returns how."""
    if path.suffix in (".md", ".csv"):
        data = path.read_bytes()
        kind = dice.choice(["crlf", "no end", "more ends"])
        new = {"crlf": data.replace(b"\n", b"\r\n"), "no end": data.rstrip(), "more ends": data + b"\n\n"}[kind]
        path.write_bytes(new)
        return kind
    indent, blank = dice.choice([None, 1, 4]), dice.choice([(",", ":"), (", ", ": "), (" ,", " : ")])
    escaped = dice.random() < 0.3
    if path.suffix == ".json":
        content = _shuffled(json.loads(path.read_text()), dice)
        path.write_text(
            json.dumps(content, indent=indent, separators=blank, ensure_ascii=escaped) + "\n" * dice.randrange(3)
        )
        return "keys and blanks"
    lines = [_shuffled(json.loads(line), dice) for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps(line, separators=blank, ensure_ascii=escaped) + "\n" for line in lines))
    return "keys and blanks in lines"


def tried(place: Path, changes: int, renderings: int, seed: int = 0) -> Tally:
    """Returns what became of so many changes and renderings of a run made in `place`."""
    dice, tally, whole = random.Random(seed), Tally(), made(place)
    names = sorted(path.name for path in whole.iterdir())
    assert harness.verify(whole).ok
    left = {"change": changes, "rendering": renderings}
    for what, count in left.items():
        done = 0
        while done < count:
            name = dice.choice(names)
            file, kept = whole / name, (whole / name).read_bytes()
            how = change(file, dice) if what == "change" else render(file, dice)
            if how is not None:
                done += 1
                tally.tried[f"{what} {name}: {how}"] += 1
                _judge(whole, what, f"{name} {how} (number {done})", tally)
            file.write_bytes(kept)
    return tally


def _judge(whole: Path, what: str, said: str, tally: Tally) -> None:
    try:
        found = harness.verify(whole)
    except harness.HarnessError as error:
        found = None
        if what == "rendering":
            tally.wrong.append(f"wronged: {said}: {error.what}")
        return
    except Exception as error:
        tally.wrong.append(f"missed: {said}: {type(error).__name__}: {error}")
        return
    tally.located += found.broken_line is not None
    if found.ok == (what == "change"):
        tally.wrong.append(f"{'missed' if found.ok else 'wronged'}: {said}: {found.says}")


def main() -> None:
    wanted = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    wanted.add_argument("--changes", type=int, default=10_000)
    wanted.add_argument("--renderings", type=int, default=500)
    wanted.add_argument("--seed", type=int, default=0)
    asked = wanted.parse_args()
    with tempfile.TemporaryDirectory() as place:
        tally = tried(Path(place), asked.changes, asked.renderings, asked.seed)
    for name, count in sorted(tally.tried.items()):
        print(f"{count:6d}  {name}")
    print(f"{asked.changes} changes, {asked.renderings} renderings; line named for {tally.located}")
    print(f"wrong: {len(tally.wrong)}")
    for line in tally.wrong[:40]:
        print(line)


if __name__ == "__main__":
    main()
