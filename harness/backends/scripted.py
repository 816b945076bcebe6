"""A model that needs no weights: scripted answers, made-up log-probabilities, fixed times, no randomness.

    answers:                                      # the first rule that fits a request answers it
      - {sample: "7", text: shipping}             # by sample id; scoring prefers the continuation "shipping"
      - {prompt: "refund|money back", text: billing}      # by regular expression, searched in the prompt
      - {sample: "9", error: connection lost}     # the request fails
    prefill_s_per_token: 0.001                    # told, not waited for
    decode_s_per_token: 0.01

Without a rule that fits, answers follow from a digest of the prompt: the same ones on every machine.
A token is a word with the white space before it.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, Field, field_validator

from harness.backends.base import Capabilities, ModelCard, by_mode
from harness.config.base import Strict, validate
from harness.config.model import ScriptedModel
from harness.config.yaml_file import read_yaml
from harness.security.egress import HERE, Place
from harness.values import Applied, GenerateRequest, LoglikelihoodRequest, Prompt, Request, Response, Thinking


class Rule(Strict):
    """One scripted answer. A rule that names neither sample nor prompt fits every request."""

    model_config = ConfigDict(coerce_numbers_to_str=True)  # `sample: 7` is the sample "7"

    sample: str | None = None  # the sample's id
    prompt: str | None = None  # regular expression searched in the prompt
    text: str | None = None  # the generated text, and the continuation scoring prefers
    thinking: str | None = None  # what is thought before the text
    logprobs: tuple[float, ...] | None = None  # nats, one per continuation
    error: str | None = None  # the request fails with this message

    @field_validator("prompt")
    @classmethod
    def _compiles(cls, pattern: str | None) -> str | None:
        try:
            re.compile(pattern or "")
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from None
        return pattern

    def fits(self, request: Request, prompt: str) -> bool:
        """Returns whether this rule answers the request."""
        return (self.sample is None or self.sample == request.sample_id) and (
            self.prompt is None or re.search(self.prompt, prompt) is not None
        )


class Script(Strict):
    """What a scripted model answers and how long it says it took."""

    answers: tuple[Rule, ...] = ()  # rules; the first that fits a request answers it
    prefill_s_per_token: float = Field(0.001, ge=0)  # seconds told per prompt token
    decode_s_per_token: float = Field(0.01, ge=0)  # seconds told per generated token
    sleep_s: float = Field(0.0, ge=0)  # seconds really waited per request, so that a run can be interrupted


def read_script(
    script: str | Path | Mapping[str, object] | Sequence[Any], where: str = "the scripted model's script"
) -> Script:
    """Returns the script in a YAML or JSON file, its content as already read, or its rules. Raises ConfigError."""
    if isinstance(script, str | Path):
        return validate(Script, read_yaml(Path(script)).data, str(script))
    return validate(Script, script if isinstance(script, Mapping) else {"answers": script}, where)


class ScriptedBackend:
    """Answers from a script; passes the same contract tests as the real backends."""

    def __init__(self, config: ScriptedModel) -> None:
        self.config = config
        given = config.script
        self.script = Script() if given is None else read_script(given, f"script of {config.name}")

    @classmethod
    def capabilities(cls, config: ScriptedModel) -> Capabilities:
        """Returns all that there is; a form is checked as for a real model, and not held to."""
        return Capabilities(loglikelihood=True, rolling=True, grammars=True, load=True, file=True)

    @classmethod
    def place(cls, config: ScriptedModel) -> Place:
        """Returns this machine."""
        return HERE

    def answer(self, requests: Sequence[Request]) -> Iterator[Response]:
        """Yields a response to each request: see `Backend`."""
        texts, given = by_mode(requests)
        if texts:
            yield from self._texts(texts)
        if given:
            yield from self._loglikelihoods(given)

    def _texts(self, requests: Sequence[GenerateRequest]) -> Iterator[Response]:
        """Yields scripted texts, cut at stop strings and at `max_tokens` words."""
        for request in requests:
            prompt, rule = self._open(request)
            if rule.error is not None:
                yield Response(key=request.key, prompt=prompt, finish_reason="error", error=rule.error)
                continue
            text = rule.text if rule.text is not None else _digest(prompt, request.sampling.seed, request.epoch)[:8]
            yield self._thinking(rule.thinking, request, prompt, text)

    def _loglikelihoods(self, requests: Sequence[LoglikelihoodRequest]) -> Iterator[Response]:
        """Yields scripted log-probabilities, or ones that prefer the scripted text, or made-up ones."""
        for request in requests:
            prompt, rule = self._open(request)
            if rule.error is not None:
                yield Response(key=request.key, prompt=prompt, error=rule.error)
                continue
            logprobs = rule.logprobs
            if logprobs is None:
                logprobs = tuple(_logprob(prompt + given, text, preferred=rule.text) for given, text in request.pairs)
            elif len(logprobs) != len(request.continuations):
                error = f"the script gives {len(logprobs)} logprobs for {len(request.continuations)} continuations"
                yield Response(key=request.key, prompt=prompt, error=error)
                continue
            tokens = _count(prompt) + max((_count(given + text) for given, text in request.pairs), default=0)
            seconds = tokens * self.script.prefill_s_per_token
            yield Response(
                key=request.key,
                prompt=prompt,
                logprobs=logprobs,
                greedy=tuple(value > -0.5 for value in logprobs),
                input_tokens=tokens,
                prefill_s=seconds,
                decode_s=0.0,
                e2e_s=seconds,
            )

    def describe(self) -> ModelCard:
        """Returns its name and place: there is nothing else to it."""
        return ModelCard(self.config.name, self.config.backend, HERE.name)

    def computed(self) -> None:
        """Returns None: nothing is computed."""

    def close(self) -> None:
        """Does nothing: there is nothing to free."""

    def _open(self, request: Request) -> tuple[str, Rule]:
        time.sleep(self.script.sleep_s)
        prompt = _render(request.prompt)
        return prompt, next((rule for rule in self.script.answers if rule.fits(request, prompt)), Rule())

    def _thinking(self, thinking: str | None, request: GenerateRequest, prompt: str, text: str) -> Response:
        """Returns the response with what was thought before it, which takes of its tokens and its time."""
        held = {"constraint": "not held to: the answer is scripted"}
        noted = Applied(otherwise=held) if request.writing.form is not None else None
        if thinking is None:
            return replace(self._generated(request, prompt, text), applied=noted)
        budget = request.max_tokens
        if request.writing.thinking_budget is not None:
            budget = min(budget, request.writing.thinking_budget)
        words = re.findall(r"\s*\S+", thinking)
        kept, tokens = "".join(words[:budget]), min(len(words), budget)
        left = request.max_tokens - tokens
        forced = len(words) > tokens and left > 0  # by the thinking budget
        cut = left <= 0
        answered = self._generated(replace(request, max_tokens=max(left, 1)), prompt, "" if cut else text)
        seconds = tokens * self.script.decode_s_per_token
        whole_s = (answered.e2e_s or 0.0) + seconds
        return replace(
            answered,
            output_tokens=(answered.output_tokens or 0) + tokens,
            finish_reason="length" if cut else answered.finish_reason,
            decode_s=(answered.decode_s or 0.0) + seconds,
            ttft_s=(answered.prefill_s or 0.0) + self.script.decode_s_per_token,
            last_token_s=whole_s,
            e2e_s=whole_s,
            applied=noted,
            thinking=Thinking(kept, tokens, cut, forced),
        )

    def _generated(self, request: GenerateRequest, prompt: str, text: str) -> Response:
        words = re.findall(r"\s*\S+", text)
        found = [(text.find(stop), stop) for stop in request.stop if stop and stop in text]
        cut, stop = min(found, default=(len(text), None))
        before = sum(1 for end in _ends(words) if end < cut + len(stop or "")) + 1 if stop else len(words)
        length = len(words) > request.max_tokens and before > request.max_tokens
        kept = "".join(words[: request.max_tokens]) if length else text[:cut]
        n_in, n_out = _count(prompt), request.max_tokens if length else before
        prefill, decode = n_in * self.script.prefill_s_per_token, n_out * self.script.decode_s_per_token
        return Response(
            key=request.key,
            prompt=prompt,
            text=kept,
            input_tokens=n_in,
            output_tokens=n_out,
            finish_reason="length" if length else "stop",
            stop_string=None if length else stop,
            prefill_s=prefill,
            decode_s=decode,
            ttft_s=prefill + self.script.decode_s_per_token if n_out else None,
            last_token_s=prefill + decode if n_out else None,
            e2e_s=prefill + decode,
        )


def _render(prompt: Prompt) -> str:
    if prompt.text is not None:
        return prompt.text
    begun = f" {prompt.begun}" if prompt.begun else ""
    return "".join(f"{turn.role}: {turn.content}\n" for turn in prompt.before) + f"assistant:{begun}"


def _count(text: str) -> int:
    return len(text.split())


def _ends(words: Sequence[str]) -> list[int]:
    ends, at = [], 0
    for word in words:
        at += len(word)
        ends.append(at)
    return ends


def _digest(*parts: object) -> str:
    return hashlib.sha256("\x00".join(map(str, parts)).encode()).hexdigest()


def _logprob(prompt: str, continuation: str, *, preferred: str | None) -> float:
    """Returns a number of nats: -0.1 for the preferred text, else one in (-9, -1) that follows from the texts."""
    if preferred is not None and continuation.strip() == preferred.strip():
        return -0.1
    return -1.0 - 8.0 * int(_digest(prompt, continuation)[:8], 16) / 16**8
