"""Judges many damaged task and data files: python -m tests.benchmarks.fuzz_tasks [COUNT] [FIRST]

Prints what went wrong (nothing should), the slowest mutants, and how much memory judging took beyond what the
libraries take that are loaded anyway. Exits 1 if one raised, ran code, took over a second of CPU, or over 256 MB.
"""

from __future__ import annotations

import os
import resource
import sys
import tempfile
import time
from pathlib import Path

os.environ |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}

from tests.support.mutants import judge, mutant


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main(count: int, first: int) -> int:
    import datasets
    import openpyxl
    import pandas
    import pyarrow.parquet

    loaded = (datasets, openpyxl, pandas, pyarrow.parquet)
    wrong, slowest = 0, []
    with tempfile.TemporaryDirectory() as name:
        os.chdir(name)
        for number in range(20):
            judge(mutant(number), Path(name))
        before = peak_mb()
        for number in range(first, first + count):
            case = mutant(number)
            started, cpu = time.perf_counter(), time.process_time()
            problem = judge(case, Path(name))
            took = (time.process_time() - cpu, time.perf_counter() - started, number)
            slowest = sorted([*slowest, took], reverse=True)[:5]
            if problem is not None:
                wrong += 1
                print(f"mutant {number}: {problem}", flush=True)
        os.chdir("/")
    grown = peak_mb() - before
    print(f"{count} mutants from {first}: {wrong} wrong; {len(loaded)} libraries loaded before")
    print("slowest (CPU s, wall s, number):", ", ".join(f"({c:.2f}, {w:.2f}, {n})" for c, w, n in slowest))
    print(f"memory: {before:.0f} MB before, {grown:.0f} MB more at most")
    return int(wrong > 0 or slowest[0][0] > 1 or grown > 256)


if __name__ == "__main__":
    arguments = [int(value) for value in sys.argv[1:]]
    raise SystemExit(main(*(arguments + [2000, 0][len(arguments) :])))
