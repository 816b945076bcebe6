"""Perplexity: how surprising is a whole text?"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Literal

from pydantic import model_validator

from harness.config.task import TaskConfig, need_answer
from harness.scoring.scorers import BYTES, NATS, WORDS
from harness.tasks.kinds.base import (
    Manner,
    as_it_is,
    certain,
    loglikelihood,
    no_more,
    no_text_form,
    renamed,
)
from harness.tasks.prompts import answer_text
from harness.tasks.rubric import Told
from harness.tasks.samples import plain_samples
from harness.values import Prompt, Request, Response, Sample, Score


class PerplexityTask(TaskConfig):
    """Texts, nothing before them, whose log-probability is asked for."""

    reads: ClassVar[str] = "texts"
    rolling: ClassVar[bool] = True
    templated: ClassVar[bool] = False
    unwritten: ClassVar[frozenset[str]] = frozenset({"score"})

    kind: Literal["perplexity"]
    target: str = ""  # template of the text; default: the answer's column
    score: Any = None  # lm-eval's own tasks only, which judge themselves

    @property
    def answer_template(self) -> str:
        """Returns the template of the text; empty: it is what stands in the answer's column."""
        return self.target

    @property
    def scores(self) -> tuple[Any, ...]:
        """Returns the `score:` of the task, if it has one."""
        return (self.score,) if self.score else ()

    @model_validator(mode="after")
    def _text(self) -> PerplexityTask:
        need_answer(self)
        return self


CONFIG = PerplexityTask
samples, relaid, later, replied, as_text = plain_samples, renamed, no_more, as_it_is, no_text_form


def prompt(config: PerplexityTask, sample: Sample, shots: Sequence[Sample], chat: bool) -> Prompt:
    """Returns the empty prompt: the text begins a document."""
    return Prompt("")


def requests(config: PerplexityTask, sample: Sample, shots: Sequence[Sample], manner: Manner) -> Iterator[Request]:
    """Yields the one request: for the whole text."""
    yield loglikelihood(manner, config, sample, prompt(config, sample, shots, False), (answer_text(config, sample),))


def score(config: PerplexityTask, sample: Sample, response: Response, told: Told) -> Score:
    """Returns the probability of a byte of the text (UTF-8), in the geometric mean.

    Metrics: the `nats` the text cost, and its `bytes` and `words` (between white space), over which they are spread.
    """
    text = answer_text(config, sample)
    size, nats = len(text.encode("utf-8", "surrogatepass")), -(response.logprobs or (math.nan,))[0]
    words = len(re.split(r"\s+", text))  # as lm-evaluation-harness 0.4.13 counts them
    return Score(math.exp(-max(nats, 0.0) / size), None, None, {NATS: nats, BYTES: size, WORDS: words})


examples = certain
