"""A run's configuration to what will be asked: cells of requests, and a digest of all that could change an answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from harness.errors import ModelError
from harness.runs.planned_model import PlannedModel, _has_template
from harness.runs.request_settings import check_writing, sampling_of, writing_of
from harness.tasks import prompts
from harness.tasks.rows import digest
from harness.tasks.shots import shots_for
from harness.tasks.task import Task
from harness.values import GenerateRequest, LoglikelihoodRequest, Mode, Prompt, Request, Sample

SEMANTICS = 1  # raised when the same configuration would be asked or judged differently


@dataclass(frozen=True, slots=True)
class Cell:
    """One model on one task."""

    model: PlannedModel
    task: Task
    mode: Mode
    chat: bool  # prompts are messages, rendered with the model's chat template
    samples: tuple[Sample, ...]
    requests: tuple[Request, ...]  # one for each sample, epoch and turn, in the order of the samples

    @property
    def n(self) -> int:
        """Returns how many answers are judged: a conversation is one, however many turns it has."""
        return sum(request.turn == 1 for request in self.requests)

    def scripts(self, answer: str = "") -> tuple[Request, ...]:
        """Returns the last request of each sample and epoch with all that is said before it.

        `answer` stands for each of the model's earlier answers, which nobody knows yet.
        """
        if self.n == len(self.requests):
            return self.requests
        whole: dict[str, Request] = {}
        for request in self.requests:
            before = whole.pop(request.follows, None)
            said = request.prompt if before is None else before.prompt.answered(answer, request.prompt)
            whole[request.key] = replace(request, prompt=said)
        return tuple(whole.values())


def _cell(model: PlannedModel, task: Task, samples: tuple[Sample, ...], seed: int) -> Cell:
    chat = _uses_chat(model, task)
    mode: Mode = "generate" if task.config.writes else "loglikelihood"
    if mode == "generate":
        check_writing(task, model.config, model.info)
    requests = tuple(r for sample in samples for r in _requests(model, task, sample, mode, chat, seed))
    return Cell(model, task, mode, chat, samples, requests)


def _uses_chat(model: PlannedModel, task: Task) -> bool:
    wanted = model.config.chat_template if model.config.chat_template != "auto" else task.config.chat
    available = _has_template(model)
    if wanted == "on" and model.info is not None and not available:
        raise ModelError(
            "the chat template is switched on, but the model has none",
            where=f"model {model.config.name}, task {task.name}",
            fix="set `chat_template: off` for the model",
        )
    if task.config.kind in {"perplexity", "pairs"}:
        return False
    return wanted == "on" or (wanted == "auto" and task.config.writes and available)


def _requests(model: PlannedModel, task: Task, sample: Sample, mode: Mode, chat: bool, seed: int) -> Iterator[Request]:
    """Yields what is asked about one sample: once, or for each epoch of a generated task, each turn."""
    prompt = prompts.render(task.config, sample, shots_for(task, sample, seed), chat)
    if mode == "generate":
        yield from _generated(model, task, sample, prompt, chat, seed)
    else:
        yield _given(model, task, sample, prompt, chat)


def _given(model: PlannedModel, task: Task, sample: Sample, prompt: Prompt, chat: bool) -> LoglikelihoodRequest:
    """Returns the request for the log-probability of what a sample gives after its prompt."""
    config = task.config
    continuations, given = prompts.continuations(config, sample, chat), prompts.given(config, sample)
    rolling = config.kind == "perplexity"
    asked = {"mode": "score", "continuations": continuations, "given": given, "rolling": rolling}
    key = _key(model, task, sample, prompt, asked)
    return LoglikelihoodRequest(key, sample.id, prompt, continuations, given, rolling, config.sensitivity)


def _generated(
    model: PlannedModel, task: Task, sample: Sample, prompt: Prompt, chat: bool, seed: int
) -> Iterator[GenerateRequest]:
    """Yields the requests for the text of a sample's answers: for each epoch, each turn."""
    config = task.config
    more = prompts.later(config, sample, chat)
    stop = (*config.stop, *prompts.ends_turn(config, chat))
    sampling, writing = sampling_of(config, model.config, model.info, seed), writing_of(config, sample)
    asked = {
        "mode": "generate",
        "max_tokens": config.max_tokens,
        "stop": stop,
        "sampling": asdict(sampling),
        "writing": asdict(writing),
    }
    for epoch in range(config.epochs):
        follows = ""
        for turn, added in enumerate((prompt, *more), 1):
            before = {"follows": follows} if follows else {}
            key = _key(model, task, sample, added, {**asked, "epoch": epoch, **before})
            yield GenerateRequest(
                key,
                sample.id,
                added,
                config.max_tokens,
                stop,
                sampling,
                writing,
                epoch,
                turn,
                follows,
                config.sensitivity,
            )
            follows = key


_UNASKED = {"continuations": (), "given": (), "rolling": False, "epoch": 0}
_UNASKED |= dict.fromkeys(("max_tokens", "stop", "sampling", "writing"))


def _key(model: PlannedModel, task: Task, sample: Sample, prompt: Prompt, asked: Mapping[str, Any]) -> str:
    """Returns the digest of everything that could change an answer.

    It is as it was when both kinds of requests were one and a log-likelihood was called a score: runs that were begun
    then go on.
    """
    whole = {
        **_UNASKED,
        "semantics": SEMANTICS,
        "model": model.key,
        "task": [task.config.task, task.config.version],
        "sample": sample.id,
        "prompt": prompt.as_json(),
        **asked,
    }
    return digest(whole)
