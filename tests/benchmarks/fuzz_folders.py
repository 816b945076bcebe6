"""Damages run folders in every way a stranger could, and reads them: verify, table, labels, cost, score, several runs.

    python -m tests.benchmarks.fuzz_folders --folders 2000

Wrong is a traceback (any error but three lines), over TIME seconds for one reading, over GROWTH MB, and a file that
reading changed or made. Half of the damaged folders have their chains made anew afterwards, as a forger would, so that
what is wrong in them shows only where their values meet.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import signal
import stat
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import harness
from harness.errors import HarnessError
from tests.benchmarks.fuzz_verify import _inside, made
from tests.support.chains import rechain

TIME, GROWTH = 20, 512  # seconds of one reading; MB of all together
ODD: tuple[Any, ...] = (
    *(None, True, "", "x", -1, 0, 0.5, 10**12, -(10**18), 1e308, -1e308, [], {}, [[]], {"a": 1}, [None], "9" * 400),
    *("\ud800", "\x00", "a" * 100_000, [0] * 5000),
)
RAW = ("NaN", "Infinity", "1e999", "-1e999", "9" * 5000, "[" * 5000, '{"a":' * 5000, "[" * 50 + "]" * 50, '"', "\x00")


@dataclass
class Tally:
    """What was read, and what went wrong."""

    outcomes: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


def reach(folder: Path, scratch: Path) -> dict[str, Callable[[], object]]:
    """Returns the ways to read a folder, by name. None of them may write into it but the last."""
    return {
        "verify": lambda: harness.verify(folder),
        "table": lambda: harness.api.tables([folder], "text", width=100),
        "json": lambda: harness.api.tables([folder], "json"),
        "csv": lambda: harness.api.tables([folder], "csv"),
        "labels": lambda: harness.api.tables([folder], "text", "labels"),
        "several": lambda: harness.api.tables([folder, scratch / "whole"], "markdown"),
        "cost": lambda: harness.api.cost_of(folder, machine="cloud-cpu", volume=1000.0),
        "records": lambda: harness.open_run(folder).records(),
        "score": lambda: harness.score(folder),
    }


# --- damage


def flip(file: Path, dice: random.Random) -> None:
    data = bytearray(file.read_bytes() or b" ")
    for _ in range(dice.choice([1, 1, 1, 5, 50])):
        data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
    file.write_bytes(data)


def cut(file: Path, dice: random.Random) -> None:
    data = file.read_bytes()
    a, b = sorted(dice.randrange(len(data) + 1) for _ in range(2))
    file.write_bytes(dice.choice([data[:a], data[:a] + data[b:], data[a:]]))


def _values(file: Path) -> list[Any]:
    texts = [file.read_text()] if file.suffix == ".json" else file.read_text().splitlines()
    return [json.loads(text) for text in texts]


def _write(file: Path, values: list[Any]) -> None:
    file.write_text("".join(json.dumps(value) + "\n" for value in values))


def swap(file: Path, dice: random.Random) -> None:
    """Puts a value of another type or size in the place of one to three others."""
    if file.suffix not in (".json", ".jsonl") or not (values := _values(file)):
        return flip(file, dice)
    for _ in range(dice.choice([1, 1, 2, 3])):
        at = dice.randrange(len(values))
        found = _inside(values[at], dice) if isinstance(values[at], dict | list) else None
        if found is not None:
            container, key = found
            if dice.random() < 0.25:
                del container[key]
            else:
                container[key] = dice.choice(ODD)
    return _write(file, values)


def raw(file: Path, dice: random.Random) -> None:
    """Puts what JSON has no room for, or too much of it, in the place of a number or a text."""
    text = file.read_text(errors="replace")
    at = dice.randrange(len(text) + 1)
    file.write_text(text[:at] + dice.choice(RAW) + text[at + dice.choice([0, 1, 5]) :], errors="replace")


def lines(file: Path, dice: random.Random) -> None:
    found = file.read_bytes().splitlines(keepends=True)
    if found:
        dice.shuffle(found) if dice.random() < 0.5 else found.extend(found[: dice.randrange(1, len(found) + 1)])
    file.write_bytes(b"".join(found))


def odd(file: Path, dice: random.Random) -> None:
    """Puts another thing than a file in its place."""
    target = file.with_name("away")
    file.rename(target)
    kind = dice.choice(["link", "dangling", "fifo", "folder", "endless", "removed", "itself"])
    if kind == "fifo":
        os.mkfifo(file)
    elif kind == "folder":
        file.mkdir()
    elif kind != "removed":
        to = {"link": target, "dangling": "nowhere", "endless": "/dev/zero", "itself": file.name}[kind]
        file.symlink_to(to)


DAMAGE = (flip, cut, swap, swap, swap, raw, lines, odd)


@contextmanager
def within(seconds: int) -> Any:
    def late(*_: object) -> None:
        raise TimeoutError(f"over {seconds} s")

    signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)


def _state(folder: Path) -> dict[str, tuple[int, int]]:
    return {path.name: (path.lstat().st_size, path.lstat().st_mtime_ns) for path in folder.iterdir()}


def damaged(scratch: Path, dice: random.Random) -> tuple[Path, str]:
    """Returns a damaged copy of the whole run, and what was done to it."""
    folder = scratch / "out"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(scratch / "whole", folder)
    said = []
    for _ in range(dice.choice([1, 1, 1, 2])):
        file = folder / dice.choice(sorted(path.name for path in (scratch / "whole").iterdir()))
        damage = dice.choice(DAMAGE)
        if file.is_file() and not file.is_symlink():
            with suppress(ValueError):  # what came before left nothing that this could change
                damage(file, dice)
            said.append(f"{damage.__name__} {file.name}")
    if dice.random() < 0.5 and all(stat.S_ISREG(path.lstat().st_mode) for path in folder.iterdir()):
        with suppress(Exception):
            rechain(folder)
            said.append("rechained")
    return folder, ", ".join(said)


def read(folder: Path, scratch: Path, said: str, tally: Tally) -> None:
    """Reads a folder in every way, and notes what goes wrong."""
    for name, way in reach(folder, scratch).items():
        before = _state(folder)
        try:
            with within(TIME):
                way()
            tally.outcomes[f"{name}: read"] += 1
        except HarnessError as error:
            tally.outcomes[f"{name}: {len(error.lines())} lines"] += 1
            if not 2 <= len(error.lines()) <= 3 or any("\n" in line for line in error.lines()):
                tally.wrong.append(f"{said}: {name}: {error.lines()}")
        except Exception as error:
            last = traceback.extract_tb(error.__traceback__)[-1]
            place = f"{Path(last.filename).name}:{last.lineno}"
            tally.wrong.append(f"{said}: {name}: {type(error).__name__} {str(error)[:100]} at {place}")
        if name != "score" and _state(folder) != before:
            tally.wrong.append(f"{said}: {name} wrote into the folder")


def tried(place: Path, folders: int, seed: int = 0) -> Tally:
    """Returns what became of so many damaged folders."""
    tally, dice = Tally(), random.Random(seed)
    made(place).rename(place / "whole")
    for _ in range(folders):
        folder, said = damaged(place, dice)
        read(folder, place, said, tally)
    return tally


def main() -> None:
    wanted = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    wanted.add_argument("--folders", type=int, default=2000)
    wanted.add_argument("--seed", type=int, default=0)
    asked = wanted.parse_args()
    with tempfile.TemporaryDirectory() as place:
        tally = tried(Path(place), asked.folders, asked.seed)
    for name, count in sorted(tally.outcomes.items()):
        print(f"{count:6d}  {name}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{asked.folders} folders; wrong: {len(tally.wrong)}; peak {peak:.0f} MB")
    for line in tally.wrong[:60]:
        print(line)


if __name__ == "__main__":
    main()
