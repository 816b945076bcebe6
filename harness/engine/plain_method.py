"""The reference method: sorted, padded batches through the model's own forward and `generate`.

Exact and simple. Faster methods are tested against it. Rows of a batch never influence each other: scoring pads on
the right, where a causal model cannot see; generation pads on the left under an attention mask, and only where a
short trial shows that the model honours the mask; otherwise a batch holds prompts of one length.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, TypeVar

import torch
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList, StoppingCriteria, StoppingCriteriaList

from harness.engine.generate.sampling import next_tokens
from harness.engine.loaded import LoadedModel
from harness.engine.memory import out_of_memory, release, token_budget
from harness.engine.text.answer import GrowingAnswer
from harness.engine.text.thinking import Thinking, Thought
from harness.engine.tokens import ScoredSequence, ScoreSequence
from harness.values import Finish, Sampling

log = logging.getLogger(__name__)

NOT_FINITE = "the model's logits are not finite numbers"

Item = TypeVar("Item")
Result = TypeVar("Result")


# --- scoring ---------------------------------------------------------------------------------------------------------


def score(
    loaded: LoadedModel, sequences: Sequence[ScoreSequence], *, batch_tokens: int | None = None
) -> Iterator[tuple[int, ScoredSequence]]:
    """Yields (index into sequences, what the model thinks of it), longest sequences first.

    Sequences that differ in their last token only share one row. `batch_tokens` bounds rows × longest row.
    Every sequence must be `scorable`.
    """
    sharing: dict[tuple[int, ...], list[int]] = {}
    for index, sequence in enumerate(sequences):
        sharing.setdefault(sequence.ids[:-1], []).append(index)
    rows = sorted(sharing.items(), key=lambda row: (-len(row[0]), row[0]))

    def run(batch: Sequence[tuple[tuple[int, ...], list[int]]]) -> list[tuple[int, ScoredSequence]]:
        return _score_batch(loaded, batch, sequences)

    def fail(row: tuple[tuple[int, ...], list[int]], error: str) -> list[tuple[int, ScoredSequence]]:
        return [(index, ScoredSequence(float("nan"), False, 0.0, 1, error)) for index in row[1]]

    yield from _in_batches(rows, lambda row: len(row[0]), run, fail, batch_tokens or token_budget(loaded))


@torch.inference_mode()
def _score_batch(
    loaded: LoadedModel, batch: Sequence[tuple[tuple[int, ...], list[int]]], sequences: Sequence[ScoreSequence]
) -> list[tuple[int, ScoredSequence]]:
    start = time.perf_counter()
    width = max(len(ids) for ids, _ in batch)
    padded = torch.tensor([[*ids, *[0] * (width - len(ids))] for ids, _ in batch], device=loaded.device)
    # Position p predicts token p + 1: a sequence of n tokens is judged by positions n - n_scored - 1 ... n - 2.
    places = [
        (row, len(ids) - sequences[index].n_scored + offset, token)
        for row, (ids, indices) in enumerate(batch)
        for index in indices
        for offset, token in enumerate(sequences[index].ids[-sequences[index].n_scored :])
    ]
    first = min(position for _, position, _ in places)
    options: dict[str, object] = {"use_cache": False} if "use_cache" in loaded.takes else {}
    if "logits_to_keep" in loaded.takes:
        options["logits_to_keep"] = width - first
    logits = loaded.model(input_ids=padded, **options).logits  # (rows, width or fewer, vocabulary)
    skipped = width - logits.shape[1]
    at = torch.tensor([(row, position - skipped, token) for row, position, token in places], device=logits.device)
    judged = logits[at[:, 0], at[:, 1]].float()  # (places, vocabulary)
    logprobs = judged.gather(1, at[:, 2:]).squeeze(1) - judged.logsumexp(dim=1)
    packed = torch.stack([logprobs.double(), (judged.argmax(dim=1) == at[:, 2]).double()]).tolist()
    seconds = time.perf_counter() - start

    total = sum(len(ids) for ids, _ in batch)
    results, done = [], 0
    for ids, indices in batch:
        for index in indices:
            here = slice(done, done := done + sequences[index].n_scored)
            share = seconds * len(ids) / total / len(indices)
            results.append((index, ScoredSequence(sum(packed[0][here]), all(packed[1][here]), share, len(batch))))
    return results


# --- generation ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class GenerationInput:
    """One prompt as token ids and how to go on from it."""

    ids: tuple[int, ...]
    max_tokens: int
    stop: tuple[str, ...] = ()
    sampling: Sampling = field(default_factory=Sampling)
    seed: int = 0  # of this row's draws; they depend on nothing else
    thinking: Thinking | None = None  # None: nobody looks for a thought


@dataclass(frozen=True, slots=True)
class Generated:
    """What the model wrote after one GenerationInput.

    text: up to the stop string, special tokens left out. ids: every real token, those of the stop included.
    prefill_s, decode_s: this row's shares of the batch's machine seconds, by its real tokens.
    first_token_s, last_token_s: seconds from the start of the batch, also in batches of many.
    """

    text: str
    ids: tuple[int, ...]
    finish_reason: Finish
    stop_string: str | None
    prefill_s: float
    decode_s: float
    first_token_s: float
    last_token_s: float
    batch_size: int
    error: str | None = None
    thought: Thought | None = None  # None: nobody asked
    fallback: str | None = None  # why the plain method wrote it, where another was wanted


def generate(
    loaded: LoadedModel, prompts: Sequence[GenerationInput], *, batch_tokens: int | None = None
) -> Iterator[tuple[int, Generated]]:
    """Yields (index into prompts, what the model wrote), longest prompts first.

    `batch_tokens` bounds rows × (longest prompt + most tokens to generate). Prompts must not be empty, and must
    leave room for `max_tokens` in the context.
    """
    budget = batch_tokens or token_budget(loaded)
    pads = len({len(prompt.ids) for prompt in prompts}) > 1 and _honours_padding(loaded)
    groups: dict[int | None, list[tuple[int, GenerationInput]]] = {}
    for index, prompt in enumerate(prompts):
        groups.setdefault(None if pads else len(prompt.ids), []).append((index, prompt))

    def run(batch: Sequence[tuple[int, GenerationInput]]) -> list[tuple[int, Generated]]:
        return _generate_batch(loaded, batch)

    def fail(row: tuple[int, GenerationInput], error: str) -> list[tuple[int, Generated]]:
        return [(row[0], Generated("", (), "error", None, 0.0, 0.0, 0.0, 0.0, 1, error))]

    def cost(row: tuple[int, GenerationInput]) -> int:
        return len(row[1].ids) + row[1].max_tokens

    for rows in groups.values():
        rows.sort(key=lambda row: (-cost(row), row[1].ids))
        yield from _in_batches(rows, cost, run, fail, budget)


@torch.inference_mode()
def _generate_batch(loaded: LoadedModel, batch: Sequence[tuple[int, GenerationInput]]) -> list[tuple[int, Generated]]:
    start = time.perf_counter()
    rows = [_Row(loaded, prompt) for _, prompt in batch]
    step = _Step(rows)
    _run_generate(
        loaded,
        [prompt.ids for _, prompt in batch],
        max(prompt.max_tokens for _, prompt in batch),
        logits_processor=LogitsProcessorList([step]),
        stopping_criteria=StoppingCriteriaList([_Done(rows)]),
    )
    seconds, prefill = time.perf_counter() - start, step.stamps[0] - start
    n_in, n_out = sum(len(prompt.ids) for _, prompt in batch), sum(len(row.written) for row in rows)
    read = [row.answer.read(row.visible) for row in rows]
    return [
        (
            index,
            Generated(
                text=text,
                ids=tuple(row.written),
                finish_reason=row.finish or "length",
                stop_string=row.stop_string,
                prefill_s=prefill * len(prompt.ids) / n_in,
                decode_s=(seconds - prefill) * len(row.written) / n_out,
                first_token_s=prefill,
                last_token_s=step.stamps[len(row.written) - 1] - start,
                batch_size=len(batch),
                error=row.error,
                thought=thought,
            ),
        )
        for (index, prompt), row, (text, thought) in zip(batch, rows, read, strict=True)
    ]


def _run_generate(
    loaded: LoadedModel,
    rows: Sequence[Sequence[int]],
    max_tokens: int,
    settings: Mapping[str, object] = MappingProxyType({}),
    **options: Any,
) -> Any:
    """Runs the model's own `generate` on left-padded rows; by itself it never stops before `max_tokens`."""
    width = max(map(len, rows))
    inputs = {"input_ids": torch.tensor([[*[0] * (width - len(ids)), *ids] for ids in rows], device=loaded.device)}
    if "attention_mask" in loaded.takes:
        mask = [[*[0] * (width - len(ids)), *[1] * len(ids)] for ids in rows]
        inputs["attention_mask"] = torch.tensor(mask, device=loaded.device)
    # Nothing of the model's own generation settings is followed: the backend emptied them when it loaded the model.
    config = GenerationConfig(max_new_tokens=max_tokens, do_sample=False, use_cache=True, pad_token_id=0, **settings)
    return loaded.model.generate(**inputs, generation_config=config, **options)


