"""Others' work beside what is timed: from texts of /proc/stat, made up and real, to shares of the time."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from pytest import approx

from harness.measure.other_work import Bystanders, Reading, between, parsed, reading

STAT = """\
cpu  1000 200 300 9000 50 20 30 40 500 100
cpu0 500 100 150 4500 25 10 15 20 250 50
cpu1 500 100 150 4500 25 10 15 20 250 50
intr 12345 0 0
ctxt 99
"""
OURS = "7 (a name) with) brackets) R 1 7 7 0 -1 4194304 1112 0 1 0 30 20 4 6 20 0 1 0 2820928 13107200 2371 0"
START = Reading(t=100.0, processors=2, busy=50.0, stolen=1.0, own=10.0)
UNKNOWN = Bystanders(None, None)


def later(**moved: float) -> Reading:
    """Returns a reading 10 s after the first: 20 s of processors."""
    return replace(START, t=110.0, **{name: getattr(START, name) + by for name, by in moved.items()})


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    (tmp_path / "self").mkdir()
    (tmp_path / "stat").write_text(STAT)
    (tmp_path / "self" / "stat").write_text(OURS)
    return tmp_path


def test_busy_is_all_but_idle_waiting_and_stolen_and_guests_are_counted_once():
    found = parsed(STAT, own=60, ticks_per_s=100, t=5.0)
    assert found == Reading(t=5.0, processors=2, busy=15.5, stolen=0.4, own=0.6)


def test_own_time_is_read_past_a_name_with_brackets_and_holds_ended_children(proc: Path, monkeypatch):
    monkeypatch.setattr("os.sysconf", lambda name: 100)
    assert reading(proc).own == approx(0.30 + 0.20 + 0.04 + 0.06)
    assert reading(proc).busy == 15.5


@pytest.mark.parametrize("text", ["", "cpu 1 2 3\n", "cpu  a b c d e f g h\n", "cpu  0 0 0 0 0 0 0 0 0 0\ncpu0 0 0\n"])
def test_where_the_kernel_does_not_tell_nothing_is_known(proc: Path, text: str):
    (proc / "stat").write_text(text)
    assert reading(proc) is None


def test_without_proc_nothing_is_known_and_it_is_not_zero(tmp_path: Path):
    assert reading(tmp_path / "none") is None
    assert between(None, START) == between(START, None) == between(None, None) == UNKNOWN


def test_others_are_what_was_busy_less_our_own_as_a_share_of_all_processors():
    found = between(START, later(busy=14.0, own=6.0, stolen=1.0))
    assert found == Bystanders(others=approx(0.4), stolen=approx(0.05))


def test_alone_is_zero_and_shares_stay_between_zero_and_one():
    assert between(START, later(busy=6.0, own=6.1)) == Bystanders(0.0, 0.0)
    assert between(START, later(busy=30.0, stolen=30.0)) == Bystanders(1.0, 1.0)


def test_a_counter_that_went_back_is_unknown_and_the_other_is_kept():
    assert between(START, later(busy=-40.0, own=6.0)) == Bystanders(None, 0.0)
    assert between(START, later(busy=12.0, own=-1.0)) == Bystanders(None, 0.0)
    assert between(START, later(busy=8.0, own=6.0, stolen=-0.5)) == Bystanders(approx(0.1), None)


def test_too_short_a_time_or_a_processor_that_came_tells_nothing():
    assert between(START, replace(later(busy=14.0), t=100.4)) == UNKNOWN
    assert between(START, replace(later(busy=14.0), processors=4)) == UNKNOWN


def test_a_server_on_this_computer_is_no_bystander_but_stolen_time_is_told():
    assert between(START, later(busy=20.0, stolen=2.0), served_here=True) == Bystanders(None, approx(0.1))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has /proc/stat")
def test_our_own_work_is_seen_on_this_computer_and_is_not_that_of_others():
    before, began = reading(), time.process_time()
    while time.process_time() - began < 0.6:
        pass
    after = reading()
    assert after.own - before.own == approx(0.6, abs=0.1)
    assert after.busy - before.busy > 0.3
    found = between(before, after)
    ours = (after.own - before.own) / (after.t - before.t) / after.processors
    assert 0.0 <= found.others <= 1.0 - ours + 0.1 and 0.0 <= found.stolen <= 1.0
