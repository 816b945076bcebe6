"""A run from start to finish, and what can be done with its folder afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.analysis.labels import by_label
from harness.analysis.run_summary import _summarised, judged
from harness.analysis.summary import clusters_of
from harness.config.run import RunConfig, read_run
from harness.reports import formats
from harness.runs.carry_out import carry_out
from harness.runs.plan import Plan, make_plan
from harness.security.seal import Seal, seal_run
from harness.store.files import RESPONSES, VERDICTS, write_json_atomic, write_jsonl_atomic, write_text_atomic
from harness.store.log import verify_chain
from harness.store.rows import _record_line, _refuse_no_run, read_json, read_jsonl, read_samples
from harness.values import Record

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True, slots=True)
class Result:
    """A run folder that can be read: by a person (`table`), or by a program (`summary`, `records`)."""

    folder: Path

    @property
    def summary(self) -> dict[str, Any]:
        """Returns the content of summary.json."""
        return read_json(self.folder / "summary.json")

    @property
    def complete(self) -> bool:
        """Returns whether every planned sample has a response, and no more than allowed ended in an error."""
        rows = self.summary["rows"]
        cells = read_json(self.folder / "plan.json")["cells"]
        return len(rows) == len(cells) and not any(
            row["responses"] < row["expected"] or row.get("incomplete") for row in rows
        )

    @property
    def resumable(self) -> bool:
        """Returns whether the same command would still ask something here, and the run needs it to be complete."""
        rows = self.summary["rows"]
        missing = len(rows) < len(read_json(self.folder / "plan.json")["cells"])
        owed = missing or any(row["responses"] < row["expected"] or row.get("transient") for row in rows)
        return owed and not self.complete

    def table(self, form: str = "text", **how: Any) -> str:
        """Returns the tables as text (of `width` columns), markdown, csv or latex."""
        return formats.FORMATS[form](self.summary, **how)

    def records(self) -> pandas.DataFrame:
        """Returns one row a judged response; the columns are those of records.jsonl."""
        import pandas

        return pandas.DataFrame(read_jsonl(self.folder / "records.jsonl"))


def run(config: str | RunConfig, *, out: str | Path | None = None, seal: bool = False) -> Result:
    """Runs or resumes a configuration (a file, a bundled name, or values): its result.

    `out` is the run folder; default: `results/<UTC>-<name>-<digest8>` in the working folder, or the newest unfinished
    one of the same plan. `seal` keeps this process off the network, for good; whether it did is
    in `summary["sealed"]`. Raises a HarnessError for what the user can mend.
    """
    wanted = read_run(config) if isinstance(config, str) else config
    sealed = seal_run(wanted) if seal else Seal("none", "harness.run was not asked to: seal=True")
    plan = make_plan(wanted)
    folder = folder_for(plan, out)
    for _ in carry_out(plan, folder, sealed=sealed):
        pass
    return finish(folder)


def folder_for(plan: Plan, out: str | Path | None, root: Path = Path("results")) -> Path:
    """Returns the folder of a plan: as asked, else an unfinished one of the same plan, else a new one."""
    if out is not None:
        return Path(out)
    same = f"-{plan.config.run}-{plan.digest[:8]}"
    for found in sorted(root.glob(f"*{same}"), reverse=True):
        if not (found / "summary.json").exists() or Result(found).resumable:
            return found
    now = datetime.now(UTC)
    while (new := root / f"{now:%Y%m%dT%H%M%SZ}{same}").exists():
        now += timedelta(seconds=1)  # another run of the same plan began in this second
    return new


def finish(path: Path) -> Result:
    """Judges every response and writes records, summary and tables; reads files only. Raises StoreError.

    Every response must be of a planned sample, and none may stand twice; what is missing is named in the notes.
    """
    found, summary = _summarised(path)
    write_jsonl_atomic(path / "records.jsonl", map(_record_line, found))
    summary["head"] = verify_chain(path / RESPONSES).head
    if (path / VERDICTS).exists():
        summary["verdicts_head"] = verify_chain(path / VERDICTS).head
    write_text_atomic(path / "table.md", formats.markdown(summary))
    write_text_atomic(path / "table.csv", formats.csv_text(summary))
    write_json_atomic(path / "summary.json", summary)
    return Result(path)


def open_run(path: str | Path) -> Result:
    """Returns the run in a folder, judged. Raises StoreError where there is none."""
    folder = Path(path)
    _refuse_no_run(folder)
    return Result(folder) if (folder / "summary.json").exists() else finish(folder)


def with_labels(result: Result) -> dict[str, Any]:
    """Returns the summary of a run whose rows have `labels`: how each label does, None where answers are no labels."""
    tasks, samples = read_json(result.folder / "plan.json")["tasks"], read_samples(result.folder)
    cells: dict[tuple[str, str], list[Record]] = {}
    for record in judged(result.folder):
        if record.value is not None:
            cells.setdefault((record.model, record.task), []).append(record)

    def labels(row: Mapping[str, Any]) -> dict[str, Any] | None:
        records = cells.get((row["model"], row["task"]), [])
        found = by_label(tasks[row["task"]], records, samples, clusters_of(records))
        return None if found is None else asdict(found)

    return {**result.summary, "rows": [{**row, "labels": labels(row)} for row in result.summary["rows"]]}