class _Row:
    """One answer while it grows: what `next_tokens` asks of a row, and when it is complete."""

    def __init__(self, loaded: LoadedModel, prompt: GenerationInput) -> None:
        self.sampling, self.seed, self.max_tokens = prompt.sampling, prompt.seed, prompt.max_tokens
        self.history = list(prompt.ids)
        self.written: list[int] = []
        self.eos, self.forced = loaded.eos_tokens, deque[int]()
        self.answer = GrowingAnswer(loaded.tokenizer, prompt.stop, prompt.thinking, prompt.ids)
        self.finish: Finish | None = None
        self.stop_string: str | None = None
        self.error: str | None = None

    @property
    def step(self) -> int:
        return len(self.written)

    @property
    def visible(self) -> list[int]:
        """The answer's tokens without the end-of-text token, which some tokenizers do not count as special."""
        return self.written[:-1] if self.written and self.written[-1] in self.eos else self.written

    def push(self, token: int) -> None:
        """Adds a token, unless the row is complete already and only waits for its batch."""
        if self.finish is not None:
            return
        self.history.append(token)
        self.written.append(token)
        self.stop_string = self.answer.push(token)
        if self.answer.thinking is not None:
            self.forced.extend(self.answer.thinking.to_force())
        if self.stop_string is not None or token in self.eos:
            self.finish = "stop"
        elif len(self.written) >= self.max_tokens:
            self.finish = "length"


