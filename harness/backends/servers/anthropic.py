"""A model behind Anthropic's Messages interface, asked with the official SDK and streamed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import anthropic

from harness.backends.servers.about import AnthropicAbout
from harness.backends.servers.base import ApiBackend, Reading
from harness.backends.servers.batch import RETRIES, Result
from harness.backends.servers.dispatch import AttemptFailed
from harness.config.model import RemoteModel
from harness.cost.prices import TokenCount
from harness.values import GenerateRequest


class AnthropicBackend(AnthropicAbout, ApiBackend):
    """One model at Anthropic, or at a server that speaks its interface."""

    package = "anthropic"
    most_stops = 8191
    sdk_error = anthropic.APIError
    required = frozenset({"model", "messages", "max_tokens", "stream", "extra_body"})
    wordless = frozenset({"seed", "min_p", "repetition_penalty"})

    def __init__(self, config: RemoteModel) -> None:
        super().__init__(config)
        self.client = anthropic.Anthropic(
            api_key="put in by the guard when a request is sent",
            base_url=self.server.url,
            max_retries=0,
            http_client=self.http,
            timeout=self.http.timeout,
        )
        self.known = self.probe(lambda: (model.id for model in self.client.models.list(limit=1000).data))

    def params(self, request: GenerateRequest) -> dict[str, Any]:
        """Returns the arguments of `messages.create`. Sampling goes by `extra_body`: newer models take none."""
        said = request.prompt.turns
        asked: dict[str, Any] = {
            "model": self.model,
            "max_tokens": request.max_tokens,
            "messages": [{"role": turn.role, "content": turn.content} for turn in said if turn.role != "system"],
            "stream": True,
        }
        if system := "\n\n".join(turn.content for turn in said if turn.role == "system"):
            asked["system"] = system
        if stops := [stop for stop in request.stop if stop.strip()]:
            asked["stop_sequences"] = stops
        sampling = request.sampling
        extra: dict[str, Any] = {"temperature": sampling.temperature}
        if sampling.temperature > 0 and sampling.top_p < 1:
            extra["top_p"] = sampling.top_p
        if sampling.temperature > 0 and sampling.top_k:
            extra["top_k"] = sampling.top_k
        extra |= self.form(request) | self.thinking(request)
        return asked | {"extra_body": extra | dict(self.config.extra)}

    def unsent(self, request: GenerateRequest) -> dict[str, str]:
        blank = any(not stop.strip() for stop in request.stop)
        return super().unsent(request) | ({"stop": "white space alone is not taken; it is cut here"} if blank else {})

    def form(self, request: GenerateRequest) -> dict[str, Any]:
        form = request.writing.form
        if form is None or not form.schema:
            return {}
        return {"output_config": {"format": {"type": "json_schema", "schema": json.loads(form.schema)}}}

    def thinking(self, request: GenerateRequest) -> dict[str, Any]:
        """Returns the switch, with the budget where one is given; newer models decide by themselves how long."""
        writing = request.writing
        if writing.thinking == "off":
            return {"thinking": {"type": "disabled"}}
        if writing.thinking_budget is not None:
            return {"thinking": {"type": "enabled", "budget_tokens": writing.thinking_budget}}
        return {"thinking": {"type": "adaptive"}} if writing.thinking == "on" else {}

    def ask(self, params: Mapping[str, Any], reading: Reading, check: Callable[[], None]) -> None:
        with self.client.messages.create(**params) as reply:
            for event in reply:
                check()
                read(reading, event.to_dict(warnings=False))

    def read_whole(self, reading: Reading, body: Mapping[str, Any]) -> None:
        """Takes in a message as the events it would have come in."""
        read(reading, {"type": "message_start", "message": body})
        for block in body.get("content") or []:
            read(reading, {"type": "content_block_delta", "delta": block})
        read(reading, {"type": "message_delta", "delta": body, "usage": body.get("usage")})

    def batches(self) -> AnthropicBatches:
        return AnthropicBatches(self.client)


@dataclass(frozen=True, slots=True)
class AnthropicBatches:
    """Requests are handed over in one call, and results are read as lines."""

    client: anthropic.Anthropic

    def submit(self, lines: Sequence[tuple[str, Mapping[str, Any]]]) -> str:
        asked = [{"custom_id": key, "params": params} for key, params in lines]
        return self.client.messages.batches.create(requests=asked).id

    def ended(self, id: str) -> bool:
        return self.client.with_options(max_retries=RETRIES).messages.batches.retrieve(id).processing_status == "ended"

    def results(self, id: str) -> Iterator[Result]:
        for line in self.client.with_options(max_retries=RETRIES).messages.batches.results(id):
            told = line.to_dict(warnings=False)
            result = told.get("result") or {}
            fault = (result.get("error") or {}).get("error") or {}
            error = None if result.get("type") == "succeeded" else str(fault.get("message") or result.get("type"))
            final = fault.get("type") in {"invalid_request_error", "not_found_error", "request_too_large"}
            yield Result(told["custom_id"], result.get("message"), error, not final)


def read(reading: Reading, event: Mapping[str, Any]) -> None:
    """Takes in one event of the stream. Reads only what it knows."""
    kind = event.get("type")
    if kind == "error":
        raise AttemptFailed("server error", str(event.get("error")))
    if kind == "message_start":
        message = event.get("message") or {}
        reading.model = message.get("model") or reading.model
        reading.used = usage(message.get("usage"), reading.used)
    elif kind == "content_block_delta":
        delta = event.get("delta") or {}
        reading.add(delta.get("text"), delta.get("thinking"))
    elif kind == "message_delta":
        delta = event.get("delta") or {}
        reading.used = usage(event.get("usage"), reading.used) or reading.used
        if delta.get("stop_reason"):
            reading.finish = str(delta["stop_reason"])
        reading.stop_string = delta.get("stop_sequence") or reading.stop_string
        if reading.finish == "refusal":
            reading.refusal = str((delta.get("stop_details") or {}).get("category") or "refusal")


def usage(told: Any, before: TokenCount | None) -> TokenCount | None:
    """Returns the tokens so far; counts are cumulative, and what an event does not tell is as `before`.

    Anthropic counts input without the cached tokens; here they are part of it.
    """
    if not isinstance(told, Mapping):
        return before
    read_ = told.get("cache_read_input_tokens")
    write = told.get("cache_creation_input_tokens")
    fresh, output = told.get("input_tokens"), told.get("output_tokens")
    thinking = (told.get("output_tokens_details") or {}).get("thinking_tokens")
    try:
        old = before or TokenCount(0, 0)
        cache_read = old.cache_read if read_ is None else int(read_)
        cache_write = old.cache_write if write is None else int(write)
        bare = old.input - old.cache_read - old.cache_write if fresh is None else int(fresh)
        made = old.output if output is None else int(output)
        thought = old.reasoning if thinking is None else int(thinking)
    except (TypeError, ValueError):
        return before
    if min(cache_read, cache_write, bare, made, thought) < 0:
        return before
    return TokenCount(bare + cache_read + cache_write, made, cache_read, cache_write, thought)
