"""What a model will be shown, in its own tokens: lengths, what is cut, memory. Loads tokenizers, never weights."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from harness.backends.local.templates import ChatTemplate
from harness.backends.local.tokenizer import OpenedTokenizer, open_tokenizer
from harness.engine.tokens import encode_pairs, encode_texts
from harness.errors import ModelError
from harness.models.find import resolve_model
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
    opened = opened_of(cell.model)
    if opened is None:
        return None
    tokenizer = opened.tokenizer
    stated = cell.model.weights.max_length or cell.model.info.context_length
    context = stated or (tokenizer.model_max_length if tokenizer.model_max_length < 10**9 else None)
    whole = cell.scripts()
    requests = whole[:COUNTED]
    longest = max(whole, key=lambda request: request.prompt.characters)
    requests = (*requests, *(() if longest in requests else (longest,)))
    lengths = _lengths(opened, requests)
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


def _lengths(opened: OpenedTokenizer, requests: tuple[Request, ...]) -> list[int]:
    """Returns the tokens the model reads for each request: of the longest choice where choices are scored."""
    tokenizer, template = opened.tokenizer, ChatTemplate(opened.tokenizer)
    prefix, opening = opened.prefix_token, opened.frame.opening
    asked = [request for request in requests if isinstance(request, LoglikelihoodRequest)]
    if not asked:
        texts = [_text(template, request) for request in requests]
        ids = encode_texts(tokenizer, texts, prefix_token=prefix, opening=opening)
        return [len(ids[text]) for text in texts]
    pairs = [(_text(template, request), choice) for request in asked for choice in request.continuations]
    sequences = iter(encode_pairs(tokenizer, pairs, max_length=10**9, prefix_token=prefix, opening=opening))
    return [max(len(next(sequences).ids) - 1 for _ in request.continuations) for request in asked]


def _text(template: ChatTemplate, request: Request) -> str:
    """Returns the prompt as the model gets it; of one that the template refuses, its texts: near enough for lengths."""
    made = template.render(request)
    return made.text if made.error is None else request.prompt.content


def sent(cell: Cell, request: Request) -> str | None:
    """Returns the prompt of a request after the model's chat template; None where its tokenizer is not here.

    Raises ModelError for messages that the template refuses, or of which it loses a text.
    """
    opened = opened_of(cell.model) if cell.model.info is not None else None
    if opened is None:
        return None
    made = ChatTemplate(opened.tokenizer).render(request)
    if made.error is not None:
        where = f"model {cell.model.config.name}, task {cell.task.name}, sample {request.sample_id}"
        raise ModelError(made.error, where=where, fix="mend the template, or set `chat_template: off` for the model")
    return made.text


def check_templates(cells: Sequence[Cell]) -> None:
    """Raises ModelError for the first model whose chat template does not give the messages of a task back."""
    for cell in cells:
        if cell.chat and cell.requests:
            sent(cell, cell.requests[0])


def opened_of(model: PlannedModel) -> OpenedTokenizer | None:
    """Returns the tokenizer of a model on this machine; None where it takes code of the model's own."""
    config = model.weights
    try:
        return _opened(config.path, config.adapter)
    except ModelError:
        if config.trust_remote_code:
            return None
        raise


@cache
def _opened(folder: str, adapter: str | None) -> OpenedTokenizer:
    return open_tokenizer(Path(folder), None if adapter is None else resolve_model(adapter))


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
