"""Prompts to what the engine runs: token ids, cut on the left where they do not fit, and how the answer is written."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Generic, TypeVar

from harness.backends.local.templates import ChatTemplate
from harness.engine.generate.constrained import Constraint
from harness.engine.generate.row import RowGenerated, RowInput
from harness.engine.generate.sampling import row_seed
from harness.engine.loaded import LoadedModel
from harness.engine.text.thinking import Markers, Thinking, Thought, markers_of
from harness.values import Applied, Elapsed, GenerateRequest, Request, Response
from harness.values import Thinking as ThinkingPart

Asked = TypeVar("Asked", bound=Request)


@dataclass(frozen=True, slots=True)
class _Prompt(Generic[Asked]):
    """A request with its prompt as the model gets it, or the reason there is none."""

    request: Asked
    text: str = ""
    marked: str | None = None  # the text for a reader of marked control tokens, where the data spell one
    otherwise: Mapping[str, str] = field(default_factory=dict)  # setting -> what is done instead of as asked
    error: str | None = None
    input: RowInput | None = None
    truncated_left: int = 0

    def failed(self, why: str) -> Response:
        """Returns the response of a request that has no answer."""
        error = f"sample '{self.request.sample_id}': {why}"
        return Response(key=self.request.key, prompt=self.text or None, finish_reason="error", error=error)

    def generated(self, made: RowGenerated, waited: float, elapsed: float | None) -> Response:
        """Returns the response; `elapsed` seconds since it was asked are known only of a request that ran alone."""
        request = self.request
        if made.error is not None:
            return self.failed(made.error)
        assert isinstance(request, GenerateRequest) and self.input is not None
        if made.finish_reason == "time" and not made.ids:
            why = f"the {request.writing.wall_s:g} seconds of wall_s were over before it was begun"
            return replace(self.failed(why), finish_reason="time", provisional=True)  # a resume has its own time
        return Response(
            key=self.request.key,
            prompt=self.text,
            text=made.text,
            input_tokens=len(self.input.ids),
            output_tokens=len(made.ids),
            truncated_left=self.truncated_left,
            finish_reason=made.finish_reason,
            stop_string=made.stop_string if made.stop_string in request.stop else None,
            batch_size=made.batch_size,
            prefill_s=made.prefill_s,
            decode_s=made.decode_s,
            ttft_s=None if elapsed is None else waited + made.first_token_s,
            last_token_s=None if elapsed is None else waited + made.last_token_s,
            e2e_s=elapsed,
            thinking=_thinking(made.thought),
            confidence=made.confidence,
            elapsed=None if made.batch_size <= 1 else Elapsed(made.queued_s, made.first_token_s, made.last_token_s),
            applied=Applied(made.shared_tokens, ids_digest(self.input.ids), self.otherwise, made.fallback),
        )


def _thinking(thought: Thought | None) -> ThinkingPart | None:
    """Returns what a row thought, for a response; None where it did not."""
    if thought is None or thought.text is None:
        return None
    return ThinkingPart(thought.text, thought.tokens, thought.cut, thought.forced)


def ids_digest(ids: Sequence[int]) -> str:
    """Returns the sha256 (hex) of token ids, written in decimal with commas between."""
    return hashlib.sha256(",".join(map(str, ids)).encode()).hexdigest()


def _render(template: ChatTemplate, request: Asked) -> _Prompt[Asked]:
    """Returns the request with its prompt's text, or with the reason there is none."""
    made = template.render(request)
    return _Prompt(request, made.text, made.marked, made.otherwise, made.error)


def _fit(
    loaded: LoadedModel, prompt: _Prompt[GenerateRequest], ids: Sequence[int], constraint: Constraint | None
) -> _Prompt[GenerateRequest]:
    """Returns the prompt with its token ids, the last that leave room for the answer."""
    request, writing = prompt.request, prompt.request.writing
    room = loaded.max_length - request.max_tokens
    if not ids and loaded.prefix_token is not None:
        ids = [loaded.prefix_token]
    error = None
    if not ids:
        error = "the prompt is empty and the model has no token that opens a text"
    elif request.max_tokens < 1:
        error = f"max_tokens is {request.max_tokens}: ask for at least one token"
    elif room < 1:
        error = (
            f"max_tokens {request.max_tokens} leaves no room for a prompt in a context of {loaded.max_length} tokens"
        )
    elif max(ids) >= _vocabulary(loaded):
        error = f"the tokenizer gives token {max(ids)}, the model knows {_vocabulary(loaded)}"
    if error is not None:
        return replace(prompt, error=error)
    kept = tuple(ids[-room:])
    sampling = request.sampling
    seed = row_seed(sampling.seed, request.sample_id, request.epoch, request.turn)
    # A model may spell its end-of-text token out in ordinary tokens; that ends the answer too, as in lm-eval.
    stop = (*request.stop, *_eos_text(loaded))
    markers = Markers(*writing.markers) if writing.markers else markers_of(loaded.tokenizer)
    # What is held to a form begins with it, unless the model has markers of thinking of its own.
    free = markers is None and constraint is not None
    thinking = None if free else Thinking(markers, writing.thinking_budget)
    given = RowInput(
        kept,
        request.max_tokens,
        stop,
        sampling,
        seed,
        thinking=thinking,
        constraint=constraint,
        logprobs=writing.logprobs,
    )
    return replace(prompt, input=given, truncated_left=len(ids) - len(kept))


def _eos_text(loaded: LoadedModel) -> tuple[str, ...]:
    text = loaded.tokenizer.eos_token
    return (text,) if text else ()


def _vocabulary(loaded: LoadedModel) -> int:
    rows: int = loaded.model.get_input_embeddings().weight.shape[0]
    return rows
