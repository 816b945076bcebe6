"""`plan.json`: what a run will do, with all that could change an answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from harness.config.machine import MachineConfig
from harness.config.run import RunConfig
from harness.cost.prices import Packaged, Price
from harness.cost.projection import Served
from harness.models.info import ModelInfo
from harness.models.openness import Openness
from harness.store.schema.codec import Codec
from harness.tasks.kinds import StoredTask
from harness.values import Mode, Sampling

VERSION = 2  # of what a run writes; 1: the runs that name none


@dataclass(frozen=True, slots=True)
class DataUsed:
    """The data of a task: the digest of its rows, and where they came from."""

    digest: str
    origin: str
    left_out: int = 0  # rows that `without` leaves out
    sets: int = 0  # of a task that reads several configurations: how many were there; 0: it reads none
    respelled: int = 0  # answers that are a choice but for case or blanks
    never_first: int = 0  # answers read as places from 0, of which none is 0


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """What is known of a model before it is asked anything."""

    digest: str  # of the weights, tokenizer and chat template; or of the script
    backend: str
    where: str  # this machine, a host, or a file
    files: Mapping[str, str]  # sha256 by file name
    generation_config: Mapping[str, object] | None  # the settings its folder asks for; None: it names none
    price: Price | Packaged | None  # as listed; None: no price is listed
    info: ModelInfo | None = None  # None: not a model folder
    openness: Openness | None = None
    served: Served | None = None  # what serving it asks of a machine


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeEntry(ModelEntry):
    """The judge of a run: what is known of the model, and what its requests depend on."""

    name: str  # as the run names it
    key: str  # digest of all of it that could change a verdict
    chat: bool  # asked by messages
    seed: int


@dataclass(frozen=True, slots=True)
class PlannedCell:
    """One model on one task, and how it is asked."""

    model: str
    task: str
    mode: Mode
    chat: bool  # by messages, through the model's own chat template
    n: int  # samples, times epochs
    requests: int
    sampling: Sampling | None  # None: nothing is written

    @property
    def name(self) -> tuple[str, str]:
        """Returns the model and the task."""
        return self.model, self.task


@dataclass(frozen=True, slots=True)
class PlannedLoad:
    """One workload of a benchmark of load: `n` distinct prompts for one model."""

    model: str
    task: str  # of made-up prompts: their lengths in words
    n: int


@dataclass(frozen=True, slots=True)
class Host:
    """The computer a run was planned on."""

    system: str
    processor: str
    cores: int | None  # that the process may use
    memory_bytes: int | None


@dataclass(frozen=True, slots=True)
class GitState:
    """The working folder's commit, and whether nothing was changed since."""

    commit: str
    clean: bool


@dataclass(frozen=True, slots=True)
class PolicyKept:
    """A policy that a run keeps: how, by each of its rules."""

    name: str
    digest: str  # of its rules
    verdicts: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanFile:
    """The content of `plan.json`. `identity` is all that could change an answer; `digest` is its digest."""

    schema: int = VERSION
    kind: Literal["run", "bench"] = "run"
    digest: str
    identity: Mapping[str, object]
    run: str
    created: str  # UTC
    config: RunConfig
    tasks: Mapping[str, StoredTask] = field(default_factory=dict)
    data: Mapping[str, DataUsed] = field(default_factory=dict)
    models: Mapping[str, ModelEntry]
    formats: Mapping[str, str] = field(default_factory=dict)  # task -> the task of which it is another layout
    judge: JudgeEntry | None = None
    machine: MachineConfig | None
    cells: tuple[PlannedCell, ...] = ()
    workloads: tuple[PlannedLoad, ...] = ()  # of a benchmark
    host: Host
    git: GitState | None
    policy: PolicyKept | None = None  # a house's, if the run names one

    @property
    def baseline(self) -> str:
        """Returns the model that the others are compared with."""
        return self.config.baseline or self.config.models[0].name


PLANS: Codec[PlanFile] = Codec(PlanFile, "plan of a run")
