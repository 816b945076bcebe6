"""What servers mean: why an answer ended, and why a request was refused. One table of each, for all providers.

    ending("max_tokens")                      ->  Ending.LENGTH
    refusal(429, {"retry-after": "2"}, body)  ->  Refused(BUSY, ...)

A reason that no table knows is named where it is met. What is decided is decided by a status and by the fields that a
provider made for it (`code`, `type`, `status`, `reason`, `param`), never by the words of a message: those are for
people.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any


class Ending(StrEnum):
    """Why an answer ended."""

    STOP = "stop"  # the model ended it, or a stop string did
    LENGTH = "length"  # cut off by a number of tokens
    WITHHELD = "withheld"  # the provider keeps it, or the rest of it, to itself: its way to refuse
    BROKEN = "broken"  # the server gave it up


ENDINGS: Mapping[str, Ending] = MappingProxyType(
    {
        # the OpenAI interface, and what open servers say by it
        "stop": Ending.STOP,
        "tool_calls": Ending.STOP,
        "function_call": Ending.STOP,
        "eos": Ending.STOP,
        "eos_token": Ending.STOP,
        "length": Ending.LENGTH,
        "model_length": Ending.LENGTH,
        "content_filter": Ending.WITHHELD,
        "abort": Ending.BROKEN,
        "error": Ending.BROKEN,
        "insufficient_system_resource": Ending.BROKEN,
        # Anthropic
        "end_turn": Ending.STOP,
        "stop_sequence": Ending.STOP,
        "tool_use": Ending.STOP,
        "pause_turn": Ending.STOP,
        "max_tokens": Ending.LENGTH,
        "model_context_window_exceeded": Ending.LENGTH,
        "refusal": Ending.WITHHELD,
        # Google
        "STOP": Ending.STOP,
        "MAX_TOKENS": Ending.LENGTH,
        "SAFETY": Ending.WITHHELD,
        "RECITATION": Ending.WITHHELD,
        "BLOCKLIST": Ending.WITHHELD,
        "PROHIBITED_CONTENT": Ending.WITHHELD,
        "SPII": Ending.WITHHELD,
        "IMAGE_SAFETY": Ending.WITHHELD,
        "MODEL_ARMOR": Ending.WITHHELD,
        "LANGUAGE": Ending.BROKEN,
        "MALFORMED_FUNCTION_CALL": Ending.STOP,
        "UNEXPECTED_TOOL_CALL": Ending.STOP,
    }
)


def ending(reason: str) -> Ending | None:
    """Returns what a finish reason means; None for one that nobody here has heard of: it is taken for a stop."""
    return ENDINGS.get(reason)


class Meaning(StrEnum):
    """What a refused request is about, and so what is done: go on later, go on without something, fail, or stop."""

    BUSY = "busy"  # the same again later, and fewer at once
    TRANSIENT = "transient"  # the same again
    PARAMETER = "parameter"  # without the parameter that is named
    WITHHELD = "withheld"  # the prompt is filtered: the provider's way to refuse, and an answer
    TOO_LONG = "too long"  # more tokens than the model reads: the sample fails
    PERMANENT = "permanent"  # asked again it would be refused again: the sample fails
    REDIRECT = "redirect"  # to another host, which is not followed: the sample fails
    NO_CREDIT = "no credit"  # concerns every request, as do all below
    KEY = "key"
    NO_MODEL = "no model"
    NOT_HERE = "not here"  # not offered where the request comes from


CODES: Mapping[str, Meaning] = MappingProxyType(
    {
        # OpenAI, and Azure (ResponsibleAIPolicyViolation, DeploymentNotFound)
        "insufficient_quota": Meaning.NO_CREDIT,
        "billing_hard_limit_reached": Meaning.NO_CREDIT,
        "billing_not_active": Meaning.NO_CREDIT,
        "rate_limit_exceeded": Meaning.BUSY,
        "invalid_api_key": Meaning.KEY,
        "model_not_found": Meaning.NO_MODEL,
        "DeploymentNotFound": Meaning.NO_MODEL,
        "unsupported_country_region_territory": Meaning.NOT_HERE,
        "context_length_exceeded": Meaning.TOO_LONG,
        "string_above_max_length": Meaning.TOO_LONG,
        "content_filter": Meaning.WITHHELD,
        "content_policy_violation": Meaning.WITHHELD,
        "ResponsibleAIPolicyViolation": Meaning.WITHHELD,
        "unsupported_parameter": Meaning.PARAMETER,
        "unsupported_value": Meaning.PARAMETER,
        "unknown_parameter": Meaning.PARAMETER,
        # Anthropic
        "billing_error": Meaning.NO_CREDIT,
        "rate_limit_error": Meaning.BUSY,
        "overloaded_error": Meaning.BUSY,
        "authentication_error": Meaning.KEY,
        "permission_error": Meaning.KEY,
        "not_found_error": Meaning.NO_MODEL,
        "request_too_large": Meaning.TOO_LONG,
        "api_error": Meaning.TRANSIENT,
        "timeout_error": Meaning.TRANSIENT,
        # Google
        "RESOURCE_EXHAUSTED": Meaning.BUSY,
        "API_KEY_INVALID": Meaning.KEY,
        "PERMISSION_DENIED": Meaning.KEY,
        "UNAUTHENTICATED": Meaning.KEY,
        "NOT_FOUND": Meaning.NO_MODEL,
        "FAILED_PRECONDITION": Meaning.NOT_HERE,
        "INTERNAL": Meaning.TRANSIENT,
        "DEADLINE_EXCEEDED": Meaning.TRANSIENT,
        # llama.cpp
        "exceed_context_size_error": Meaning.TOO_LONG,
        # a gateway's
        "moderation_blocked": Meaning.WITHHELD,
    }
)
PARAMETERS: Mapping[str, Meaning] = MappingProxyType({"input_tokens": Meaning.TOO_LONG})  # vLLM: which `param` it is
STATUSES: Mapping[int, Meaning] = MappingProxyType(
    {
        401: Meaning.KEY,
        402: Meaning.NO_CREDIT,
        403: Meaning.KEY,
        404: Meaning.NO_MODEL,
        408: Meaning.TRANSIENT,
        409: Meaning.TRANSIENT,
        413: Meaning.TOO_LONG,
        425: Meaning.TRANSIENT,
        429: Meaning.BUSY,
        529: Meaning.BUSY,
    }
)
ABOUT_THE_REQUEST = frozenset({400, 422})  # where a refused parameter may stand


@dataclass(frozen=True, slots=True)
class Refused:
    """A request that a server did not answer, as its tables read it."""

    status: int | None  # None: it was accepted, and the stream then told of an error
    meaning: Meaning
    said: str  # for people
    code: str = ""  # the field that decided
    parameter: str = ""  # the one it is about, by the server's own field
    wait_s: float | None = None  # as the server asks

    @property
    def kind(self) -> str:
        """Returns the short and fixed name by which failures are counted."""
        return "server error" if self.status is None else f"http {self.status}"


def refusal(status: int | None, headers: Mapping[str, str], body: Mapping[str, Any], said: str = "") -> Refused:
    """Returns what a refused request means; `said` stands for a body without a message."""
    inner = body.get("error")
    told: Mapping[str, Any] = inner if isinstance(inner, Mapping) else body
    found = [code for code in _codes(told) if code in CODES]
    message = told.get("message") or told.get("detail") or (inner if isinstance(inner, str) else "") or said
    wait, parameter = _wait(headers), _parameter(told)
    meaning = CODES[found[0]] if found else PARAMETERS.get(parameter) or _by_status(status, wait)
    if parameter and meaning is Meaning.PERMANENT and status in ABOUT_THE_REQUEST:
        meaning = Meaning.PARAMETER
    return Refused(status, meaning, str(message), found[0] if found else "", parameter, wait)


def _by_status(status: int | None, wait_s: float | None) -> Meaning:
    if status is None:
        return Meaning.TRANSIENT
    if status == 503 and wait_s is not None:
        return Meaning.BUSY
    if 300 <= status < 400:
        return Meaning.REDIRECT
    return STATUSES.get(status, Meaning.TRANSIENT if status >= 500 else Meaning.PERMANENT)


def _codes(told: Mapping[str, Any]) -> Iterator[str]:
    """Yields what may name the error, the most particular first."""
    for detail in _mappings(told.get("details")):
        yield str(detail.get("reason") or "")
    inner = told.get("innererror")
    yield str(inner.get("code") or "") if isinstance(inner, Mapping) else ""
    yield from (str(told.get(name) or "") for name in ("code", "status", "type"))


def _parameter(told: Mapping[str, Any]) -> str:
    """Returns the parameter an error names in a field made for it: OpenAI's, FastAPI's (vLLM, SGLang) or Google's."""
    named = str(told.get("param") or "")
    for item in _mappings(told.get("detail")):
        place = item.get("loc")
        named = named or (str(place[1]) if isinstance(place, list) and len(place) > 1 and place[0] == "body" else "")
    for detail in _mappings(told.get("details")):
        for violation in _mappings(detail.get("fieldViolations")):
            named = named or _snake(str(violation.get("field") or "").rpartition(".")[2])
    return re.split(r"[.\[]", named)[0]


def _mappings(value: Any) -> list[Mapping[str, Any]]:
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


def _wait(headers: Mapping[str, str]) -> float | None:
    """Returns the seconds a server asks to wait; its milliseconds are the more exact ones."""
    millis = retry_after(headers.get("retry-after-ms"))
    return retry_after(headers.get("retry-after")) if millis is None else millis / 1000


def retry_after(value: str | None, now: datetime | None = None) -> float | None:
    """Returns the seconds of a Retry-After header, which holds seconds or a date; None for none or neither."""
    if not value:
        return None
    try:
        seconds = float(value)
        return seconds if math.isfinite(seconds) and seconds >= 0 else None
    except ValueError:
        pass
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (moment - (now or datetime.now(UTC))).total_seconds())
