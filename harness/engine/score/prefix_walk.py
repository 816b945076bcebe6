"""Scoring with every shared token computed once.

All sequences form one prefix tree (`trie.py`). The walk keeps one key-value cache: it grows along a shared prefix, the
rows below are read after it in batches, and it is cut again on the way up. A row may hold several branches; each token
sees its own ancestors only. The vocabulary is projected only where a prediction is judged.

The numbers are the plain method's within rounding, at any budget.
"""

from __future__ import annotations

import copy
import logging
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from harness.engine.loaded import LoadedModel
from harness.engine.memory import out_of_memory, peak_bytes, release, token_budget
from harness.engine.score import prefix_tree
from harness.engine.score.prefix_readers import PaddedReader, Reader
from harness.engine.tokens import ScoredSequence, ScoreSequence

log = logging.getLogger(__name__)

LOGITS_BYTES = 64 * 2**20  # of fp32 logits at a time: rows of a large vocabulary are projected in parts


@dataclass(frozen=True, slots=True)
class EngineStats:
    """What scoring a set of sequences took. Tokens are real ones; padding is counted apart. None: not known."""

    sequences: int
    prompt_tokens: int  # as a server without sharing bills them: every sequence whole
    forwarded_tokens: int = 0  # really computed
    distinct_tokens: int | None = None  # nodes of the prefix tree: the least that can be forwarded
    padding_tokens: int | None = None
    judged_rows: int | None = None  # rows projected onto the vocabulary
    batches: int | None = None
    out_of_memory_retries: int | None = None
    longest_cache_tokens: int | None = None  # positions in the one live cache
    encode_s: float | None = None  # texts to tokens, where the caller measured it
    forward_s: float = 0.0  # without `projection_s`, where that is known
    projection_s: float | None = None
    total_s: float = 0.0
    peak_memory_bytes: int | None = None  # of the device, or of this process on the CPU


def together(took: Sequence[EngineStats]) -> EngineStats:
    """Returns what several runs took: sums; of elapsed seconds and the longest cache, the largest."""

    def total(name: str) -> Any:
        values = [getattr(stats, name) for stats in took]
        if None in values:
            return None
        return max(values) if name in ("total_s", "longest_cache_tokens") else sum(values)

    return EngineStats(**{name: total(name) for name in EngineStats.__dataclass_fields__})


def score(
    loaded: LoadedModel,
    sequences: Sequence[ScoreSequence],
    *,
    batch_tokens: int | None = None,
    on_stats: Callable[[EngineStats], None] | None = None,
    reader: Callable[[LoadedModel, Any], Reader] = PaddedReader,
) -> Iterator[tuple[int, ScoredSequence]]:
    """Yields (index into sequences, what the model thinks of it) as they finish.

    batch_tokens bounds the tokens of a batch with padding; None: what the device's free memory allows. on_stats is
    called once, after the last sequence. Every sequence must be `scorable`, and `scoring.obstacle` must find none for
    the `reader`.
    """
    start = time.perf_counter()
    walk = _Walk(loaded, sequences, batch_tokens or token_budget(loaded), reader)
    if sequences:
        yield from walk.group(prefix_tree.plan(walk.trie, walk.budget))
    if on_stats is not None:
        on_stats(walk.stats(time.perf_counter() - start))


class _NotFinite(Exception):
    """A batch gave NaN, and its rows hold several branches: a branch's NaN spreads over its row, hidden or not."""


@dataclass(slots=True)
class _Counted:
    """What a walk has counted so far, in the words of `EngineStats`."""

    forwarded_tokens: int = 0
    padding_tokens: int = 0
    judged_rows: int = 0
    batches: int = 0
    out_of_memory_retries: int = 0
    longest_cache_tokens: int = 0
    forward_s: float = 0.0
    projection_s: float = 0.0


