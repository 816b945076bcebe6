"""How a request is put to a server that speaks the OpenAI interface, for answers and for loads alike.

What only open servers understand stands apart from what OpenAI's own interface takes: an SDK wants it apart, and in
the body that is sent both stand side by side.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Literal

from harness.backends.servers.event_stream import Dialect
from harness.backends.servers.replies import openai_piece, openai_whole
from harness.values import GenerateRequest

OPENAI = Dialect(openai_piece, openai_whole)
MOST_STOPS = 4  # stop strings the interface takes


@dataclass(frozen=True, slots=True)
class Wire:
    """The interface of one model at one server."""

    model: str
    api: Literal["chat", "completions"] = "chat"
    own: bool = False  # OpenAI's own address, which refuses what open servers take

    @property
    def path(self) -> str:
        """Returns where requests for texts go, below the server's address."""
        return "/chat/completions" if self.api == "chat" else "/completions"

    @property
    def limit_name(self) -> str:
        """Returns what the parameter for the longest answer is called."""
        return "max_completion_tokens" if self.own and self.api == "chat" else "max_tokens"

    def asked(self, request: GenerateRequest) -> dict[str, object]:
        """Returns the parameters of the interface itself. A prompt for completions has to be text."""
        chat, sampling = self.api == "chat", request.sampling
        found: dict[str, object] = {"model": self.model, self.limit_name: request.max_tokens}
        found["temperature"] = sampling.temperature
        if sampling.temperature > 0:
            found |= {"top_p": sampling.top_p, "seed": sampling.seed + request.epoch}
        if request.stop:
            found["stop"] = list(request.stop[:MOST_STOPS])
        if request.writing.logprobs:
            found["logprobs"] = True if chat else 1
        if chat:
            found["messages"] = [{"role": turn.role, "content": turn.content} for turn in request.prompt.turns]
        else:
            found["prompt"] = request.prompt.text
        return found

    def extra(self, request: GenerateRequest) -> dict[str, object]:
        """Returns the parameters that only some servers take, where the request says something by them."""
        usual = {"repetition_penalty": 1.0}
        if request.sampling.temperature > 0:
            usual |= {"top_k": 0, "min_p": 0.0}
        drawn = {key: value for key in usual if (value := getattr(request.sampling, key)) != usual[key]}
        return self.form(request) | self.thinking(request) | drawn

    def form(self, request: GenerateRequest) -> dict[str, object]:
        """Returns the form as OpenAI's chat takes it, and otherwise in the words of vLLM and SGLang together."""
        form = request.writing.form
        if form is not None and form.schema and self.api == "chat":
            schema = {"name": "answer", "schema": json.loads(form.schema)}
            return {"response_format": {"type": "json_schema", "json_schema": schema}}
        if form is None or self.own:
            return {}
        if form.schema:
            return {"structured_outputs": {"json": json.loads(form.schema)}, "json_schema": form.schema}
        if form.regex:
            return {"structured_outputs": {"regex": form.regex}, "regex": form.regex}
        either = "|".join(map(re.escape, form.choices))
        return {"structured_outputs": {"choice": list(form.choices)}, "regex": f"({either})"}

    def thinking(self, request: GenerateRequest) -> dict[str, object]:
        """Returns the switch of the chat template, as vLLM and SGLang hand it on; templates name it in two ways."""
        if request.writing.thinking == "auto" or self.own or self.api != "chat":
            return {}
        on = request.writing.thinking == "on"
        return {"chat_template_kwargs": {"enable_thinking": on, "thinking": on}}
