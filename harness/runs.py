"""A run from start to finish, and what can be done with its folder afterwards."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from itertools import chain, zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import judging, tables
from harness.analysis.usage import spent_together, told
from harness.config.run import RunConfig, read_run
from harness.config.task import TaskConfig
from harness.errors import StoreError, nearest
from harness.execute import Load, Step, execute, load, measurements, restored
from harness.labels import by_label
from harness.plan import Plan, check_judge, make_plan, stored
from harness.scoring.scorers import own_python
from harness.security.seal import Seal, seal_run
from harness.store.files import RESPONSES, VERDICTS, write_json_atomic, write_jsonl_atomic, write_text_atomic
from harness.store.folder import RunFolder
from harness.store.log import read_attempts, read_responses, verify_chain
from harness.summary import clusters_of, summarise
from harness.tasks import lm_eval_tasks
from harness.tasks.records import records
from harness.values import Failure, Record, Sample

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
        return tables.FORMATS[form](self.summary, **how)

    def records(self) -> pandas.DataFrame:
        """Returns one row a judged response; the columns are those of records.jsonl."""
        import pandas

        return pandas.DataFrame(read_jsonl(self.folder / "records.jsonl"))


def run(config: str | RunConfig, *, out: str | Path | None = None, seal: bool = False) -> Result:
    """Runs or resumes a configuration (a file, a bundled name, or values), and returns its result.

    `out` is the run folder; default: `results/<UTC>-<name>-<digest8>` in the working folder, or the newest unfinished
    one of the same plan. `seal` keeps this process off the network, for good (`harness.security.seal`); whether it did is in
    `summary["sealed"]`. Raises a HarnessError for what the user can mend.
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


def carry_out(plan: Plan, path: Path, load: Load = load, *, sealed: Seal | None = None) -> Iterator[Step]:
    """Yields each step of a run as it is done; everything is on disk when a step is yielded."""
    if not plan.config.responses_only:
        check_judge(plan)
    with RunFolder.create_or_resume(path, stored(plan)) as folder:
        if not (path / "samples.jsonl").exists():
            write_jsonl_atomic(path / "samples.jsonl", _sample_lines(plan))
        kept = None if sealed is None else str(sealed)
        yield from execute(plan, folder, load, kept)
        yield from judging.carry_out(plan, folder, load, kept)


def finish(path: Path) -> Result:
    """Judges every response and writes records, summary and tables; reads files only. Raises StoreError.

    Every response must be of a planned sample, and none may stand twice; what is missing is named in the notes.
    """
    found, summary = _summarised(path)
    write_jsonl_atomic(path / "records.jsonl", map(_record_line, found))
    summary["head"] = verify_chain(path / RESPONSES).head
    if (path / VERDICTS).exists():
        summary["verdicts_head"] = verify_chain(path / VERDICTS).head
    write_text_atomic(path / "table.md", tables.markdown(summary))
    write_text_atomic(path / "table.csv", tables.csv_text(summary))
    write_json_atomic(path / "summary.json", summary)
    return Result(path)


def _summarised(path: Path) -> tuple[list[Record], dict[str, Any]]:
    """Returns the records and the summary that follow from the responses of a run, without the heads of its chains."""
    _refuse_no_run(path)
    plan, samples = read_json(path / "plan.json"), read_samples(path)
    found, heard = _judged(path)
    log, replies = read_attempts(path / RESPONSES), judging.attempts(path)
    summary = summarise(plan, samples, found, measurements(path), told(chain(log, replies)), heard)
    summary["rows"] = [_with_lm_eval(row, plan, samples, path) for row in summary["rows"]]
    return found, summary


def answered(path: Path) -> set[str]:
    """Returns the keys of the requests in a run folder that are answered, or failed for good; none if it is new."""
    if not (path / "responses.jsonl").exists():
        return set()
    return {line["key"] for line in read_responses(path / "responses.jsonl") if not line.get("provisional")}


def _with_lm_eval(row: dict[str, Any], plan: Mapping[str, Any], samples: Mapping, path: Path) -> dict[str, Any]:
    """Returns a row with what lm-eval makes of all answers together, if the task is one of its own."""
    config = TaskConfig.model_validate(plan["tasks"][row["task"]])
    if not lm_eval_tasks.is_judged_by(config):
        return row
    lines = (line for line in read_responses(path / "responses.jsonl") if line["task"] == row["task"])
    mine = (line for line in lines if line["model"] == row["model"])
    found = lm_eval_tasks.aggregated(
        config, ((samples[row["task"], line["sample_id"]], restored(line)) for line in mine)
    )
    told = {name: {"value": value, "low": None, "high": None, "method": "lm-eval"} for name, value in found.items()}
    return {**row, "metrics": {**row["metrics"], **told}}


