"""Secrets kept out of what is written: known ones by value, others by their look.

Everything that is printed, logged or stored goes through `redact`: messages of errors, log lines, what a backend says
went wrong, the plan of a run. Answers of models lose only this process's own keys (`without_own`): the rest of them
is what is measured.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import TypeVar, cast

from harness.errors import visible

HIDDEN = "[secret]"
SHORTEST = 6  # characters of a value that is taken for a secret because of its variable's name
LONG = 16  # the same, in the answer of a model
_NAMED = re.compile(r"(?:KEY|TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIALS?)\d*$", re.IGNORECASE)
_LOOKS = re.compile(
    r"""(?x)
      \b(?: sk | pk | rk | gsk | xai | pplx | nvapi | r8 | csk )[-_][A-Za-z0-9*_-]{6,}     # providers of models
    | \b(?: hf | gh[oprsu] | npm | dop_v1 | glc | fw | tgp_v1 )_[A-Za-z0-9_]{8,}            # tokens of services
    | \bgithub_pat_\w{8,} | \bglpat-[\w-]{8,} | \bxox[abeprs]-[\w-]{8,} | \bpypi-[\w-]{8,}
    | \bAIza[\w-]{10,} | \bya29\.[\w.-]{8,} | \b(?:AKIA|ASIA)[A-Z0-9]{8,}                   # clouds
    | \bSG\.[\w-]{8,}\.[\w-]{8,}
    | \beyJ[\w-]{8,}\.[\w-]{4,}(?:\.[\w-]*)?                                                # web tokens
    | -----BEGIN[ ][A-Z ]*PRIVATE[ ]KEY-----[\s\S]*?(?:-----END[ ][A-Z ]*PRIVATE[ ]KEY-----|\Z)
    | (?<=://)[^/\s:@]*:[^/\s@]+(?=@) | (?<=://)[^/\s:@]{8,}(?=@)                           # user:password@host
    | (?i: (?<=bearer\s) | (?<=basic\s) )[^\s"',}]{6,}
    | (?i: (?<=[?&]key=) | (?<=[?&]sig=) | (?<=token=) | (?<=secret=) | (?<=password=) | (?<=api_key=)
         | (?<=api-key:\s) | (?<=apikey=) )[^\s"'&,}]{6,}
    """
)


Json = TypeVar("Json")  # what goes in comes out in the same shape
_KEPT_OUT: set[str] = set()  # secrets of this process that no environment variable holds


def keep_out(value: str) -> None:
    """Hides a secret from now on, wherever `redact` and `without_own` are used."""
    _KEPT_OUT.add(value)


_AROUND = " \t\r\n\f\v\u00a0\u200b\u200c\u200d\u2060\ufeff"  # what is copied along with a key, and is not of it


def bare(value: str) -> str:
    """Returns a key as it was pasted without what stands around it: blanks, unseen characters, a pair of quotes."""
    value = value.strip(_AROUND)
    quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "\"'`"
    return value[1:-1].strip(_AROUND) if quoted else value


@lru_cache(maxsize=4096)
def is_secret(name: str) -> bool:
    """Returns whether an environment variable of this name holds a secret."""
    return _NAMED.search(name) is not None


def redact(text: str, environment: Mapping[str, str] | None = None) -> str:
    """Returns a text without secrets.

    Hidden are the values of environment variables named like one (OPENAI_API_KEY, HF_TOKEN), and what looks like a
    key. Values under SHORTEST characters are left: hiding them would garble the text. `environment` defaults to that
    of the process.
    """
    return _without_looks(text, _values(environment, SHORTEST))


def without_own(text: str, environment: Mapping[str, str] | None = None) -> str:
    """Returns an answer without this process's own secrets, should a server have sent one back.

    Nothing is judged by its look: a task may be about keys. Only values of LONG characters or more are hidden, so that
    a placeholder such as `unused` does not change an answer.
    """
    return _without(text, _values(environment, LONG))


def redacted(value: Json) -> Json:
    """Returns a JSON value with every text in it redacted, keys too, by the secrets that are known when it is called.

    They are collected once for the whole value: a plan has thousands of texts, an environment hundreds of variables.
    """
    return cast("Json", _redacted(value, _values(None, SHORTEST)))


def _redacted(value: object, secrets: tuple[str, ...]) -> object:
    if isinstance(value, str):
        return _without_looks(value, secrets)
    if isinstance(value, Mapping):
        return {_redacted(key, secrets): _redacted(inner, secrets) for key, inner in value.items()}
    return [_redacted(inner, secrets) for inner in value] if isinstance(value, list | tuple) else value


def _values(environment: Mapping[str, str] | None, shortest: int) -> tuple[str, ...]:
    """Returns the secrets that are known by value, the longest first: one may hold another."""
    environment = os.environ if environment is None else environment
    given = [environment[name] for name in tuple(environment) if is_secret(name)]
    named = {value.strip() for value in given} | {bare(value) for value in given} | _KEPT_OUT
    return tuple(sorted((value for value in named if len(value) >= shortest), key=len, reverse=True))


def _without(text: str, secrets: tuple[str, ...]) -> str:
    for value in secrets:
        text = text.replace(value, HIDDEN)
    return text


def _without_looks(text: str, secrets: tuple[str, ...]) -> str:
    return _LOOKS.sub(HIDDEN, _without(text, secrets))


class Redacting(logging.Formatter):
    """Formats a log line, its traceback included, and hides the secrets in it."""

    def format(self, record: logging.LogRecord) -> str:
        """Returns the line as it is printed."""
        return visible(redact(super().format(record)), keep="\n\t")