class _Step(LogitsProcessor):
    """Chooses every row's next token, notes when it was known, and leaves `generate` only that one to take."""

    def __init__(self, rows: Sequence[_Row]) -> None:
        self.rows = rows
        self.stamps: list[float] = []  # clock seconds at which each step's tokens were known

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        broken = scores.isnan().any(dim=1)
        chosen = next_tokens(scores.nan_to_num(nan=0.0), self.rows)  # waits for the device
        chosen = [row.forced.popleft() if row.forced else token for row, token in zip(self.rows, chosen, strict=True)]
        self.stamps.append(time.perf_counter())
        for row, token, bad in zip(self.rows, chosen, broken.tolist(), strict=True):
            if bad and row.finish is None:
                row.finish, row.error = "error", NOT_FINITE
                row.written.append(token)
            row.push(token)
        picked = torch.tensor(chosen, device=scores.device)[:, None]
        return torch.full_like(scores, -torch.inf).scatter(1, picked, 0.0)


class _Done(StoppingCriteria):
    """Tells `generate` which rows are complete."""

    def __init__(self, rows: Sequence[_Row]) -> None:
        self.rows = rows

    def __call__(self, input_ids: torch.Tensor, scores: Any, **kwargs: Any) -> torch.Tensor:
        return torch.tensor([row.finish is not None for row in self.rows], device=input_ids.device)


@torch.inference_mode()
def _honours_padding(loaded: LoadedModel) -> bool:
    """Returns whether a prompt's next-token logits stay the same when it is padded on the left beside a longer one."""
    if "attention_mask" not in loaded.takes:
        return False
    vocabulary = loaded.model.get_input_embeddings().weight.shape[0]
    longer = [(7 * place + 3) % vocabulary for place in range(9)]
    shorter = longer[4:]
    ask = {"output_logits": True, "return_dict_in_generate": True}
    alone = _run_generate(loaded, [shorter], 2, ask)
    beside = _run_generate(loaded, [longer, shorter], 2, ask)
    for one, many in zip(alone.logits, beside.logits):
        exact = loaded.model.dtype == torch.float32
        allowed = (1e-4 if exact else 3e-2) * float(one.abs().max().clamp(min=1.0))
        difference = float((one[0].float() - many[1].float()).abs().max())
        if not difference <= allowed:  # NaN is not
            log.info("left padding moves this model's logits by %.2g: prompts of one length share a batch", difference)
            return False
        if int(one[0].argmax()) != int(many[1].argmax()):
            break  # a tie: the second step reads different tokens
    return True


# --- batches ---------------------------------------------------------------------------------------------------------


def _in_batches(
    items: Sequence[Item],
    cost: Callable[[Item], int],
    run: Callable[[Sequence[Item]], list[Result]],
    fail: Callable[[Item, str], list[Result]],
    budget: int,
) -> Iterator[Result]:
    """Yields the results of all items, run in batches of at most `budget` tokens, costliest items first.

    When memory runs out the whole batch is owed again at half the budget; an item that does not fit alone fails.
    """
    done = 0
    while done < len(items):
        fits = max(1, budget // cost(items[done]))
        batch = items[done : done + fits]
        try:
            results = run(batch)
        except RuntimeError as error:
            if not out_of_memory(error):
                raise
            results = None
        if results is None:
            # Outside the except block: the traceback would keep the failed batch's tensors alive.
            release()
            if len(batch) == 1:
                results = fail(batch[0], f"out of memory on a sequence of {cost(batch[0])} tokens")
            else:
                budget = max(1, len(batch) * cost(batch[0]) // 2)
                log.warning("out of memory on %d rows: trying again with %d tokens a batch", len(batch), budget)
                continue
        done += len(batch)
        yield from results
