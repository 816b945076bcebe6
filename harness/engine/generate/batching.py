"""Continuous batching: rows leave when they are done, and others take their place.

Prompts are planned as a prefix tree, and what several share is computed once. A fixed number of places run together;
each step writes one token for every row. A row that is done leaves at once, and waiting rows are prefilled and join.
The same token ids as the model's own `generate` on each prompt alone, within floating-point error of the logits.
"""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch

from harness.engine import plain_method
from harness.engine.generate.choose import DECODERS, decoder_for
from harness.engine.generate.decoder import Decoder
from harness.engine.generate.row import Row, RowGenerated
from harness.engine.generate.sampling import next_tokens
from harness.engine.generate.shared_prefixes import Segment, shared_segments
from harness.engine.generate.single_row import LoneDecoder
from harness.engine.loaded import LoadedModel
from harness.engine.memory import out_of_memory, release
from harness.engine.plain_method import NOT_FINITE, Generated, GenerationInput
from harness.engine.score.choose import beyond, rescaled_beyond

log = logging.getLogger(__name__)

_Make = Callable[[LoadedModel], Decoder]

SLOTS = {"cpu": 32, "mps": 32, "cuda": 128}  # rows that run together; more are hardly faster, and take memory
PREFILL_TOKENS = 4096  # tokens run at once when rows join (one longer prompt runs alone)
BUDGET = {"cpu": 65_536, "mps": 65_536, "cuda": 524_288}  # tokens of keys and values: rows x longest row


class Generator:
    """Runs prompts through one model with the best decoder that fits it: `method` is packed, padded or plain.

    A prompt by itself is run by the model alone (`lone`), unless a method was named.
    """

    def __init__(self, loaded: LoadedModel, method: str | None = None) -> None:
        """method: packed, padded or plain, untried; None: the first that fits."""
        self.loaded = loaded
        found, self.why = (method, "") if method is not None else decoder_for(loaded)
        self.method = found or "plain"
        self.decoder = DECODERS.get(self.method)
        alone = partial(LoneDecoder, packed=self.method == "packed")
        self.lone: _Make | None = alone if method is None else self.decoder  # for a prompt that runs by itself
        # Beyond this length a model turns all positions by other angles: such a row runs alone, as `generate` runs it.
        self.limit = rescaled_beyond(loaded.model.config) or math.inf
        self.batches = self.decoder is None and self.limit == math.inf and _rows_keep_apart(loaded)

    def run(
        self,
        prompts: Sequence[GenerationInput],
        *,
        slots: int | None = None,
        budget: int | None = None,
        wall_s: float | None = None,
    ) -> Iterator[tuple[int, RowGenerated]]:
        """Yields (index into prompts, what the model wrote) as rows finish.

        slots: rows that run together (unheeded when plain). budget: rows x longest row, in tokens. wall_s: seconds
        for all prompts; rows still running then end with the finish reason `time`, as do those that have not begun.
        """
        deadline = None if wall_s is None else time.perf_counter() + wall_s
        kind = self.loaded.device.type
        longest = [min(len(p.ids) + p.max_tokens, self.loaded.max_length) for p in prompts]
        plainly = [i for i, n in enumerate(longest) if self.decoder is None or n > self.limit]
        others = sorted(set(range(len(prompts))) - set(plainly))
        if others:
            places = max(1, slots or SLOTS.get(kind, SLOTS["cpu"]))
            decoder = self.lone if len(others) == 1 else self.decoder
            assert decoder is not None  # else all rows run plainly
            batch = _Batch(self.loaded, decoder, places, budget or BUDGET.get(kind, BUDGET["cpu"]), deadline)
            for index, generated in batch.run([prompts[i] for i in others]):
                yield others[index], generated
        if plainly:
            for index, generated in self._run_plain([prompts[i] for i in plainly], budget, deadline):
                yield plainly[index], generated

    def _fallback(self) -> str | None:
        """Returns why a row runs plainly, None where that was asked for."""
        if self.decoder is not None:
            return beyond(int(self.limit))
        return self.why or None

    def _run_plain(
        self, prompts: Sequence[GenerationInput], budget: int | None, deadline: float | None
    ) -> Iterator[tuple[int, RowGenerated]]:
        """Sorted batches of the model's own `generate`; the deadline is looked at between batches."""
        start, owed = time.perf_counter(), set()
        for index, prompt in enumerate(prompts):
            if (why := _beyond_plain(prompt)) is None:
                owed.add(index)
            else:
                row = Row(self.loaded, index, prompt, start)
                row.error = why
                yield index, row.finished("error")
        able = sorted(owed)
        answers = plain_method.generate(
            self.loaded, [prompts[i] for i in able], batch_tokens=budget if self.batches else 1
        )
        for place, generated in answers:
            index = able[place]
            owed.discard(index)
            yield index, _from_plain(generated, start, self._fallback())
            if deadline is not None and time.perf_counter() > deadline:
                break
        for index in sorted(owed):
            yield index, Row(self.loaded, index, prompts[index], start).finished("time")


