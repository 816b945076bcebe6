"""Rows and summaries for tests of what is made of them: everything unknown but what a test gives."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from harness.measure.other_work import Bystanders
from harness.reports.notes import sentence
from harness.store.schema import (
    Cost,
    Counts,
    Difference,
    Egress,
    EnergyUse,
    Latency,
    Note,
    NoteCode,
    Place,
    PromptTokens,
    Reference,
    Row,
    Summary,
    Throughput,
    Tokens,
)
from harness.values import Estimate

UNKNOWN = Estimate(None, reason="unknown")
NO_COST = Cost(None, None, None, None, None, None, None, None, None)
ROW = Row(
    model="m",
    task="t",
    task_version=2,
    layout_of=None,
    mode="loglikelihood",
    kind="choice",
    reads="choices",
    asked=Counts(n=300, responses=300, expected=300, errors=0, missing=0, transient=0, truncated_prompts=0),
    accuracy=Estimate(0.86, 0.816, 0.895, method="wilson", n=300),
    expected_loss=None,
    metrics={},
    slices=(),
    difference=None,
    latency=Latency(UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN, 0, 0, 0, Bystanders()),
    throughput=Throughput(),
    tokens=Tokens(None, None, None, None, None),
    cost=NO_COST,
    prompt_tokens=PromptTokens(),
    energy=EnergyUse("none", None, None, None, None, None, None, None, None, "not measured"),
    place=Place("this machine", "here", paid=False),
    left_machine=Egress((), 0.0, 0),
    incomplete=None,
)


def row(model: str = "m", **changes: Any) -> Row:
    """Returns a row of 300 scored choices on this machine, with changes."""
    return replace(ROW, model=model, **changes)


def difference(value: float | None, low: float | None = None, high: float | None = None) -> Difference:
    """Returns a difference to the baseline on 300 samples."""
    return Difference(Estimate(value, low, high, n=300, method="tango"), 0.01, "McNemar mid-p", 30, 20, 250)


def summary(*rows: Row, **changes: Any) -> Summary:
    """Returns the summary of these rows, with one reference and one note."""
    found = Summary(
        run="r",
        digest="d" * 64,
        rows=rows,
        references=(Reference("chance", "t", 300, 1 / 77),),
        baseline="m",
        machine=None,
        sealed=None,
        spent=None,
        judge=None,
        notes=(Note(NoteCode.MEASURED_ON, figures={"processor": "a processor", "cores": 2}),),
    )
    return replace(found, **changes)


def said(found: Summary) -> list[str]:
    """Returns the notes of a summary as people read them."""
    return [sentence(note) for note in found.notes]
