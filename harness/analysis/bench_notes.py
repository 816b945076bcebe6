"""What a reader of a benchmark of load must know, as notes: its computer, cold starts, limits, and faults of loads."""

from __future__ import annotations

from collections.abc import Iterator

from harness.config.model import ScriptedModel, settings_of
from harness.measure.load.timed import Slo
from harness.measure.other_work import OTHERS, STOLEN
from harness.store.schema.bench import BenchRow, BenchSummary, BenchWorkload, TokenSeconds
from harness.store.schema.notes import Figure, Note, NoteCode, Subject
from harness.store.schema.plan import Host

LATE_S = 0.01  # by which a request may be sent late before it is told: response times hold that wait
SHORT = 0.9  # share of the asked answer length below which a speed says so


def notes(found: BenchSummary, host: Host) -> Iterator[Note]:
    """Yields what to know of all loads, of each model and workload, and of each scenario."""
    for owed in found.owed:
        figures: dict[str, Figure] = {"loads": owed.loads, "reason": owed.reason}
        yield Note(NoteCode.LOADS_OWED, "warning", Subject(owed.model, (owed.task,)), figures)
    yield Note(NoteCode.LOAD_SENT_FROM, figures={"processor": host.processor or host.system, "cores": host.cores})
    yield from _busy(found)
    first = next((name for name, about in found.models.items() if about.in_process), None)
    for work in found.workloads:
        yield from _of_workload(found, work, with_libraries=work.model == first)
    yield from _resources(found)
    yield from _prefix_cache(found)
    for row in found.rows:
        yield from _of_scenario(row, found.slo)
    for model, fitted in found.fits.items():
        about = Subject(model)
        if isinstance(fitted, TokenSeconds):
            terms: dict[str, Figure] = {"a": fitted.a, "b": fitted.b, "c": fitted.c}
            missed: dict[str, Figure] = {"error_mean": fitted.error_mean, "error_max": fitted.error_max}
            yield Note(NoteCode.TOKEN_SECONDS, "info", about, terms | missed)
        else:
            yield Note(NoteCode.TOKEN_SECONDS_UNKNOWN, "info", about, {"reason": fitted.reason})


def _busy(found: BenchSummary) -> Iterator[Note]:
    """Yields a warning where other work took part of the processors while loads ran."""
    shares = {
        f"{row.model} · {row.task}, {row.scenario}": (row.bystanders.others or 0.0, row.bystanders.stolen or 0.0)
        for row in found.rows
        if row.bystanders is not None
    }
    disturbed = {name: pair for name, pair in shares.items() if pair[0] > OTHERS or pair[1] > STOLEN}
    if disturbed:
        others, stolen = (max(column) for column in zip(*disturbed.values(), strict=True))
        figures: dict[str, Figure] = {"others": others, "stolen": stolen, "rows": tuple(disturbed)}
        yield Note(NoteCode.BUSY_MACHINE, "warning", figures=figures)


def _of_workload(found: BenchSummary, work: BenchWorkload, *, with_libraries: bool) -> Iterator[Note]:
    about, model = Subject(work.model, (work.task,)), found.models[work.model]
    figures: dict[str, Figure] = {"load_s": model.load_s, "with_libraries": with_libraries}
    yield Note(NoteCode.COLD_START, "info", about, {**figures, "first_request_s": work.first_request_s})
    if work.not_measured:
        yield Note(NoteCode.LOADS_LEFT_OUT, "info", about, {"loads": work.not_measured})
    for name, why in work.left_out.items():
        yield Note(NoteCode.LOAD_WITHOUT, "warning", about, {"parameter": name, "why": why})
    if work.slo_requests_per_s is not None:
        kept: dict[str, Figure] = {"requests_per_s": work.slo_requests_per_s, "at_all_rates": work.all_rates_in_slo}
        yield Note(NoteCode.KEEPS_SLO, "info", about, kept)
    if settings_of(model.backend) is ScriptedModel:
        yield Note(NoteCode.SCRIPTED_TIMES, "info", Subject(work.model))


def _resources(found: BenchSummary) -> Iterator[Note]:
    """Yields memory and energy of the models in this process."""
    for name, model in found.models.items():
        if not model.in_process:
            continue
        if (held := model.memory) is not None:
            on_device = held.peak_allocated_bytes or None
            if (most := on_device or held.peak_rss_bytes) is not None:
                figures: dict[str, Figure] = {"bytes": most, "on_device": on_device is not None}
                yield Note(NoteCode.PEAK_MEMORY, "info", Subject(name), figures)
        energy = next((row.energy for row in found.rows if row.model == name), None)
        if energy is not None and energy.joules is None:
            yield Note(NoteCode.LOAD_ENERGY_UNKNOWN, "info", Subject(name), {"reason": energy.reason})
        elif energy is not None:
            figures = {"method": energy.method, "idle_watts": energy.idle_watts}
            yield Note(NoteCode.LOAD_ENERGY, "info", Subject(name), figures)


def _prefix_cache(found: BenchSummary) -> Iterator[Note]:
    """Yields how far a prefix cache may have helped."""
    if found.prefix_cache == "defeat" or any(row.asked_output_tokens for row in found.rows):
        yield Note(NoteCode.PREFIX_CACHE_DEFEATED)
        return
    for name, model in found.models.items():
        mine = [row for row in found.rows if row.model == name]
        if model.in_process:
            yield Note(NoteCode.ONE_AT_A_TIME, "info", Subject(name))
        elif mine and all(row.cached_tokens is None for row in mine):
            yield Note(NoteCode.CACHED_TOKENS_UNTOLD, "info", Subject(name))


def _of_scenario(row: BenchRow, slo: Slo | None) -> Iterator[Note]:
    """Yields what is to be known of the figures of one scenario."""
    about = Subject(row.model, (row.task,))

    def note(code: NoteCode, **figures: Figure) -> Note:
        return Note(code, "info", about, {"scenario": row.scenario, **figures})

    if row.usage_differs:
        yield note(NoteCode.TOKENS_DISAGREE, n=row.usage_differs)
    if row.stopped:
        yield note(NoteCode.LOAD_ENDED_EARLY, reason=row.stopped, unfinished="unfinished" in row.failed)
    elif row.saturated:
        yield note(NoteCode.LOAD_SATURATED)
    if row.at_once:
        yield note(NoteCode.ANSWERS_IN_ONE_PIECE, n=row.at_once)
    if unbounded := _beyond_tpot(row, slo):
        yield note(NoteCode.NO_TPOT, n=unbounded)
    late = row.late_s.p99 or row.late_s.max
    if row.kind == "rate" and late is not None and late > LATE_S:
        yield note(NoteCode.SENT_LATE, late_s=late)
    asked, written = row.asked_output_tokens, row.output_tokens
    if asked and written is not None and row.answered and written / row.answered < SHORT * asked:
        yield note(NoteCode.SHORT_ANSWERS, tokens=written / row.answered, asked=asked)


def _beyond_tpot(row: BenchRow, slo: Slo | None) -> int:
    """Returns how many answers with tokens a bound on TPOT says nothing of: of one token, one piece, or uncounted."""
    if slo is None or slo.tpot_s is None or row.kind == "offline":
        return 0
    return row.ttft_s.n - row.tpot_s.n
