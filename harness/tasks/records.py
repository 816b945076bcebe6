"""Responses to records: what the run folder holds, judged. Only files are read: no model, no network."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from harness.config.task import TaskConfig
from harness.scoring.scorers import COUNTS, FOLLOWED
from harness.stats.totals import total
from harness.tasks.kinds.conversation import ConversationTask, asked, turn_of
from harness.tasks.kinds.written import shown, written
from harness.tasks.rubric import NOT_ASKED, Told
from harness.tasks.score_answer import NO_TURNS, ByTurn, counted, judge
from harness.values import AnswerPlace, Failure, Record, Response, ResponseLine, Sample, Score, Turn


def record(task: TaskConfig, sample: Sample, response: ResponseLine, told: Told = NOT_ASKED) -> Record:
    """Returns the record of one response; a failure the task counts as wrong has the value 0."""
    score = judge(task, sample, response, told)
    return _record(
        sample,
        (response,),
        answer=score.answer,
        value=counted(task, score),
        failure=score.failure,
        choice_logprobs=response.logprobs,
        text=None if response.text is None else written(task, response),
        metrics=score.metrics,
        verdicts=_texts(told),
    )


def _record(sample: Sample, responses: Sequence[ResponseLine], **judged: Any) -> Record:
    """Returns the record of a sample with what its responses took together; `judged` are its other fields."""
    thought = [n for one in responses if one.thinking is not None and (n := one.thinking.tokens) is not None]
    return Record(
        model=responses[-1].model,
        task=responses[-1].task,
        sample_id=responses[-1].sample_id,
        epoch=responses[-1].epoch,
        mode=responses[-1].mode,
        expected=sample.expected,
        input_tokens=total(response.input_tokens for response in responses),
        output_tokens=total(response.output_tokens for response in responses),
        finish_reason=responses[-1].finish_reason,
        truncated_left=max(response.truncated_left for response in responses),
        cluster=sample.cluster,
        thinking_tokens=sum(thought) if thought else None,
        **judged,
    )


def _texts(told: Told) -> tuple[str, ...]:
    return tuple(reply.text or "" for reply in told.replies if reply is not None)


def conversation(
    task: ConversationTask,
    sample: Sample,
    responses: Sequence[ResponseLine],
    told: ByTurn = NO_TURNS,
) -> Record:
    """Returns the record of a conversation, each of whose scored turns is judged as a question of its own.

    Its value is the mean over them, or with `over_turns: all` whether each is right. Where one has no value (left
    out, or never asked) the conversation has none. Metrics: `turn_2` and so on, and those of the turns: counts
    summed, the rest in the mean.
    """
    scores = {
        turn: judge(*turn_of(task, sample, turn, responses), responses[turn - 1], told.get(turn, NOT_ASKED))
        for turn in sample.scored
    }
    turns = tuple(_turn(task, sample, i, r, scores.get(i)) for i, r in enumerate(responses, 1))
    judged = [one for one in turns if one.turn in scores]
    values = [one.value for one in judged if one.value is not None]
    failures = [one.failure for one in sorted(turns, key=lambda one: one.value is not None) if one.failure is not None]
    value = sum(values) / len(values) if len(values) == len(judged) else None
    return _record(
        sample,
        responses,
        answer=shown([one.answer for one in judged]),
        value=float(value == 1.0) if task.over_turns == "all" and value is not None else value,
        failure=failures[0] if failures else None,
        choice_logprobs=None,
        text=None,
        metrics=_over_turns(scores) | {f"turn_{one.turn}": one.value for one in judged if one.value is not None},
        turns=turns,
        verdicts=tuple(text for turn in sample.scored for text in _texts(told.get(turn, NOT_ASKED))),
    )


def _turn(task: TaskConfig, sample: Sample, turn: int, response: Response, score: Score | None) -> Turn:
    unasked = Failure.BACKEND_ERROR if response.error is not None else None
    return Turn(
        turn=turn,
        text=None if response.text is None else written(task, response),
        expected=None if score is None else sample.expected[sample.scored.index(turn)],
        answer=None if score is None else score.answer,
        value=None if score is None else counted(task, score),
        failure=unasked if score is None else score.failure,
        input_tokens=response.input_tokens,
        output_tokens=response.output_tokens,
        finish_reason=response.finish_reason,
    )


def _over_turns(scores: Mapping[int, Score]) -> dict[str, float]:
    several: dict[str, list[float]] = {}
    for score in scores.values():
        for name, value in score.metrics.items():
            if name not in FOLLOWED:  # a count without how many there were says nothing
                several.setdefault(name, []).append(value)
    return {name: sum(v) if name in COUNTS else sum(v) / len(v) for name, v in several.items()}


def records(
    tasks: Mapping[str, TaskConfig],
    samples: Mapping[tuple[str, str], Sample],
    responses: Iterable[ResponseLine],
    told: Mapping[AnswerPlace, ByTurn] = MappingProxyType({}),
) -> Iterator[Record]:
    """Yields a record for each answered sample and epoch; `samples` is by task and sample id.

    `told` is what a judge model said of each turn. A conversation whose last turn has no response yet has no record:
    it is owed.
    """
    talks: dict[AnswerPlace, list[ResponseLine]] = {}
    for response in responses:
        task, sample = tasks[response.task], samples[response.task, response.sample_id]
        said = told.get(response.place, NO_TURNS)
        if not isinstance(task, ConversationTask):
            yield record(task, sample, response, said.get(1, NOT_ASKED))
            continue
        so_far = talks.setdefault(response.place, [])
        so_far.append(response)  # the log has the turns of a conversation in their order
        if len(so_far) == len(asked(task, sample)):
            yield conversation(task, sample, talks.pop(response.place), said)
