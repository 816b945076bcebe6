"""`harness cost`: what a recorded run says about money. Reads a run folder and price files.

report(run, ...) -> CostReport        with the prices it was made from; nothing is written
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from harness.analysis.bench import read_bench
from harness.analysis.cost_of_row import (
    ApiCost,
    CostAt,
    FittedCost,
    MachineCost,
    NoFit,
    Question,
    beyond,
    cost_report,
    fitted_report,
    has_turns,
    service_of,
)
from harness.analysis.run_summary import records_of
from harness.config.machine import MachineConfig, read_machine
from harness.cost.attribution import CostBreakdown
from harness.cost.breakeven import Service
from harness.cost.machines import hourly
from harness.cost.prices import Packaged, Price, find_packaged, find_price, frozen, read_prices, suggest
from harness.cost.projection import Projection, projection
from harness.errors import ConfigError, StoreError
from harness.store.lines import read_measurements, read_plan
from harness.store.schema import (
    BenchSummary,
    JudgeWork,
    ModelLine,
    Note,
    NoteCode,
    PlanFile,
    Row,
    Spent,
    Summary,
    TokenSeconds,
)
from harness.values import Mode, Record

BILLS = (NoteCode.JUDGE_BILL, NoteCode.PAID)
OWN_PASS = "this run's pass, all at once, with no bound on latency"


@dataclass(frozen=True, slots=True)
class Paid:
    """What a row cost at an API, every attempt of it. USD; None: unknown, and `reason` says why."""

    label: str
    usd: float | None
    usd_per_request: float | None
    usd_per_correct: float | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class PaidRow:
    """A row that was answered by an API."""

    model: str
    task: str
    n: int  # answers
    paid: Paid

    @property
    def usd_per_request(self) -> float | None:
        """Returns what a request cost."""
        return self.paid.usd_per_request


@dataclass(frozen=True, slots=True)
class MachineRow:
    """A row that is priced on a machine."""

    model: str
    task: str
    n: int
    mode: Mode
    cost: MachineCost
    fitted: FittedCost | NoFit | None  # None: no benchmark, or it has no fit of this model
    projected: Projection | None  # None: measured there, or the run does not know what its model is
    service_from: str  # where its requests a second are from

    @property
    def usd_per_request(self) -> float | None:
        """Returns what a request cost at the stated utilisation."""
        each = self.cost.stated.cost.usd_per_1k_samples
        return None if each is None else each / 1e3


CostRow = PaidRow | MachineRow


@dataclass(frozen=True, slots=True)
class CostReport:
    """What every row of a run costs, and what all of them rest on."""

    run: str
    digest: str
    volume: float | None  # requests a month that were asked about
    rows: tuple[CostRow, ...]
    measured_on: str  # the run's accelerator, else its processor
    measured_for: str | None  # the machine that the run names
    judge: JudgeWork | None  # None: no judge
    spent: Spent | None  # None: no provider was paid
    notes: tuple[Note, ...] = ()  # the summary's, of what a judge and all providers were paid


def report(
    run: Path,
    summary: Summary,
    machine: str | None = None,
    volume: float | None = None,
    against: str | None = None,
    bench: Path | None = None,
) -> CostReport:
    """Returns what each row of a run's summary costs.

    `machine` is a file or bundled name (default: the run's own), `volume` in requests a month, `against` the
    PROVIDER/MODEL of an API, `bench` a folder of `harness bench` with the capacity of the same model and task.
    Where the seconds were measured on another chip than the machine's, what that one should cost is projected beside.
    Rows of an API are what was paid for them. Raises ConfigError and StoreError.
    """
    plan = read_plan(run)
    priced = plan.machine if machine is None else read_machine(machine)
    asked = Question(volume, None if against is None else _price(against))
    records = list(records_of(run))
    load = None if bench is None else (bench, read_bench(bench))
    devices = _devices(run)
    rows: list[CostRow] = []
    for row in summary.rows:
        mine = [record for record in records if (record.model, record.task) == (row.model, row.task)]
        if row.place.kind == "host":
            rows.append(PaidRow(row.model, row.task, len(mine), _paid(row)))
            continue
        if priced is None:
            fix = "add --machine NAME (see configs/machines)"
            raise ConfigError("no machine: the run names none", where=str(run), fix=fix)
        projected = None if _measured_there(priced, plan, devices) else _projected(plan, row, mine, priced)
        rows.append(_priced(row, mine, priced, asked, load, projected))
    return CostReport(
        run=summary.run,
        digest=summary.digest,
        volume=volume,
        rows=tuple(rows),
        measured_on=" and ".join(devices) or f"{plan.host.processor or plan.host.system}, {plan.host.cores} cores",
        measured_for=None if plan.machine is None else plan.machine.name,
        judge=summary.judge,
        spent=summary.spent,
        notes=tuple(sorted((n for n in summary.notes if n.code in BILLS), key=lambda n: BILLS.index(n.code))),
    )


def _priced(
    row: Row,
    records: Sequence[Record],
    machine: MachineConfig,
    asked: Question,
    load: tuple[Path, BenchSummary] | None,
    projected: Projection | None,
) -> MachineRow:
    """Returns what a row costs on a machine, at the capacity of a benchmark if there is one."""
    fitted, service, origin = None, None, OWN_PASS
    if load is not None:
        folder, benched = load
        fitted = _fitted(benched, row, records, machine)
        service, origin = _service(benched, folder, row, machine, fitted)
    cost = cost_report(row.throughput, records, machine, asked, service=service, measured_watts=_watts(row, machine))
    return MachineRow(row.model, row.task, len(records), row.mode, cost, fitted, projected, origin)


def _devices(run: Path) -> list[str]:
    """Returns the names of the accelerators that a run's models were on."""
    models = (line for line in read_measurements(run) if isinstance(line, ModelLine))
    return sorted({line.device_name for line in models if line.device_name is not None})


def _measured_there(machine: MachineConfig, plan: PlanFile, devices: Sequence[str]) -> bool:
    """Returns whether a run's seconds are those of the machine's chip: of the same name, or where it has none, the
    run names the machine. A machine without a chip is projected nowhere: as if they were."""
    if machine.chip is None:
        return True
    if isinstance(machine.chip, str):
        return re.search(rf"\b{machine.chip}\b", " and ".join(devices).casefold()) is not None
    return bool(devices) and plan.machine is not None and plan.machine.name == machine.name


def _projected(plan: PlanFile, row: Row, records: Sequence[Record], machine: MachineConfig) -> Projection | None:
    """Returns what a row should cost on a machine, projected at the mean lengths of its own requests.

    None where the plan does not hold what the model is. The turns of a conversation have no length of their own.
    """
    if (known := plan.models[row.model].served) is None:
        return None
    done = row.throughput
    sums = (None, None) if has_turns(records) else (done.input_tokens, done.output_tokens)
    read, written = (None if total is None or not done.samples else total / done.samples for total in sums)
    return projection(known, machine, read, written)


def _price(name: str) -> Price | Packaged:
    """Returns a price of our file; of a PROVIDER/MODEL that is not in it, that of the package genai-prices."""
    prices = read_prices()
    provider, slash, model = name.partition("/")
    listed = (find_price(prices, model, provider) if slash else None) or find_price(prices, name)
    found = listed or (find_packaged(provider, model) if slash else None)
    if found is None:
        raise ConfigError(f"no price for '{name}'", where="--against", fix=suggest(prices, name))
    return found


def _paid(row: Row) -> Paid:
    """Returns what a row cost at an API: every attempt counts, each priced on its own when it was sent."""
    cost = row.cost
    each = cost.usd_per_1k_samples
    return Paid(
        label="the provider's token counts, of every attempt, at the prices in plan.json",
        usd=cost.usd,
        usd_per_request=None if cost.usd is None or each is None else each / 1e3,
        usd_per_correct=cost.usd_per_correct,
        reason=None if cost.usd is not None else cost.reasons.get("usd"),
    )


def _watts(row: Row, machine: MachineConfig) -> float | None:
    """Returns the measured draw of the pass for a machine that asks for it."""
    if machine.owned is None or machine.owned.watts != "measured":
        return None
    return row.energy.watts


def _service(
    benched: BenchSummary, folder: Path, row: Row, machine: MachineConfig, fitted: FittedCost | NoFit | None
) -> tuple[Service, str]:
    """Returns one replica with the requests a second that a benchmark found, within its bounds if it had any.

    And where they are from. They follow from the fit where the benchmark was of other prompts than the row's.
    """
    price = hourly(machine, _watts(row, machine)).total
    mine = [work for work in benched.workloads if (work.model, work.task) == (row.model, row.task)]
    for work in mine:
        speed = work.slo_requests_per_s or (work.most_requests_per_s if benched.slo is None else None)
        if speed and price is not None:
            return service_of(machine, price, speed), f"measured in {folder}"
    if not mine and isinstance(fitted, FittedCost) and fitted.requests_per_s is not None and price is not None:
        origin = f"by the fit of {fitted.shapes} shapes in {folder}, with no bound on latency"
        return service_of(machine, price, fitted.requests_per_s), origin
    raise StoreError(
        f"the benchmark has no capacity of {row.model} on {row.task}",
        where=str(folder),
        fix="measure rates that keep the bounds, of the same model and task",
    )


def _fitted(
    benched: BenchSummary, row: Row, records: Sequence[Record], machine: MachineConfig
) -> FittedCost | NoFit | None:
    """Returns what a row costs by the seconds of a token that a benchmark found; None where it found none."""
    seconds = benched.fits.get(row.model)
    if not isinstance(seconds, TokenSeconds):
        return None
    cost = fitted_report(seconds, records, machine, _watts(row, machine))
    return cost if isinstance(cost, NoFit) else beyond(cost, seconds.shapes)


# --- as JSON values --------------------------------------------------------------------------------------------------


def as_json(found: CostReport) -> dict[str, object]:
    """Returns a report as JSON values. A part that was not asked about, or does not apply, has no key."""
    content = _but(found, "notes", "judge")
    judge = {} if found.judge is None else {"judge": asdict(found.judge)}
    spent = None if found.spent is None else asdict(found.spent)
    return {**content, "rows": [_row_json(row) for row in found.rows], **judge, "spent": spent}


def _row_json(row: CostRow) -> dict[str, object]:
    named = {"model": row.model, "task": row.task, "n": row.n}
    if isinstance(row, PaidRow):
        return {**named, "paid": asdict(row.paid)}
    cost, machine = row.cost, row.cost.machine
    parts = {
        "at_capacity": None if cost.at_capacity is None else _at_json(cost.at_capacity),
        "month": None if cost.month is None else asdict(cost.month),
        "api": None if cost.api is None else _api_json(cost.api),
        "break_even": None if cost.break_even is None else asdict(cost.break_even),
        "fitted": None if row.fitted is None else _fitted_json(row.fitted),
        "projected": None if row.projected is None else row.projected.as_json(),
    }
    return {
        **named,
        "mode": row.mode,
        "machine": {"name": machine.name, "source": machine.source, "date": machine.date, **asdict(machine.hour)},
        "by_utilisation": _shares_json(cost.by_utilisation),
        "stated": {**_at_json(cost.stated), "label": "assumed"},
        "usd_per_correct_interval": None if cost.usd_per_correct is None else asdict(cost.usd_per_correct),
        "service": None if cost.service is None else asdict(cost.service),
        "tornado": None if cost.tornado is None else [asdict(bar) for bar in cost.tornado],
        **{name: part for name, part in parts.items() if part is not None},
        "service_from": row.service_from,
    }


def _but(found: CostReport | ApiCost | FittedCost, *left_out: str) -> dict[str, object]:
    """Returns the fields of a value, without some."""
    return {field.name: getattr(found, field.name) for field in fields(found) if field.name not in left_out}


def _shares_json(costs: Mapping[float, CostBreakdown]) -> dict[str, object]:
    return {f"{share:g}": asdict(cost) for share, cost in costs.items()}


def _at_json(at: CostAt) -> dict[str, object]:
    return {"utilisation": at.utilisation, **asdict(at.cost)}


def _api_json(api: ApiCost) -> dict[str, object]:
    content = _but(api) if api.usd_month is not None else _but(api, "usd_month")
    return {**content, "price": frozen(api.price)}


def _fitted_json(found: FittedCost | NoFit) -> dict[str, object]:
    if isinstance(found, NoFit):
        return {"reason": found.reason}
    content = _but(found, "usd_per_correct")
    interval = asdict(found.usd_per_correct)
    shares = _shares_json(found.by_utilisation)
    return {"reason": None, **content, "by_utilisation": shares, "usd_per_correct_interval": interval}
