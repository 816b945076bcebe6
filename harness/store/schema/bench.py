"""What follows from a benchmark of load: a row for each scenario, what they say together, and the seconds of a token.

summary.json -> BenchSummary(rows=(BenchRow, ...), workloads=(BenchWorkload, ...), fits={model: TokenSeconds}, ...)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from harness.cost.capacity import Capacity, Shape
from harness.measure.energy import Energy
from harness.measure.load.summary import LoadSummary
from harness.measure.load.timed import Slo
from harness.measure.other_work import Bystanders
from harness.store.schema.codec import Codec
from harness.store.schema.manifest import JudgedBy
from harness.store.schema.notes import Note
from harness.store.schema.plan import VERSION


@dataclass(frozen=True, slots=True)
class LoadEnergy(Energy):
    """The joules of a scenario, warm-up included, also by what was done with them. None: unknown, or nothing was."""

    j_per_output_token: float | None = None
    j_per_sample: float | None = None
    j_per_correct: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchRow(LoadSummary):
    """One scenario of a load on one model with one workload."""

    model: str
    task: str  # of made-up prompts: their lengths in words
    asked_output_tokens: int | None  # of made-up prompts: what each answer should have
    energy: LoadEnergy
    bystanders: Bystanders | None = None  # what else the processors did; None: written before it was measured

    @property
    def workload(self) -> tuple[str, str]:
        """Returns the model and the task."""
        return self.model, self.task

    @property
    def cached_share(self) -> float | None:
        """Returns the share of the input that the server read from a cache; None where it does not say."""
        if self.cached_tokens is None or not self.input_tokens:
            return None
        return self.cached_tokens / self.input_tokens

    @property
    def answered(self) -> int:
        """Returns how many of the counted requests did not fail."""
        return self.n - sum(self.failed.values())


def bench_row(
    load: LoadSummary,
    workload: tuple[str, str],
    asked_output_tokens: int | None,
    energy: LoadEnergy,
    bystanders: Bystanders,
) -> BenchRow:
    """Returns the row of a scenario."""
    found = {name: getattr(load, name) for name in LoadSummary.__dataclass_fields__}
    return BenchRow(
        model=workload[0],
        task=workload[1],
        asked_output_tokens=asked_output_tokens,
        energy=energy,
        bystanders=bystanders,
        **found,
    )


def by_workload(rows: Sequence[BenchRow]) -> dict[tuple[str, str], list[BenchRow]]:
    """Returns the rows of each model and task, in order."""
    found: dict[tuple[str, str], list[BenchRow]] = {}
    for row in rows:
        found.setdefault(row.workload, []).append(row)
    return found


@dataclass(frozen=True, slots=True)
class HeldMemory:
    """Bytes this process held at the end of a model's loads, and at most; those on a device as torch counts them."""

    rss_bytes: int | None
    peak_rss_bytes: int | None
    peak_allocated_bytes: int | None


@dataclass(frozen=True, slots=True)
class BenchedModel:
    """A model under load. None: unknown, or it runs elsewhere."""

    backend: str | None
    load_s: float | None
    in_process: bool
    device: str | None
    device_name: str | None
    sealed: str | None
    memory: HeldMemory | None


@dataclass(frozen=True, slots=True)
class BenchWorkload:
    """What all scenarios of a model on a workload say together: its limits."""

    model: str
    task: str
    not_measured: tuple[str, ...]  # loads asked for and left out: those before had shown all there is to see
    first_request_s: float | None  # before all others
    most_requests_per_s: float | None
    knee: str | None  # the scenario with the most throughput for its response time
    slo_requests_per_s: float | None  # the most good requests a second at a rate that kept the bounds
    all_rates_in_slo: bool


@dataclass(frozen=True, slots=True)
class OwedLoads:
    """What is still to be measured of a model on a workload; the same command measures it."""

    model: str
    task: str
    loads: tuple[str, ...]  # the next one first; what it shows may make those after it needless
    reason: str | None  # why it ended before: a spend limit. None: it was interrupted


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenSeconds(Capacity):
    """The seconds that a token takes on a busy server, fitted on shapes of requests."""

    reason: None = None
    shapes: tuple[Shape, ...]


@dataclass(frozen=True, slots=True)
class NoTokenSeconds:
    """Why the shapes that were measured allow no fit."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchSummary:
    """All that follows from the files of a benchmark: the content of its `summary.json`."""

    kind: Literal["bench"] = "bench"
    schema: int = VERSION
    run: str
    slo: Slo | None
    prefix_cache: Literal["allow", "defeat"]
    models: Mapping[str, BenchedModel]
    rows: tuple[BenchRow, ...]
    workloads: tuple[BenchWorkload, ...]
    fits: Mapping[str, TokenSeconds | NoTokenSeconds] = field(default_factory=dict)
    owed: tuple[OwedLoads, ...] = ()
    notes: tuple[Note, ...] = ()  # in the order in which a reader needs them
    judged_by: JudgedBy | None = None  # None: an earlier version, which did not say

    @property
    def complete(self) -> bool:
        """Returns whether every load was measured that there was reason to measure."""
        return not self.owed

    @property
    def on_a_network(self) -> bool:
        """Returns whether any model was asked over one."""
        return any(row.round_trip_p50_s is not None for row in self.rows)


BENCHES: Codec[BenchSummary] = Codec(BenchSummary, "summary of a benchmark")
