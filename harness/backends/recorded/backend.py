"""Answers that were given earlier, judged like any others: nothing is asked, nothing leaves the machine.

    script: answers.csv                                        # columns id and text, see harness.backends.recorded.logs
    script: {file: old.csv, id: ticket, text: reply}           # columns of other names
    {script: results.json, model: "openai:gpt-5"}              # one model of a log of several

One file answers one task; a sample without an answer is an error of that sample. Answers are known by the ids of their
samples, else by what was asked (see `matching`). Where the prompts were recorded too,
answers that belong to the samples one place before or after are refused: tools differ in whether they count from 0.
Times are told as they were recorded, and only those of a table of one's own stand for latency.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from harness.backends.base import Capabilities, ModelCard, by_mode
from harness.backends.recorded.logs import Recorded, read_answers
from harness.backends.recorded.matching import Found, Matcher, examples
from harness.config.base import Strict, validate
from harness.config.model import RecordedModel
from harness.engine.text.thinking import Markers, split_text
from harness.errors import BackendError, ConfigError
from harness.security.egress import FILE, Place
from harness.values import (
    Billing,
    Counted,
    GenerateRequest,
    LoglikelihoodRequest,
    Provider,
    Request,
    Response,
    Thinking,
)


class Script(Strict):
    """Which answers to read."""

    file: str  # CSV, JSONL, or a log of lm-eval or Inspect
    id: str | None = None  # column, field of a document of lm-eval, or variable of promptfoo
    text: str | None = None  # column
    model: str | None = None  # which model of a log of several; the entry's own `model` says the same
    prompt: str | None = None  # which prompt of a log of several


class RecordedBackend:
    """One model's recorded answers. See `Backend` for the contract."""

    def __init__(self, config: RecordedModel) -> None:
        given = config.script or config.path
        if given is None:
            raise ConfigError(
                "no recorded answers", where=f"model {config.name}", fix="add `script:` with a file of answers"
            )
        self.config = config
        self.script = validate(Script, {"file": given} if isinstance(given, str) else given, f"model {config.name}")
        script, model = self.script, config.model or self.script.model
        if script.model not in (None, model):
            what = f"two models are named: model: {config.model}, and under `script` {script.model}"
            raise ConfigError(what, where=f"model {config.name}", fix="keep one of them")
        self.answers = read_answers(script.file, id=script.id, text=script.text, model=model, prompt=script.prompt)
        self._matcher = Matcher(self.answers)

    @classmethod
    def capabilities(cls, config: RecordedModel) -> Capabilities:
        """Returns what a file may hold: its first request shows whether it does."""
        return Capabilities(loglikelihood=True, file=True)

    @classmethod
    def place(cls, config: RecordedModel) -> Place:
        """Returns where nothing is asked."""
        return FILE

    def answer(self, requests: Sequence[Request]) -> Iterator[Response]:
        """Yields a response to each request: see `Backend`."""
        texts, given = by_mode(requests)
        if texts:
            yield from self._texts(texts)
        if given:
            yield from self._loglikelihoods(given)

    def _texts(self, requests: Sequence[GenerateRequest]) -> Iterator[Response]:
        """Yields the recorded texts."""
        yield from self._responses(requests, "text")

    def _loglikelihoods(self, requests: Sequence[LoglikelihoodRequest]) -> Iterator[Response]:
        """Yields recorded log-probabilities. Raises BackendError if there are none at all."""
        if all(answer.logprobs is None for answer in self.answers.by_sample.values()):
            raise BackendError(
                "the recorded answers are texts, not log-probabilities of choices",
                where=self.script.file,
                fix="run choice tasks as their generated twin: `as: generate` in the run file",
            )
        yield from self._responses(requests, "logprobs")

    def describe(self) -> ModelCard:
        """Returns what is known of the model: what the file says."""
        models = {answer.model for answer in self.answers.by_sample.values() if answer.model is not None}
        named = next(iter(models), self.config.name)
        origin, file = self.answers.origin, self.script.file
        return ModelCard(named, self.config.backend, FILE.name, origin=origin, file=file)

    def computed(self) -> None:
        """Returns None: nothing is computed."""

    def close(self) -> None:
        """Does nothing: there is nothing to free."""

    def _responses(self, requests: Sequence[Request], wanted: str) -> Iterator[Response]:
        found = self._matcher.match(requests)
        if all(one.id is None for one in found.values()):
            raise BackendError(
                f"none of {len(found)} samples has an answer in the file, by its id or by what was asked",
                where=f"{self.script.file} ({examples(self.answers.by_sample, list(found))})",
                fix="name what holds the ids, as script: {file: ..., id: COLUMN}; are they of another task?",
            )
        by_place = [self._answer(request, found[request.sample_id]) for request in requests]
        if not any(found[request.sample_id].by_content for request in requests) and shifted(requests, by_place):
            raise BackendError(
                "the recorded answers seem to belong to the samples one place before or after",
                where=self.script.file,
                fix="name what holds the ids, as script: {file: ..., id: ...}; for a log of Inspect, `id: position`",
            )
        for request, answer in zip(requests, by_place, strict=True):
            yield self._response(request, answer, found[request.sample_id], wanted, alone=len(requests) == 1)

    def _answer(self, request: Request, found: Found) -> Recorded | None:
        return None if found.id is None else self.answers.by_sample.get((found.id, request.epoch, request.turn))

    def _response(
        self, request: Request, answer: Recorded | None, found: Found, wanted: str, *, alone: bool
    ) -> Response:
        error = _fault(request, answer, found, wanted)
        if answer is None or error is not None:
            absent = answer is None or (answer.error is None and getattr(answer, wanted) is None)
            told = Provider(origin=self.answers.origin, missing=absent)
            return Response(request.key, None, finish_reason="error", error=error, provider=told)
        unknown = answer.input_tokens is None or answer.output_tokens is None
        text, thinking = _parted(request, answer)
        return Response(
            key=request.key,
            prompt=answer.prompt,
            text=text if wanted == "text" else None,
            logprobs=answer.logprobs if wanted == "logprobs" else None,
            input_tokens=answer.input_tokens,
            output_tokens=answer.output_tokens,
            finish_reason=answer.finish,
            ttft_s=answer.ttft_s if alone else None,
            e2e_s=answer.e2e_s if alone else None,
            billing=None if answer.usd is None else Billing(answer.usd, answer.usd),
            counted=Counted("not recorded") if unknown else None,
            thinking=thinking,
            elapsed=answer.elapsed,
            provider=self._told(answer, found.id if found.id != request.sample_id else None),
        )

    def _told(self, answer: Recorded, matched: str | None) -> Provider:
        version = answer.model if answer.model is not None else answer.provider.model_version
        return replace(answer.provider, origin=self.answers.origin, model_version=version, matched=matched)


