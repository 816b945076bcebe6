"""What the backends of servers share: one model behind an SDK, asked by `flow.run`, read piece by piece.

A backend of a provider says how a request is put (`params`), how it is sent and read (`ask`), and what its refusals
look like where they differ. All else is here: what an exception means, what a refused parameter does, how an answer
becomes a response.

A stop string is also looked for here, since servers differ in whether they return it and some take none. A parameter
that the server refuses is left out from then on, and every response names it in `details.refused`.
"""

from __future__ import annotations

import re
import ssl
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from typing import Any, ClassVar

import httpx2

from harness.backends.batch import Batches, Result, collect
from harness.backends.flow import (
    Answer,
    Attempt,
    AttemptFailed,
    Purse,
    at_most,
    most_usd,
    price_of,
    retry_after,
    run,
    unpriced,
)
from harness.backends.remote import server, where
from harness.config import ModelConfig
from harness.cost.prices import TokenCount, price_request
from harness.errors import BackendError, ConfigError, HarnessError, nearest
from harness.secrets import redact
from harness.values import Finish, Message, Request, Response

FINISH: dict[str, Finish] = {"length": "length", "max_tokens": "length", "MAX_TOKENS": "length"}  # others are stops


class ApiBackend:
    """One model at one server. See `Backend` for the contract."""

    package: ClassVar[str]  # of the SDK
    most_stops: ClassVar[int]  # stop strings the interface takes; the others are only looked for here
    sdk_error: ClassVar[type[Exception]]
    limit_name = "max_tokens"
    required: ClassVar[frozenset[str]]  # arguments that cannot be left out

    def __init__(self, config: ModelConfig) -> None:
        self.config = config
        self.server = server(config)
        self.model = config.model or config.name
        self.own = self.server.own
        self.price = price_of(config, config.backend if self.own else None)
        if config.limits.max_cost is not None and self.price is None:
            raise unpriced(config)
        self.purse = Purse(config.limits.max_cost)
        self.server.key()
        self.refused: dict[str, str] = {}  # parameter -> what the server said
        self.http = self.server.client(
            httpx2.Client, silence_s=config.limits.silence_s, connections=config.limits.concurrency
        )
        self.known: tuple[str, ...] = ()  # models the server lists

    def params(self, request: Request) -> dict[str, Any]:
        """Returns the arguments of the SDK's call, `extra_body` among them. What was refused is taken out later."""
        raise NotImplementedError

    def ask(self, params: Mapping[str, Any], reading: Reading, check: Callable[[], None]) -> None:
        """Sends a request and reads the answer; calls `check` for each piece."""
        raise NotImplementedError

    def unsent(self, request: Request) -> dict[str, str]:
        """Returns what the task asks about the answer's writing that this interface has no word for."""
        writing, said = request.writing, "not asked of the server"
        found = (
            {} if writing.form is None or self.form(request) else {"constrain": f"{said}; the answer is only checked"}
        )
        if writing.thinking != "auto":
            found["thinking"] = f"{said}: set it in the model's `extra`"
        return found | ({"thinking_budget": said} if writing.thinking_budget is not None else {})

    def form(self, request: Request) -> dict[str, Any]:
        """Returns the parameters that hold an answer to its form; none where the interface has none."""
        return {}

    def read_whole(self, reading: Reading, body: Mapping[str, Any]) -> None:
        """Takes in an answer that came in one piece, as a batch brings it."""
        raise NotImplementedError

    def batches(self) -> Batches:
        """Returns the provider's batch interface. Raises ConfigError where there is none."""
        raise ConfigError(
            f"backend {self.config.backend} has no batches", where=f"model {self.config.name}", fix="set `batch: false`"
        )

    def generate(self, requests: Sequence[Request]) -> Iterator[Response]:
        """Yields texts as they finish. A single request is never a batch: it is asked for its time, or is the last."""
        if self.config.batch and len(requests) > 1:
            return self._batched(requests)
        return run(requests, self._generate, limits=self.config.limits, price=self.price, purse=self.purse)

    def score(self, requests: Sequence[Request]) -> Iterator[Response]:
        """Raises BackendError: this interface does not tell the log-probability of given text."""
        raise self.cannot_score()

    def describe(self) -> Mapping[str, Any]:
        """Returns what is known of the model and its server."""
        return {
            "model": self.model,
            "backend": self.config.backend,
            "dtype": None,
            "device": None,
            "parameters": None,
            "context_length": None,
            "chat_template_sha256": None,
            "where": where(self.config),
            "api": self.config.api,
            "price": None if self.price is None else self.price.model_dump(mode="json", exclude_none=True),
            "versions": {self.package: version(self.package)},
        }

    def close(self) -> None:
        """Closes the connections."""
        self.http.close()

    def cannot_score(self, why: str = "") -> BackendError:
        """Returns what is raised where choices cannot be scored."""
        return BackendError(
            "the server does not tell the log-probability of given text" + (f": {why}" if why else ""),
            where=f"{self.model} at {self.server.url}",
            fix="run choice tasks as their generated twin: `as: generate` in the run file",
        )

    # --- generation

    def _generate(self, request: Request, attempt: Attempt) -> Answer:
        params = self._kept(self.params(request))
        reading = Reading(began=time.perf_counter())
        try:
            self.ask(params, reading, attempt.check)
            reading.close()
        except Exception as error:
            raise self.failure(error, params, reading) from error
        return Answer(self._response(request, attempt, reading), reading.used)

    def _batched(self, requests: Sequence[Request]) -> Iterator[Response]:
        most = sum(most_usd(request, self.price, "batch") for request in requests) if self.price else 0.0
        self.purse.check(most, "the batch")
        by_key = {request.key: request for request in requests}
        lines = {request.key: _flat(self._kept(self.params(request))) for request in requests}
        try:
            for result in collect(self.batches(), self.server.host, lines):
                yield self._from_batch(by_key[result.key], result)
        except self.sdk_error as error:
            failure = self.failure(error, {}, Reading(time.perf_counter()))
            raise failure.fatal or BackendError(f"the batch failed: {failure}", where=self.server.url) from error

    def _from_batch(self, request: Request, result: Result) -> Response:
        reading, error = Reading(time.perf_counter()), result.error
        if result.body is not None:
            try:
                self.read_whole(reading, result.body)
                reading.close()
            except (AttemptFailed, ValueError, TypeError, KeyError, AttributeError) as fault:
                error = f"invalid: {fault}"
        tried: dict[str, Any] = {"outcome": "answered" if error is None else "failed", "processing": "batch"}
        tried["usd"] = price_request(self.price, reading.used, "batch").usd if reading.used else None
        if result.body is None:
            tried["usd"] = 0.0  # what failed in a batch is not charged
        if tried["usd"] is None:
            tried["most_usd"] = None if self.price is None else most_usd(request, self.price, "batch")
        if reading.used:
            tried["tokens"] = asdict(reading.used)
        bill = {"attempts": [tried], "usd": tried["usd"], "most_usd": at_most([tried])}
        self.purse.spent += bill["most_usd"] or 0.0
        if error is not None:
            bill["transient"] = result.transient
            return Response(request.key, None, finish_reason="error", error=redact(error), details=bill)
        whole = self._response(request, Attempt(1, 0, 0.0, 0.0, alone=False), reading)
        told = {key: value for key, value in whole.details.items() if key not in {"times", "in_flight"}}
        return replace(whole, details={**told, **bill})

    def _kept(self, params: Mapping[str, Any]) -> dict[str, Any]:
        kept = {key: value for key, value in params.items() if key not in self.refused}
        if extra := {key: v for key, v in params.get("extra_body", {}).items() if key not in self.refused}:
            return kept | {"extra_body": extra}
        kept.pop("extra_body", None)
        return kept

    def _response(self, request: Request, attempt: Attempt, reading: Reading) -> Response:
        text, stop_string = cut("".join(reading.text), request.stop)
        times = reading.times()
        details: dict[str, Any] = {"times": times, "in_flight": attempt.in_flight, **reading.details()}
        refused = self.unsent(request) | self.refused
        if len(request.stop) > self.most_stops:
            refused.setdefault("stop", f"only {self.most_stops} are taken; all are cut here")
        if refused:
            details["refused"] = refused
        used = reading.used or TokenCount(0, 0)
        alone = attempt.alone
        shifted = {name: None if s is None or not alone else s + attempt.handed_s for name, s in times.items()}
        return Response(
            key=request.key,
            prompt=request.prompt if isinstance(request.prompt, str) else None,
            text=text,
            input_tokens=used.input,
            output_tokens=used.output,
            finish_reason="stop" if stop_string is not None else FINISH.get(reading.finish or "", "stop"),
            stop_string=stop_string if stop_string is not None else reading.stop_string,
            batch_size=attempt.in_flight,
            details=details,
            **shifted,
        )

    # --- what goes wrong

    def probe(self, list_models: Callable[[], Iterator[str]]) -> tuple[str, ...]:
        """Returns the models the server lists; nothing where it lists none. Raises BackendError if nobody answers."""
        try:
            return tuple(list_models())
        except Exception as error:
            failure = self.failure(error, {}, Reading(time.perf_counter()))
            if failure.fatal is not None:
                raise failure.fatal from None
            if failure.kind in {"connection", "tls", "timeout"}:
                raise BackendError(
                    f"no answer: {failure}", where=self.server.url, fix="check that the server runs at `base_url`"
                ) from None
            return ()

    def failure(self, error: Exception, params: Mapping[str, Any], reading: Reading) -> AttemptFailed:
        """Returns what an exception of the SDK means."""
        if isinstance(error, AttemptFailed):
            return error
        both = (error, error.__cause__ or error.__context__)
        for inner in both:
            if isinstance(inner, HarnessError):
                return AttemptFailed("stopped", str(inner), retry=False, billed=False, fatal=inner)
        reply = getattr(error, "response", None)
        if isinstance(error, self.sdk_error) and reply is not None and reply.status_code >= 300:
            return self._refusal(error, reply, params)
        if any(isinstance(inner, httpx2.TimeoutException) for inner in both):
            return AttemptFailed("timeout", f"nothing for {self.config.limits.silence_s:g} s", used=reading.used)
        if transport := next((inner for inner in both if isinstance(inner, httpx2.TransportError)), None):
            detail = str(transport)
            if isinstance(transport.__context__, ssl.SSLError) or "CERTIFICATE" in detail or "SSL" in detail:
                return AttemptFailed("tls", detail, billed=False)
            kind = "cut" if reading.chunks or isinstance(transport, httpx2.RemoteProtocolError) else "connection"
            return AttemptFailed(kind, detail, billed=kind == "cut", used=reading.used)
        if isinstance(error, self.sdk_error):  # an error event in the stream
            return AttemptFailed("server error", str(error), used=reading.used)
        if isinstance(error, ValueError | TypeError | KeyError | AttributeError | IndexError | httpx2.HTTPError):
            return AttemptFailed("invalid", f"{type(error).__name__}: {error}", used=reading.used)
        raise error

    def _refusal(self, error: Any, reply: Any, params: Mapping[str, Any]) -> AttemptFailed:
        """Returns what an answer other than 200 means."""
        status, headers, body = reply.status_code, reply.headers, error_body(error)
        said = str(body.get("message") or body.get("detail") or error)
        code = str(body.get("code") or body.get("status") or body.get("type") or "")
        kind, place = f"http {status}", self.server.url
        wait = retry_after(headers.get("retry-after"))
        if (millis := retry_after(headers.get("retry-after-ms"))) is not None:
            wait = millis / 1000
        if code == "insufficient_quota":
            fatal = BackendError(f"the account has no credit left: {redact(said)}", where=place)
            return AttemptFailed(kind, said, retry=False, billed=False, fatal=fatal)
        if status in {429, 529} or (status == 503 and wait is not None):
            return AttemptFailed(kind, said, wait_s=wait, busy=True, billed=False)
        if status in {401, 403} or "API key not valid" in said:
            key = f"the key in {self.server.key_env}" if self.server.key_env else "a request without a key"
            fix = "check the key and what it may do" if self.server.key_env else "name its variable in `api_key_env`"
            fatal = BackendError(f"the server refuses {key} ({status}): {redact(said)[:200]}", where=place, fix=fix)
            return AttemptFailed(kind, said, retry=False, billed=False, fatal=fatal)
        if status == 404 and params:
            near = nearest(self.model, self.known) if self.known else "check `model` and `base_url`"
            fatal = BackendError(f"the server has no {self.model} (404): {redact(said)[:200]}", where=place, fix=near)
            return AttemptFailed(kind, said, retry=False, billed=False, fatal=fatal)
        if status in {400, 422} and (name := self._refused_parameter(body, said, params)):
            return AttemptFailed("refused parameter", name, billed=False, wait_s=0.0)
        if code == "content_filter":
            return AttemptFailed("content filter", said, retry=False, billed=False)
        if 300 <= status < 400:
            to = headers.get("location", "nowhere")
            return AttemptFailed("redirect", f"to {to}: not followed", retry=False, billed=False)
        retry = status >= 500 or status in {408, 409, 425}
        return AttemptFailed(kind, said, retry=retry, billed=False, wait_s=wait)

    def _refused_parameter(self, body: Mapping[str, Any], said: str, params: Mapping[str, Any]) -> str | None:
        """Notes the optional parameter a 400 is about, and returns its name; None if it is about something else."""
        optional = {*params, *params.get("extra_body", {})} - self.required
        named = str(body.get("param") or "").split(".")[0]
        if named not in optional:
            found = [name for name in optional if re.search(rf"\b{re.escape(name)}\b", said)]
            named = max(found, key=len, default="")
        if not named:
            return None
        other = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}.get(named)
        if other is None:
            self.refused[named] = redact(said)[:200]
        elif other not in said or self.limit_name == other:
            return None  # the value is what the server does not like
        else:
            self.limit_name = other
        return named


