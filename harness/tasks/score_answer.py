"""Second loop: responses to records. Only files are read: no model, no network."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np

from harness.config.named_functions import name_of
from harness.config.task import TaskConfig, TurnConfig
from harness.scoring.extractors import extract
from harness.scoring.scorers import score_answer
from harness.scoring.scorers.code import needs_sandbox
from harness.tasks import lm_eval_tasks
from harness.tasks.answer_form import form_of, is_valid
from harness.tasks.prompts import answer_text, asked
from harness.tasks.rubric import NOT_ASKED, Told, judged
from harness.values import Failure, Response, Sample, Score

ByTurn = Mapping[int, Told]  # what a judge model said of each turn, from 1; there is one turn but in conversations
NO_TURNS: ByTurn = MappingProxyType({})


def judge(task: TaskConfig, sample: Sample, response: Response, told: Told = NOT_ASKED) -> Score:
    """Returns the judgement of one response: a value, or a named failure. `told`: what a judge model said of it."""
    if response.error is not None:
        return Score(None, None, Failure.BACKEND_ERROR)
    if lm_eval_tasks.is_judged_by(task):
        return lm_eval_tasks.judge(task, sample, response)
    if task.kind == "cloze":
        return judge_cloze(response)
    if task.kind == "perplexity":
        return judge_perplexity(task, sample, response)
    if task.kind == "choice":
        return judge_choice(task, sample, response)
    return judge_text(task, task.extract, sample, response, told)


def judge_choice(task: TaskConfig, sample: Sample, response: Response) -> Score:
    """Returns whether the most likely choice is the right one; of equals the first counts.

    Where several are right, the value is the share of the probability of all choices that falls on them (Lin et al.
    2022, TruthfulQA's MC2), and the metric `accuracy` says whether the most likely one is among them.

    Further metrics where the texts of the choices were scored: `accuracy_norm` divides each log-probability by the
    characters of its choice, `accuracy_bytes` by its UTF-8 bytes (lm-evaluation-harness 0.4.13, api/task.py). A task's
    `score` adds its metrics of the chosen text.
    """
    logprobs = np.array(response.logprobs)
    best = int(np.argmax(logprobs))
    if sample.right:
        share = np.exp(logprobs - logprobs.max())
        right = list(sample.right)
        mass = float(share[right].sum() / share.sum())
        return Score(mass, sample.labels[best], None, {"accuracy": float(best in right)})
    metrics = {}
    if task.continuation == "text" and not task.ending:
        characters = np.array([len(choice) for choice in sample.choices])
        in_bytes = np.array([len(choice.encode("utf-8", "surrogatepass")) for choice in sample.choices])
        metrics = {
            "accuracy_norm": float(np.argmax(logprobs / characters) == sample.gold),
            "accuracy_bytes": float(np.argmax(logprobs / in_bytes) == sample.gold),
        }
    if task.score is not None:
        try:
            metrics |= score_answer(task.score, sample.choices[sample.gold or 0], sample.choices[best], sample.row)[1]
        except Exception as error:  # a scorer's fault is one sample's failure, not the run's
            return Score(None, _told_of(error), Failure.SCORER_ERROR)
    return Score(float(best == sample.gold), sample.labels[best], None, metrics)


def judge_cloze(response: Response) -> Score:
    """Returns whether each token of the answer was the most likely one.

    Metrics: the `probability` of the answer, and the `nats` it cost.
    """
    (logprob,), (greedy,) = response.logprobs, response.greedy
    return Score(float(greedy), None, None, {"probability": math.exp(min(logprob, 0.0)), "nats": -logprob})


def judge_perplexity(task: TaskConfig, sample: Sample, response: Response) -> Score:
    """Returns the probability of a byte of the text (UTF-8), in the geometric mean.

    Metrics: the `nats` the text cost, and its `bytes` and `words` (between white space), over which they are spread.
    """
    text = answer_text(task, sample)
    size, nats = len(text.encode("utf-8", "surrogatepass")), -response.logprobs[0]
    words = len(re.split(r"\s+", text))  # as lm-evaluation-harness 0.4.13 counts them
    return Score(math.exp(-max(nats, 0.0) / size), None, None, {"nats": nats, "bytes": size, "words": words})


def judge_text(task: TaskConfig, spec: Any, sample: Sample, response: Response, told: Told = NOT_ASKED) -> Score:
    """Returns the score of the answer found in a generated text; `also` names further ways to find it.

    Further metrics: those of `score` where a judge model gives the value; `valid_output` where the task says what an
    answer must be; and the model's confidence if it was asked for: the probability of the answer's tokens, in the
    (geometric) mean, at least, and of the first.
    """
    text = written(task, response)
    thinking = response.thinking_cut
    try:
        answer = None if thinking else extract(spec, text, labels=sample.labels)
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
        return Score(None, _told_of(error), Failure.SCORER_ERROR)
    metrics = {**score.metrics, **further, **_confidence(response)}
    return Score(score.value, score.answer, score.failure, metrics)


def _told_of(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:200]


def _of_answer(task: TaskConfig, sample: Sample, answer: Any, told: Told) -> Score:
    """Returns the score of an answer that was found, by the task's scorer or by what a judge model said."""
    if task.rubric is None:
        value, metrics = score_answer(task.score or "exact_match", sample.expected, answer, sample.row)
        return Score(value, shown(answer), None, metrics)
    value, metrics = judged(task.rubric, told)
    if task.score is not None:
        beside, more = score_answer(task.score, sample.expected, answer, sample.row)
        first = task.score[0] if isinstance(task.score, list | tuple) else task.score
        metrics = {**more, name_of(first): beside, **metrics}
    return Score(value, shown(answer), None if value is not None else Failure.UNSCORED, metrics)


def answer_to_judge(task: TaskConfig, sample: Sample, response: Response) -> str | None:
    """Returns the answer in a response as a judge model is shown it; None where there is none to judge."""
    if response.error is not None or response.thinking_cut:
        return None
    return text_to_judge(task, sample, written(task, response))


def text_to_judge(task: TaskConfig, sample: Sample, text: str) -> str | None:
    """Returns the answer in a text as a judge model is shown it."""
    try:
        answer = extract(task.extract, text, labels=sample.labels)
    except Exception:  # recorded as a scorer error when the response is judged
        return None
    return None if answer is None else shown(answer)


def written(task: TaskConfig, response: Response) -> str:
    """Returns the answer as it is judged: what the model wrote, after the beginning that the task gave it."""
    return (task.prefill if response.text else "") + (response.text or "")


def _why_none(response: Response) -> Failure:
    return Failure.TRUNCATED if response.finish_reason in {"length", "time"} else Failure.NO_ANSWER


def _confidence(response: Response) -> dict[str, float]:
    sure = response.confidence
    if sure is None:
        return {}
    nats = {"confidence": sure.mean, "confidence_min": sure.minimum, "confidence_first": sure.first}
    return {name: math.exp(min(value, 0.0)) for name, value in nats.items()}


def _value_of(task: TaskConfig, spec: Any, sample: Sample, text: str) -> float:
    answer = extract(spec, text, labels=sample.labels)
    return 0.0 if answer is None else score_answer(task.score or "exact_match", sample.expected, answer, sample.row)[0]


def shown(answer: Any) -> str:
    """Returns an extracted answer as text: what a record and a person see."""
    return answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False, default=str)


