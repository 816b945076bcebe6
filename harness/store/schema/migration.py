"""Runs written before the run folder had a version (1), in today's shapes. Files are never rewritten: this reads.

A log that an old version began may be gone on with, so a line is told by its own keys, not by the run's plan.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from harness.models.info import ModelInfo
from harness.store.schema.plan import VERSION

What = Literal["plan", "response", "measurement", "record"]
MODES = {"score": "loglikelihood"}  # as they were called, and are


def migrated(what: What, content: Mapping[str, object]) -> Mapping[str, object]:
    """Returns the content of `plan.json`, or of a line, in the shape of version `VERSION`."""
    if what == "plan":
        return content if "schema" in content else _plan(content)
    if what == "response" and "details" in content:
        content = _response(content)
    if what == "measurement" and content.get("kind") == "pass" and "responses" not in content:
        content = {**content, "responses": content["samples"]}  # there were no conversations
    return _renamed(content)


def _renamed(old: Mapping[str, object]) -> Mapping[str, object]:
    mode = MODES.get(str(old.get("mode")))
    return old if mode is None else {**old, "mode": mode}


def _plan(old: Mapping[str, Any]) -> dict[str, object]:
    found = {
        **old,
        "schema": VERSION,
        "models": {name: _entry(model) for name, model in old["models"].items()},
        "cells": [_renamed(cell) for cell in old.get("cells", ())],
    }
    if (judge := old.get("judge")) is not None:
        own = {key: judge[key] for key in ("name", "key", "chat", "seed")}  # its name hid that of its folder
        found["judge"] = _entry({key: value for key, value in judge.items() if key not in own}) | own
    return found


def _entry(old: Mapping[str, object]) -> dict[str, object]:
    """Returns what is known of a model: the facts of its folder stood beside all else, before."""
    facts = ModelInfo.__dataclass_fields__
    info = {key: value for key, value in old.items() if key in facts}
    rest = {key: value for key, value in old.items() if key not in facts}
    if info:
        info.setdefault("name", "")
    return {"where": "this machine", "price": None, **rest, "info": info or None}


def _response(old: Mapping[str, object]) -> dict[str, object]:
    """Returns a line whose details had no classes."""
    found = {key: value for key, value in old.items() if key != "details"}
    found.setdefault("turn", 1)
    found.setdefault("input_characters", None)
    found.setdefault("sent_bytes", None)
    details = _Details(old["details"])
    found.setdefault("provisional", old["error"] is not None and details.transient())
    return {**found, **{name: part for name, part in details.parts().items() if part}}


class _Details:
    """What the details of a response held, taken out part by part."""

    def __init__(self, details: Any) -> None:
        self._left = dict(details)

    def transient(self) -> bool:
        return bool(self._left.pop("transient", False))

    def parts(self) -> dict[str, object]:
        """Returns what is a class of its own today, by its name in a line; `applied` is what all others leave."""
        return {
            "billing": self._billing(),
            "counted": self._counted(),
            "thinking": self._thinking(),
            "confidence": self._left.pop("confidence", None),
            "elapsed": self._elapsed(),
            "provider": self._provider(),
            "applied": self._applied(),
        }

    def _taken(self, *names: str) -> dict[str, object]:
        return {name: self._left.pop(name) for name in names if name in self._left}

    def _billing(self) -> dict[str, object]:
        found = self._taken("usd", "most_usd", "attempts")
        return {**found, "most_usd": found["usd"]} if "usd" in found and "most_usd" not in found else found

    def _counted(self) -> dict[str, object]:
        told = dict(self._left.pop("usage_told", {}))
        found = {"how": how} if (how := self._left.pop("usage", None)) is not None else {}
        return {**found, "why": told.pop("why"), "told": told} if told else found

    def _thinking(self) -> dict[str, object]:
        self._left.pop("thinking_characters", None)
        found = self._taken("thinking", "thinking_tokens", "thinking_cut", "thinking_forced")
        return {"text" if name == "thinking" else name.removeprefix("thinking_"): v for name, v in found.items()}

    def _elapsed(self) -> dict[str, object]:
        times = {**(self._left.pop("times", None) or {}), **(self._left.pop("in_batch", None) or {})}
        return {"first_token_s" if name == "ttft_s" else name: s for name, s in times.items() if s is not None}

    def _provider(self) -> dict[str, object]:
        names = ("model_version", "system_fingerprint", "finish", "refusal", "refused", "cached_tokens", "in_flight")
        found = self._taken(*names, "token_logprobs", "origin", "missing", "from_cache")
        digests = {name: sha for name, sha in self._taken("doc_hash", "prompt_hash").items() if sha is not None}
        return {**found, "digests": digests} if digests else found

    def _applied(self) -> dict[str, object]:
        """Returns what is left: the engine's own facts, and what it did otherwise than asked."""
        found = self._taken("shared_tokens", "prompt_ids_sha256")
        return {**found, "otherwise": {name: str(said) for name, said in self._left.items()}} if self._left else found