def _flat(params: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the body of a request as a batch takes it: in one piece, without streaming."""
    streaming = {"stream", "stream_options", "extra_body"}
    return {k: v for k, v in params.items() if k not in streaming} | dict(params.get("extra_body", {}))


def error_body(error: Any) -> Mapping[str, Any]:
    """Returns what an SDK's exception holds of the server's error: message, code, param; {} for anything else."""
    body = next((b for b in (getattr(error, "body", None), getattr(error, "details", None)) if isinstance(b, dict)), {})
    inner = body.get("error")
    return inner if isinstance(inner, dict) else body


# --- reading what comes back -----------------------------------------------------------------------------------------


@dataclass(slots=True)
class Reading:
    """What has arrived of one answer. Each provider's backend tells it what a piece holds."""

    began: float
    text: list[str] = field(default_factory=list)
    thinking: int = 0  # characters
    refusal: str = ""  # by the provider's own signal
    logprobs: list[float] = field(default_factory=list)
    chunks: int = 0  # with tokens
    first: float | None = None
    last: float | None = None
    ended: float | None = None
    finish: str | None = None
    stop_string: str | None = None
    used: TokenCount | None = None
    model: str | None = None
    fingerprint: str | None = None

    def add(self, text: Any = "", thinking: Any = "") -> None:
        """Takes in a piece of text or thinking, at this moment. An empty piece is no token."""
        if not isinstance(text or "", str):
            raise AttemptFailed("invalid", f"the text is a {type(text).__name__}")
        if text or thinking:
            now = time.perf_counter()
            self.first = now if self.first is None else self.first
            self.last = now
            self.chunks += 1
            self.text.append(text or "")
            self.thinking += len(str(thinking or ""))

    def close(self) -> None:
        """Raises AttemptFailed if the answer has not ended."""
        self.ended = time.perf_counter()
        if self.finish is None:
            raise AttemptFailed("cut", "the answer ended without a finish reason", used=self.used)

    def times(self) -> dict[str, float | None]:
        """Returns seconds since the request was sent; an answer in one piece has no first token."""
        streamed = self.chunks > 1
        since = lambda moment: None if moment is None else moment - self.began
        return {
            "ttft_s": since(self.first) if streamed else None,
            "last_token_s": since(self.last) if streamed else None,
            "e2e_s": since(self.ended),
        }

    def details(self) -> dict[str, Any]:
        """Returns what else the server told; only what it did tell."""
        known = {
            "model_version": self.model,
            "system_fingerprint": self.fingerprint,
            "finish": self.finish,
            "refusal": self.refusal or None,
            "thinking_characters": self.thinking or None,
            "token_logprobs": self.logprobs or None,
            "usage": None if self.used is not None else "not told by the server",
        }
        if self.used is not None:
            known |= {
                "cached_tokens": self.used.cache_read or None,
                "reasoning_tokens": self.used.reasoning or None,
            }
        return {key: value for key, value in known.items() if value is not None}


def cut(text: str, stops: Sequence[str]) -> tuple[str, str | None]:
    """Returns the text before the first stop string, and that string; the whole text and None if there is none."""
    found = [(text.find(stop), -len(stop), stop) for stop in stops if stop in text]
    if not found:
        return text, None
    at, _, stop = min(found)
    return text[:at], stop


def turns(request: Request) -> tuple[Message, ...]:
    return (Message("user", request.prompt),) if isinstance(request.prompt, str) else request.prompt