def read_samples(path: Path) -> dict[tuple[str, str], Sample]:
    """Returns the samples a run asked about, by task and id."""
    return {(line["task"], line["id"]): _sample(line) for line in read_jsonl(path / "samples.jsonl")}


def judged(path: Path) -> list[Record]:
    """Returns the records that follow from a run's responses. Raises StoreError for a response that was not planned."""
    return _judged(path)[0]


def _judged(path: Path) -> tuple[list[Record], judging.Heard]:
    plan = read_json(path / "plan.json")
    configs = {name: TaskConfig.model_validate(config) for name, config in plan["tasks"].items()}
    for name, config in configs.items():
        lm_eval_tasks.refuse_unknown(config)
        for spec in config.scores:
            own_python.refuse_unknown(spec, name)
    samples = read_samples(path)
    lines = list(read_responses(path / RESPONSES))
    _check_expected(lines, samples, path)
    heard = judging.heard(path, plan, configs, samples, lines)
    return list(records(configs, samples, ((line, restored(line)) for line in lines), heard.told)), heard


def verified(path: Path) -> dict[str, Any]:
    """Returns whether a run is as it was written: the chain of its responses, and the scores that follow from them."""
    _refuse_no_run(path)
    plan = read_json(path / "plan.json")
    summary = read_json(path / "summary.json") if (path / "summary.json").exists() else {}
    log = verify_chain(path / RESPONSES, summary.get("head"))
    chains = [(path / RESPONSES, log)]
    if (path / VERDICTS).exists() or "verdicts_head" in summary:
        chains.append((path / VERDICTS, verify_chain(path / VERDICTS, summary.get("verdicts_head"))))
    for file, found in chains:
        if not found.ok:
            says = f"BROKEN at line {found.broken_line} of {file}: {found.why}"
            return {"ok": False, "run": str(path), "broken_line": found.broken_line, "says": says}
    if summary and (changed := _changed(path, summary)):
        return {"ok": False, "run": str(path), "broken_line": None, "says": f"CHANGED: {changed}"}
    planned = sum(cell.get("requests", cell["n"]) for cell in plan["cells"])
    judged_too = f" and {chains[1][1].lines} verdicts" if len(chains) > 1 else ""
    lines = f"{sum(1 for _ in read_responses(path / RESPONSES))} of {planned} responses{judged_too}"
    follows = "their records and scores follow" if summary else "not judged yet"
    says = f"ok: {path}: {lines} unbroken, {follows}; head {log.head}"
    return {"ok": True, "run": str(path), "lines": log.lines, "planned": planned, "head": log.head, "says": says}


_SCORES = ("n", "accuracy", "metrics", "failures", "difference")  # of a row: what people decide by


def _changed(path: Path, summary: Mapping[str, Any]) -> str:
    """Returns what of a run's records and scores does not follow from its responses; empty if all does."""
    records_of, fresh = _summarised(path)
    for i, (line, record) in enumerate(zip_longest(read_jsonl(path / "records.jsonl"), records_of), 1):
        if record is None or line != json.loads(json.dumps(_record_line(record))):
            return f"line {i} of {path / 'records.jsonl'} does not follow from the responses"
    for row, due in zip_longest(summary["rows"], fresh["rows"], fillvalue={}):
        for key in _SCORES:
            if not _same(row.get(key), json.loads(json.dumps(due.get(key)))):
                named = f"{key} of {due.get('model', row.get('model'))} on {due.get('task', row.get('task'))}"
                return f"{named} in {path / 'summary.json'} does not follow from the responses"
    return ""


def _same(one: Any, other: Any) -> bool:
    """Returns whether two JSON values say the same; numbers to within rounding, which differs between machines."""
    if isinstance(one, dict) and isinstance(other, dict):
        return all(_same(one.get(key), other.get(key)) for key in one.keys() | other.keys())
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-12)
    return one == other


def open_run(path: str | Path) -> Result:
    """Returns the run in a folder, judged. Raises StoreError where there is none."""
    folder = Path(path)
    _refuse_no_run(folder)
    return Result(folder) if (folder / "summary.json").exists() else finish(folder)


def _refuse_no_run(folder: Path) -> None:
    """Raises StoreError for a folder that holds no run, naming those that could be meant."""
    if not (folder / "plan.json").is_file():
        runs = [plan.parent.name for plan in folder.parent.glob("*/plan.json")]
        inside = [str(plan.parent) for plan in folder.glob("*/plan.json")]
        fix = nearest(folder.name, inside or runs) or "give the folder `harness run` named"
        raise StoreError(f"no run in {folder}", fix=fix)
    if read_json(folder / "plan.json").get("kind") == "bench":
        what = f"{folder} holds a benchmark of load, no run"
        raise StoreError(what, fix="read its summary.json, or give the folder `harness run` named")


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


