"""A summary that is still a mapping, as the values that costs need; what they do not is left None.

Goes when `open_run` itself gives a `Summary`.
"""

from typing import Any, cast

from harness.store.schema import (
    Cost,
    EnergyUse,
    JudgeWork,
    Note,
    NoteCode,
    Place,
    Row,
    Spent,
    Summary,
    Throughput,
)
from harness.values import Estimate


def _est(v: Any) -> Estimate:
    return Estimate(**{k: v.get(k) for k in ("value", "low", "high")})


def typed(s: dict[str, Any]) -> Summary:
    rows = []
    for r in s["rows"]:
        c, t, e = r["cost"], r["throughput"], r["energy"]
        p = c.get("parts", {})
        where = r["where"]
        rows.append(
            cast(Any, Row)(
                model=r["model"],
                task=r["task"],
                task_version=0,
                layout_of=None,
                mode=r["mode"],
                kind=r["kind"],
                asked=None,
                accuracy=_est(r["accuracy"]),
                expected_loss=None,
                metrics={},
                slices=(),
                difference=None,
                latency=None,
                throughput=Throughput(**t),
                tokens=None,
                cost=Cost(
                    usd=c["usd"],
                    known_usd=c.get("known_usd"),
                    input_usd=p.get("input"),
                    output_usd=p.get("output"),
                    usd_per_1m_input=c["usd_per_1m_input"],
                    usd_per_1m_output=c["usd_per_1m_output"],
                    usd_per_1k_samples=c["usd_per_1k_samples"],
                    usd_per_correct=c["usd_per_correct"],
                    usd_per_1m_characters=None,
                    reasons=c["reasons"],
                ),
                prompt_tokens=None,
                energy=EnergyUse(**{k: e.get(k) for k in EnergyUse.__dataclass_fields__}),
                place=Place(where, cast(Any, {"this machine": "here", "recorded": "file"}.get(where, "host")), False),
                left_machine=None,
                incomplete=None,
            )
        )
    notes = []
    j, sp = s.get("judge"), s.get("spent")
    if j:
        notes.append(Note(NoteCode.JUDGE_BILL, figures=j))
    if sp:
        notes.append(Note(NoteCode.PAID, figures=sp))
    return cast(Any, Summary)(
        run=s["run"],
        digest=s["digest"],
        rows=tuple(rows),
        references=(),
        baseline="",
        machine=None,
        sealed=None,
        spent=sp and cast(Any, Spent)(**sp),
        judge=j and JudgeWork(**j),
        notes=tuple(notes),
    )
