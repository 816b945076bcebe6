"""What stands in a run folder, read as values of its classes: `harness.store.schema` has them.

Files of earlier versions are brought to today's shapes while they are read; nothing is rewritten.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from pathlib import Path

from harness.errors import StoreError
from harness.measure.load.timed import Usage
from harness.security.secrets import redact, redacted, without_own
from harness.store.chain import START, Line, anchor, append_chained, chained, checked_lines, plan_hash
from harness.store.files import MEASURED, PLAN, RECORDS, SAMPLES, write_lines_atomic
from harness.store.log import broken, read_attempts, read_responses, superseded
from harness.store.opening import there
from harness.store.paths import portable
from harness.store.rows import jsonl_lines, read_object
from harness.store.schema import (
    MEASUREMENTS,
    PARTS,
    PLANS,
    RECORD_LINES,
    RESPONSE_LINES,
    SAMPLE_LINES,
    Measurement,
    PlanFile,
    RequestLine,
    migrated,
)
from harness.store.schema.codec import FIX
from harness.store.schema.migration import What
from harness.values import Record, ResponseLine, Sample


def read_plan(folder: Path) -> PlanFile:
    """Returns what a run folder's `plan.json` says. Raises StoreError."""
    file = folder / PLAN
    try:
        content = migrated("plan", read_object(file))
    except (KeyError, TypeError, AttributeError):
        fix = "restore it from a copy, or start anew: --out DIR"
        raise StoreError("the plan of this run cannot be read", where=str(file), fix=fix) from None
    return PLANS.read(content, str(file))


def read_samples(folder: Path) -> dict[tuple[str, str], Sample]:
    """Returns the samples a run asked about, by task and id. Raises StoreError."""
    file, found = folder / SAMPLES, dict[tuple[str, str], Sample]()
    for line in checked_lines(file, plan_hash(folder), old=True, at_once=True):
        sample = SAMPLE_LINES.read(_content(line, file, "sample"), f"{file}, line {line.number}")
        if (sample.task, sample.id) in found:
            raise broken(file, line.number, f"sample {sample.id} of {sample.task} stands twice")
        found[sample.task, sample.id] = sample
    return found


def write_samples(folder: Path, samples: Iterable[Mapping[str, object]]) -> None:
    """Writes the samples of a run as a chain that stands on its plan, whole or not at all."""
    write_lines_atomic(folder / SAMPLES, chained(samples, plan_hash(folder)))


def _content(line: Line, file: Path, what: str) -> dict[str, object]:
    """Returns what a line of a chain says. Raises StoreError for one that is not as it was written."""
    if line.why is not None:
        raise broken(file, line.number, line.why)
    try:
        return line.content()
    except ValueError:
        raise broken(file, line.number, f"the line is no {what}") from None


def read_response_lines(log: Path) -> Iterator[ResponseLine]:
    """Yields the lines of a log of responses that count, as `read_responses` does. Raises StoreError."""
    for content in read_responses(log):
        yield _response(content, log)


def read_attempt_lines(log: Path) -> Iterator[ResponseLine]:
    """Yields all lines of a log of responses, those too that others took the place of. Raises StoreError."""
    for content in read_attempts(log):
        yield _response(content, log)


def read_log(log: Path) -> Iterator[tuple[ResponseLine, bool]]:
    """Yields all lines of a log of responses, each with whether it counts: no other took its place."""
    gone = superseded(log)
    for number, line in enumerate(read_attempt_lines(log)):
        yield line, number not in gone


def _response(content: Mapping[str, object], log: Path) -> ResponseLine:
    return RESPONSE_LINES.read(_migrated("response", content, log), str(log))


def read_measurements(folder: Path, kinds: Container[str] | None = None) -> Iterator[Measurement]:
    """Yields the lines of `measurements.jsonl` of a run folder; a torn last line is left out. Raises StoreError.

    kinds: those that are wanted; None: all. A load has thousands of lines of kind `request`.
    """
    file = folder / MEASURED
    if not there(file):
        return
    for line in checked_lines(file, anchor(folder), old=unchained_measurements(folder)):
        if not line.whole:
            return
        content = _content(line, file, "measurement")
        if kinds is None or content.get("kind") in kinds:
            yield MEASUREMENTS.read(_migrated("measurement", content, file), f"{file}, line {line.number}")


def unchained_measurements(folder: Path) -> bool:
    """Returns whether the measurements of a folder may begin with lines of no chain: of a run that has no chain."""
    return not there(folder / SAMPLES) or anchor(folder) == START


def _migrated(what: What, content: Mapping[str, object], file: Path) -> Mapping[str, object]:
    try:
        return migrated(what, content)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise StoreError(f"this is no {what}", where=str(file), fix=FIX) from None


def read_records(folder: Path) -> Iterator[Record]:
    """Yields the records of a run that is judged. Raises StoreError."""
    file = folder / RECORDS
    for line in jsonl_lines(file):
        yield RECORD_LINES.read(_migrated("record", line, file), str(file))


def add_measurement(folder: Path, line: Measurement) -> None:
    """Adds a line to `measurements.jsonl` of a run folder: without the secrets of this computer."""
    add_measurements(folder, (line,))


def add_measurements(folder: Path, lines: Iterable[Measurement], *, sync: bool = True) -> None:
    """`add_measurement` for several lines, all of them or none; without `sync` the disk is not waited for."""
    append_chained(folder / MEASURED, map(_measurement, lines), sync=sync)


def _measurement(line: Measurement) -> dict[str, object]:
    if isinstance(line, RequestLine):
        # numbers and short fixed words alone, written while others are timed: as fast as can be
        usage = None if line.usage is None else {name: getattr(line.usage, name) for name in _USAGE}
        return {name: getattr(line, name) for name in _REQUEST} | {"usage": usage}
    found: dict[str, object] = redacted(portable(MEASUREMENTS.write(line)))
    return found


_REQUEST, _USAGE = tuple(RequestLine.__dataclass_fields__), tuple(Usage.__dataclass_fields__)


def plan_content(plan: PlanFile) -> dict[str, object]:
    """Returns the content of `plan.json`: without the secrets of this computer, and where on it things lie."""
    content: dict[str, object] = redacted(portable(PLANS.write(plan)))
    return content


def payload(line: ResponseLine) -> dict[str, object]:
    """Returns what is appended to a log for a response: without the secrets of this computer."""
    found = RESPONSE_LINES.write(line)
    found["text"] = None if line.text is None else without_own(line.text)
    found["error"] = None if line.error is None else redact(line.error)
    return found | {name: redacted(found[name]) for name in PARTS if name in found}
