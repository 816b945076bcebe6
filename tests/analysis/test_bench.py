"""What follows from the rows of a benchmark: its limits, its shapes, and what a reader must know."""

from __future__ import annotations

from typing import Any

from harness.analysis.bench import not_measured, shape_of
from harness.analysis.bench_notes import notes
from harness.config.bench import BenchConfig
from harness.cost.capacity import Shape
from harness.reports.bench_sentences import sentence
from harness.store.schema import BenchedModel, BenchRow, BenchSummary, BenchWorkload, Host, NoteCode
from tests.support.loads import bench_row, times

HOST = Host(system="Linux", processor="x", cores=2, memory_bytes=None)
ELSEWHERE = BenchedModel(
    backend="openai", load_s=None, in_process=False, device=None, device_name=None, sealed=None, memory=None
)


def summary(*rows: BenchRow, **changes: Any) -> BenchSummary:
    whole = {"run": "r", "slo": None, "prefix_cache": "allow", "models": {"m": ELSEWHERE}, "rows": rows}
    return BenchSummary(**{**whole, "workloads": (), **changes})


def told(found: BenchSummary) -> list[str]:
    return [sentence(note) for note in notes(found, HOST)]


def test_a_saturated_scenario_is_a_shape_for_the_fit():
    known = {"n": 12, "failed": {"cut": 2}, "requests_per_s": 4.0, "input_tokens": 1000}
    assert shape_of(bench_row(**known, output_tokens=300, cached_tokens=200), gpus=2) == Shape(80.0, 30.0, 0.5)
    assert shape_of(bench_row(**known, output_tokens=None)) is None


def test_a_computer_too_busy_to_send_in_time_is_told():
    rate = {"kind": "rate", "scenario": "rate 9", "n": 5}
    late = summary(bench_row(**rate, late_s=times(max=0.5)))
    assert "m · t, rate 9: this computer was too busy and sent requests up to 500 ms late." in told(late)
    in_time = summary(bench_row(**rate, late_s=times(p99=0.001, max=0.5)))
    assert not [said for said in told(in_time) if "late" in said]


def test_loads_that_were_left_out_are_named():
    rows = [bench_row(scenario=name) for name in ("single", "concurrency 2", "rate 4")]
    asked = BenchConfig(concurrency=(1, 2, 4, 8), rate=(4, 9.5))
    assert not_measured(rows, asked) == ("concurrency 4", "concurrency 8", "rate 9.5")
    work = BenchWorkload(
        model="m",
        task="t",
        not_measured=("concurrency 4",),
        first_request_s=0.1,
        most_requests_per_s=None,
        knee=None,
        slo_requests_per_s=None,
        all_rates_in_slo=False,
    )
    said = " ".join(told(summary(workloads=(work,))))
    assert "m · t: concurrency 4 left out: the load before brought no more throughput" in said


def test_a_note_is_a_fact_and_its_sentence_is_made_last():
    ended = summary(bench_row(stopped="time: 7 s are over", failed={"unfinished": 3}))
    (note,) = [note for note in notes(ended, HOST) if note.code is NoteCode.LOAD_ENDED_EARLY]
    assert note.figures == {"scenario": "single", "reason": "time: 7 s are over", "unfinished": True}
    assert sentence(note) == (
        "m · t, single: ended early, time: 7 s are over; its times are of the answers that came until then."
    )


def test_every_code_of_a_benchmark_has_its_sentence():
    from harness.reports.bench_sentences import _SENTENCES

    first, last = list(NoteCode).index(NoteCode.LOAD_SENT_FROM), list(NoteCode).index(NoteCode.TOKEN_SECONDS_UNKNOWN)
    assert set(list(NoteCode)[first : last + 1]) <= set(_SENTENCES)
