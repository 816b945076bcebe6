"""What an exception means while a server is asked: try again, wait, leave something out, fail the sample, or stop.

Which exception an SDK raises is read here; what the server said by it stands in the tables of `meanings`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import httpx2

from harness.backends.servers.attempt import AttemptFailed
from harness.backends.servers.hold import moment_in
from harness.backends.servers.meanings import Meaning, Refused, refusal
from harness.backends.servers.parameters import Taken
from harness.backends.servers.reading import UNKNOWN_END, Reading
from harness.backends.servers.replies import BadReply, reached, transport_failure
from harness.config.model import RemoteModel
from harness.errors import BackendError, HarnessError, WorkStopped, nearest
from harness.security.egress import Server
from harness.security.secrets import redact

FILTERED = "content filter"  # of the provider, on a prompt: its way to refuse, and no error
LASTING = frozenset({"tls", "no socket left"})  # failures of a connection that are nobody's absence
AN_HOUR_S = 3600.0  # a shorter wait says nothing of a quota of a day


class Failures:
    """What goes wrong with one model at one server. `known` are the models that the server lists."""

    def __init__(self, config: RemoteModel, server: Server, taken: Taken, sdk_error: type[Exception]) -> None:
        self._model, self._silence_s = config.served_as, config.limits.silence_s
        self._server, self._taken, self._sdk_error = server, taken, sdk_error
        self.known: tuple[str, ...] = ()

    def of(self, error: Exception, params: Mapping[str, object], reading: Reading, key: str) -> AttemptFailed:
        """Returns what an exception means, of the request `key` that was sent with `params`; none: of a list."""
        if isinstance(error, AttemptFailed):
            return error
        both = (error, error.__cause__ or error.__context__)
        for inner in both:
            if isinstance(inner, HarnessError):
                return AttemptFailed("stopped", str(inner), retry=False, billed=False, fatal=inner)
        if isinstance(error, BadReply):
            if error.refused is not None:
                return self._refusal(error.refused, params, reading, key)
            return AttemptFailed(error.kind, error.detail, used=reading.used, retry=error.kind != UNKNOWN_END)
        reply = getattr(error, "response", None)
        if isinstance(error, self._sdk_error):
            status = reply.status_code if reply is not None and reply.status_code >= 300 else None
            if status is not None or not isinstance(both[1], httpx2.HTTPError):
                headers = {} if reply is None else reply.headers
                found = refusal(status, headers, error_body(error), str(error), _words(params))
                return self._refusal(found, params, reading, key, to=str(headers.get("location", "nowhere")))
        if any(isinstance(inner, httpx2.TimeoutException) for inner in both):
            said = f"nothing for {self._silence_s:g} s"
            return AttemptFailed("timeout", said, absent=not reading.opened, used=reading.used)
        if transport := next((inner for inner in both if isinstance(inner, httpx2.TransportError)), None):
            answering = reading.opened or not isinstance(transport, httpx2.ConnectError | httpx2.ProxyError)
            kind = transport_failure(transport, answering=answering)
            gone = not reading.opened and kind not in LASTING
            return AttemptFailed(kind, str(transport), absent=gone, billed=reached(kind), used=reading.used)
        if isinstance(error, ValueError | TypeError | KeyError | AttributeError | IndexError | httpx2.HTTPError):
            return AttemptFailed("invalid", f"{type(error).__name__}: {error}", used=reading.used)
        raise error

    def _refusal(
        self, found: Refused, params: Mapping[str, object], reading: Reading, key: str, *, to: str = "nowhere"
    ) -> AttemptFailed:
        """Returns what it leads to that a server did not answer, or told of an error in a stream that it had begun."""
        kind, said, meaning, worked = found.kind, found.said, found.meaning, found.status is None
        used = reading.used if worked else None
        if (fatal := self._fatal(found, asked=bool(params))) is not None:
            return AttemptFailed(kind, said, retry=False, billed=worked, used=used, fatal=fatal)
        if meaning in {Meaning.BUSY, Meaning.ABSENT}:
            busy, charged = meaning is Meaning.BUSY, worked and reading.chunks > 0
            return AttemptFailed(kind, said, wait_s=found.wait_s, busy=busy, absent=not busy, billed=charged, used=used)
        if meaning is Meaning.WITHHELD:
            return AttemptFailed(FILTERED, said, retry=False)
        if meaning is Meaning.TOO_LONG:
            return AttemptFailed("context too long", said, retry=False, billed=False)
        if name := self._taken.leave_out(found, params, key):
            return AttemptFailed("refused parameter", name, free=True, billed=False, wait_s=0.0)
        if meaning is Meaning.REDIRECT:
            return AttemptFailed("redirect", f"to {to}: not followed", retry=False, billed=False)
        again = meaning is Meaning.TRANSIENT
        return AttemptFailed(kind, said, retry=again, billed=worked, used=used, wait_s=found.wait_s)

    def _fatal(self, found: Refused, *, asked: bool) -> BackendError | None:
        """Returns what ends the run, for what concerns every request; `asked`: for an answer, not for a list."""
        said, place, status = redact(found.said)[:200], self._server.url, found.status or "in its stream"
        kind: type[BackendError] = WorkStopped if found.of_the_account else BackendError
        if found.meaning is Meaning.NO_CREDIT:
            fix = "see to the account; the same command goes on where it stopped"
            return kind(f"the account has no credit left: {said}", where=place, fix=fix)
        if found.meaning is Meaning.QUOTA:
            until = f" until {moment_in(found.wait_s)}" if found.wait_s and found.wait_s > AN_HOUR_S else ""
            fix = "run the same command again when the quota is renewed: it goes on where it stopped"
            return kind(f"the quota is used up{until}: {said}", where=place, fix=fix)
        if found.meaning is Meaning.NOT_HERE:
            what = f"the server does not offer {self._model} from here ({status}): {said}"
            return kind(what, where=place, fix="name an address of a region that has it in `base_url`")
        if found.meaning is Meaning.KEY:
            name = self._server.key_name
            given = f"the key in {name}" if name else "a request without a key"
            fix = "check the key and what it may do" if name else "name its variable in `api_key_env`"
            return kind(f"the server refuses {given} ({status}): {said}", where=place, fix=fix)
        if found.meaning is Meaning.NO_MODEL and asked:
            near = nearest(self._model, self.known) if self.known else "check `model` and `base_url`"
            return kind(f"the server has no {self._model} ({status}): {said}", where=place, fix=near)
        return None


def _words(params: Mapping[str, object]) -> str:
    """Returns the text of a request, which an error may repeat."""
    told = {name: params.get(name) for name in ("messages", "prompt", "contents", "system", "system_instruction")}
    return "\n".join(_texts(told))


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from _texts(one)
    elif isinstance(value, list):
        for one in value:
            yield from _texts(one)


def error_body(error: Any) -> Mapping[str, object]:
    """Returns what an SDK's exception holds of the server's error: message, code, param; {} for anything else."""
    told = (getattr(error, "body", None), getattr(error, "details", None))
    alone = (one[0] if isinstance(one, list) and one else one for one in told)  # Google's other interface lists it
    body = next((one for one in alone if isinstance(one, dict)), {})
    inner = body.get("error")
    return inner if isinstance(inner, dict) else body
