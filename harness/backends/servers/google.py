"""A model behind Google's Gemini interface, asked with the official SDK and streamed."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import Any

from google import genai
from google.genai import errors, types

from harness.backends.servers.about import GoogleAbout
from harness.backends.servers.base import ApiBackend
from harness.backends.servers.reading import Reading
from harness.backends.servers.replies import google_piece
from harness.config.model import RemoteModel
from harness.values import GenerateRequest

ROLES = {"user": "user", "assistant": "model"}


class GoogleBackend(GoogleAbout, ApiBackend):
    """One Gemini model."""

    package = "google-genai"
    most_stops = 5
    sdk_error = errors.APIError
    required = frozenset({"contents", "max_output_tokens"})
    wordless = frozenset({"min_p", "repetition_penalty"})

    def __init__(self, config: RemoteModel) -> None:
        super().__init__(config)
        self.client = genai.Client(
            api_key="put in by the guard when a request is sent",
            vertexai=False,
            http_options=types.HttpOptions(
                base_url=self.server.url, api_version="v1beta", httpx_client=self.http, headers={}
            ),
        )
        self.probe(lambda: ((model.name or "").removeprefix("models/") for model in self.client.models.list()))

    def params(self, request: GenerateRequest) -> dict[str, object]:
        """Returns the content and settings, flat, so that a refused setting can be left out by its name."""
        said, sampling = request.prompt.turns, request.sampling
        asked: dict[str, object] = {
            "contents": [
                {"role": ROLES[turn.role], "parts": [{"text": turn.content}]} for turn in said if turn.role != "system"
            ],
            "max_output_tokens": request.max_tokens,
            "temperature": sampling.temperature,
        }
        if system := "\n\n".join(turn.content for turn in said if turn.role == "system"):
            asked["system_instruction"] = system
        if request.stop:
            asked["stop_sequences"] = list(request.stop[: self.most_stops])
        if sampling.temperature > 0:
            asked |= {"top_p": sampling.top_p, "seed": sampling.seed + request.epoch}
            asked |= {"top_k": sampling.top_k} if sampling.top_k else {}
        if self.config.logprobs or request.writing.logprobs:
            asked["response_logprobs"] = True
        return asked | self.form(request) | self.thinking(request) | dict(self.config.extra)

    def form(self, request: GenerateRequest) -> dict[str, object]:
        form = request.writing.form
        if form is not None and form.schema:
            schema = json.loads(form.schema)
            return {"response_mime_type": "application/json", "response_json_schema": schema}
        if form is not None and form.choices:
            enum = {"type": "STRING", "enum": list(form.choices)}
            return {"response_mime_type": "text/x.enum", "response_schema": enum}
        return {}

    def thinking(self, request: GenerateRequest) -> dict[str, object]:
        """Returns the budget in tokens: none is no thinking, -1 as much as the model likes."""
        writing = request.writing
        budget = {"off": 0, "on": -1}.get(writing.thinking)
        if writing.thinking_budget is not None and budget != 0:
            budget = writing.thinking_budget
        if budget is None:
            return {}
        return {"thinking_config": types.ThinkingConfig(thinking_budget=budget, include_thoughts=budget != 0)}

    def ask(self, params: Mapping[str, object], reading: Reading, check: Callable[[], None]) -> None:
        settings = {key: value for key, value in params.items() if key != "contents"}
        generate: Any = self.client.models.generate_content_stream
        stream = generate(model=self.model, contents=params["contents"], config=settings)
        for chunk in stream:
            check()
            reading.opened = True
            body = chunk.model_dump(mode="json", exclude_none=True, exclude={"sdk_http_response"})
            reading.take(google_piece(body, time.perf_counter()))
