"""The phase of load: what `bench:` asks for, one load after the other, on one model with one workload.

A load is measured whole or again: what was written down of one that was cut off counts for nothing but its cost.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace

from harness.backends import Backend, Load
from harness.backends.base import ModelCard
from harness.backends.servers.dispatch import Purse
from harness.backends.servers.tariff import Tariff
from harness.config.model import ModelConfig, RemoteModel
from harness.cost.prices import Packaged, Price, TokenCount
from harness.engine.text.token_counts import counter_of
from harness.measure.device_memory import reset_peaks, used_memory
from harness.measure.energy import Energy, Meter, energy_shares
from harness.measure.load.drive import LoadRun, drive, in_steps
from harness.measure.load.greeting import greet, no_answer
from harness.measure.load.openai_stream import OpenAIStream
from harness.measure.load.scenario import Scenario
from harness.measure.load.series import Series, loads_owed, most_owed
from harness.measure.load.summary import Tally, load_summary
from harness.measure.load.target import InProcess, RequestFailed, Target
from harness.measure.load.timed import Timed, Usage
from harness.measure.other_work import between, reading
from harness.runs.device import at_rest, counters_of
from harness.runs.events import Loaded, PhaseName, UnderLoad
from harness.runs.planned_model import PlannedModel
from harness.security.egress import place_of
from harness.store.folder import RunFolder
from harness.store.lines import add_measurement, add_measurements, read_measurements
from harness.store.schema import BenchRow, ChargeLine, LoadEnergy, LoadLine, MemoryLine, RequestLine, bench_row
from harness.values import CellName, Request, Response

TOGETHER = 32  # requests written at a time
Judge = Callable[[Request, str], float | None]
Paid = tuple[float | None, float | None]  # USD, and the most that it can be


@dataclass(frozen=True, slots=True)
class Workload:
    """What one model is asked. `judge` None: there is no right answer, or the prompts were changed."""

    model: PlannedModel
    name: str
    requests: Sequence[Request]
    judge: Judge | None
    n: int  # distinct prompts
    output_tokens: int | None = None  # of made-up prompts: what each answer should have

    @property
    def cell(self) -> CellName:
        """Returns the model and the workload, as they are written down."""
        return self.model.config.name, self.name


# --- what is paid ----------------------------------------------------------------------------------------------------


class Bill:
    """What requests under load cost, with what is left to spend: none is sent that could exceed it."""

    def __init__(self, tariff: Tariff | None, limit: float | None) -> None:
        self._tariff, self._purse = tariff, Purse(limit)
        self._out: dict[int, tuple[Request, float | None]] = {}  # those that are out, and the most that each can cost
        self._reserved = 0.0

    def allow(self, index: int, request: Request) -> None:
        """Reserves what a request can cost. Raises LimitReached for one that could exceed what is left."""
        if self._tariff is None:
            return
        limited = self._purse.limit is not None
        worst = self._tariff.bound(request) if limited else self._tariff.most_usd(request)
        self._purse.check(self._reserved + (worst or 0.0))
        self._out[index] = request, worst
        self._reserved += worst or 0.0

    def settle(self, index: int, usage: Usage | None, *, billed: bool, doubted: bool = False) -> Paid:
        """Returns what a request cost, and the most it can have, in USD: None is unknown, as is all without a price."""
        if self._tariff is None or (out := self._out.pop(index, None)) is None:
            return None, None
        request, worst = out
        told = None if usage is None else self._tariff.usd(request, _counted(usage))
        usd = (None if doubted else told) if usage is not None else None if billed else 0.0
        most = usd if usd is not None or worst is None else max(worst, told or 0.0)
        self._reserved = self._reserved - (worst or 0.0) if self._out else 0.0
        self._purse.spent += most or 0.0
        return usd, most


def _counted(usage: Usage) -> TokenCount:
    cached, reasoning = usage.cached_tokens or 0, usage.reasoning_tokens or 0
    return TokenCount(usage.input_tokens, usage.output_tokens, cached, reasoning=reasoning)


# --- what is asked ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Subject:
    """What a load goes to, and what it may cost."""

    target: Target
    card: ModelCard
    in_process: bool
    bill: Bill
    shut: Callable[[], None] = lambda: None

    def describe(self) -> ModelCard:
        """Returns what is known of the model."""
        return self.card

    def close(self) -> None:
        """Frees a model that was loaded."""
        self.shut()


def subject_of(config: ModelConfig, price: Price | Packaged | None, load: Load) -> Subject:
    """Returns what is measured: a server is reached, any other model loaded here."""
    if isinstance(config, RemoteModel):
        card = ModelCard(config.served_as, config.backend, place_of(config).name)
        target = OpenAIStream(config)
        tariff = None if price is None else Tariff(config.name, price, lambda request: [target.body(request)])
        return Subject(target, card, False, Bill(tariff, config.limits.max_cost))
    reset_peaks()
    backend = load(config)
    return Subject(InProcess(_asking(backend)), backend.describe(), True, Bill(None, None), backend.close)


def _asking(backend: Backend) -> Callable[[Request], Response]:
    def ask(request: Request) -> Response:
        (response,) = backend.answer([request])
        return response

    return ask


# --- the phase -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Loads:
    """The loads on one model with one workload."""

    work: Workload
    series: Series
    folder: RunFolder
    idle: dict[str, float | None]  # watts at rest by device, of those measured in this sitting
    name: PhaseName = field(default="load", init=False)

    @property
    def cell(self) -> CellName:
        """Returns the model and the workload."""
        return self.work.cell

    def done(self) -> dict[str, BenchRow]:
        """Returns the loads that were measured, by name."""
        lines = read_measurements(self.folder.path, {"load"})
        rows = (line.row for line in lines if isinstance(line, LoadLine))
        return {row.scenario: row for row in rows if row.workload == self.cell}

    def owed(self) -> int:
        """Returns how many loads are still to be measured at most: what the next one shows may make others needless."""
        return most_owed(self.series, self.done())

    @contextmanager
    def begun(self, model: Subject) -> Iterator[_UnderLoad]:
        """Gives the loads to measure; what the model held in memory is written down at the end, however that comes."""
        sitting = _UnderLoad(self, model)
        try:
            sitting.greet()
            yield sitting
        finally:
            sitting.rest()
            if model.in_process:
                held = used_memory(str(model.describe().device or "cpu"))
                line = MemoryLine(
                    model=self.cell[0],
                    rss_bytes=held["rss_bytes"],
                    peak_rss_bytes=held["peak_rss_bytes"],
                    peak_allocated_bytes=held["peak_allocated_bytes"],
                )
                add_measurement(self.folder.path, line)


@dataclass(slots=True)
class _Work:
    """What was done in one load, warm-up included: all of it took energy."""

    samples: int = 0
    output_tokens: int = 0
    correct: float = 0.0


class _UnderLoad:
    """A model while its loads are measured."""

    def __init__(self, phase: Loads, model: Subject) -> None:
        self._phase, self._model, self._path = phase, model, phase.folder.path
        self._done = phase.done()
        lines = read_measurements(self._path, {"model"})
        self._sitting = sum(line.model == phase.cell[0] for line in lines if line.kind == "model")
        self._count = None if model.in_process else counter_of(phase.work.model.config.tokenizer)
        self._watts = at_rest(model, phase.idle) if model.in_process else None
        found = counters_of(model) if model.in_process else ((), "the model does not run in this process")
        self._counters, self._uncounted = found
        self._held: list[RequestLine] = []
        self._first_s: float | None = None  # of the request before all others
        self._left_out: Mapping[str, str] = {}  # of all requests

    def greet(self, to: str = "to the first request") -> None:
        """Sends one request, which is paid. Raises BackendError if it is not answered, LimitReached as a load does."""
        target, request, bill = self._model.target, self._phase.work.requests[0], self._model.bill
        bill.allow(0, request)
        usage, billed = None, True
        try:
            greeting = greet(target, request)
            usage = greeting.usage
        except RequestFailed as failed:
            billed = failed.billed
            raise no_answer(target, failed, to) from failed
        finally:
            usd, most = bill.settle(0, usage, billed=billed)
            if most:
                model, task = self._phase.cell
                line = ChargeLine(model=model, task=task, mode="generate", phase="load", usd=usd, most_usd=most)
                add_measurement(self._path, line)
        self._left_out = {**self._left_out, **greeting.left_out}
        if not self._done:
            self._first_s = greeting.seconds

    def batches(self) -> Iterator[Scenario]:
        """Yields one load after the other: what comes next follows from those before."""
        while owed := loads_owed(self._phase.series, self._done):
            yield owed[0]

    def answers(self, scenario: Scenario) -> Iterator[int | BenchRow]:
        """Yields how many requests have ended, now and then, and what the load showed."""
        work, tally, before = _Work(), Tally(scenario), reading()
        with Meter(self._counters, reason=self._uncounted) as meter:
            run = yield from self._driven(scenario, tally, work)
        beside = between(before, reading(), served_here=self._phase.work.model.place.served_here)
        if run.stopped is not None and run.stopped.startswith("failing"):
            self.greet(f"any more, after {scenario.name} failed")  # without one there is nothing that a load shows
        energy = _shared(meter.energy(self._watts), work)
        first_s, self._first_s = self._first_s, None
        found = replace(load_summary(run, tally), first_request_s=first_s, left_out=self._left_out)
        yield bench_row(found, self._phase.cell, self._phase.work.output_tokens, energy, beside)

    def append(self, answer: int | BenchRow) -> Iterable[UnderLoad | Loaded]:
        """Writes down what a load showed, and the last of its requests."""
        if isinstance(answer, int):
            return (UnderLoad(self._phase.cell, answer),)
        held, self._held = self._held, []
        add_measurements(self._path, (*held, LoadLine(row=answer, sitting=self._sitting)))
        self._done[answer.scenario] = answer
        return (Loaded(self._phase.cell, answer),)

    def rest(self) -> Iterable[Loaded]:
        """Writes down the requests of a load that was cut off: they may have cost money."""
        held, self._held = self._held, []
        add_measurements(self._path, held)
        return ()

    def _driven(self, scenario: Scenario, tally: Tally, work: _Work) -> Generator[int, None, LoadRun]:
        asked, bill = self._phase.work, self._model.bill
        load = drive(
            self._model.target,
            asked.requests,
            scenario,
            count=self._count,
            judge=asked.judge,
            sink=lambda timed: self._keep(scenario.name, timed, tally, work),
            allow=bill.allow,
        )
        return in_steps(load, lambda: work.samples)

    def _keep(self, scenario: str, timed: Timed, tally: Tally, work: _Work) -> None:
        tally.add(timed)
        work.samples += 1
        work.output_tokens += timed.usage.output_tokens if timed.usage else 0
        work.correct += timed.correct or 0.0
        bill = self._model.bill
        usd, most = bill.settle(timed.index, timed.usage, billed=timed.billed, doubted=timed.usage_differs)
        model, task = self._phase.cell
        own = {name: getattr(timed, name) for name in _TIMED}
        more = {"scenario": scenario, "sitting": self._sitting, "usd": usd, "most_usd": most}
        self._held.append(RequestLine(**own | more, model=model, task=task))
        if len(self._held) >= TOGETHER:  # a load must neither wait for a disk nor fill the memory
            held, self._held = self._held, []
            add_measurements(self._path, held, sync=False)


_TIMED = tuple(Timed.__dataclass_fields__)


def _shared(energy: Energy, work: _Work) -> LoadEnergy:
    """Returns the joules of a load, also by what was done with them."""
    done = energy_shares(energy, output_tokens=work.output_tokens, samples=work.samples, correct=work.correct)
    return LoadEnergy(**{**asdict(energy), **done})