def _beyond_plain(prompt: GenerationInput) -> str | None:
    """Returns what of a prompt the plain method cannot do, or None."""
    asked = {
        "hold an answer to a schema, regex or choices": getattr(prompt, "constraint", None) is not None,
        "tell the log-probabilities of an answer": getattr(prompt, "logprobs", False),
    }
    wanted = next((name for name, is_asked in asked.items() if is_asked), None)
    return None if wanted is None else f"the plain method, which this model or prompt needs, cannot {wanted}"


def _rows_keep_apart(loaded: LoadedModel) -> bool:
    """Returns whether prompts of one length give in a batch what they give alone. Transformers 5 mixes RWKV's rows."""
    vocabulary = loaded.model.get_input_embeddings().weight.shape[0]
    prompts = [GenerationInput(tuple((step * k + step) % vocabulary for k in range(6)), 5) for step in (3, 7, 11)]
    together = dict(plain_method.generate(loaded, prompts, batch_tokens=1000))
    return all(next(plain_method.generate(loaded, [p]))[1].ids == together[i].ids for i, p in enumerate(prompts))


def _from_plain(got: Generated, start: float, fallback: str | None) -> RowGenerated:
    fields = {name: getattr(got, name) for name in Generated.__dataclass_fields__} | {"fallback": fallback}
    return RowGenerated(**fields, queued_s=max(0.0, time.perf_counter() - start - got.last_token_s))


