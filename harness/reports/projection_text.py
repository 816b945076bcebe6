"""What a projection says to a person: figures and what each rests on, apart from what was measured."""

from __future__ import annotations

from collections.abc import Iterator

from harness.cost.projection import ASSUMED, BEST, LONG_PROMPT, TESTED, WORST, NoProjection, Projected, Projection
from harness.models.footprint import SHARE


def lines(found: Projection) -> Iterator[str]:
    """Yields a projection for a person: a heading, and lines that stand below it."""
    read, written = found.input_tokens, found.output_tokens
    asked = "" if read is None or written is None else f": requests of {read:,.0f} tokens in, {written:,.0f} out"
    yield f"  projected     for {found.machine}, not measured{asked}"
    told = [("unknown", found.reason)] if isinstance(found, NoProjection) else [*_figures(found), *_assumptions(found)]
    yield from (f"    {label:11} {text}" for label, text in told)


def _figures(found: Projected) -> Iterator[tuple[str, str]]:
    """Yields (label, text) of what is projected, each for one line of a terminal."""
    rates = f"{found.input_tokens_per_s:,.0f} tokens/s in and {found.output_tokens_per_s:,.0f} out, together"
    yield "saturated", f"{rates}, by the whole machine"
    span = f"{found.gpu_s_low:.3g} to {found.gpu_s_high:.3g} over the range of the shares"
    yield "a request", f"{found.gpu_s:.3g} GPU-seconds ({span})"
    if (least := found.tpot_s_at_least) is not None:
        yield "one stream", f"TPOT {least * 1e3:.3g} ms or more: the weights in use are read for each token"
    copies, size = found.chips // found.chips_a_copy, f"{found.chips_a_copy} × {found.chip}"
    held = f"1 copy on {size}" if copies == 1 else f"{copies} copies, each on {size}"
    many = f"{found.requests_at_a_time:,} such requests at a time"
    yield "fits", f"{held}; {many} in {found.memory_bytes / 1e9:,.0f} GB"
    price = found.price
    if price.reason is not None:
        yield "unknown", f"the cost: {price.reason}"
    else:
        yield "price", f"${price.usd_per_hour:.4g}/h ({price.label}, {price.date})"
    for share, cost in found.by_utilisation.items():
        written = "" if cost.usd_per_1m_output is None else f", ${cost.usd_per_1m_output:.3g}/1M out"
        rate = f"${cost.usd_per_1m_input:.3g}/1M in{written}, ${cost.usd_per_request:.3g} a request"
        yield f"{100 * share:.0f} % in use", rate


def _assumptions(found: Projected) -> Iterator[tuple[str, str]]:
    """Yields (label, text) of what a projection rests on."""
    compute = _range(ASSUMED.compute, WORST.compute, BEST.compute)
    bandwidth = _range(ASSUMED.bandwidth, WORST.bandwidth, BEST.bandwidth)
    peaks = f"{compute} of the {found.bits}-bit peak, {bandwidth} of bandwidth"
    yield "assumed", f"{peaks}, {100 * SHARE:.0f} % of memory"
    if found.active_parameters < TESTED:
        yield "at best", "these shares are of larger models: a small one keeps less of a chip busy"
    if found.used_share < 1.0:
        used = f"{100 * found.used_share:.1f} %"
        yield "at best", f"a token uses {used} of the parameters, as if experts were equally busy"
    if found.input_tokens > LONG_PROMPT:
        yield "at best", f"attention over prompts beyond {LONG_PROMPT:,} tokens is not in it"


def _range(assumed: float, worst: float, best: float) -> str:
    return f"{100 * assumed:.0f} % ({100 * worst:.0f} to {100 * best:.0f} %)"
