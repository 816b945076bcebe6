"""What is known of a model folder, in lines for a person."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from harness.cost.projection import Projection
from harness.models.folder import Fit, ModelFolder
from harness.models.openness import Openness
from harness.reports import projection_text


def text(models: Sequence[ModelFolder], projections: Sequence[Projection | None]) -> str:
    """Returns each model, and what is projected for it where anything is; a blank line between two."""
    return "\n\n".join("\n".join(_lines(model, beside)) for model, beside in zip(models, projections, strict=True))


def _lines(model: ModelFolder, projected: Projection | None) -> Iterator[str]:
    info = model.info
    yield f"{info.name}  ({model.path})"
    yield f"  architecture  {info.architecture or 'unknown'}"
    yield f"  parameters    {info.parameters:,} in {info.dtype}, {info.bytes / 1e6:,.1f} MB of weights"
    yield f"  context       {info.context_length or 'unknown'} tokens"
    yield from memory_lines(model.memory)
    yield from projection_text.lines(projected) if projected is not None else ()
    yield f"  chat template {'yes' if info.has_chat_template else 'none'}"
    yield from (f"  {line}" for line in openness_lines(model.openness))
    yield "  safe to load  yes: safetensors only, no code in its configuration"
    for name, digest in model.files.items():
        yield f"  sha256        {digest[:16]}…  {name}"


def memory_lines(memory: Fit) -> Iterator[str]:
    """Yields what a model takes, and what fits beside its weights where that is known."""
    each = memory.cache_bytes_per_token
    cache = f"{each:,.0f} bytes a token" if each is not None else f"unknown: {memory.reason}"
    yield f"  memory        {memory.weight_bytes / 1e6:,.1f} MB of weights; key-value cache {cache}"
    fits = {n: tokens for n, tokens in memory.largest_context.items() if tokens is not None}
    if fits:
        shown = ", ".join(f"{n} × {tokens:,}" for n, tokens in fits.items())
        full = f"; {memory.concurrency_at_full_context:,} × the full context"
        yield f"  fits          {shown} tokens in {memory.free_bytes / 1e9:,.1f} GB free ({memory.free_on}){full}"


def openness_lines(found: Openness) -> Iterator[str]:
    """Yields what a model declares of its licence, openness and origin, as label and text."""
    yield f"licence       {found.licence or 'unknown'}; commercial use: {found.commercial} ({found.reason})"
    if len(found.chain) > 1:
        yield "made from     " + " <- ".join(f"{link.name} ({link.licence or 'unknown'})" for link in found.chain)
    yield "openness      " + ", ".join(f"{part} {state}" for part, state in found.parts.items())
    yield f"              MOF class {found.mof_class}; Open Source AI Definition: {found.osaid}"
    yield f"publisher     {found.publisher or 'unknown'}; country {found.country or 'unknown'}"
    work = found.compute
    if work.flop is None:
        yield f"training      unknown: {work.source}"
        return
    yield f"training      {work.flop:.1e} FLOP (6·N·D, {work.low:.1e} to {work.high:.1e}), {work.source}"
    for limit, what, verdict in work.thresholds:
        yield f"              {verdict} {limit:.0e}, {what}"
