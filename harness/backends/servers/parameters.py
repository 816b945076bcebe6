"""Which parameters a server takes. One that it refuses is left out of that request, and, once the request is answered
without it, of all others: where its name was refused whatever its value, else of those with the same value.

A server names the parameter in a field made for it. Where it has none (Anthropic's, and some open servers) its message
begins with the name, or with words that are always followed by it; a name anywhere else in a message says nothing: the
message may repeat what it was sent.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping

from harness.backends.servers.meanings import ABOUT_THE_REQUEST, Meaning, Refused
from harness.security.secrets import redact

LIMITS = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}  # the other name of each
UNKNOWN = frozenset({"unsupported_parameter", "unknown_parameter"})  # codes: the name is refused, not the value
_LEADS = (
    r"(?:unsupported (?:parameter|value)|un(?:recognized|known) (?:request )?(?:argument|parameter|field)|property)"
)
_SUBJECT = re.compile(rf"(?P<lead>{_LEADS}s?(?: supplied)?:?)?\s*[`'\"]?(?P<name>[a-z][a-z_]*)\b", re.IGNORECASE)

Left = tuple[str, str]  # a parameter and its value as JSON; "": whatever its value


class Taken:
    """What one server has been found to take, of the parameters that can be left out."""

    def __init__(self, limit_name: str, required: frozenset[str]) -> None:
        self.limit_name, self.required = limit_name, required | {"extra_body"}
        self._refused: dict[Left, str] = {}  # -> what the server said
        self._trials: dict[str, dict[Left, str]] = {}  # key of a request -> what is left out of it
        self._renamed = False  # the limit has its other name

    def sent(self, params: Mapping[str, object], key: str) -> tuple[dict[str, object], dict[str, str]]:
        """Returns the parameters that a request is sent with, and those left out, each with what the server said."""
        out = self._refused | self._trials.get(key, {})
        left = {
            name: why
            for name, value in _flat(params)
            if name not in self.required and (why := out.get((name, "")) or out.get((name, _spelt(value))))
        }
        kept = {name: value for name, value in params.items() if name not in left}
        if extra := {name: value for name, value in _extra(params).items() if name not in left}:
            return kept | {"extra_body": extra}, left
        kept.pop("extra_body", None)
        return kept, left

    def answered(self, key: str) -> None:
        """Leaves out from now on what an answered request was asked without: it was refused with it."""
        self._refused |= self._trials.pop(key, {})

    def leave_out(self, found: Refused, params: Mapping[str, object], key: str) -> str:
        """Leaves out of a request what its refusal is about; returns the name, or "" where nothing can be left out."""
        sent = dict(_flat(params))
        name, any_value = found.parameter, found.code in UNKNOWN
        if found.meaning is not Meaning.PARAMETER:
            if found.meaning is not Meaning.PERMANENT or found.status not in ABOUT_THE_REQUEST:
                return ""
            name, any_value = _subject(found.said)
        if name in LIMITS and name not in self.required:  # what cannot be left out may have another name
            return name if self._rename(name, found, sent) else ""
        if name not in sent or name in self.required:
            return ""
        left = (name, "" if any_value else _spelt(sent[name]))
        self._trials.setdefault(key, {})[left] = redact(found.said)[:200]
        return name

    def _rename(self, name: str, found: Refused, sent: Mapping[str, object]) -> bool:
        """Gives the limit its other name, if it is its name that is refused; others in flight may have done so."""
        if name not in sent:
            return False
        if name != self.limit_name:
            return True
        if self._renamed or not (found.code in UNKNOWN or LIMITS[name] in found.said):
            return False
        self.limit_name, self._renamed = LIMITS[name], True
        return True


def _subject(said: str) -> tuple[str, bool]:
    """Returns the parameter that a message begins with, and whether its name is what is refused."""
    found = _SUBJECT.match(said.strip())
    if found is None:
        return "", False
    return found["name"], bool(found["lead"]) and "value" not in found["lead"].lower()


def in_one_body(params: Mapping[str, object]) -> dict[str, object]:
    """Returns the body of a request, what the SDK has no argument for among the rest."""
    return {name: value for name, value in params.items() if name != "extra_body"} | dict(_extra(params))


def flat(params: Mapping[str, object]) -> dict[str, object]:
    """Returns the body of a request as a batch takes it: without streaming."""
    return {k: v for k, v in in_one_body(params).items() if k not in {"stream", "stream_options"}}


def _flat(params: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    yield from params.items()
    yield from _extra(params).items()


def _spelt(value: object) -> str:
    return json.dumps(value, sort_keys=True, default=str)


def _extra(params: Mapping[str, object]) -> Mapping[str, object]:
    """Returns the parameters that the SDK has no argument for."""
    extra = params.get("extra_body")
    return extra if isinstance(extra, Mapping) else {}