@dataclass(frozen=True, slots=True)
class _Read:
    """One row to forward, and the predictions judged in it: row index, token that came, sequence it belongs to."""

    inputs: tuple[int, ...]
    row: prefix_tree.Row
    slots: list[int]
    targets: list[int]
    owners: list[int]

    def __len__(self) -> int:
        return len(self.row.tokens)


class _Walk:
    """One pass through the tree. Holds the live cache and what is known of each sequence so far."""

    def __init__(
        self,
        loaded: LoadedModel,
        sequences: Sequence[ScoreSequence],
        budget: int,
        reader: Callable[[LoadedModel, Any], Reader],
    ) -> None:
        self.loaded, self.sequences, self.budget = loaded, sequences, budget
        self.decoder = decoder(loaded.model)
        self.reader = reader(loaded, self.decoder)
        self.trie = prefix_tree.build(sequences)
        self.logprob = np.zeros(len(sequences))
        self.greedy = np.ones(len(sequences), dtype=bool)
        self.seconds = np.zeros(len(sequences))
        self.owed = np.array([sequence.n_scored for sequence in sequences])
        self.counted = _Counted()

    def stats(self, total_s: float) -> EngineStats:
        """Returns what the walk took."""
        return EngineStats(
            sequences=len(self.sequences),
            prompt_tokens=sum(len(sequence.ids) for sequence in self.sequences),
            distinct_tokens=self.trie.distinct_tokens,
            total_s=total_s,
            peak_memory_bytes=peak_bytes(self.loaded.device),
            **asdict(self.counted),
        )

    def group(self, group: prefix_tree.Group) -> Iterator[tuple[int, ScoredSequence]]:
        """Reads the group's prefix into the cache, then all below it, and leaves the cache as it was."""
        failed = yield from self._prefix(group)
        if failed:
            return
        yield from self._rows(self._longest_first(group.rows, group.stop), group.stop)
        for inner in group.groups:
            yield from self.group(inner)
        self.reader.cut(group.start)

    def _prefix(self, group: prefix_tree.Group) -> Generator[tuple[int, ScoredSequence], None, bool]:
        """Reads the group's prefix; returns whether memory ran out for good."""
        at, step = group.start, self.budget
        while at < group.stop:
            end = min(group.stop, at + step)
            read = self._edge(group.members, at, end)
            results = self._attempt([read], at, keeps=True)
            if results is None and step > 1:
                self.reader.cut(at)
                step = max(1, (end - at) // 2)
            elif results is None:
                self.reader.cut(group.start)
                yield from self._fail(group.members)
                return True
            else:
                yield from results
                at = end
        self.counted.longest_cache_tokens = max(self.counted.longest_cache_tokens, group.stop)
        return False

    def _longest_first(self, rows: Iterable[tuple[int, ...]], past: int) -> list[tuple[int, ...]]:
        return sorted(rows, key=lambda inputs: -prefix_tree.width(self.trie, inputs, past))

    def _rows(self, rows: list[tuple[int, ...]], past: int) -> Iterator[tuple[int, ScoredSequence]]:
        """Reads rows of inputs, the longest first, in batches that fit the budget."""
        while rows:
            width = prefix_tree.width(self.trie, rows[0], past)
            # No more rows than tokens: widths are worked out for those that may fit.
            n = self.reader.fit(
                [prefix_tree.width(self.trie, one, past) for one in rows[: self.budget]], past, self.budget
            )
            batch = rows[:n]
            try:
                results = self._attempt([self._row(inputs, past) for inputs in batch], past, keeps=False)
            except _NotFinite:
                rows[:n] = self._longest_first([(index,) for inputs in batch for index in inputs], past)
                continue
            if results is not None:
                del rows[:n]
                yield from results
            elif n > 1:
                self.budget = max(1, n * width // 2)
                log.warning("out of memory on %d rows: trying again with %d tokens a batch", n, self.budget)
            elif len(batch[0]) > 1:
                half = len(batch[0]) // 2
                rows[:] = self._longest_first([batch[0][:half], batch[0][half:], *rows[1:]], past)
            else:  # one sequence: in parts, as a prefix that nothing comes after
                index = rows.pop(0)[0]
                stop = int(self.trie.lengths[index])
                yield from self.group(prefix_tree.Group(range(index, index + 1), past, stop, (), ()))

    def _fail(self, inputs: Sequence[int]) -> Iterator[tuple[int, ScoredSequence]]:
        for index in inputs:
            for owner in self.trie.readers[index]:
                if self.owed[owner]:
                    self.owed[owner] = 0
                    error = f"out of memory on a sequence of {len(self.sequences[owner].ids)} tokens"
                    yield owner, ScoredSequence(float("nan"), False, float(self.seconds[owner]), 1, error)

    def _row(self, inputs: Sequence[int], start: int) -> _Read:
        row = prefix_tree.row(self.trie, inputs, start)
        return self._read(inputs, row, zip(inputs, row.slots), start, None)

    def _edge(self, members: range, start: int, stop: int) -> _Read:
        """The part start..stop-1 of a prefix that all members share; some of them are judged there."""
        row = prefix_tree.row(self.trie, members[:1], start, stop)
        judged = [index for index in members if self.trie.first_read[index] < stop]
        return self._read(members, row, ((index, row.slots[0]) for index in judged), start, stop)

    def _read(self, inputs: Sequence[int], row: prefix_tree.Row, slots: Any, start: int, stop: int | None) -> _Read:
        read = _Read(tuple(inputs), row, [], [], [])
        for index, places in slots:
            for owner in self.trie.readers[index]:
                sequence = self.sequences[owner]
                n = len(sequence.ids) - 1
                # Position p predicts token p + 1.
                first = max(start, n - sequence.n_scored)
                last = n if stop is None else min(n, stop)
                if first < last:
                    read.slots.extend(places[first - start : last - start].tolist())
                    read.targets.extend(sequence.ids[first + 1 : last + 1])
                    read.owners.extend([owner] * (last - first))
        return read

    def _attempt(self, reads: list[_Read], past: int, *, keeps: bool) -> list[tuple[int, ScoredSequence]] | None:
        """Returns the sequences that are complete with this batch; None if memory ran out."""
        try:
            return self._batch(reads, past, keeps=keeps)
        except RuntimeError as error:
            if not out_of_memory(error):
                raise
        release()
        self.counted.out_of_memory_retries += 1
        return None

    @torch.inference_mode()
    def _batch(self, reads: list[_Read], past: int, *, keeps: bool) -> list[tuple[int, ScoredSequence]]:
        clock = _Clock(self.loaded.device)
        output, starts = self.reader.read([read.row for read in reads], past, keeps=keeps)
        clock.mark()
        judged = self._judge(reads, output, starts)
        clock.mark()
        logprobs, hits = judged.cpu().numpy() if judged is not None else (np.zeros(0), np.zeros(0))  # the one wait
        forward_s, projection_s = clock.seconds()
        if np.isnan(logprobs).any() and any(len(read.inputs) > 1 for read in reads) and not keeps:
            raise _NotFinite

        owners = np.array([owner for read in reads for owner in read.owners], dtype=np.int64)
        np.add.at(self.logprob, owners, logprobs.astype(np.float64))
        np.logical_and.at(self.greedy, owners, hits == 1)
        np.subtract.at(self.owed, owners, 1)
        here = self._share(reads, past, forward_s + projection_s)
        real = sum(map(len, reads))
        self.counted.forwarded_tokens += real
        self.counted.padding_tokens += output[0].shape[:2].numel() - real
        self.counted.batches += 1
        self.counted.forward_s += forward_s
        self.counted.projection_s += projection_s
        return [
            (
                owner,
                ScoredSequence(
                    float(self.logprob[owner]), bool(self.greedy[owner]), float(self.seconds[owner]), len(here)
                ),
            )
            for owner in dict.fromkeys(owners.tolist())
            if self.owed[owner] == 0
        ]

    def _share(self, reads: list[_Read], past: int, seconds: float) -> list[int]:
        """Charges a batch's seconds to the sequences it serves, by their length; returns them."""
        served = [index for read in reads for index in read.inputs if self.trie.lengths[index] > past]
        here = [owner for index in served for owner in self.trie.readers[index]]
        length = np.array([len(self.sequences[owner].ids) for owner in here], dtype=np.float64)
        self.seconds[here] += seconds * length / length.sum()
        return here

    def _judge(self, reads: list[_Read], output: Any, starts: Sequence[int]) -> torch.Tensor | None:
        """Returns (2, judged) fp32: ln p of each token that came, and whether it was the most likely one."""
        hidden = output[0]
        places = [start + slot for start, read in zip(starts, reads, strict=True) for slot in read.slots]
        if not places:
            return None
        rows, which = np.unique(np.array(places), return_inverse=True)
        self.counted.judged_rows += len(rows)
        targets = np.array([target for read in reads for target in read.targets])
        order = np.argsort(which, kind="stable")
        wanted = hidden.reshape(-1, hidden.shape[-1])[torch.from_numpy(rows).to(hidden.device)]
        vocabulary = self.loaded.model.get_output_embeddings().weight.shape[0]
        step = max(1, LOGITS_BYTES // (4 * vocabulary))
        judged = []
        for first in range(0, len(rows), step):
            part = order[np.searchsorted(which[order], first) : np.searchsorted(which[order], first + step)]
            logits = project(self.loaded.model, self.decoder, output, wanted[first : first + step]).float()
            row = torch.from_numpy(which[part] - first).to(logits.device)
            target = torch.from_numpy(targets[part]).to(logits.device)
            logprob = logits[row, target] - logits.logsumexp(dim=1)[row]
            judged.append(torch.stack([logprob, (logits.argmax(dim=1)[row] == target).float()]))
        back = np.empty_like(order)
        back[order] = np.arange(len(order))
        return torch.cat(judged, dim=1)[:, torch.from_numpy(back).to(judged[0].device)]


class _Clock:
    """Seconds between marks on a device, known after the device has been waited for."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.marks: list[Any] = []
        self.mark()

    def mark(self) -> None:
        if self.device.type == "cuda":
            event = torch.cuda.Event(enable_timing=True)
            event.record(torch.cuda.current_stream(self.device))
            self.marks.append(event)
        else:
            self.marks.append(time.perf_counter())

    def seconds(self) -> list[float]:
        pairs = zip(self.marks, self.marks[1:])
        if self.device.type == "cuda":
            self.marks[-1].synchronize()
            return [a.elapsed_time(b) / 1000 for a, b in pairs]
        return [b - a for a, b in pairs]


def decoder(model: Any) -> Any:
    """Returns the part of a model that ends before the vocabulary, or None if it does not have one of its own."""
    part = model.get_decoder()
    return None if part is None or part is model else part


def project(model: Any, part: Any, output: Any, rows: torch.Tensor) -> torch.Tensor:
    """Returns the logits the model itself gives for hidden rows, (n, hidden) -> (n, vocabulary).

    The model's own `forward` runs with `part`, its decoder, answering with `rows` at once: whatever the class does
    after its head (capping, scaling) is done, and the head sees nothing else. output: what the decoder answered last.
    """
    answer = copy.copy(output)
    answer.last_hidden_state = rows[None]
    own = part.__dict__.get("forward")  # set on the instance where hooks of `accelerate` wrap it
    part.forward = lambda *args, **kwargs: answer
    try:
        nothing = torch.zeros((1, len(rows)), dtype=torch.long, device=rows.device)
        logits: torch.Tensor = model(input_ids=nothing, use_cache=False).logits[0]
        return logits
    finally:
        if own is None:
            del part.forward
        else:
            part.forward = own
