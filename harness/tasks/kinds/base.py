"""What a kind of task is: one module that gives what is listed in `Kind`, and one line in `harness.tasks.kinds`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

from harness.config.task import TaskConfig
from harness.tasks.lm_eval_judge import is_judged_by
from harness.tasks.rows import digest
from harness.tasks.rubric import Told
from harness.tasks.samples import Table
from harness.tasks.task import Task
from harness.values import Failure, LoglikelihoodRequest, Prompt, Request, Response, Sample, Sampling, Score

SEMANTICS = 1  # raised when the same configuration would be asked or judged differently

Config = TypeVar("Config", bound=TaskConfig, contravariant=True)


@dataclass(frozen=True, slots=True)
class Manner:
    """How a model is asked, as far as a task's requests depend on it."""

    model: str  # digest of all of the model that could change an answer
    chat: bool  # by messages, which are rendered with its chat template
    sampling: Sampling  # how its tokens are drawn, where it writes


@dataclass(frozen=True, slots=True)
class Example:
    """A sample with responses whose judgement is known: what the self-test of a task goes through."""

    config: TaskConfig  # as which it is judged
    sample: Sample
    gold: Response | None  # scores 1; None: no right answer is known, or none can be judged here
    empty: Response | None  # scores 0; None: where there is always an answer
    wrong: Response | None  # scores below 1; None: no wrong one is known
    fit: bool = True  # a model that is held to the task's form can write the right answer


class Kind(Protocol[Config]):
    """One sort of task. `CONFIG` is the class of its files, whose name is the value of their key `kind`."""

    CONFIG: type[Any]

    def samples(self, config: Config, table: Table) -> Sequence[Sample]:
        """Returns a sample for each row. Raises TaskError for a row that has none."""

    def relaid(self, config: Config, sample: Sample, before: TaskConfig) -> Sample:
        """Returns a sample of the task `before`, another of whose prompts is `config`, as that prompt shows it."""

    def prompt(self, config: Config, sample: Sample, shots: Sequence[Sample], chat: bool) -> Prompt:
        """Returns what is asked about one sample, or what the first answer of a conversation follows."""

    def later(self, config: Config, sample: Sample, chat: bool) -> tuple[Prompt, ...]:
        """Returns what is added after each answer but the last; nothing where there is one answer."""

    def replied(self, config: Config, answer: str, chat: bool) -> str:
        """Returns an answer of the model as it stands before what is added after it."""

    def requests(self, config: Config, sample: Sample, shots: Sequence[Sample], manner: Manner) -> Iterator[Request]:
        """Yields what is asked about one sample: for each epoch, each turn."""

    def score(self, config: Config, sample: Sample, response: Response, told: Told) -> Score:
        """Returns the judgement of one response that is no error; `told` is what a judge model said of it."""

    def examples(self, config: Config, samples: Sequence[Sample]) -> Iterator[Example]:
        """Yields each sample, or each judged turn of it, with responses whose judgement is known."""

    def as_text(self, config: Config, task: Task) -> Task | None:
        """Returns the task as it is asked of a model that only writes text; None where it has no such form.

        Raises TaskError for a task of a kind that has one, whose data have not.
        """


def key_of(manner: Manner, config: TaskConfig, sample: Sample, prompt: Prompt, asked: Mapping[str, object]) -> str:
    """Returns the digest of everything that could change an answer.

    It is as it was when both sorts of requests were one and a log-likelihood was called a score: runs that were begun
    then go on.
    """
    whole = {
        **_UNASKED,
        "semantics": SEMANTICS,
        "model": manner.model,
        "task": [config.task, config.version],
        "sample": sample.id,
        "prompt": prompt.as_json(),
        **asked,
    }
    return digest(whole)


_UNASKED: Mapping[str, object] = {
    **{"continuations": (), "given": (), "rolling": False, "epoch": 0},
    **dict.fromkeys(("max_tokens", "stop", "sampling", "writing")),
}


def loglikelihood(
    manner: Manner,
    config: TaskConfig,
    sample: Sample,
    prompt: Prompt,
    continuations: tuple[str, ...],
    given: tuple[str, ...] = (),
) -> LoglikelihoodRequest:
    """Returns the request for the log-probability of texts after a prompt, or after it and a text of their own."""
    rolling = config.rolling
    asked = {"mode": "score", "continuations": continuations, "given": given, "rolling": rolling}
    key = key_of(manner, config, sample, prompt, asked)
    return LoglikelihoodRequest(key, sample.id, prompt, continuations, given, rolling, config.sensitivity)


# What most kinds have in common; a module takes these as its own by naming them.


def renamed(config: TaskConfig, sample: Sample, before: TaskConfig) -> Sample:
    """Returns the sample under the task's name: another prompt shows nothing of it in another way."""
    return replace(sample, task=config.task)


def no_more(config: TaskConfig, sample: Sample, chat: bool) -> tuple[Prompt, ...]:
    """Returns nothing: there is one answer, and nothing is said after it."""
    return ()


def as_it_is(config: TaskConfig, answer: str, chat: bool) -> str:
    """Returns the answer: nothing follows it that it would have to fit."""
    return answer


def no_text_form(config: TaskConfig, task: Task) -> None:
    """Returns None: what is asked is the log-probability of given text, and nothing else."""
    return


def preferring(sample: Sample, *choices: int) -> Response:
    """Returns the response of a model to which these choices are the most likely ones."""
    # the gap is wide so that the length of a choice does not decide
    logprobs = tuple(-1.0 if i in choices else -1e6 for i in range(len(sample.labels)))
    return Response(key="", prompt=None, logprobs=logprobs)


def certain(config: TaskConfig, samples: Sequence[Sample]) -> Iterator[Example]:
    """Yields each sample with responses of a model that is certain of its one text, and of one that is not."""
    gold = Response(key="", prompt=None, logprobs=(0.0,), greedy=(True,))
    wrong = Response(key="", prompt=None, logprobs=(-1.0,), greedy=(False,))
    for sample in samples:
        known = sample.expected is not None
        yield Example(
            config, sample, gold if known and not is_judged_by(config) else None, None, wrong if known else None
        )


def text_response(text: str) -> Response:
    """Returns the response of a model that wrote a text and ended it."""
    return Response(key="", prompt=None, text=text, finish_reason="stop")


def led_by(metric: str | None, score: Score, own: str) -> Score:
    """Returns the score with one of its metrics as its value; what the value was is then the metric `own`.

    It stays as it is where it has no value, where no metric is chosen, and where the one chosen is its own.
    """
    if score.value is None or metric is None or metric == own:
        return score
    beside = {name: value for name, value in score.metrics.items() if name != metric}
    return replace(score, value=score.metrics[metric], metrics={own: score.value, **beside})


def failed(error: Exception) -> Score:
    """Returns the failure of a scorer: it is that of one answer, and not the run's."""
    return Score(None, f"{type(error).__name__}: {error}"[:200], Failure.SCORER_ERROR)
