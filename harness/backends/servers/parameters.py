"""Which parameters a server takes: those it refuses are left out from then on, or on trial of one request."""

from __future__ import annotations

import re
from collections.abc import Mapping

from harness.backends.servers.dispatch import AttemptFailed
from harness.backends.servers.meanings import ABOUT_THE_REQUEST, Refused
from harness.security.secrets import redact

LIMITS = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}  # the other name of each
UNKNOWN = frozenset({"unsupported_parameter", "unknown_parameter"})  # codes: the name is refused, not the value


class Taken:
    """What one server has been found to take, of the parameters that can be left out."""

    def __init__(self, limit_name: str, required: frozenset[str]) -> None:
        self.limit_name, self.required = limit_name, required
        self.refused: dict[str, str] = {}  # parameter -> what the server said
        self.trials: dict[str, dict[str, str]] = {}  # key of a request -> what was left out of it to see if it helps
        self.cleared: set[str] = set()  # parameters without which a request was refused all the same
        self.renamed = False  # the limit has its other name

    def answered(self, key: str) -> None:
        """Leaves out from now on what an answered request was asked without: it was refused with it."""
        self.refused |= self.trials.pop(key, {})

    def kept(self, params: Mapping[str, object], key: str) -> dict[str, object]:
        """Returns the parameters of a request without those that the server refuses, or that are on trial."""
        out = self.refused.keys() | self.trials.get(key, {}).keys()
        kept = {name: value for name, value in params.items() if name not in out}
        if extra := {name: value for name, value in _extra(params).items() if name not in out}:
            return kept | {"extra_body": extra}
        kept.pop("extra_body", None)
        return kept

    def on_trial(self, key: str, params: Mapping[str, object], failure: AttemptFailed) -> AttemptFailed:
        """Returns a failure, or one by which the request is tried again without a parameter its message mentions."""
        if failure.kind not in {f"http {status}" for status in ABOUT_THE_REQUEST}:
            return failure
        words = set(re.findall(r"\w+", failure.detail))
        named = max(self._optional(params) & words - LIMITS.keys() - self.cleared, key=len, default="")
        if not named:
            self.cleared |= self.trials.pop(key, {}).keys()
            return failure
        self.trials.setdefault(key, {})[named] = failure.detail[:200]
        return AttemptFailed("refused parameter", named, billed=False, wait_s=0.0)

    def _optional(self, params: Mapping[str, object]) -> set[str]:
        return {*params, *_extra(params)} - self.required

    def leave_out(self, found: Refused, params: Mapping[str, object]) -> bool:
        """Leaves out the optional parameter that a refusal names from now on; returns whether there is one."""
        name = found.parameter
        if name in LIMITS:  # what cannot be left out may have another name
            if found.code not in UNKNOWN or self.renamed:
                return False
            self.limit_name, self.renamed = LIMITS[name], True
            return True
        if name not in self._optional(params):
            return False
        self.refused[name] = redact(found.said)[:200]
        return True


def flat(params: Mapping[str, object]) -> dict[str, object]:
    """Returns the body of a request as a batch takes it: in one piece, without streaming."""
    streaming = {"stream", "stream_options", "extra_body"}
    return {k: v for k, v in params.items() if k not in streaming} | dict(_extra(params))


def _extra(params: Mapping[str, object]) -> Mapping[str, object]:
    """Returns the parameters that the SDK has no argument for."""
    extra = params.get("extra_body")
    return extra if isinstance(extra, Mapping) else {}
