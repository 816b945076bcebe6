"""What a run costs in tables of 100 columns, with what each figure rests on, and in figures; the list of API prices."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from harness.analysis.cost_of_row import ApiCost, FittedCost, NoFit
from harness.analysis.costs import CostReport, CostRow, MachineRow, PaidRow
from harness.cost.attribution import CostBreakdown
from harness.cost.breakeven import Bar
from harness.cost.prices import STALE_DAYS, ListedPrice, Packaged
from harness.reports import projection_text
from harness.reports.formats import set_text
from harness.reports.layout import Table, number
from harness.reports.notes import sentence
from harness.store.schema import Row

COLUMNS = ("machine in use", "$/1M in", "$/1M out", "$/request", "$/1k", "$/correct")


def text(found: CostReport, width: int = 100) -> str:
    """Returns the tables of a cost report, what each rests on, and last what all of them rest on."""
    notes = [list(_notes(row, found.volume)) for row in found.rows]
    shared = [note for note in notes[0] if all(note in of_one for of_one in notes)] if len(notes) > 1 else []
    parts = [
        set_text(_tables(row), [*(note for note in of_one if note not in shared), *_beside(row)], width)
        for row, of_one in zip(found.rows, notes)
    ]
    last = [*shared, *_where(found), *map(sentence, found.notes)]
    return "\n\n".join([*parts, set_text((), last, width).strip()])


def _beside(row: CostRow) -> Iterator[str]:
    """Yields what is projected for a row, apart from what was measured."""
    if isinstance(row, MachineRow) and row.projected is not None:
        yield from projection_text.lines(row.projected)


def _where(found: CostReport) -> Iterator[str]:
    """Yields on what the seconds were measured, and a warning where another machine was priced."""
    machines = {row.cost.machine.name for row in found.rows if isinstance(row, MachineRow)}
    if not machines:
        return
    yield f"Measured on {found.measured_on}: the costs hold if that is the machine priced."
    if other := machines - {found.measured_for}:
        named = " and ".join(sorted(other))
        yield f"WARNING: the run did not name {named}: its seconds are not known to be those of that machine."


# --- tables ----------------------------------------------------------------------------------------------------------


def _tables(row: CostRow) -> Iterator[Table]:
    title = f"{row.model} on {row.task}"
    if isinstance(row, PaidRow):
        paid, each = row.paid, row.paid.usd_per_request
        usd = (paid.usd, each, None if each is None else each * 1e3, paid.usd_per_correct)
        names = ("paid to", "$", "$/request", "$/1k", "$/correct")
        yield Table("What was paid", names, ((title, (("API", *map(number, usd)),)),))
        return
    yield Table("What it costs", COLUMNS, ((title, tuple(_cost_lines(row))),))
    if row.cost.tornado is not None:
        columns = ("what is changed by half", "from, to", "$/correct at low", "at high")
        yield Table("What it hangs on, widest first", columns, ((title, tuple(_bars(row.cost.tornado))),))


def _cost_lines(row: MachineRow) -> Iterator[tuple[str, ...]]:
    """Yields a line for each utilisation, the cheapest first, then by the fit, at capacity, and of the API."""
    stated = row.cost.stated
    own = f"{100 * stated.utilisation:.0f} %"
    costs = {f"{100 * share:.0f} %": cost for share, cost in row.cost.by_utilisation.items()}
    costs = {name: cost for name, cost in costs.items() if name != own} | {f"{own} (stated)": stated.cost}
    for name, cost in sorted(costs.items(), key=lambda each: each[1].usd or 0.0):
        yield _cost_line(name, cost)
    if isinstance(row.fitted, FittedCost):
        for share, cost in row.fitted.by_utilisation.items():
            yield _cost_line(f"{100 * share:.0f} %, by the fit", cost)
    if row.cost.at_capacity is not None and row.cost.service is not None:
        yield _cost_line(f"at {number(row.cost.service.requests_per_s)} requests/s", row.cost.at_capacity.cost)
    if (api := row.cost.api) is not None:
        listed = (None, None) if isinstance(api.price, Packaged) else (api.price.input, api.price.output)
        each = (api.usd_per_request, api.usd_per_1k_samples, api.usd_per_correct_at_this_accuracy)
        yield (_name(api), *map(number, (*listed, *each)))


def _cost_line(name: str, cost: CostBreakdown) -> tuple[str, ...]:
    each = None if cost.usd_per_1k_samples is None else cost.usd_per_1k_samples / 1e3
    tokens = (cost.usd_per_1m_input, cost.usd_per_1m_output)
    return (name, *map(number, (*tokens, each, cost.usd_per_1k_samples, cost.usd_per_correct)))


def _name(api: ApiCost) -> str:
    return f"{api.price.provider}/{api.price.model}"


_SWUNG = {
    "utilisation": "utilisation",
    "throughput": "throughput (measured: 1)",
    "usd_per_hour": "$/h of the machine",
    "output_tokens": "tokens of an answer",
    "accuracy": "accuracy",
}


def _bars(tornado: Sequence[Bar]) -> Iterator[tuple[str, ...]]:
    for bar in tornado:
        if bar.usd_at_low != bar.usd_at_high:  # answers without tokens do not grow
            span = f"{number(bar.low_input)} to {number(bar.high_input)}"
            yield _SWUNG[bar.name], span, number(bar.usd_at_low), number(bar.usd_at_high)


# --- notes -----------------------------------------------------------------------------------------------------------

_NAMES = {
    "usd": "the bill",
    "usd_per_1m_input": "$/1M in",
    "usd_per_1m_output": "$/1M out",
    "usd_per_1k_samples": "$/1k",
    "usd_per_correct": "$/correct",
}


def _notes(row: CostRow, volume: float | None) -> Iterator[str]:
    if isinstance(row, PaidRow):
        yield f"Measured: {row.paid.label}."
        if row.paid.reason:
            yield f"Unknown: {row.paid.reason}."
        return
    machine, hour, stated = row.cost.machine, row.cost.machine.hour, row.cost.stated
    price = "unknown" if hour.total is None else f"${hour.total:.4g}/h"
    yield f"Measured: seconds and tokens of {row.n} answers; $/1M at their own lengths, and parts sum to the bill."
    yield f"{hour.label.capitalize()}: {machine.name} at {price} ({machine.source}, {machine.date})."
    yield "Assumed: utilisation, the share of paid hours that serve requests."
    if hour.reason:
        yield f"Unknown: {hour.reason}."
    else:
        yield from (f"Unknown: {_NAMES[name]}, {why}." for name, why in stated.cost.reasons.items() if name in _NAMES)
    span = row.cost.usd_per_correct
    if span is not None and span.low is not None and span.high is not None:
        yield (
            f"$/correct at {100 * stated.utilisation:.0f} %: {span.value:.3g} [{span.low:.3g}, {span.high:.3g}], "
            f"95 % {span.method}, n = {span.n}."
        )
    yield from _of_fit(row.fitted)
    if (month := row.cost.month) is not None:
        yield (
            f"{month.requests:,.0f} requests a month: {_machines(month.replicas)}, "
            f"{_percent(month.utilisation)} in use, ${month.usd:,.2f} a month."
        )
    yield from _against(row)


def _of_fit(fitted: FittedCost | NoFit | None) -> Iterator[str]:
    """Yields what the costs by the fit rest on."""
    if fitted is None:
        return
    if isinstance(fitted, NoFit):
        yield f"Unknown: the costs by the fit: {fitted.reason}."
        return
    missed = ""
    if fitted.error_mean is not None and fitted.error_max is not None:
        errors = f"{100 * fitted.error_mean:.0f} % on average, {100 * fitted.error_max:.0f} % at most"
        missed = f"; one left out is missed by {errors}"
    yield f"By the fit: {fitted.label} on {fitted.shapes} shapes at once{missed}."
    if fitted.beyond:
        yield f"WARNING: its {' and '.join(fitted.beyond)} tokens lie beyond those shapes: the fit is stretched."


def _against(row: MachineRow) -> Iterator[str]:
    if (api := row.cost.api) is None:
        return
    yield f"API: {api.label}; its accuracy is taken for the same."
    if row.mode == "loglikelihood":
        yield "API: it would have to write the answers that were scored here; those tokens are not in its price."
    if api.usd_month is not None:
        yield f"API: ${api.usd_month:,.2f} a month."
    if api.reason:
        yield f"Unknown: {api.reason}."
    even, service = row.cost.break_even, row.cost.service
    if even is None or service is None:
        return
    yield f"Capacity: {number(service.requests_per_s)} requests/s, {row.service_from}."
    if even.requests_per_month is None or even.utilisation is None:
        yield f"Break-even: never; {even.reason}."
        return
    verb = "serves" if even.replicas == 1 else "serve"
    limit = f"{_machines(even.replicas)} {verb} {_round(even.capacity_per_month)}"
    yield (
        f"Break-even: {_round(even.requests_per_month)} requests a month, {_percent(even.utilisation)} in use; {limit}."
    )
    if (month := row.cost.month) is not None and api.usd_month is not None:
        cheaper = "the machine" if month.usd < api.usd_month else "the API"
        yield f"At {month.requests:,.0f} requests a month {cheaper} is cheaper."


def _machines(count: int) -> str:
    return "1 machine" if count == 1 else f"{count:,} machines"


def _percent(share: float) -> str:
    return f"{number(share, 100)} %"


def _round(count: float) -> str:
    """Returns a large number to three digits: more would be pretence."""
    return f"{float(f'{count:.3g}'):,.0f}"


# --- figures and prices ----------------------------------------------------------------------------------------------


def plots(to: Path, found: CostReport, rows: Sequence[Row]) -> list[Path]:
    """Draws cost against volume (where a machine was priced) and against accuracy into a folder; returns the files.

    `rows`: those of the run's summary, in the order of the report's.
    """
    from harness.reports.plots import Priced, cost_against_accuracy, cost_against_volume

    to.mkdir(exist_ok=True)
    priced = []
    for row, cost in zip(rows, found.rows, strict=True):  # the costs found now: of another machine, perhaps
        each = cost.usd_per_request
        priced.append(Priced(f"{row.model}, {row.task}", row.accuracy, None if each is None else each * 1e3))
    drawn = list(cost_against_accuracy(priced, to / "cost-accuracy"))
    for cost in found.rows:
        if isinstance(cost, PaidRow) or cost.cost.service is None:
            continue
        api = cost.cost.api
        apis: Mapping[str, float] = {}
        if api is not None and api.usd_per_request is not None:
            apis = {_name(api): api.usd_per_request}
        volumes = [10 ** (3 + i / 20) for i in range(121)]
        name = f"cost-{cost.model}-{cost.task}".replace("/", "-")
        drawn += cost_against_volume({cost.cost.machine.name: cost.cost.service}, apis, volumes, to / name)
    return drawn


def prices(rows: Sequence[ListedPrice]) -> str:
    """Returns the listed API prices with their age; a warning below where any is old."""
    columns = ("provider", "model", "in $/1M", "out $/1M", "cached", "batch", "tiers", "read on", "days ago")
    cells = tuple(
        (
            row.provider,
            row.model,
            *map(number, (row.input, row.output, row.cache_read)),
            "yes" if row.batch else "no",
            str(row.tiers),
            row.retrieved,
            f"{row.age_days}{' old' if row.stale else ''}",
        )
        for row in rows
    )
    stale = sum(row.stale for row in rows)
    notes = [
        "List prices in USD; a provider may ask another. Own file: configs/prices/api.yaml names every source.",
        "cached: $/1M of input read from the cache; tiers: further prices, of prompts beyond a length.",
    ]
    if stale:
        notes.append(
            f"WARNING: {stale} of {len(rows)} were read more than {STALE_DAYS} days ago: check them before use."
        )
    return set_text((Table("API prices", columns, (("", cells),)),), notes)
