"""A run's configuration to what will be asked: cells of requests, and a digest of all that could change an answer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

from harness.errors import ModelError
from harness.runs.planned_model import PlannedModel, _has_template
from harness.runs.request_settings import check_writing, sampling_of, writing_of
from harness.tasks import prompts
from harness.tasks.rows import digest
from harness.tasks.shots import shots_for
from harness.tasks.task import Task
from harness.values import Message, Mode, Request, Sample, Sampling, Writing

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
            said = request.prompt if before is None else prompts.continued(before.prompt, answer, request.prompt)
            whole[request.key] = replace(request, prompt=said)
        return tuple(whole.values())


def _cell(model: PlannedModel, task: Task, samples: tuple[Sample, ...], seed: int) -> Cell:
    chat = _uses_chat(model, task)
    mode: Mode = "generate" if task.config.writes else "score"
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
    config = task.config
    scores, writes = mode == "score", mode == "generate"
    prompt = prompts.render(config, sample, shots_for(task, sample, seed), chat)
    more = prompts.later(config, sample, chat)
    stop = (*config.stop, *prompts.ends_turn(config, chat))
    scored = prompts.continuations(config, sample, chat) if scores else ()
    given = prompts.given(config, sample) if scores else ()
    sampling = sampling_of(config, model.config, model.info, seed) if writes else Sampling()
    writing = writing_of(config, sample) if writes else Writing()
    rolling = config.kind == "perplexity"
    asked = {
        "semantics": SEMANTICS,
        "model": model.key,
        "task": [config.task, config.version],
        "sample": sample.id,
        "mode": mode,
        "continuations": scored,
        "given": given,
        "rolling": rolling,
        "max_tokens": config.max_tokens if writes else None,
        "stop": stop if writes else None,
        "sampling": asdict(sampling) if writes else None,
        "writing": asdict(writing) if writes else None,
    }
    limits = {"max_tokens": config.max_tokens, "stop": stop}
    base = Request("", sample.id, mode, prompt, scored, given, rolling, **limits, sampling=sampling, writing=writing)
    for epoch in range(config.epochs if writes else 1):
        follows = ""
        for turn, added in enumerate((prompt, *more), 1):
            before = {"follows": follows} if follows else {}
            key = digest({**asked, "prompt": _as_json(added), "epoch": epoch, **before})
            yield replace(base, key=key, prompt=added, epoch=epoch, turn=turn, follows=follows)
            follows = key


def _as_json(prompt: str | tuple[Message, ...]) -> Any:
    return prompt if isinstance(prompt, str) else [asdict(turn) for turn in prompt]
