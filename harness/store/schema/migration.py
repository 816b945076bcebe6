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


def migrated(what: What, content: Mapping[str, Any]) -> Mapping[str, Any]:
    """Returns the content of `plan.json`, or of a line, in the shape of version `VERSION`."""
    if what == "plan":
        return content if "schema" in content else _plan(content)
    if what == "response" and "details" in content:
        content = _response(content)
    if what == "measurement" and content.get("kind") == "pass" and "responses" not in content:
        content = {**content, "responses": content["samples"]}  # there were no conversations
    return _renamed(content)


def _renamed(old: Mapping[str, Any]) -> Mapping[str, Any]:
    return {**old, "mode": MODES[old["mode"]]} if old.get("mode") in MODES else old


def _plan(old: Mapping[str, Any]) -> dict[str, Any]:
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


def _entry(old: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what is known of a model: the facts of its folder stood beside all else, before."""
    facts = ModelInfo.__dataclass_fields__
    info = {key: value for key, value in old.items() if key in facts}
    rest = {key: value for key, value in old.items() if key not in facts}
    if info:
        info.setdefault("name", "")
    return {"where": "this machine", "price": None, **rest, "info": info or None}


def _response(old: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a line whose details had no classes."""
    bag = dict(old["details"])
    found = {key: value for key, value in old.items() if key != "details"}
    found.setdefault("turn", 1)
    found.setdefault("input_characters", None)
    found.setdefault("sent_bytes", None)
    transient = bool(bag.pop("transient", False))
    found.setdefault("provisional", old["error"] is not None and transient)
    parts = {
        "billing": _billing(bag),
        "counted": _counted(bag),
        "thinking": _thinking(bag),
        "confidence": bag.pop("confidence", None),
        "elapsed": _elapsed(bag),
        "provider": _provider(bag),
        "applied": _applied(bag),
    }
    return {**found, **{name: part for name, part in parts.items() if part}}


def _taken(bag: dict[str, Any], *names: str) -> dict[str, Any]:
    """Returns what stands under these names, and takes it out of the bag."""
    return {name: bag.pop(name) for name in names if name in bag}


def _billing(bag: dict[str, Any]) -> dict[str, Any]:
    found = _taken(bag, "usd", "most_usd", "attempts")
    return {**found, "most_usd": found["usd"]} if "usd" in found and "most_usd" not in found else found


def _counted(bag: dict[str, Any]) -> dict[str, Any]:
    told = dict(bag.pop("usage_told", {}))
    found = {"how": how} if (how := bag.pop("usage", None)) is not None else {}
    return {**found, "why": told.pop("why"), "told": told} if told else found


def _thinking(bag: dict[str, Any]) -> dict[str, Any]:
    bag.pop("thinking_characters", None)
    found = _taken(bag, "thinking", "thinking_tokens", "thinking_cut", "thinking_forced")
    return {"text" if name == "thinking" else name.removeprefix("thinking_"): v for name, v in found.items()}


def _elapsed(bag: dict[str, Any]) -> dict[str, Any]:
    times, in_batch = bag.pop("times", None) or {}, bag.pop("in_batch", None) or {}
    return {"first_token_s" if name == "ttft_s" else name: s for name, s in (times | in_batch).items() if s is not None}


def _provider(bag: dict[str, Any]) -> dict[str, Any]:
    names = ("model_version", "system_fingerprint", "finish", "refusal", "refused", "cached_tokens", "in_flight")
    found = _taken(bag, *names, "token_logprobs", "origin", "missing", "from_cache")
    digests = {name: sha for name, sha in _taken(bag, "doc_hash", "prompt_hash").items() if sha is not None}
    return {**found, "digests": digests} if digests else found


def _applied(bag: dict[str, Any]) -> dict[str, Any]:
    """Returns what is left: the engine's own facts, and what it did otherwise than asked."""
    found = _taken(bag, "shared_tokens", "prompt_ids_sha256")
    return {**found, "otherwise": {name: str(said) for name, said in bag.items()}} if bag else found
