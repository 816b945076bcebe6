"""Damaged and hostile task and data files are refused in words: no traceback, and none of them runs code.

The suite tries a few thousand; `python -m tests.benchmarks.fuzz_tasks 100000` any number, with time and memory.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.mutants import CANARY, judge, mutant

MUTANTS = 2000


@pytest.mark.slow
@pytest.mark.parametrize("tenth", range(10))
def test_a_mutant_is_read_or_refused_in_words(tenth: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    for number in range(tenth * MUTANTS // 10, (tenth + 1) * MUTANTS // 10):
        wrong = judge(mutant(number), tmp_path)
        assert wrong is None, f"mutant {number}: {wrong}"


def test_mutants_are_the_same_every_time_and_a_canary_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    assert mutant(7) == mutant(7) != mutant(8)
    monkeypatch.chdir(tmp_path)
    (tmp_path / CANARY).touch()
    assert judge(mutant(7), tmp_path) == "code ran"
