"""What a judge model says of the answers of a run: asked after all models, kept beside their responses.

    responses.jsonl → what to ask → judge → verdicts.jsonl │ heard() → records

`verdicts.jsonl` is chained like `responses.jsonl`, so that a run is scored again, and verified, without the judge. A
text that people judged is put before the judge too: how far it agrees with them is of its own verdicts on that text.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.config.task import TaskConfig
from harness.store.files import VERDICTS
from harness.store.lines import restored
from harness.store.log import read_attempts
from harness.tasks.judge_requests import Samples, _asked, _labelled, _of_task
from harness.tasks.rubric import Judge, Told
from harness.tasks.score_answer import ByTurn, Place
from harness.values import Request, Response


def attempts(path: Path) -> Iterator[dict[str, Any]]:
    """Yields every line of a run's verdicts; none for a run without a judge. Raises StoreError."""
    if (path / VERDICTS).exists():
        yield from read_attempts(path / VERDICTS)


@dataclass(frozen=True, slots=True)
class Heard:
    """All that the judge of a run said."""

    told: Mapping[Place, ByTurn] = field(default_factory=dict)  # of each answer
    labelled: Mapping[str, Mapping[str, Told]] = field(default_factory=dict)  # task -> sample -> of what people judged
    replies: tuple[Response, ...] = ()  # each once
    sent: Mapping[Place, int] = field(default_factory=dict)  # bytes that left this machine for it, of each answer


NOTHING_HEARD = Heard()


def heard(
    path: Path,
    plan: Mapping[str, Any],
    tasks: Mapping[str, TaskConfig],
    samples: Samples,
    lines: Iterable[Mapping[str, Any]],
) -> Heard:
    """Returns what the judge said in a run folder, whose plan.json and responses are given. Raises StoreError."""
    judge = judge_in(plan)
    if judge is None:
        return NOTHING_HEARD
    lines_of: dict[str, list[dict[str, Any]]] = {}
    for line in attempts(path):
        lines_of.setdefault(line["key"], []).append(line)
    replies = {key: restored(every[-1]) for key, every in lines_of.items()}
    judged = {name: task for name, task in tasks.items() if task.judged_by is not None}
    mine = [(line, restored(line)) for line in lines if line["task"] in judged]
    baseline = plan["config"]["baseline"] or plan["config"]["models"][0]["name"]
    told: dict[Place, dict[int, Told]] = {}
    sent: dict[Place, int] = {}
    for where, by_turn in _asked(judged, samples, mine, judge, baseline).items():
        told[where] = {turn: _told(requests, replies) for turn, requests in by_turn.items()}
        keys = [request.key for requests in by_turn.values() for request in requests or ()]
        sent[where] = sum(line["sent_bytes"] for key in keys for line in lines_of.get(key, ()))
    labelled = {
        name: {id: _told(asked, replies) for id, asked in _labelled(task, _of_task(samples, name), judge).items()}
        for name, task in judged.items()
    }
    return Heard(told, labelled, tuple(replies.values()), sent)


def _told(requests: Sequence[Request] | None, replies: Mapping[str, Response]) -> Told:
    return Told(tuple(replies.get(request.key) for request in requests or ()), itself=requests is None)


def judge_in(plan: Mapping[str, Any]) -> Judge | None:
    """Returns the judge of a run from its plan.json; None if it had none."""
    known = plan.get("judge")
    return None if known is None else Judge(known["key"], known["chat"], known["seed"])
