"""Cells of a plan: the requests of one model on one task."""

from __future__ import annotations

from dataclasses import dataclass, replace

from harness.config.task import Asking, Writing
from harness.errors import ModelError
from harness.runs.planned_model import PlannedModel, _has_template
from harness.runs.request_settings import check_writing, sampling_of
from harness.tasks.kinds import kind_of
from harness.tasks.kinds.base import Manner
from harness.tasks.shots import shots_for
from harness.tasks.task import Task
from harness.values import CellName, Mode, Request, Sample, Sampling


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
    def name(self) -> CellName:
        """Returns the model and the task, as they are written down."""
        return self.model.config.name, self.task.name

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
    chat, config = _uses_chat(model, task), task.config
    mode: Mode = "generate" if config.writes else "loglikelihood"
    sampling = Sampling()
    if isinstance(config, Writing) and config.writes:
        check_writing(task, config, model.config, model.info, model.capabilities)
        sampling = sampling_of(config, model.config, model.info, seed)
    manner, requests = Manner(model.key, chat, sampling), kind_of(config).requests
    asked = (r for sample in samples for r in requests(config, sample, shots_for(task, sample, seed), manner))
    return Cell(model, task, mode, chat, samples, tuple(asked))


def _uses_chat(model: PlannedModel, task: Task) -> bool:
    stated = task.config.chat if isinstance(task.config, Asking) else "auto"
    wanted = model.config.chat_template if model.config.chat_template != "auto" else stated
    available = _has_template(model)
    if wanted == "on" and model.info is not None and not available:
        raise ModelError(
            "the chat template is switched on, but the model has none",
            where=f"model {model.config.name}, task {task.name}",
            fix="set `chat_template: off` for the model",
        )
    if not task.config.templated:
        return False
    return wanted == "on" or (wanted == "auto" and task.config.writes and available)
