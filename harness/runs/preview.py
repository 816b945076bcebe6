"""What a model will be shown, in its own tokens: lengths, what is cut, memory. Loads tokenizers, never weights."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from harness.engine.tokens import encode_pairs, encode_texts
from harness.errors import ModelError
from harness.models.find import unreadable
from harness.models.footprint import NUMBER_BYTES, Footprint, footprint
from harness.models.info import ModelInfo
from harness.runs.planned_model import PlannedModel
from harness.runs.requests import Cell
from harness.tasks.shots import shots_for
from harness.tasks.task import Task
from harness.values import GenerateRequest, LoglikelihoodRequest, Request, Sample

COUNTED = 2000  # prompts of a cell that are tokenised, and the longest one
SHOWN = 3000  # characters of the longest prompt that are shown
LABELS = 8  # commonest answers that are named


@dataclass(frozen=True, slots=True)
class Tokens:
    """How long the prompts of one model on one task are, in its tokens."""

    model: str
    task: str
    counted: int  # prompts
    median: int
    longest: int
    longest_id: str  # sample
    context: int | None  # tokens the model reads; None: it does not say
    room: int  # tokens kept for the answer, or all answers of the conversation
    cut: int | None  # prompts that lose tokens on the left; None where the context is unknown
    cache_bytes: float | None  # of one answer to the longest prompt; None: unknown
    weight_bytes: float  # of the model, in the type it is run in

    def line(self) -> str:
        """Returns what to tell a person."""
        lengths = f"prompt median {self.median}, longest {self.longest} (sample {self.longest_id})"
        if self.context is None:
            fits = "the model does not say how many tokens it reads"
        else:
            kept = f", {self.room} of them for the answer" if self.room else ""
            lost = f"{self.cut} of {self.counted} PROMPTS ARE CUT on the left" if self.cut else "nothing is cut"
            fits = f"context {self.context}{kept}: {lost}"
        memory = "unknown" if self.cache_bytes is None else f"{self.cache_bytes / 1e6:.3g} MB"
        return f"tokens for {self.model}: {lengths}; {fits}; cache of the longest {memory}"


def tokens(cell: Cell) -> Tokens | None:
    """Returns the lengths for one model on one task; None where its tokenizer is not in a folder of this machine.

    So too where it takes code of the model's own, which a preview does not run.
    """
    if cell.model.info is None:
        return None
    try:
        tokenizer = _tokenizer(cell.model.weights.path)
    except ModelError:
        if cell.model.weights.trust_remote_code:
            return None
        raise
    stated = cell.model.weights.max_length or cell.model.info.context_length
    context = stated or (tokenizer.model_max_length if tokenizer.model_max_length < 10**9 else None)
    whole = cell.scripts()
    requests = whole[:COUNTED]
    longest = max(whole, key=lambda request: request.prompt.characters)
    requests = (*requests, *(() if longest in requests else (longest,)))
    lengths = _lengths(tokenizer, requests)
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    most = order[-1]
    kept = [r.max_tokens * r.turn if isinstance(r, GenerateRequest) else 0 for r in requests]
    cut = None if context is None else sum(length + room > context for length, room in zip(lengths, kept))
    needs = _needs(cell.model, cell.model.info)
    return Tokens(
        model=cell.model.config.name,
        task=cell.task.name,
        counted=len(lengths),
        median=lengths[order[len(order) // 2]],
        longest=lengths[most],
        longest_id=requests[most].sample_id,
        context=context,
        room=max(kept),
        cut=cut,
        cache_bytes=needs.cache_bytes(min(lengths[most] + max(kept), context or 10**9)),
        weight_bytes=needs.weight_bytes,
    )


def _lengths(tokenizer: Any, requests: tuple[Request, ...]) -> list[int]:
    """Returns the tokens the model reads for each request: of the longest choice where choices are scored."""
    prefix = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    asked = [request for request in requests if isinstance(request, LoglikelihoodRequest)]
    if not asked:
        texts = [_text(tokenizer, request) for request in requests]
        ids = encode_texts(tokenizer, texts, prefix_token=prefix)
        return [len(ids[text]) for text in texts]
    pairs = [(_text(tokenizer, request), choice) for request in asked for choice in request.continuations]
    sequences = iter(encode_pairs(tokenizer, pairs, max_length=10**9, prefix_token=prefix))
    return [max(len(next(sequences).ids) - 1 for _ in request.continuations) for request in asked]


def _text(tokenizer: Any, request: Request) -> str:
    if request.prompt.text is not None:
        return request.prompt.text
    begun = request.prompt.begun
    turns = [{"role": turn.role, "content": turn.content} for turn in request.prompt.before]
    try:
        rendered: str = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        return rendered + begun
    except Exception:  # whatever a template raises; the run says so in words, here the turns' own text is near enough
        return "\n".join(turn["content"] for turn in turns) + begun


@cache
def _tokenizer(folder: str) -> Any:
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError, ImportError, TypeError) as error:
        raise unreadable(Path(folder), error) from None


def _needs(model: PlannedModel, info: ModelInfo) -> Footprint:
    """Returns what a model needs in the type its weights are run in."""
    named = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16", "F32": "float32", "BF16": "bfloat16"}
    stored = named.get(str(info.dtype), "float16")
    dtype = model.weights.quantization or named.get(model.weights.dtype) or stored
    config = json.loads((Path(model.weights.path) / "config.json").read_text(encoding="utf-8"))
    assert dtype in NUMBER_BYTES
    return footprint(config, parameters=info.parameters, dtype=dtype)


def shots(task: Task, sample: Sample, seed: int) -> str | None:
    """Returns which solved examples stand before a sample, None if there are none."""
    shown = shots_for(task, sample, seed)
    if not shown:
        return None
    named = ", ".join(shot.id for shot in shown[:10])
    return f"{len(shown)} shots before each sample; before {sample.id}: {named}"


def balance(samples: tuple[Sample, ...]) -> str | None:
    """Returns how the right answers are spread, None where most of them stand once, or none is known."""
    samples = tuple(sample for sample in samples if sample.expected is not None)
    counts = Counter(str(sample.expected) for sample in samples)
    if not samples or (len(counts) > len(samples) / 2 and len(samples) > 2):
        return None
    named = [f"{name[:40]} {100 * count / len(samples):.1f} %" for name, count in counts.most_common(LABELS)]
    rest = f", and {len(counts) - LABELS} more" if len(counts) > LABELS else ""
    return f"{len(counts)} right answers: {', '.join(named)}{rest}"


def excerpt(text: str) -> Iterator[str]:
    """Yields the lines of a prompt; of a long one its beginning and its end."""
    if len(text) > SHOWN:
        left = len(text) - SHOWN
        text = f"{text[: SHOWN // 2]}\n... {left:,} characters ...\n{text[-SHOWN // 2 :]}"
    yield from text.split("\n")
