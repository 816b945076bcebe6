"""A text that a model wrote: how it is asked for, how the answer is found in it, and what that is worth."""

from __future__ import annotations

import json
import math
from typing import Any

from harness.config.named_functions import name_of
from harness.config.task import Judging, TaskConfig, Writing
from harness.scoring.extractors import extract
from harness.scoring.scorers import score_answer
from harness.scoring.scorers.code import needs_sandbox
from harness.tasks.answer_form import form_of, is_valid
from harness.tasks.kinds.base import failed, led_by
from harness.tasks.rubric import Told, judged
from harness.values import Failure, Response, Sample, Score
from harness.values import Writing as Manner


def writing_of(task: Writing, sample: Sample) -> Manner:
    """Returns how the answer to one sample is written."""
    held = task.constrain is not None and task.constrain.enforce
    return Manner(
        form=form_of(task.constrain, sample) if task.constrain is not None and held else None,
        prefill=task.prefill,
        thinking=task.thinking.switch,
        thinking_budget=task.thinking.budget,
        markers=task.thinking.markers,
        logprobs=task.logprobs,
        wall_s=task.wall_limit_s,
    )


def judge_text(task: Judging, sample: Sample, response: Response, told: Told) -> Score:
    """Returns the score of the answer found in a generated text; `also` names further ways to find it.

    Further metrics: those of `score` where a judge model gives the value; `valid_output` where the task says what an
    answer must be; and the model's confidence if it was asked for: the probability of the answer's tokens, in the
    (geometric) mean, at least, and of the first.
    """
    text = written(task, response)
    thinking = response.thinking_cut
    try:
        answer = None if thinking else extract(task.extract, text, labels=sample.labels)
        if answer is None:
            score = Score(None, None, Failure.THINKING_CUT if thinking else _why_none(response))
        elif needs_sandbox(task.score):
            score = Score(None, shown(answer), Failure.UNSCORED)
        else:
            score = _of_answer(task, sample, answer, told)
        further = {name: _value_of(task, also, sample, text) for name, also in task.also.items()}
        if task.constrain is not None:
            further["valid_output"] = float(not thinking and is_valid(form_of(task.constrain, sample), text))
    except Exception as error:  # a scorer's fault is one sample's failure, not the run's
        return failed(error)
    metrics = {**score.metrics, **further, **_confidence(response)}
    return Score(score.value, score.answer, score.failure, metrics)


def _of_answer(task: Judging, sample: Sample, answer: Any, told: Told) -> Score:
    """Returns the score of an answer that was found, by the task's scorer or by what a judge model said."""
    if task.rubric is None:
        value, metrics = score_answer(task.score or "exact_match", sample.expected, answer, sample.row)
        return led_by(task.headline, Score(value, shown(answer), None, metrics), name_of(_first(task)))
    verdict, metrics = judged(task.rubric, told)
    if task.score is not None:
        beside, more = score_answer(task.score, sample.expected, answer, sample.row)
        metrics = {**more, name_of(_first(task)): beside, **metrics}
    score = Score(verdict, shown(answer), None if verdict is not None else Failure.UNSCORED, metrics)
    return led_by(task.headline, score, "rubric")


def _first(task: Judging) -> Any:
    """Returns the scorer whose value counts, as the task file writes it."""
    spec = task.score or "exact_match"
    return spec[0] if isinstance(spec, list | tuple) else spec


def answer_to_judge(task: Judging, sample: Sample, response: Response) -> str | None:
    """Returns the answer in a response as a judge model is shown it; None where there is none to judge."""
    if response.error is not None or response.thinking_cut:
        return None
    return text_to_judge(task, sample, written(task, response))


def text_to_judge(task: Judging, sample: Sample, text: str) -> str | None:
    """Returns the answer in a text as a judge model is shown it."""
    try:
        answer = extract(task.extract, text, labels=sample.labels)
    except Exception:  # recorded as a scorer error when the response is judged
        return None
    return None if answer is None else shown(answer)


def written(task: TaskConfig, response: Response) -> str:
    """Returns the answer as it is judged: what the model wrote, after the beginning that the task gave it."""
    begun = task.prefill if isinstance(task, Writing) else ""
    return (begun if response.text else "") + (response.text or "")


def shown(answer: Any) -> str:
    """Returns an extracted answer as text: what a record and a person see."""
    return answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False, default=str)


def _why_none(response: Response) -> Failure:
    return Failure.TRUNCATED if response.finish_reason in {"length", "time"} else Failure.NO_ANSWER


def _confidence(response: Response) -> dict[str, float]:
    sure = response.confidence
    if sure is None:
        return {}
    nats = {"confidence": sure.mean, "confidence_min": sure.minimum, "confidence_first": sure.first}
    return {name: math.exp(min(value, 0.0)) for name, value in nats.items()}


def _value_of(task: Judging, spec: Any, sample: Sample, text: str) -> float:
    answer = extract(spec, text, labels=sample.labels)
    return 0.0 if answer is None else score_answer(task.score or "exact_match", sample.expected, answer, sample.row)[0]