def _counted(task: TaskConfig, score: Score) -> float | None:
    return 0.0 if score.value is None and score.failure in task.wrong else score.value


def turn_of(
    task: TaskConfig, sample: Sample, turn: int, responses: Sequence[Response] = ()
) -> tuple[TaskConfig, Sample]:
    """Returns the task and sample of one question as which a scored turn of a conversation is judged.

    The sample's row tells what was said so far, as columns: `_question_1`, `_answer_1`, `_question_2`, ... up to the
    question of this turn; `responses` are those of the turns before it (or of more).
    """
    own = (task.scored or {}).get(turn, TurnConfig())
    changes = {"extract": own.extract, "score": own.score}
    judged = {"kind": "generate", **{key: value for key, value in changes.items() if value is not None}}
    said = {f"_question_{i}": text for i, text in enumerate(asked(task, sample)[:turn], 1)}
    said |= {f"_answer_{i}": written(task, response) for i, response in enumerate(responses[: turn - 1], 1)}
    expected = sample.expected[sample.scored.index(turn)]
    row = {**sample.row, **said}
    return task.model_copy(update=judged), replace(sample, row=row, expected=expected, scored=())


def right_answers(task: TaskConfig, sample: Sample) -> Iterator[str]:
    """Yields the right answer to a sample, or to each scored turn of a conversation, where one is known."""
    if not sample.scored and sample.expected is not None:
        yield f"right answer: {answer_text(task, sample)}"
    for turn in sample.scored:
        config, one = turn_of(task, sample, turn)
        if one.expected is not None:
            yield f"right answer to turn {turn}: {answer_text(config, one)}"
