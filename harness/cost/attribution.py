"""What a pass over a task cost, split between reading prompts and writing answers.

    bill  = wall_s / 3600 · hourly / utilisation
    input = bill · prefill_s / (prefill_s + decode_s)        output = bill · decode_s / (prefill_s + decode_s)

The machine is charged once: the time in which it did neither (encoding, waiting, writing files) is spread over both in
proportion, so the parts sum to the bill. Valid where prefill and decode do not overlap, as in a static batch; for a
server with mixed batching fit `cost.capacity` instead. Source: reference/latency_and_cost.md §3.2 (B).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class CostBreakdown:
    """What a pass cost, in USD. None means unknown; `reasons` says why, by field name."""

    usd: float | None  # the bill of the whole pass
    parts: Mapping[str, float | None]  # input, output: they sum to `usd`
    usd_per_1m_input: float | None
    usd_per_1m_output: float | None
    usd_per_1k_samples: float | None
    usd_per_correct: float | None
    reasons: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Pass:
    """What a pass over a task took and brought. None: it was not measured."""

    wall_s: float | None  # elapsed
    prefill_s: float | None  # machine seconds inside it, reading prompts
    decode_s: float | None  # and writing answers
    input_tokens: int  # real ones, no padding
    output_tokens: int
    samples: int
    correct: float | None  # the sum of the values in [0, 1]: partial credit counts in part


def attribute(passed: Pass, *, usd_per_hour: float | None, utilisation: float) -> CostBreakdown:
    """Returns the cost of one pass, by token, by sample and by correct answer.

    `utilisation` is the share of paid hours that serve requests, in (0, 1].
    """
    wall_s, prefill_s, decode_s = passed.wall_s, passed.prefill_s, passed.decode_s
    reasons: dict[str, str] = {}

    def over(field_name: str, usd: float | None, count: float | None, per: float, none_left: str) -> float | None:
        """Returns usd/count·per; unknown, with its reason, when either is missing."""
        if usd is None:
            reasons.setdefault(field_name, reasons.get("usd", "the split into input and output is unknown"))
            return None
        if not count:
            reasons[field_name] = none_left
            return None
        return usd / count * per

    bill = None
    if usd_per_hour is None:
        reasons["usd"] = "no price for the machine is known"
    elif not wall_s:
        reasons["usd"] = "the duration of the pass was not measured"
    else:
        bill = wall_s / 3600.0 * usd_per_hour / utilisation

    reading = writing = None
    split = prefill_s is not None and decode_s is not None and prefill_s + decode_s > 0
    if bill is not None and prefill_s is not None and decode_s is not None and split:
        reading = bill * prefill_s / (prefill_s + decode_s)
        writing = bill - reading
    if bill is not None and not split:
        unsplit = "the seconds of prefill and decode were not measured"
        reasons["usd_per_1m_input"] = reasons["usd_per_1m_output"] = unsplit

    return CostBreakdown(
        usd=bill,
        parts={"input": reading, "output": writing},
        usd_per_1m_input=over("usd_per_1m_input", reading, passed.input_tokens, 1e6, "no input tokens"),
        usd_per_1m_output=over("usd_per_1m_output", writing, passed.output_tokens, 1e6, "no output tokens"),
        usd_per_1k_samples=over("usd_per_1k_samples", bill, passed.samples, 1e3, "no samples"),
        usd_per_correct=over("usd_per_correct", bill, passed.correct, 1.0, "no correct answer"),
        reasons=reasons,
    )
