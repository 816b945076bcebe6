"""Prompts to token ids: chat templates, thinking, and prompts cut on the left where they do not fit."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar

from jinja2.exceptions import TemplateError

from harness.engine.generate.constrained import Constraint
from harness.engine.generate.row import RowGenerated, RowInput
from harness.engine.generate.sampling import row_seed
from harness.engine.loaded import LoadedModel
from harness.engine.text.thinking import Markers, Thinking, Thought, markers_of
from harness.values import Applied, Elapsed, GenerateRequest, Message, Request, Response, Writing
from harness.values import Thinking as ThinkingPart

SWITCHES = ("enable_thinking", "thinking")  # what chat templates call their switch
TEMPLATE_ERRORS = (TemplateError, TypeError, ValueError, LookupError, AttributeError, ArithmeticError)


Asked = TypeVar("Asked", bound=Request)


@dataclass(frozen=True, slots=True)
class _Prompt(Generic[Asked]):
    """A request with its prompt as the model gets it, or the reason there is none."""

    request: Asked
    text: str = ""
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
            applied=Applied(made.shared_tokens, ids_digest(self.input.ids), self.otherwise),
        )


def _thinking(thought: Thought | None) -> ThinkingPart | None:
    """Returns what a row thought, for a response; None where it did not."""
    if thought is None or thought.text is None:
        return None
    return ThinkingPart(thought.text, thought.tokens, thought.cut, thought.forced)


def ids_digest(ids: Sequence[int]) -> str:
    """Returns the sha256 (hex) of token ids, written in decimal with commas between."""
    return hashlib.sha256(",".join(map(str, ids)).encode()).hexdigest()


def _render(tokenizer: Any, request: Asked) -> _Prompt[Asked]:
    """Returns the prompt's text: as given, or messages through the model's chat template.

    A template that takes no system message gets it at the head of the first user message, which is noted. Where the
    last message is the assistant's, its text follows the template's opening of an answer.
    """
    writing = request.writing if isinstance(request, GenerateRequest) else Writing()
    thinking = writing.thinking
    if request.prompt.text is not None:
        wrong = "thinking is switched on by a chat template, and this prompt has none" if thinking == "on" else None
        return _Prompt(request, request.prompt.text, error=wrong)
    if not tokenizer.chat_template:
        return _Prompt(request, error="the model has no chat template (set chat_template: off)")
    switchable = any(name in str(tokenizer.chat_template) for name in SWITCHES)
    if thinking == "on" and not switchable:
        return _Prompt(request, error="the model's chat template has no switch for thinking (set switch: auto)")
    options = {} if thinking == "auto" else dict.fromkeys(SWITCHES, thinking == "on")
    begun, messages = request.prompt.begun, request.prompt.before
    otherwise = {"thinking_switch": "the chat template has none"} if thinking == "off" and not switchable else {}
    turns = [{"role": turn.role, "content": turn.content} for turn in messages]
    try:
        text = _templated(tokenizer, turns, options)
    except TEMPLATE_ERRORS as error:
        folded = _fold_system(messages)
        if folded is None:
            return _Prompt(request, error=f"the model's chat template refuses the messages: {error}")
        try:
            text = _templated(tokenizer, folded, options)
        except TEMPLATE_ERRORS as error:
            return _Prompt(request, error=f"the model's chat template refuses the messages: {error}")
        otherwise["system_message"] = "put before the first user message"
    markers = _markers(tokenizer, writing)
    if begun and markers and text.rstrip().endswith(markers.start) and markers.end not in begun:
        return _Prompt(
            request, text, error=f"the chat template opens {markers.start}, where a prefill would be thought"
        )
    return _Prompt(request, text + begun, otherwise)


def _templated(tokenizer: Any, turns: list[dict[str, str]], options: Mapping[str, bool]) -> str:
    text: str = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True, **options)
    return text


def _markers(tokenizer: Any, writing: Writing) -> Markers | None:
    return Markers(*writing.markers) if writing.markers else markers_of(tokenizer)


def _fold_system(messages: Sequence[Message]) -> list[dict[str, str]] | None:
    if len(messages) < 2 or messages[0].role != "system" or messages[1].role != "user":
        return None
    first = {"role": "user", "content": f"{messages[0].content}\n\n{messages[1].content}"}
    return [first, *({"role": turn.role, "content": turn.content} for turn in messages[2:])]


def _fit(
    loaded: LoadedModel, prompt: _Prompt[GenerateRequest], ids: Sequence[int], constraint: Constraint | None
) -> _Prompt[GenerateRequest]:
    """Returns the prompt with its token ids, the last that leave room for the answer."""
    request, otherwise = prompt.request, prompt.otherwise
    writing = request.writing
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
    elif request.prompt.messages and _opens_twice(loaded, ids):
        error = f"the model's chat template opens the text with {loaded.tokenizer.bos_token} twice: mend the template"
    if error is not None:
        return _Prompt(request, prompt.text, otherwise, error)
    kept = tuple(ids[-room:])
    sampling = request.sampling
    seed = row_seed(sampling.seed, request.sample_id, request.epoch, request.turn)
    # A model may spell its end-of-text token out in ordinary tokens; that ends the answer too, as in lm-eval.
    stop = (*request.stop, *_eos_text(loaded))
    markers = _markers(loaded.tokenizer, writing)
    thinking = Thinking(markers, writing.thinking_budget) if markers else None
    if writing.thinking_budget is not None and thinking is None:
        unheeded = "unheeded: the tokenizer has no known markers of thinking, and the task names none"
        otherwise = {**otherwise, "thinking_budget": unheeded}
    given = RowInput(
        kept,
        request.max_tokens,
        stop,
        sampling,
        seed,
        constraint=constraint,
        thinking=thinking,
        logprobs=writing.logprobs,
    )
    return _Prompt(request, prompt.text, otherwise, None, given, len(ids) - len(kept))


def _opens_twice(loaded: LoadedModel, ids: Sequence[int]) -> bool:
    bos = loaded.tokenizer.bos_token_id
    return bos is not None and list(ids[:3]).count(bos) > 1


def _eos_text(loaded: LoadedModel) -> tuple[str, ...]:
    text = loaded.tokenizer.eos_token
    return (text,) if text else ()


def _vocabulary(loaded: LoadedModel) -> int:
    rows: int = loaded.model.get_input_embeddings().weight.shape[0]
    return rows
