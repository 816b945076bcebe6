"""A run from start to finish, and what can be done with its folder afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from harness.analysis import verdicts
from harness.analysis.summary import summarise
from harness.analysis.usage import told
from harness.errors import StoreError
from harness.scoring.scorers import own_python
from harness.store.files import RESPONSES
from harness.store.lines import measurements, restored
from harness.store.log import read_attempts, read_responses
from harness.store.rows import _refuse_no_run, read_json, read_samples
from harness.tasks import lm_eval_judge
from harness.tasks.kinds import task_from_old
from harness.tasks.records import records
from harness.values import Record, Sample


def _summarised(path: Path) -> tuple[list[Record], dict[str, Any]]:
    """Returns the records and the summary that follow from the responses of a run, without the heads of its chains."""
    _refuse_no_run(path)
    plan, samples = read_json(path / "plan.json"), read_samples(path)
    found, heard = _judged(path)
    log, replies = read_attempts(path / RESPONSES), verdicts.attempts(path)
    summary = summarise(plan, samples, found, measurements(path), told(chain(log, replies)), heard)
    summary["rows"] = [_with_lm_eval(row, plan, samples, path) for row in summary["rows"]]
    return found, summary


def _with_lm_eval(row: dict[str, Any], plan: Mapping[str, Any], samples: Mapping, path: Path) -> dict[str, Any]:
    """Returns a row with what lm-eval makes of all answers together, if the task is one of its own."""
    config = task_from_old(plan["tasks"][row["task"]])
    if not lm_eval_judge.is_judged_by(config):
        return row
    lines = (line for line in read_responses(path / "responses.jsonl") if line["task"] == row["task"])
    mine = (line for line in lines if line["model"] == row["model"])
    found = lm_eval_judge.aggregated(
        config, ((samples[row["task"], line["sample_id"]], restored(line)) for line in mine)
    )
    told = {name: {"value": value, "low": None, "high": None, "method": "lm-eval"} for name, value in found.items()}
    return {**row, "metrics": {**row["metrics"], **told}}


def judged(path: Path) -> list[Record]:
    """Returns the records that follow from a run's responses. Raises StoreError for a response that was not planned."""
    return _judged(path)[0]


def _judged(path: Path) -> tuple[list[Record], verdicts.Heard]:
    plan = read_json(path / "plan.json")
    configs = {name: task_from_old(config) for name, config in plan["tasks"].items()}
    for name, config in configs.items():
        lm_eval_judge.refuse_unknown(config)
        for spec in config.scores:
            own_python.refuse_unknown(spec, name)
    samples = read_samples(path)
    lines = list(read_responses(path / RESPONSES))
    _check_expected(lines, samples, path)
    heard = verdicts.heard(path, plan, configs, samples, lines)
    return list(records(configs, samples, ((line, restored(line)) for line in lines), heard.told)), heard


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
