"""Second loop: responses to records. Only files are read: no model, no network."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from harness.config import TaskConfig
from harness.extract import extract
from harness.forms import form_of, is_valid
from harness.prompts import answer_text
from harness.scorers import score_answer
from harness.values import Failure, Record, Response, Sample, Score


def judge(task: TaskConfig, sample: Sample, response: Response) -> Score:
    """Returns the judgement of one response: a value, or a named failure."""
    if response.error is not None:
        return Score(None, None, Failure.BACKEND_ERROR)
    if task.kind == "cloze":
        return judge_cloze(response)
    if task.kind == "perplexity":
        return judge_perplexity(task, sample, response)
    if task.kind == "choice":
        return judge_choice(task, sample, response)
    return judge_text(task, task.extract, sample, response)


def judge_choice(task: TaskConfig, sample: Sample, response: Response) -> Score:
    """Returns whether the most likely choice is the right one; of equals the first counts.

    Where several are right, the value is the share of the probability of all choices that falls on them (Lin et al.
    2022, TruthfulQA's MC2), and the metric `accuracy` says whether the most likely one is among them.

    Further metrics where the texts of the choices were scored: `accuracy_norm` divides each log-probability by the
    characters of its choice, `accuracy_bytes` by its UTF-8 bytes (lm-evaluation-harness 0.4.13, api/task.py).
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


def judge_text(task: TaskConfig, spec: Any, sample: Sample, response: Response) -> Score:
    """Returns the score of the answer found in a generated text; `also` names further ways to find it.

    Further metrics: `valid_output` where the task says what an answer must be, and the model's confidence if it was
    asked for: the probability of the answer's tokens, in the (geometric) mean, at least, and of the first.
    """
    text = written(task, response)
    thinking = bool(response.details.get("thinking_cut"))
    try:
        answer = None if thinking else extract(spec, text, labels=sample.labels)
        if answer is None:
            score = Score(None, None, Failure.THINKING_CUT if thinking else _why_none(response))
        else:
            value, metrics = score_answer(task.score or "exact_match", sample.expected, answer, sample.row)
            score = Score(value, shown(answer), None, metrics)
        further = {name: _value_of(task, also, sample, text) for name, also in task.also.items()}
        if task.constrain is not None:
            further["valid_output"] = float(not thinking and is_valid(form_of(task.constrain, sample), text))
    except Exception as error:  # a scorer's fault is one sample's failure, not the run's
        return Score(None, f"{type(error).__name__}: {error}"[:200], Failure.SCORER_ERROR)
    metrics = {**score.metrics, **further, **_confidence(response)}
    return Score(score.value, score.answer, score.failure, metrics)


def written(task: TaskConfig, response: Response) -> str:
    """Returns the answer as it is judged: what the model wrote, after the beginning that the task gave it."""
    return (task.prefill if response.text else "") + (response.text or "")


def _why_none(response: Response) -> Failure:
    return Failure.TRUNCATED if response.finish_reason in {"length", "time"} else Failure.NO_ANSWER


def _confidence(response: Response) -> dict[str, float]:
    told = response.details.get("confidence") or {}
    names = {"mean": "confidence", "minimum": "confidence_min", "first": "confidence_first"}
    return {name: math.exp(min(told[key], 0.0)) for key, name in names.items() if key in told}


def _value_of(task: TaskConfig, spec: Any, sample: Sample, text: str) -> float:
    answer = extract(spec, text, labels=sample.labels)
    return 0.0 if answer is None else score_answer(task.score or "exact_match", sample.expected, answer, sample.row)[0]


def shown(answer: Any) -> str:
    """Returns an extracted answer as text: what a record and a person see."""
    return answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False, default=str)


def record(task: TaskConfig, sample: Sample, line: Mapping[str, Any], response: Response) -> Record:
    """Returns the record of one response; a failure the task counts as wrong has the value 0."""
    score = judge(task, sample, response)
    value = 0.0 if score.value is None and score.failure in task.wrong else score.value
    return Record(
        model=line["model"],
        task=line["task"],
        sample_id=line["sample_id"],
        epoch=line["epoch"],
        mode=line["mode"],
        expected=sample.expected,
        answer=score.answer,
        value=value,
        failure=score.failure,
        input_tokens=response.input_tokens,
        output_tokens=response.output_tokens,
        choice_logprobs=response.logprobs,
        text=None if response.text is None else written(task, response),
        finish_reason=response.finish_reason,
        truncated_left=response.truncated_left,
        metrics=score.metrics,
        cluster=sample.cluster,
    )


def records(
    tasks: Mapping[str, TaskConfig],
    samples: Mapping[tuple[str, str], Sample],
    lines: Iterable[tuple[Mapping[str, Any], Response]],
) -> Iterator[Record]:
    """Yields a record for each response; `samples` is by task and sample id."""
    for line, response in lines:
        yield record(tasks[line["task"]], samples[line["task"], line["sample_id"]], line, response)