def shifted(requests: Sequence[Request], recorded: Sequence[Recorded | None]) -> bool:
    """Returns whether the recorded prompts share more words with the request before or after than with their own.

    Told only where all prompts are known and there are three or more.
    """
    theirs = [set(answer.prompt.split()) for answer in recorded if answer is not None and answer.prompt]
    if len(requests) < 3 or len(theirs) < len(requests):
        return False
    ours = [set(request.prompt.content.split()) for request in requests]

    def shared(offset: int) -> float:
        pairs = [(theirs[i + offset], ours[i]) for i in range(len(ours)) if 0 <= i + offset < len(theirs)]
        return sum(len(a & b) / max(1, len(a | b)) for a, b in pairs) / len(pairs)

    return max(shared(-1), shared(1)) > shared(0)


def _parted(request: Request, answer: Recorded) -> tuple[str | None, Thinking | None]:
    """Returns the text of a recorded answer without the thought that stands in it, and that thought."""
    known, named = answer.thinking, request.writing.markers if isinstance(request, GenerateRequest) else None
    if answer.text is None or (known is not None and known.text is not None):
        return answer.text, known
    text, thought, cut = split_text(answer.text, Markers(*named) if named else None)
    if thought is None:
        return answer.text, known
    return text, Thinking(thought, None if known is None else known.tokens, cut)


def _fault(request: Request, answer: Recorded | None, found: Found, wanted: str) -> str | None:
    """Returns why a recorded answer is none to this request; None if it is one."""
    if answer is None:
        return found.why or f"no recorded answer to sample {request.sample_id}"
    if answer.error is not None:
        return answer.error
    if getattr(answer, wanted) is None:
        return f"the recorded answer to sample {request.sample_id} has no {wanted}"
    if isinstance(request, LoglikelihoodRequest) and answer.logprobs is not None:
        told, asked = len(answer.logprobs), len(request.continuations)
        return f"{told} recorded log-probabilities for {asked} choices" if told != asked else None
    return None
