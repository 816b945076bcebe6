"""What tests ask of a model, in few words."""

from __future__ import annotations

from typing import Any

from harness.values import GenerateRequest, LoglikelihoodRequest, Message, Mode, Prompt, Request


def prompt_of(said: str | tuple[Message, ...]) -> Prompt:
    """Returns the prompt of a text or of messages."""
    return Prompt(said) if isinstance(said, str) else Prompt(messages=said)


def request_of(key: str, sample: str, said: str | tuple[Message, ...], mode: Mode = "generate", **more: Any) -> Request:
    """Returns a request of either kind."""
    if mode == "generate":
        return GenerateRequest(key, sample, prompt_of(said), **more)
    return LoglikelihoodRequest(key, sample, prompt_of(said), more.pop("continuations", ()), **more)