class _Batch:
    """One run of many prompts."""

    def __init__(self, loaded: LoadedModel, make: _Make, slots: int, budget: int, deadline: float | None) -> None:
        self.loaded, self.make, self.slots, self.budget, self.deadline = loaded, make, slots, budget, deadline
        self.decoder = make(loaded)
        self.running: list[Row] = []  # in the order of the decoder's places
        self.waiting: deque[Row] = deque()

    def run(self, prompts: Sequence[GenerationInput]) -> Iterator[tuple[int, RowGenerated]]:
        start = time.perf_counter()
        rows = [Row(self.loaded, i, prompt, start) for i, prompt in enumerate(prompts)]
        for row in rows:
            row.error = _cannot_begin(row, self.loaded)
        yield from ((row.index, row.finished("error")) for row in rows if row.error)
        rows = [row for row in rows if not row.error]
        for row, segment in zip(rows, shared_segments([row.prompt.ids for row in rows]), strict=True):
            row.segment = segment
        self.waiting.extend(_in_order(rows))
        while self.waiting or self.running:
            if self._late():
                yield from ((row.index, row.finished("time")) for row in (*self.running, *self.waiting))
                return
            try:
                done = self._advance()
            except RuntimeError as error:
                if not out_of_memory(error):
                    raise
                done = None
            # Outside the except block: the traceback would keep the failed step's tensors alive.
            yield from ((row.index, row.finished()) for row in (self._give_way() if done is None else done))

    def _late(self) -> bool:
        return self.deadline is not None and time.perf_counter() > self.deadline

    @torch.inference_mode()
    def _advance(self) -> list[Row]:
        """Goes on until rows are done, and returns them, or until time is up.

        Inference mode is entered for many steps at once: the first step after it takes some 4 % longer.
        """
        with self.decoder.running():
            while not (done := self._once()) and not self._late():
                pass
        return done

    def _once(self) -> list[Row]:
        """Lets waiting rows join or, when there is no place, runs one step; returns the rows that are done."""
        joining = self._joining()
        before = time.perf_counter()
        if joining:
            self._compute_segments(joining)
            computed = time.perf_counter()
            for row in joining:
                row.began = before if row.began is None else row.began
                self.waiting.popleft()
            logits = self.decoder.prefill([row.history for row in joining], [row.segment for row in joining])
            self.running.extend(joining)
            self._write(joining, logits)
            seconds = time.perf_counter() - computed
            fresh = [len(row.history) - row.step - (row.segment.end if row.segment else 0) for row in joining]
            for row, tokens in zip(joining, fresh, strict=True):
                row.prefill_s += seconds * tokens / sum(fresh)
        else:
            logits = self.decoder.step([row.written[-1] for row in self.running])
            self._write(self.running, logits)
            seconds = time.perf_counter() - before
            for row in self.running:
                row.decode_s += seconds / len(self.running)
        for row in self.running:
            row.batch_size = max(row.batch_size, len(self.running), 1 + (row.segment is not None))
        return self._leave()

    def _joining(self) -> list[Row]:
        """Returns the first waiting rows for which there is a place now."""
        joining: list[Row] = []
        if not self.waiting:
            return joining
        columns = max((self._columns(row) for row in self.running), default=0)
        tokens = 0
        for row in self.waiting:
            count = len(self.running) + len(joining) + 1
            columns = max(columns, self._columns(row))
            tokens += len(row.history) - (row.segment.end if row.segment else 0)
            full = count > self.slots or count * columns > self.budget
            if (full and count > 1) or (joining and tokens > PREFILL_TOKENS):
                break
            joining.append(row)
        return joining

    def _columns(self, row: Row) -> int:
        return self.decoder.columns(len(row.prompt.ids), row.segment) + row.limit

    def _compute_segments(self, rows: Sequence[Row]) -> None:
        """Computes the segments that these rows need and nobody has computed yet, parents first."""
        needed = dict.fromkeys(s for row in rows if row.segment for s in row.segment.chain() if not s.keys)
        while ready := [s for s in needed if not s.keys and (s.parent is None or s.parent.keys)]:
            while len(ready) > 1 and sum(len(s.ids) for s in ready) > PREFILL_TOKENS:
                ready.pop()
            before = time.perf_counter()
            self.decoder.compute(ready)
            seconds = time.perf_counter() - before
            for segment in ready:
                segment.seconds += seconds * len(segment.ids) / sum(len(s.ids) for s in ready)

    def _write(self, rows: Sequence[Row], logits: torch.Tensor) -> None:
        """Chooses the next token of each row and gives it to the row; waits for the device."""
        peaks, likeliest = logits.max(-1)
        broken = [peak != peak for peak in peaks.tolist()]
        allowed = logits
        held = [(i, row.matcher) for i, row in enumerate(rows) if row.matcher and row.in_answer and not row.forced]
        if held:
            allowed = logits.clone()
            for i, matcher in held:
                allowed[i] = matcher.masked(logits[i])
                if rows[i].step == 0 and rows[i].opening is not None:
                    allowed[i, rows[i].opening] = logits[i, rows[i].opening]
        if any(broken):
            allowed = allowed.nan_to_num(nan=0.0)
        greedy = allowed is logits and all(row.greedy for row in rows)
        chosen = likeliest.tolist() if greedy else next_tokens(allowed, rows)
        now = time.perf_counter()
        asked = [i for i, row in enumerate(rows) if row.logprobs is not None]
        logprobs = dict(zip(asked, _logprobs(logits[asked], [chosen[i] for i in asked]), strict=True)) if asked else {}
        for i, row in enumerate(rows):
            if broken[i]:
                row.finish, row.error = "error", NOT_FINITE
            elif row.forced:
                row.push(row.forced.popleft(), now)
            else:
                row.push(chosen[i], now, logprobs.get(i))

    def _leave(self) -> list[Row]:
        """Removes the rows that are done, and the segments that nobody needs any more."""
        done = []
        for place in reversed(range(len(self.running))):
            if self.running[place].finish is None:
                continue
            row = self.running[place]
            self.decoder.remove(place)
            self.running[place] = self.running[-1]
            self.running.pop()
            for segment in row.segment.chain() if row.segment else []:
                row.prefill_s += segment.seconds / segment.users
                segment.left -= 1
                if segment.left == 0:
                    segment.keys, segment.values = [], []
            done.append(row)
        return done

    def _give_way(self) -> list[Row]:
        """Memory ran out: all rows wait again, with what they have written, for half as many places."""
        crowd = max(len(self.running), 1)
        for row in (*self.running, *self.waiting):
            for segment in row.segment.chain() if row.segment else []:
                segment.keys, segment.values = [], []
        self.waiting.extendleft(reversed(self.running))
        self.running, self.decoder = [], self.make(self.loaded)
        release()
        if self.slots == 1:
            row = self.waiting.popleft()
            row.finish, row.error = "error", f"out of memory on a sequence of {len(row.history)} tokens"
            return [row]
        self.slots = max(1, min(self.slots, crowd) // 2)
        log.warning("out of memory on %d rows: going on with %d", crowd, self.slots)
        return []


def _logprobs(logits: torch.Tensor, tokens: Sequence[int]) -> list[float]:
    logits = logits.float()
    picked = logits.gather(1, torch.tensor(tokens, device=logits.device)[:, None]).squeeze(1)
    return (picked - logits.logsumexp(-1)).tolist()


def _cannot_begin(row: Row, loaded: LoadedModel) -> str | None:
    if not row.prompt.ids:
        return "the prompt is empty"
    if row.prompt.max_tokens < 1:
        return f"max_tokens is {row.prompt.max_tokens}: nothing to generate"
    if row.limit < 1:
        return f"the prompt of {len(row.prompt.ids)} tokens fills the context of {loaded.max_length}"
    return None


def _in_order(rows: Sequence[Row]) -> list[Row]:
    """Returns rows that share most beside one another, the largest groups first; within one, longest answers first.

    Long answers first keeps the end of a run short: the last rows to join are those that leave soonest.
    """
    rank: dict[Segment, tuple[int, int]] = {}
    for row in rows:
        for segment in row.segment.chain() if row.segment else []:
            rank.setdefault(segment, (-segment.users, len(rank)))

    def key(row: Row) -> tuple[list[tuple[int, int]], int, int, int]:
        chain = row.segment.chain() if row.segment else []
        return [rank[s] for s in chain], -row.limit, -len(row.prompt.ids), row.index

    return sorted(rows, key=key)
