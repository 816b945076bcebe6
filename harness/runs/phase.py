"""What the loop goes through: stages (a model at work), their phases (one thing done with one cell), their sittings."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Generic, Protocol, TypeVar

from harness.backends.base import ModelCard
from harness.config.model import ModelConfig
from harness.config.run import RunConfig
from harness.errors import WorkStopped
from harness.runs.events import Event, PhaseName, Stopped
from harness.runs.planned_model import PlannedModel
from harness.runs.spent import limited
from harness.store.folder import RunFolder
from harness.store.lines import add_measurement
from harness.store.schema import ModelLine, StoppedLine, model_line
from harness.values import CellName

Batch = TypeVar("Batch")
Answer = TypeVar("Answer")


class Sitting(Protocol[Batch, Answer]):
    """A cell while one phase of it is worked on."""

    def batches(self) -> Iterator[Batch]:
        """Yields what is still owed, a part at a time. What is asked next may follow from the answers before."""
        ...

    def answers(self, batch: Batch) -> Iterator[Answer]:
        """Asks, and yields the answers as they come."""
        ...

    def append(self, answer: Answer) -> Iterable[Event]:
        """Writes an answer down, and returns what is on disk now: it may be held back a little, to be written later."""
        ...

    def rest(self) -> Iterable[Event]:
        """Writes down what was held back, and returns it."""
        ...


class Asked(Protocol):
    """What is asked: a backend, or what a load goes to."""

    def describe(self) -> ModelCard:
        """Returns what is known of the model and where it runs."""
        ...

    def close(self) -> None:
        """Frees what it holds."""
        ...


Model_contra = TypeVar("Model_contra", bound=Asked, contravariant=True)
Model = TypeVar("Model", bound=Asked)


class Phase(Protocol[Model_contra]):
    """One thing that is done with one cell."""

    @property
    def name(self) -> PhaseName:
        """Returns which phase it is."""
        ...

    @property
    def cell(self) -> CellName:
        """Returns the model and the task, as they are written down."""
        ...

    def owed(self) -> int:
        """Returns how much is still to be done, as `Started` tells it; 0: nothing."""
        ...

    def begun(self, model: Model_contra, /) -> AbstractContextManager[Sitting[Any, Any]]:
        """Gives the cell to work on. However that ends, what was measured around it is written down."""
        ...


@dataclass(frozen=True, slots=True)
class Stage(Generic[Model]):
    """A model with the phases that it is loaded for, once."""

    model: PlannedModel
    phases: Sequence[Phase[Model]]
    load: Callable[[ModelConfig], Model]
    config: RunConfig
    folder: RunFolder
    sealed: str | None  # what keeps data on this machine meanwhile
    noted: Callable[[ModelLine], ModelLine] = lambda line: line  # what else is written down of the model

    @contextmanager
    def at_work(self) -> Iterator[Model]:
        """Gives the model, with what is left to spend as its limit, and writes down what it is."""
        config = limited(self.model, self.config, self.folder.path)
        started = time.perf_counter()
        with closing(self.load(config)) as model:
            seconds = time.perf_counter() - started
            card = model.describe()
            known = {"model": card.model} | {name: value for name, value in asdict(card).items() if value is not None}
            line = model_line(self.model.config.name, seconds, self.sealed, known)
            add_measurement(self.folder.path, self.noted(line))
            yield model

    def stopped(self, reached: WorkStopped) -> Stopped:
        """Writes down that a spend limit ended the work, and returns it."""
        name = self.model.config.name
        add_measurement(self.folder.path, StoppedLine(model=name, reason=reached.what))
        logging.getLogger("harness").warning(f"{name}: {reached.what}")
        return Stopped(name, reached.what)
