"""A model behind Anthropic's Messages interface, asked with the official SDK and streamed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import anthropic

from harness.backends.servers.about import AnthropicAbout
from harness.backends.servers.base import ApiBackend
from harness.backends.servers.batch import RETRIES, Result
from harness.backends.servers.event_stream import Dialect
from harness.backends.servers.reading import Reading
from harness.backends.servers.replies import JSON, anthropic_piece, anthropic_whole
from harness.config.model import RemoteModel
from harness.values import GenerateRequest


class AnthropicBackend(AnthropicAbout, ApiBackend):
    """One model at Anthropic, or at a server that speaks its interface."""

    package = "anthropic"
    most_stops = 8191
    sdk_error = anthropic.APIError
    required = frozenset({"model", "messages", "max_tokens", "stream", "extra_body"})
    dialect = Dialect(anthropic_piece, anthropic_whole)
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
        self.probe(lambda: (model.id for model in self.client.models.list(limit=1000).data))

    def params(self, request: GenerateRequest) -> dict[str, object]:
        """Returns the arguments of `messages.create`. Sampling goes by `extra_body`: newer models take none."""
        said = request.prompt.turns
        asked: dict[str, object] = {
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
        extra: dict[str, object] = {"temperature": sampling.temperature}
        if sampling.temperature > 0 and sampling.top_p < 1:
            extra["top_p"] = sampling.top_p
        if sampling.temperature > 0 and sampling.top_k:
            extra["top_k"] = sampling.top_k
        extra |= self.form(request) | self.thinking(request)
        return asked | {"extra_body": extra | dict(self.config.extra)}

    def unsent(self, request: GenerateRequest) -> dict[str, str]:
        blank = any(not stop.strip() for stop in request.stop)
        return super().unsent(request) | ({"stop": "white space alone is not taken; it is cut here"} if blank else {})

    def form(self, request: GenerateRequest) -> dict[str, object]:
        form = request.writing.form
        if form is None or not form.schema:
            return {}
        return {"output_config": {"format": {"type": "json_schema", "schema": json.loads(form.schema)}}}

    def thinking(self, request: GenerateRequest) -> dict[str, object]:
        """Returns the switch, with the budget where one is given; newer models decide by themselves how long."""
        writing = request.writing
        if writing.thinking == "off":
            return {"thinking": {"type": "disabled"}}
        if writing.thinking_budget is not None:
            return {"thinking": {"type": "enabled", "budget_tokens": writing.thinking_budget}}
        return {"thinking": {"type": "adaptive"}} if writing.thinking == "on" else {}

    def ask(self, params: Mapping[str, object], reading: Reading, check: Callable[[], None]) -> None:
        create: Any = self.client.messages.create
        with create(**params) as reply:
            self.receive(reply.response.iter_bytes(), reading, check)

    def batches(self) -> AnthropicBatches:
        return AnthropicBatches(self.client)


@dataclass(frozen=True, slots=True)
class AnthropicBatches:
    """Requests are handed over in one call, and results are read as lines."""

    client: anthropic.Anthropic

    def submit(self, lines: Sequence[tuple[str, Mapping[str, object]]]) -> str:
        asked: list[Any] = [{"custom_id": key, "params": params} for key, params in lines]  # as `params` made them
        return self.client.messages.batches.create(requests=asked).id

    def ended(self, id: str) -> bool:
        return self.client.with_options(max_retries=RETRIES).messages.batches.retrieve(id).processing_status == "ended"

    def results(self, id: str) -> Iterator[Result]:
        for line in self.client.with_options(max_retries=RETRIES).messages.batches.results(id):
            told: JSON = line.to_dict(warnings=False)
            result = told.get("result") or {}
            fault = (result.get("error") or {}).get("error") or {}
            error = None if result.get("type") == "succeeded" else str(fault.get("message") or result.get("type"))
            final = fault.get("type") in {"invalid_request_error", "not_found_error", "request_too_large"}
            yield Result(told["custom_id"], result.get("message"), error, not final)
