"""Kills the writer of a run folder again and again, loses what was not synced, resumes, and looks for harm.

    python -m tests.benchmarks.crash_store --kills 3000

Each run stores 60 responses of 10 bytes to 8 kB, one at a time or a few together, and is killed (SIGKILL) until it
ends or has died five times; then it is left to finish. Half of the deaths come at a system call of the writer (before
it, after a part of the bytes, after it), half at a moment of the clock. SIGKILL alone would keep what the system
holds in memory, so after it the file is also cut, or filled with zeros, from a random point behind the last fsync.

Harm is: a response lost after it was acknowledged, one stored twice, a run that cannot be resumed, or a file that
differs by one byte from that of a run that was never killed. `--mutant no-fsync` leaves the fsync out, and must lose.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import select
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from harness.store.files import RESPONSES, Disk
from harness.store.folder import RunFolder
from harness.store.log import read_responses

RESPONSES_A_RUN, DEATHS_A_RUN = 60, 5
PLAN = {"digest": "d", "identity": {"task": "crash"}}


@dataclass
class Tally:
    """What was done, and the harm found."""

    kills: int = 0
    runs: int = 0
    torn_tails: int = 0  # lives that began by cutting off half a line
    cut: int = 0  # deaths after which bytes not synced were thrown away
    lost: int = 0
    doubled: int = 0
    not_resumable: int = 0
    changed: int = 0  # runs whose file differs from that of a run never killed
    deaths: Counter[str] = field(default_factory=Counter)  # by the place where the process died
    examples: list[str] = field(default_factory=list)

    def harm(self) -> int:
        return self.lost + self.doubled + self.not_resumable + self.changed


def payloads(seed: int) -> list[dict]:
    """Returns the responses of one run: keys, and texts with everything that JSON and lines find hard."""
    dice = random.Random(seed)
    letters = 'abc \n"\\é\u2028\U0001f600\x00'
    texts = ("".join(dice.choices(letters, k=int(10 ** dice.uniform(1, 3.4)))) for _ in range(RESPONSES_A_RUN))
    return [{"key": f"{seed}-{n}", "text": text, "n": n, "logprobs": [-n / 7]} for n, text in enumerate(texts)]


def crashing_disk(log: Path, tell, die_at: int | None, dice: random.Random, synced: bool) -> Disk:
    """Returns a disk that tells of each fsync of the log, and kills the process at system call number `die_at`."""
    calls = 0

    def due(name: str, moment: str) -> bool:
        nonlocal calls
        calls += 1
        if calls != die_at:
            return False
        tell(f"K {moment} {name}")
        return True

    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def around(name, call):
        def wrapped(*arguments):
            if due(name, "before"):
                die()
            result = call(*arguments)
            if due(name, "after"):
                die()
            return result

        return wrapped

    def write(fd: int, data) -> int:
        if due("write", "within"):
            os.write(fd, data[: dice.randrange(len(data) + 1)])
            die()
        return os.write(fd, data)

    def fsync(fd: int) -> None:
        os.fsync(fd)
        if synced and log.exists() and os.path.samestat(os.fstat(fd), log.stat()):
            tell(f"D {os.fstat(fd).st_size}")

    return Disk(
        write=around("write", write),
        fsync=around("fsync", fsync),
        truncate=around("truncate", os.ftruncate),
        rename=around("rename", os.replace),
    )


def live(folder: Path, seed: int, disk: Disk, tell, dice: random.Random) -> None:
    """One life of the writer: resumes, stores all that is owed, and acknowledges each response when it is stored."""
    with RunFolder.create_or_resume(folder, PLAN, disk) as run:
        log = run.responses()
        if log.note:
            tell("T")
        done = log.keys()
        owed = [payload for payload in payloads(seed) if payload["key"] not in done]
        while owed:
            batch, owed = owed[: (n := dice.choice((1, 1, 2, 5)))], owed[n:]
            log.append_many(batch)
            for payload in batch:
                tell(f"A {payload['key']}")


def one_life(folder: Path, seed: int, dice: random.Random, mortal: bool, synced: bool) -> tuple[bool, list[list[str]]]:
    """Forks a life. Returns whether it was killed, and what it told."""
    ear, mouth = os.pipe()
    by_call = mortal and dice.random() < 0.5
    die_at = dice.randrange(1, 40) if by_call else None
    child_dice = random.Random(dice.random())
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.close(ear)

            def tell(line: str) -> None:
                os.write(mouth, f"{line}\n".encode())

            disk = crashing_disk(folder / RESPONSES, tell, die_at, child_dice, synced)
            live(folder, seed, disk, tell, child_dice)
            status = 0
        except BaseException:
            os.write(mouth, f"E {traceback.format_exc(limit=-1)!r}\n".encode())
        finally:
            os._exit(status)
    os.close(mouth)
    deadline = time.monotonic() + dice.uniform(0, 0.01) if mortal and not by_call else None
    told = bytearray()
    while True:
        wait = None if deadline is None else max(0.0, deadline - time.monotonic())
        if not select.select([ear], [], [], wait)[0]:
            os.kill(child, signal.SIGKILL)
            deadline = None
            continue
        chunk = os.read(ear, 1 << 16)
        if not chunk:
            break
        told += chunk
    os.close(ear)
    _, status = os.waitpid(child, 0)
    lines = [line.split(" ", 1) for line in told.decode().split("\n")[:-1]]
    return os.WIFSIGNALED(status), lines


def lose(log: Path, durable: int, dice: random.Random) -> bool:
    """Throws away, or fills with zeros, bytes behind the last fsync; sometimes none. Returns whether it did."""
    size = log.stat().st_size if log.exists() else 0
    way = dice.choice(("keep", "cut", "zeros"))
    if way == "keep" or size <= durable:
        return False
    kept = dice.randrange(durable, size)
    os.truncate(log, kept)
    if way == "zeros":
        os.truncate(log, size)
    return True


def one_run(folder: Path, seed: int, tally: Tally, kills: int, synced: bool) -> None:
    """Kills one run up to DEATHS_A_RUN times, lets it finish, and adds what was found to the tally."""
    dice, log = random.Random(seed), folder / RESPONSES
    acknowledged: set[str] = set()
    durable = deaths = 0
    tally.runs += 1
    while True:
        mortal = deaths < DEATHS_A_RUN and tally.kills < kills
        killed, told = one_life(folder, seed, dice, mortal, synced)
        place = "the clock"
        for kind, *rest in told:
            if kind == "A":
                acknowledged.add(rest[0])
            elif kind == "D":
                durable = int(rest[0])
            elif kind == "T":
                tally.torn_tails += 1
            elif kind == "K":
                place = rest[0]
            elif kind == "E":
                tally.not_resumable += 1
                tally.examples.append(f"seed {seed}: {rest[0]}")
                return
        if not killed:
            break
        deaths += 1
        tally.kills += 1
        tally.deaths[place] += 1
        tally.cut += lose(log, durable, dice)
        stored = _keys(log)
        lost = acknowledged - set(stored)
        if lost:
            tally.lost += len(lost)
            tally.examples.append(f"seed {seed}: lost {sorted(lost)[:3]} after death {deaths} at {place}")
            acknowledged -= lost
    stored = _keys(log)
    tally.doubled += len(stored) - len(set(stored))
    with tempfile.TemporaryDirectory() as other:
        live(Path(other), seed, Disk(fsync=lambda fd: None), lambda line: None, dice)
        tally.changed += (Path(other) / RESPONSES).read_bytes() != log.read_bytes()


def _keys(log: Path) -> list[str]:
    return [payload["key"] for payload in read_responses(log)] if log.exists() else []


def crash(kills: int, seed: int = 0, synced: bool = True, folder: Path | None = None) -> Tally:
    """Returns what `kills` deaths of the writer led to. `synced` False: fsync counts for nothing (the mutant)."""
    tally = Tally()
    with tempfile.TemporaryDirectory(dir=folder) as root:
        while tally.kills < kills:
            one_run(Path(root) / str(tally.runs), seed * 1_000_003 + tally.runs, tally, kills, synced)
    return tally


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--mutant", choices=["none", "no-fsync"], default="none")
    parser.add_argument("--folder", type=Path, help="where the runs are written (default: the temporary folder)")
    options = parser.parse_args()
    tally = crash(options.kills, options.seed, options.mutant == "none", options.folder)
    print(json.dumps({**vars(tally), "examples": tally.examples[:5], "harm": tally.harm()}, indent=2))
    return 1 if tally.harm() else 0


if __name__ == "__main__":
    sys.exit(main())
