"""The warning that latencies were taken beside other work, from shares of the processors' time to its sentence."""

from __future__ import annotations

from collections.abc import Mapping

from harness.analysis.notes import busy
from harness.measure.other_work import Bystanders
from harness.reports.busy_sentences import busy_machine
from harness.reports.notes import sentence
from harness.store.schema import NoteCode


def warning(measured: Mapping[str, Bystanders]) -> str | None:
    found = busy(measured)
    return busy_machine(found[0]) if found else None


def test_a_warning_stands_only_above_the_thresholds():
    assert warning({}) is None
    for quiet in (Bystanders(None, None), Bystanders(0.10, 0.05), Bystanders(0.0, 0.0)):
        assert warning({"m on t": quiet}) is None
    assert warning({"m on t": Bystanders(0.43, 0.01), "n on t": Bystanders(None, None)}) == (
        "WARNING: other work took 43 % of this computer's processors while latencies were measured (m on t): "
        "they may be too long."
    )
    assert "WARNING: the host of this virtual machine kept back 6 % of this" in warning({"m": Bystanders(None, 0.06)})


def test_one_line_tells_the_most_of_all_and_names_the_first():
    found = warning({f"m{i}": Bystanders(i / 10, 0.2 if i == 5 else None) for i in range(1, 6)})
    assert found == (
        "WARNING: other work took up to 50 % and the host of this virtual machine kept back up to 20 % of this "
        "computer's processors while latencies were measured (m2; m3; m4; 1 more): they may be too long."
    )


def test_a_pass_beside_other_work_is_named_as_latencies_are():
    (found,) = busy({"m on t": Bystanders(0.43, 0.0), "n on t": Bystanders(0.02, 0.0)}, NoteCode.BUSY_PASS)
    assert found.level == "warning" and sentence(found) == (
        "WARNING: other work took 43 % of this computer's processors while answers were given (m on t): "
        "tok/s may be too low, and $ a token too high."
    )