def merged(summaries: Sequence[Mapping[str, Any]], names: Sequence[str]) -> dict[str, Any]:
    """Returns one summary of several runs: their rows side by side. Differences stay those within each run.

    `names` are those of the runs. What holds for some of them only is marked with their numbers, which the last notes
    resolve: a model that stands in several, and a note. Raises StoreError when two runs hold different versions of one
    task: those are never in one table.
    """
    version: dict[str, int] = {}
    for summary in summaries:
        for row in summary["rows"]:
            known = version.setdefault(row["task"], row["task_version"])
            if known != row["task_version"]:
                raise StoreError(
                    f"task '{row['task']}' has version {known} in one run and {row['task_version']} in another",
                    where=f"run {summary['run']}",
                    fix="run the older one again, or show them apart",
                )
    seen = Counter((row["task"], row["mode"], row["model"]) for summary in summaries for row in summary["rows"])
    rows = [
        {**row, "run": name, "mark": f"[{i}]" if seen[row["task"], row["mode"], row["model"]] > 1 else ""}
        for i, (summary, name) in enumerate(zip(summaries, names, strict=True), 1)
        for row in summary["rows"]
    ]
    references = {(r["name"], r["task"]): r for summary in summaries for r in summary["references"]}
    baselines = list(dict.fromkeys(summary["baseline"] for summary in summaries))
    one = len(baselines) == 1 and not any(row["mark"] for row in rows)
    of = (f" (baseline {summary['baseline']})" if not one and len(summary["rows"]) > 1 else "" for summary in summaries)
    told_apart = [f"[{i}]: {name}{baseline}" for i, (name, baseline) in enumerate(zip(names, of), 1)]
    return {
        **summaries[0],
        "run": " + ".join(dict.fromkeys(summary["run"] for summary in summaries)),
        "baseline": baselines[0] if one else "its run's baseline",
        "rows": rows,
        "references": list(references.values()),
        "spent": spent_together(summary.get("spent") for summary in summaries),
        "notes": [*_common_notes(summaries), *told_apart],
    }


def _common_notes(summaries: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yields the notes that hold for all of several runs, then each other one with the numbers of its runs."""
    of: dict[str, list[int]] = {}
    for i, summary in enumerate(summaries, 1):
        for note in dict.fromkeys(summary["notes"]):
            of.setdefault(note, []).append(i)
    yield from (note for note, runs in of.items() if len(runs) == len(summaries))
    for note, runs in of.items():
        if len(runs) < len(summaries):
            yield f"[{', '.join(map(str, runs))}] {note}"


def read_json(path: Path) -> Any:
    """Returns the content of a JSON file of a run. Raises StoreError if it is missing or broken."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise StoreError(f"no {path.name}", where=str(path.parent), fix="run `harness score` on the folder") from None
    except ValueError as error:
        raise StoreError(f"{path.name} is not JSON: {error}", where=str(path), fix="restore it from a copy") from None


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """Returns the lines of a JSONL file of a run; a torn last line is left out."""
    found = []
    with path.open(encoding="utf-8", newline="\n") as lines:
        for line in lines:
            with suppress(ValueError):
                found.append(json.loads(line))
    return found


def _check_expected(lines: list[dict[str, Any]], samples: Mapping[tuple[str, str], Sample], path: Path) -> None:
    seen = set()
    for line in lines:
        key = (line["model"], line["task"], line["sample_id"], line["epoch"], line.get("turn", 1))
        if key in seen or (line["task"], line["sample_id"]) not in samples:
            fault = "stands twice" if key in seen else "is of no planned sample"
            raise StoreError(
                f"the response to {line['task']} {line['sample_id']} {fault}",
                where=str(path / "responses.jsonl"),
                fix="run `harness verify` on the folder",
            )
        seen.add(key)


def _sample_lines(plan: Plan) -> Iterator[dict[str, Any]]:
    for task in plan.tasks:
        for sample in plan.samples(task):
            yield {**asdict(sample), "row": dict(sample.row)}


def _sample(line: Mapping[str, Any]) -> Sample:
    several = {key: tuple(line.get(key, ())) for key in ("choices", "labels", "right", "scored")}
    return Sample(**{**line, **several})


def _record_line(record: Record) -> dict[str, Any]:
    line = asdict(record)
    if not record.turns:
        del line["turns"]
    failure = line["failure"]
    if not line["verdicts"]:
        del line["verdicts"]
    return {**line, "failure": failure.value if isinstance(failure, Failure) else None}
