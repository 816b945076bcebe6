"""Which decoder fits a model: the first that gives the model's own logits."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import torch

from harness.engine.cache import LONGEST_TRIED, chunk_untried, reaches
from harness.engine.generate.packed import PackedDecoder
from harness.engine.generate.padded import PaddedDecoder
from harness.engine.generate.shared_prefixes import Segment
from harness.engine.loaded import LoadedModel

log = logging.getLogger(__name__)

# the first that fits is taken
DECODERS: dict[str, type[PackedDecoder] | type[PaddedDecoder]] = {"packed": PackedDecoder, "padded": PaddedDecoder}


def decoder_for(loaded: LoadedModel) -> tuple[str | None, str]:
    """Returns the name of the first decoder that fits the model (None: none does), and why the last before it does not.

    Each is tried on some tokens against the model alone: what a model can do is measured, never looked up.
    """
    why = ""
    for name, kind in DECODERS.items():
        unfit = obstacle(kind, loaded)
        if unfit is None:
            return name, why
        why = unfit
        log.info("%s does not fit this model: %s", kind.__name__, unfit)
    return None, why


def obstacle(kind: type[PackedDecoder] | type[PaddedDecoder], loaded: LoadedModel) -> str | None:
    """Returns why a decoder does not give the model's own logits while rows join, share prefixes, step and leave.

    None: it does. The rows are longer than the windows and chunks of the model, and one grows beyond them.
    """
    chunk = chunk_untried(loaded.model.config)
    if chunk is not None:
        return f"its layers attend in chunks of {chunk} positions, which are too long to be tried"
    try:
        return None if _gives_its_logits(kind, loaded) else "on a trial its logits were not the model's own"
    except Exception as error:  # a model may fail in any way when it is run in a way it was not written for
        reason = (str(error).strip() or "no reason given").splitlines()[0][:200]
        return f"a trial failed: {type(error).__name__}: {reason}"


@torch.inference_mode()
def _gives_its_logits(kind: type[PackedDecoder] | type[PaddedDecoder], loaded: LoadedModel) -> bool:
    vocabulary = loaded.model.get_input_embeddings().weight.shape[0]
    reach = max((r for r in reaches(loaded.model.config) if r <= min(LONGEST_TRIED, loaded.max_length - 16)), default=0)
    long = [(11 * k + 5 + k * k // 7) % vocabulary for k in range(11 + reach)]
    short = [*long[:3], (3 * long[3] + 1) % vocabulary]
    root = Segment(tuple(long[:2]), None, users=2)  # copied to each row
    child = Segment(tuple(long[2 : 7 + reach]), root, users=1)  # read where it is
    rows: list[list[int]] = []
    seen: list[tuple[list[int], int, torch.Tensor]] = []  # a row, how many of its tokens were read, the logits after

    def note(logits: torch.Tensor, which: Sequence[list[int]]) -> None:
        seen.extend((ids, len(ids), after) for ids, after in zip(which, logits, strict=True))

    def step() -> None:
        for place, ids in enumerate(rows):
            ids.append((7 * len(ids) + place) % vocabulary)
        note(decoder.step([ids[-1] for ids in rows]), rows)

    def join(ids: list[int], after: Segment | None) -> None:
        rows.append(list(ids))
        note(decoder.prefill([ids], [after]), rows[-1:])

    decoder = kind(loaded, shared_length=3)
    with decoder.running():
        decoder.compute([root])
        join(short, root)
        step()
        decoder.compute([child])
        join(long, child)
        step()
        join(long[3 : max(11, reach - 1 + 3)], None)  # one that grows beyond the reach of a mask
        step()
        step()
        decoder.remove(0)
        rows[0] = rows.pop()
        step()
    alone = {id(ids): loaded.model(torch.tensor([ids], device=loaded.device)).logits[0] for ids, _, _ in seen}
    return all(_same(after, alone[id(ids)][read - 1]) for ids, read, after in seen)


def _same(got: torch.Tensor, expected: torch.Tensor) -> bool:
    exact = expected.dtype == torch.float32
    allowed = (1e-4 if exact else 3e-2) * float(expected.float().abs().max().clamp(min=1.0))
    return float((got.float() - expected.float()).abs().max()) <= allowed  # NaN is not
