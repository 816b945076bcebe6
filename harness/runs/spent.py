"""What a run folder says was paid so far, and so what is left to spend."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

from harness.config.model import ModelConfig, RemoteModel
from harness.config.run import RunConfig
from harness.runs.planned_model import PlannedModel, limits_of
from harness.store.files import RESPONSES, VERDICTS
from harness.store.lines import read_attempt_lines, read_measurements
from harness.store.schema import ChargeLine, RequestLine


def limited(model: PlannedModel, run: RunConfig, path: Path) -> ModelConfig:
    """Returns a model's settings with what is left to spend in a run folder, of its own limit and the run's, as limit.

    Counted is what this run paid so far, in every sitting; what is unknown as the most it can be. Only requests that
    were under way when a sitting was killed left no trace, and are not counted.
    """
    limits, config = limits_of(model, run), model.config
    if limits == (None, None) or not isinstance(config, RemoteModel):
        return config
    spent = spent_by_model(path)
    so_far = (spent.get(config.name, 0.0), sum(spent.values()))
    left = [limit - used for limit, used in zip(limits, so_far, strict=True) if limit is not None]
    return config.model_copy(update={"limits": config.limits.model_copy(update={"max_cost": max(0.0, min(left))})})


def spent_by_model(path: Path) -> dict[str, float]:
    """Returns by model the most USD that the answers in a run folder, and the requests beside them, can have cost."""
    spent: dict[str, float] = {}
    logs = [file for name in (RESPONSES, VERDICTS) if (file := path / name).exists()]
    answers = ((line.model, line.billing) for file in logs for line in read_attempt_lines(file) if line.attempts)
    lines = read_measurements(path, {"charge", "request"})
    beside = ((line.model, line) for line in lines if isinstance(line, ChargeLine | RequestLine))
    for model, bill in chain(answers, beside):
        if bill is not None:
            spent[model] = spent.get(model, 0.0) + (bill.most_usd or bill.usd or 0.0)
    return spent
