"""Pairs: how likely is each of several texts, after a context of its own? Tasks of lm-eval only, which judge them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Literal

from pydantic import model_validator
from pydantic_core import PydanticCustomError

from harness.config.task import TaskConfig
from harness.scoring import cells
from harness.tasks.kinds.base import (
    Example,
    Manner,
    as_it_is,
    loglikelihood,
    no_more,
    no_text_form,
    preferring,
    renamed,
)
from harness.tasks.lm_eval_judge import judge
from harness.tasks.prompts import fill, spelling
from harness.tasks.rubric import Told
from harness.tasks.samples import plain_samples
from harness.values import Prompt, Request, Response, Sample, Score


class PairsTask(TaskConfig):
    """Texts of lm-eval's, each after a context of lm-eval's."""

    templated: ClassVar[bool] = False

    kind: Literal["pairs"]
    prompt: str  # what all contexts of a sample begin with
    score: Any = None  # which of lm-eval's tasks judges
    metric: str | None = None  # which of its metrics is the value; default: the first

    @property
    def headline(self) -> str | None:
        """Returns the metric that an answer's value is; None: lm-eval's first."""
        return self.metric

    @property
    def scores(self) -> tuple[Any, ...]:
        """Returns the `score:` of the task."""
        return (self.score,)

    @model_validator(mode="after")
    def _of_lm_eval(self) -> PairsTask:
        if not (isinstance(self.score, Mapping) and "lm_eval" in self.score):
            raise PydanticCustomError("pairs", "`kind: pairs` is for tasks of lm-eval; use `kind: choice` or `cloze`")
        return self


CONFIG = PairsTask
samples, relaid, later, replied, as_text = plain_samples, renamed, no_more, as_it_is, no_text_form


def prompt(config: PairsTask, sample: Sample, shots: Sequence[Sample], chat: bool) -> Prompt:
    """Returns what all contexts of a sample begin with; its shots are in it."""
    return Prompt(fill(config.prompt, sample.row), data=spelling(sample.row))


def requests(config: PairsTask, sample: Sample, shots: Sequence[Sample], manner: Manner) -> Iterator[Request]:
    """Yields the one request: for each text, after what is left of its context."""
    texts, given = (tuple(cells.texts(sample.row, column)) for column in ("continuations", "given"))
    yield loglikelihood(manner, config, sample, prompt(config, sample, shots, False), texts, given)


def score(config: PairsTask, sample: Sample, response: Response, told: Told) -> Score:
    """Returns lm-eval's judgement."""
    return judge(config, sample, response)


def examples(config: PairsTask, samples: Sequence[Sample]) -> Iterator[Example]:
    """Yields each sample; what its right answer is, only those with choices say."""
    for sample in samples:
        if not sample.labels or sample.gold is None:
            yield Example(config, sample, None, None, None)
            continue
        wrong = next((i for i in range(len(sample.labels)) if i != sample.gold), None)
        wrongly = None if wrong is None else preferring(sample, wrong)
        yield Example(config, sample, preferring(sample, sample.gold), None, wrongly)
