"""What a judge model said of the answers of a run, read back from verdicts.jsonl: the last verdict on each text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.config.task import Judging
from harness.store.files import VERDICTS
from harness.store.lines import read_attempt_lines
from harness.store.schema import PlanFile
from harness.tasks.judge_requests import Samples, _asked, _labelled, _of_task
from harness.tasks.rubric import Judge, Told
from harness.tasks.score_answer import ByTurn
from harness.values import AnswerPlace, Request, Response, ResponseLine


def attempts(path: Path) -> Iterator[ResponseLine]:
    """Yields every line of a run's verdicts; none for a run without a judge. Raises StoreError."""
    if (path / VERDICTS).exists():
        yield from read_attempt_lines(path / VERDICTS)


@dataclass(frozen=True, slots=True)
class Heard:
    """All that the judge of a run said."""

    told: Mapping[AnswerPlace, ByTurn] = field(default_factory=dict)  # of each answer
    labelled: Mapping[str, Mapping[str, Told]] = field(default_factory=dict)  # task -> sample -> of what people judged
    replies: tuple[Response, ...] = ()  # each once
    sent: Mapping[AnswerPlace, int] = field(default_factory=dict)  # bytes that left this machine for it, of each answer


NOTHING_HEARD = Heard()


def heard(
    plan: PlanFile,
    samples: Samples,
    responses: Iterable[ResponseLine],
    replies: Iterable[ResponseLine],
) -> Heard:
    """Returns what the judge said in a run folder, whose plan, samples and responses are given.

    `replies` are all lines of its verdicts, those too that others took the place of.
    """
    judge = judge_in(plan)
    if judge is None:
        return NOTHING_HEARD
    said: dict[str, ResponseLine] = {}
    bytes_of: dict[str, int] = {}
    for line in replies:
        said[line.key] = line
        bytes_of[line.key] = bytes_of.get(line.key, 0) + (line.sent_bytes or 0)
    judged = {name: task for name, task in plan.tasks.items() if isinstance(task, Judging) and task.rubric is not None}
    mine = [response for response in responses if response.task in judged]
    told: dict[AnswerPlace, dict[int, Told]] = {}
    sent: dict[AnswerPlace, int] = {}
    for where, by_turn in _asked(judged, samples, mine, judge, plan.baseline).items():
        told[where] = {turn: _told(requests, said) for turn, requests in by_turn.items()}
        keys = [request.key for requests in by_turn.values() for request in requests or ()]
        sent[where] = sum(bytes_of.get(key, 0) for key in keys)
    labelled = {
        name: {id: _told(asked, said) for id, asked in _labelled(task, _of_task(samples, name), judge).items()}
        for name, task in judged.items()
    }
    return Heard(told, labelled, tuple(said.values()), sent)


def _told(requests: Sequence[Request] | None, replies: Mapping[str, Response]) -> Told:
    return Told(tuple(replies.get(request.key) for request in requests or ()), itself=requests is None)


def judge_in(plan: PlanFile) -> Judge | None:
    """Returns the judge of a run from its plan.json; None if it had none."""
    known = plan.judge
    return None if known is None else Judge(known.key, known.chat, known.seed)
