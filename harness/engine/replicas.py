"""Copies of a model on several devices of one machine, each scoring whole subtrees.

The first copy is the caller's own; each other one lives in a process of its own. What is scored where depends on the
sequences alone, so a run on the same number of devices is the same run.
"""

from __future__ import annotations

import itertools
import multiprocessing
import queue
import traceback
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from harness.engine.loaded import LoadedModel
from harness.engine.score import prefix_tree
from harness.engine.score.choose import Scorer, scorer_for
from harness.engine.score.prefix_walk import EngineStats, together
from harness.engine.tokens import ScoredSequence, ScoreSequence
from harness.errors import BackendError

SLACK = 0.1  # of a device's share of the work: how far a cut may move to fall where little is shared
PATIENCE_S = 1.0  # between two looks at whether the other processes are alive

Loader = Callable[[], tuple[LoadedModel, str]]  # picklable: a module's function, or a `partial` of one


def split(sequences: Sequence[ScoreSequence], n: int) -> list[list[int]]:
    """Returns the indices of the sequences in n lists of about equal work, cut where neighbours share least.

    Lists can be empty. Every list is a stretch of the walk through the prefix tree.
    """
    if n == 1 or not sequences:
        return [list(range(len(sequences))), *([] for _ in range(n - 1))]
    tree = prefix_tree.build(sequences)
    before = np.cumsum(tree.lengths - tree.shared) - (tree.lengths - tree.shared)  # work before each input
    share = tree.distinct_tokens / n
    cuts = [0]
    for k in range(1, n):
        distance = np.abs(before - k * share)
        near = np.flatnonzero(distance <= max(SLACK * share, distance.min()))
        cuts.append(max(cuts[-1], int(min(near, key=lambda place: (tree.shared[place], distance[place])))))
    cuts.append(len(tree.inputs))
    return [[index for place in range(a, b) for index in tree.readers[place]] for a, b in itertools.pairwise(cuts)]


class Replicas:
    """A model here and copies of it in other processes. Close it when done: the processes hold memory."""

    def __init__(self, loaded: LoadedModel, engine: str, others: Sequence[Loader]) -> None:
        """`others` load one copy each, in their own process, and say with which engine it scores."""
        self.loaded, self.own = loaded, scorer_for(loaded, engine)
        context = multiprocessing.get_context("spawn")  # a forked process cannot use CUDA
        self.results = context.Queue()
        self.jobs = [context.Queue() for _ in others]
        self.processes = [
            context.Process(target=_serve, args=(load, jobs, self.results, place), daemon=True)
            for place, (load, jobs) in enumerate(zip(others, self.jobs, strict=True))
        ]
        for process in self.processes:
            process.start()

    def score(
        self,
        loaded: LoadedModel,
        sequences: Sequence[ScoreSequence],
        *,
        batch_tokens: int | None = None,
        on_stats: Callable[[EngineStats], None] | None = None,
    ) -> Iterator[tuple[int, ScoredSequence]]:
        """Yields what any scorer does. Raises BackendError if another process fails; its message has the reason."""
        first, *parts = split(sequences, 1 + len(self.processes))
        took: list[EngineStats] = []
        waiting = set()
        for place, part in enumerate(parts):
            if part:
                self.jobs[place].put(([sequences[index] for index in part], batch_tokens))
                waiting.add(place)
        own = self.own(loaded, [sequences[index] for index in first], batch_tokens=batch_tokens, on_stats=took.append)
        for index, scored in own:
            yield first[index], scored
            yield from self._arrived(parts, waiting, took, wait=False)
        while waiting:
            yield from self._arrived(parts, waiting, took, wait=True)
        if on_stats is not None:
            on_stats(together(took))

    def close(self) -> None:
        """Ends the processes. Closing twice is allowed."""
        for jobs, process in zip(self.jobs, self.processes):
            jobs.put(None)
            process.join(timeout=10 * PATIENCE_S)
            if process.is_alive():
                process.terminate()
        self.processes, self.jobs = [], []

    def _arrived(
        self, parts: list[list[int]], waiting: set[int], took: list[EngineStats], *, wait: bool
    ) -> Iterator[tuple[int, ScoredSequence]]:
        while waiting:
            try:
                place, kind, value = self.results.get(block=wait, timeout=PATIENCE_S)
            except queue.Empty:
                dead = [place for place in waiting if not self.processes[place].is_alive()]
                if dead:
                    code = self.processes[dead[0]].exitcode
                    raise BackendError(
                        f"the process of copy {dead[0] + 2} of the model ended by itself (exit code {code})",
                        fix="it may have run out of memory: use fewer replicas, or a smaller batch_tokens",
                    ) from None
                return
            if kind == "error":
                raise BackendError(f"copy {place + 2} of the model failed", where=value, fix="replicas: 1 runs without")
            if kind == "done":
                took.append(value)
                waiting.discard(place)
            else:
                index, scored = value
                yield parts[place][index], scored


def _serve(load: Loader, jobs: Any, results: Any, place: int) -> None:
    """Loads a model and scores what comes, until None comes. Runs in a process of its own."""
    try:
        loaded, engine = load()
        run: Scorer = scorer_for(loaded, engine)
        while (job := jobs.get()) is not None:
            sequences, batch_tokens = job
            took: list[EngineStats] = []
            for scored in run(loaded, sequences, batch_tokens=batch_tokens, on_stats=took.append):
                results.put((place, "scored", scored))
            results.put((place, "done", took[0]))
    except Exception:
        results.put((place, "error", traceback.format_exc(limit=-3).strip()))
