"""The phase of latency: some requests of a cell once more, one after the other, alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import cycle, islice

from harness.backends.base import Backend
from harness.config.bench import LatencyConfig
from harness.measure.other_work import between, reading
from harness.runs.events import PhaseName, Timed
from harness.runs.requests import Cell
from harness.runs.sizes import sent_bytes
from harness.runs.turns import said_before, turns, whole
from harness.store.folder import RunFolder
from harness.store.lines import add_measurement, read_measurements
from harness.store.schema import ChargeLine, LatencyLine, TimedAlone
from harness.values import CellName, Request, Response

FEWEST_CYCLED = 5  # prompts; fewer, sent again and again, would say little of the task


def timed_alone(requests: Sequence[Request], n: int) -> tuple[Request, ...]:
    """Returns the `n` requests to time: spread over the task, and again from its first where it has fewer.

    A median of ten times two prompts is no median of the task: below `FEWEST_CYCLED` each is sent once.
    """
    every = tuple(requests[:: max(1, len(requests) // n)][:n])
    return tuple(islice(cycle(every), n)) if len(every) >= FEWEST_CYCLED else every


def timed_requests(requests: Sequence[Request], wanted: LatencyConfig) -> tuple[Request, ...]:
    """Returns all that is sent one at a time: the warm-up, then what is timed; nothing if none is wanted."""
    alone = timed_alone(requests, wanted.requests) if wanted.requests else ()
    return (*islice(cycle(alone), wanted.warmup), *alone)


@dataclass(frozen=True, slots=True)
class Latencies:
    """The latency of one model on one task. All of it is measured in one sitting, or again."""

    of: Cell
    folder: RunFolder
    wanted: LatencyConfig
    name: PhaseName = field(default="latency", init=False)

    @property
    def cell(self) -> CellName:
        """Returns the model and the task."""
        return self.of.name

    def owed(self) -> int:
        """Returns how many requests are still to be timed; of another format of a prompt none is."""
        if not self.wanted.requests or self.of.task.format_of:
            return 0
        lines = read_measurements(self.folder.path, {"latency"})
        if any((line.model, line.task) == self.cell for line in lines if isinstance(line, LatencyLine)):
            return 0
        return len(timed_alone(self.of.requests, self.wanted.requests))

    @contextmanager
    def begun(self, model: Backend) -> Iterator[_Timing]:
        """Gives the requests to time; their times are written down when all of them have theirs."""
        timing = _Timing(self, model)
        before = reading()
        yield timing
        beside = between(before, reading(), served_here=self.of.model.place.served_here)
        line = LatencyLine(
            model=self.cell[0],
            task=self.cell[1],
            mode=self.of.mode,
            warmup=self.wanted.warmup,
            bystanders=beside,
            responses=tuple(timing.times),
        )
        add_measurement(self.folder.path, line)


class _Timing:
    """A cell while its requests are timed."""

    def __init__(self, phase: Latencies, model: Backend) -> None:
        self._cell, self._folder, self._wanted, self._model = phase.of, phase.folder, phase.wanted, model
        self._asked: dict[str, Request] = {}
        said = said_before(self._cell, self._folder)
        for turn in turns(self._cell):
            self._asked |= whole(self._cell, turn, self._asked, said)
        self._sent = 0
        self.times: list[TimedAlone] = []

    def batches(self) -> Iterator[Sequence[Request]]:
        """Yields one request after the other."""
        for request in timed_requests(tuple(self._asked.values()), self._wanted):
            yield (request,)

    def answers(self, batch: Sequence[Request]) -> Iterator[Response]:
        """Yields its answer."""
        return self._model.answer(batch)

    def append(self, answer: Response) -> Iterable[Timed]:
        """Writes down what it cost, and keeps its times; those of the warm-up are forgotten."""
        self._charge(answer)
        self._sent += 1
        if self._sent <= self._wanted.warmup:
            return ()
        self.times.append(_times(answer))
        return (Timed(self._cell.name, answer),)

    def rest(self) -> Iterable[Timed]:
        """Returns nothing: times are written down together."""
        return ()

    def _charge(self, response: Response) -> None:
        """Writes down what a request beside the answers cost and sent, where a provider was asked."""
        if response.billing is None or not response.attempts:
            return
        line = ChargeLine(
            model=self._cell.name[0],
            task=self._cell.name[1],
            mode=self._cell.mode,
            phase="latency",
            usd=response.billing.usd,
            most_usd=response.billing.most_usd,
            sent_bytes=sent_bytes(self._cell, self._asked, [response]),
        )
        add_measurement(self._folder.path, line)


def _times(response: Response) -> TimedAlone:
    return TimedAlone(
        key=response.key,
        input_tokens=response.input_tokens,
        output_tokens=response.output_tokens,
        ttft_s=response.ttft_s,
        last_token_s=response.last_token_s,
        e2e_s=response.e2e_s,
        error=response.error,
        after_first=None if response.elapsed is None else response.elapsed.after_first,
    )
