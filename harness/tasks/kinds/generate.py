"""Generate: the model writes a text, in which an answer is found and judged."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any, Literal

from pydantic import model_validator

from harness.config.task import Judging, OneAnswer, Writing, need_answer
from harness.scoring.extractors import extract
from harness.tasks.answer_form import form_of, is_valid
from harness.tasks.kinds.base import Example, Manner, as_it_is, key_of, no_more, renamed, text_response
from harness.tasks.kinds.written import judge_text, writing_of
from harness.tasks.lm_eval_judge import is_judged_by
from harness.tasks.prompts import answer_text, render
from harness.tasks.rubric import NOT_ASKED, Told, best_reply
from harness.tasks.samples import plain_samples
from harness.tasks.task import Task
from harness.values import GenerateRequest, Prompt, Request, Response, Sample, Score


class GenerateTask(OneAnswer, Judging):
    """A question that is answered by a text."""

    kind: Literal["generate"]

    @model_validator(mode="after")
    def _answered(self) -> GenerateTask:
        if self.rubric is None or self.score is not None or self.shots is not None:
            need_answer(self)
        return self


CONFIG = GenerateTask
samples, relaid, later, replied = plain_samples, renamed, no_more, as_it_is


def prompt(config: GenerateTask, sample: Sample, shots: Sequence[Sample], chat: bool) -> Prompt:
    """Returns what the answer follows; it ends with the answer's beginning (`prefill`)."""
    return render(config, sample, shots, chat, config.prefill)


def requests(config: GenerateTask, sample: Sample, shots: Sequence[Sample], manner: Manner) -> Iterator[Request]:
    """Yields the request for a text, for each epoch.

    A text that goes on from a cue ends where the next question would begin, after the separator.
    """
    ends = (config.separator,) if config.cue and not manner.chat and config.separator not in config.stop else ()
    asked = prompt(config, sample, shots, manner.chat)
    yield from written_requests(config, sample, (asked,), (*config.stop, *filter(None, ends)), manner)


def written_requests(
    config: Writing, sample: Sample, turns: Sequence[Prompt], stop: tuple[str, ...], manner: Manner
) -> Iterator[GenerateRequest]:
    """Yields the requests for text, for each epoch and turn; each turn after the first is what is added then."""
    writing = writing_of(config, sample)
    asked = {
        "mode": "generate",
        "max_tokens": config.max_tokens,
        "stop": stop,
        "sampling": asdict(manner.sampling),
        "writing": asdict(writing),
    }
    for epoch in range(config.epochs):
        follows = ""
        for turn, added in enumerate(turns, 1):
            before = {"follows": follows} if follows else {}
            key = key_of(manner, config, sample, added, {**asked, "epoch": epoch, **before})
            yield GenerateRequest(
                key,
                sample.id,
                added,
                config.max_tokens,
                stop,
                manner.sampling,
                writing,
                epoch,
                turn,
                follows,
                config.sensitivity,
            )
            follows = key


def score(config: GenerateTask, sample: Sample, response: Response, told: Told) -> Score:
    """Returns the score of the answer found in the text, by the task's scorer or by what a judge model said."""
    return judge_text(config, sample, response, told)


def examples(config: GenerateTask, samples: Sequence[Sample]) -> Iterator[Example]:
    """Yields each sample with its right answer, none, and a wrong choice or another sample's answer."""
    for i, sample in enumerate(samples):
        unjudged = _unjudged(config, sample)
        gold = None if unjudged else _writing(config, sample)
        fit = unjudged or _may_be_written(config, sample)
        yield Example(config, sample, gold, text_response(""), _wrong(config, samples, i), fit)


def as_text(config: GenerateTask, task: Task) -> Task:
    """Returns the task: it is asked as text already."""
    return task


def _unjudged(config: GenerateTask, sample: Sample) -> bool:
    """Returns whether no right answer is known or can be judged: a pattern is expected, instructions, code to run."""
    if sample.expected is None or is_judged_by(config):
        return True
    if config.score == "promptfoo":
        return sample.row.get("assertion") == "regex"
    return config.score in ("regex", "instructions", "code")


def _may_be_written(config: GenerateTask, sample: Sample) -> bool:
    """Returns whether a model held to the task's schema or choices can be right; of a pattern that is not known."""
    held = config.constrain
    if held is None or held.regex is not None:
        return True
    form = form_of(held, sample)
    if not form.choices:
        return is_valid(form, answer_text(config, sample))
    told = NOT_ASKED if config.rubric is None else Told(best_reply(config.rubric))
    return any(score(config, sample, text_response(choice), told).value == 1.0 for choice in form.choices)


def _wrong(config: GenerateTask, samples: Sequence[Sample], i: int) -> Response | None:
    sample = samples[i]
    if sample.expected is None:
        return None
    if sample.labels:  # a choice that is asked as text
        wrong = next((k for k in range(len(sample.labels)) if k != (sample.gold or 0)), None)
        return None if wrong is None else text_response(sample.labels[wrong])
    places = (*range(i + 1, len(samples)), *range(i))
    others = (samples[place] for place in places if not _same_answer(config, sample, samples[place]))
    other = next(others, None)
    return None if other is None else _writing(config, other)


def _writing(config: GenerateTask, sample: Sample) -> Response:
    """Returns the response of a model that writes the right answer of a sample, after the task's beginning of it."""
    return text_response(answer_text(config, sample).removeprefix(config.prefill))


def _same_answer(config: GenerateTask, sample: Sample, other: Sample) -> bool:
    """Returns whether two samples' reference answers say the same, as the task finds answers."""
    if _unjudged(config, sample) or _unjudged(config, other):
        return True
    found: list[Any] = [extract(config.extract, answer_text(config, one)) for one in (sample, other)]
    if config.score == "promptfoo":  # a part of another answer may be asked for
        return str(sample.expected).casefold() in str(other.expected).casefold()
    return bool(found[0] == found[1] or sample.expected == other.expected)
