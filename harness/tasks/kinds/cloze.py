"""Cloze: would the model itself write the answer, token by token?"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import ClassVar, Literal

from pydantic import model_validator

from harness.config.task import Question, need_answer
from harness.scoring.scorers import NATS
from harness.tasks.kinds.base import (
    Manner,
    as_it_is,
    certain,
    loglikelihood,
    no_more,
    no_text_form,
    renamed,
)
from harness.tasks.prompts import answer_text, render
from harness.tasks.rubric import Told
from harness.tasks.samples import plain_samples
from harness.values import Prompt, Request, Response, Sample, Score


class ClozeTask(Question):
    """A question whose right answer's log-probability is asked for."""

    reads: ClassVar[str] = "answers"

    kind: Literal["cloze"]

    @model_validator(mode="after")
    def _answered(self) -> ClozeTask:
        need_answer(self)
        return self


CONFIG = ClozeTask
samples, relaid, later, replied, as_text = plain_samples, renamed, no_more, as_it_is, no_text_form


def prompt(config: ClozeTask, sample: Sample, shots: Sequence[Sample], chat: bool) -> Prompt:
    """Returns what stands before the answer."""
    return render(config, sample, shots, chat)


def requests(config: ClozeTask, sample: Sample, shots: Sequence[Sample], manner: Manner) -> Iterator[Request]:
    """Yields the one request: for the right answer. After a chat template it comes without the delimiter."""
    text = ("" if manner.chat else config.delimiter) + answer_text(config, sample)
    yield loglikelihood(manner, config, sample, prompt(config, sample, shots, manner.chat), (text,))


def score(config: ClozeTask, sample: Sample, response: Response, told: Told) -> Score:
    """Returns whether each token of the answer was the most likely one.

    Metrics: the `probability` of the answer, and the `nats` it cost.
    """
    (logprob,), (greedy,) = response.logprobs or (), response.greedy or ()
    return Score(float(greedy), None, None, {"probability": math.exp(min(logprob, 0.0)), NATS: -logprob})


examples = certain
