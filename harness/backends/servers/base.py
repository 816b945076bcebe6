"""What the backends of servers share: one model behind an SDK, asked by `flow.run`, read piece by piece.

A backend of a provider says how a request is put (`params`), how it is sent and read (`ask`), and what its refusals
look like where they differ. All else is here: what an exception means, what a refused parameter does, how an answer
becomes a response.

A stop string is also looked for here, since servers differ in whether they return it and some take none. A parameter
that the server refuses is left out from then on, and every response names it in `provider.refused`.
"""

from __future__ import annotations

import re
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from typing import Any, ClassVar

import httpx2

from harness.backends.servers.batch import Batches, Result, collect, handed_over
from harness.backends.servers.dispatch import (
    Answer,
    Attempt,
    AttemptFailed,
    Purse,
    bill,
    most_usd,
    price_of,
    retry_after,
    run,
    unpriced,
)
from harness.backends.servers.openai_protocol import turns
from harness.config.model import ModelConfig
from harness.cost.prices import TokenCount, price_request
from harness.engine.text.stop_strings import cut
from harness.engine.text.thinking import Markers, split_text
from harness.engine.text.token_counts import counter_of
from harness.errors import BackendError, ConfigError, HarnessError, nearest
from harness.security.egress import server, where
from harness.security.secrets import redact
from harness.values import Confidence, Counted, Elapsed, Finish, PaidAttempt, Provider, Request, Response, Thinking

FINISH: dict[str, Finish] = {"length": "length", "max_tokens": "length", "MAX_TOKENS": "length"}  # others are stops


FILTERED = "content filter"  # of the provider, on a prompt: its way to refuse, and no error
TOO_LONG = re.compile(
    r"context (?:length|window|size)|maximum context|prompt is too long|input is too long|too many (?:input )?tokens"
    r"|input token count|exceeds? the maximum (?:number of tokens|length|allowed)",
    re.IGNORECASE,
)
_PLACE, _NOT = r"\b(?:region|country|territory|location)\b", r"(?:not|un) ?(?:available|supported|offered|enabled)"
REGION = re.compile(rf"{_NOT}.{{0,80}}{_PLACE}|{_PLACE}.{{0,80}}{_NOT}", re.IGNORECASE | re.DOTALL)
SLACK = 8  # tokens a server may count beyond those that were allowed: the ones that end an answer


class ApiBackend:
    """One model at one server. See `Backend` for the contract."""

    package: ClassVar[str]  # of the SDK
    most_stops: ClassVar[int]  # stop strings the interface takes; the others are only looked for here
    sdk_error: ClassVar[type[Exception]]
    limit_name = "max_tokens"
    required: ClassVar[frozenset[str]]  # arguments that cannot be left out
    wordless: ClassVar[frozenset[str]] = frozenset()  # parts of Sampling that the interface does not take

    def __init__(self, config: ModelConfig) -> None:
        self.config = config
        self.server = server(config)
        self.model = config.model or config.name
        self.own = self.server.own
        self.price = price_of(config, config.backend if self.own else None)
        if config.limits.max_cost is not None and self.price is None:
            raise unpriced(config)
        self.purse = Purse(config.limits.max_cost)
        self.count = counter_of(config.path)  # our own, where the server's count is missing or cannot be true
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
        """Returns what the task asks about drawing and writing that this interface has no word for."""
        sampling, writing, said = request.sampling, request.writing, "not asked of the server"
        drawn = sampling.temperature > 0
        found = {
            "seed": drawn,
            "min_p": drawn and sampling.min_p > 0,
            "repetition_penalty": sampling.repetition_penalty != 1.0,
        }
        found = {name: said for name, asked in found.items() if asked and name in self.wordless}
        if writing.form is not None and not self.form(request):
            found["constrain"] = f"{said}; the answer is only checked"
        if (writing.thinking != "auto" or writing.thinking_budget is not None) and not self.thinking(request):
            found["thinking"] = f"{said}: set it in the model's `extra`"
        return found

    def form(self, request: Request) -> dict[str, Any]:
        """Returns the parameters that hold an answer to its form; none where the interface has none."""
        return {}

    def thinking(self, request: Request) -> dict[str, Any]:
        """Returns the parameters that switch thinking on or off, or bound it; none where the interface has none."""
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
            failure = self.failure(error, params, reading)
            if failure.kind != FILTERED:
                raise failure from error
            reading = Reading(reading.began, refusal=f"{FILTERED}: the prompt", finish="content_filter")
        doubted = _doubt(request, reading) is not None
        return Answer(self._response(request, attempt, reading), reading.used, doubted)

    def _batched(self, requests: Sequence[Request]) -> Iterator[Response]:
        waiting = handed_over(self.server.host)
        fresh = [request for request in requests if request.key not in waiting]
        self.purse.check(sum(most_usd(r, self.price, "batch") for r in fresh) if self.price else 0.0, "the batch")
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
        usd = price_request(self.price, reading.used, "batch").usd if reading.used else None
        if result.body is None:
            usd = 0.0  # what failed in a batch is not charged
        unbounded = usd is not None or self.price is None
        tried = PaidAttempt(
            "answered" if error is None else "failed",
            usd,
            most_usd=None if unbounded else most_usd(request, self.price, "batch"),
            tokens=asdict(reading.used) if reading.used else None,
            processing="batch",
        )
        paid = bill([tried])
        self.purse.spent += paid.most_usd or 0.0
        if error is not None:
            failed = Response(request.key, None, finish_reason="error", error=redact(error), billing=paid)
            return replace(failed, provisional=result.transient)
        whole = self._response(request, Attempt(1, 0, 0.0, 0.0, alone=False), reading)
        return replace(whole, billing=paid, elapsed=None, provider=replace(whole.provider, in_flight=None))

    def _kept(self, params: Mapping[str, Any]) -> dict[str, Any]:
        kept = {key: value for key, value in params.items() if key not in self.refused}
        if extra := {key: v for key, v in params.get("extra_body", {}).items() if key not in self.refused}:
            return kept | {"extra_body": extra}
        kept.pop("extra_body", None)
        return kept

    def _response(self, request: Request, attempt: Attempt, reading: Reading) -> Response:
        answer, thought, unclosed = reading.parts(request.writing.markers)
        text, stop_string = cut(answer, request.stop)
        finish = "stop" if stop_string is not None else FINISH.get(reading.finish or "", "stop")
        input_tokens, output_tokens, counted = self._counted(request, reading)
        times = reading.times()
        sure = request.writing.logprobs and reading.logprobs and thought is None
        confidence = _confidence(reading.logprobs) if sure else None
        refused = self.unsent(request) | self.refused
        if len(request.stop) > self.most_stops:
            refused.setdefault("stop", f"only {self.most_stops} are taken; all are cut here")
        if _beyond(request, reading) and counted is None:
            refused.setdefault("max_tokens", f"ignored: {output_tokens} tokens came, {request.max_tokens} were allowed")
        if request.writing.logprobs and confidence is None:
            refused.setdefault("logprobs", "not told by the server for this answer")
        alone = attempt.alone
        shifted = {name: None if s is None or not alone else s + attempt.handed_s for name, s in times.items()}
        return Response(
            key=request.key,
            prompt=request.prompt if isinstance(request.prompt, str) else None,
            text=text,
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            finish_reason=finish,
            stop_string=stop_string if stop_string is not None else reading.stop_string,
            batch_size=attempt.in_flight,
            counted=counted,
            thinking=self._thinking(reading, thought, cut=finish == "length" and (unclosed or not text.strip())),
            confidence=confidence,
            elapsed=Elapsed(None, times["ttft_s"], times["last_token_s"], times["e2e_s"]),
            provider=reading.told(attempt.in_flight, refused),
            **shifted,
        )

    def _thinking(self, reading: Reading, thought: str | None, *, cut: bool) -> Thinking | None:
        """Returns what was thought; None if nothing tells that anything was."""
        tokens = (reading.used.reasoning or None) if reading.used is not None else None
        if thought is None and tokens is None:
            return None
        if thought is not None and tokens is None and self.count is not None:
            tokens = self.count(thought)
        return Thinking(thought, tokens, cut)

    def _counted(self, request: Request, reading: Reading) -> tuple[int | None, int | None, Counted | None]:
        """Returns input and output tokens, and what is to be said of them where they are not the server's own count.

        Ours are of the text alone: without special tokens, a chat template, or thinking that was not sent.
        """
        doubt = _doubt(request, reading)
        if reading.used is not None and doubt is None:
            return reading.used.input, reading.used.output, None
        why = "not told by the server" if reading.used is None else "not believed: what the server tells cannot be true"
        told = None if reading.used is None else asdict(reading.used)
        if self.count is None:
            return None, None, Counted(why, told, doubt)
        written = self.count("".join((*reading.thinking, *reading.text)))
        asked = self.count("\n".join(turn.content for turn in turns(request)))
        return asked, written, Counted(f"counted here, {why}", told, doubt)

    # --- what goes wrong

    def probe(self, list_models: Callable[[], Iterator[str]]) -> tuple[str, ...]:
        """Returns the models the server lists; nothing where it lists none. Raises BackendError if nobody answers."""
        try:
            return tuple(list_models())
        except Exception as error:
            failure = self.failure(error, {}, Reading(time.perf_counter()))
            if failure.fatal is not None:
                raise failure.fatal from None
            if failure.kind in {"connection", "dns", "tls", "timeout"}:
                named = failure.kind == "dns"
                fix = "mend the host name in `base_url`" if named else "check that the server runs at `base_url`"
                raise BackendError(f"no answer: {failure}", where=self.server.url, fix=fix) from None
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
            if _has_cause(transport, socket.gaierror):
                return AttemptFailed("dns", detail, billed=False)
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
        if status in {400, 403, 404, 451} and REGION.search(said):
            what = f"the server does not offer {self.model} from here ({status}): {redact(said)[:200]}"
            fatal = BackendError(what, where=place, fix="name an address of a region that has it in `base_url`")
            return AttemptFailed(kind, said, retry=False, billed=False, fatal=fatal)
        if status in {401, 403} or "API key not valid" in said:
            name = self.server.key_name
            key = f"the key in {name}" if name else "a request without a key"
            fix = "check the key and what it may do" if name else "name its variable in `api_key_env`"
            fatal = BackendError(f"the server refuses {key} ({status}): {redact(said)[:200]}", where=place, fix=fix)
            return AttemptFailed(kind, said, retry=False, billed=False, fatal=fatal)
        if status == 404 and params:
            near = nearest(self.model, self.known) if self.known else "check `model` and `base_url`"
            fatal = BackendError(f"the server has no {self.model} (404): {redact(said)[:200]}", where=place, fix=near)
            return AttemptFailed(kind, said, retry=False, billed=False, fatal=fatal)
        if code == FILTERED.replace(" ", "_") or "content management policy" in said:
            return AttemptFailed(FILTERED, said, retry=False)
        if status in {400, 413, 422} and (code == "context_length_exceeded" or TOO_LONG.search(said)):
            return AttemptFailed("context too long", said, retry=False, billed=False)
        if status in {400, 422} and (name := self._refused_parameter(body, said, params)):
            return AttemptFailed("refused parameter", name, billed=False, wait_s=0.0)
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


def _has_cause(error: BaseException | None, kind: type[BaseException]) -> bool:
    """Returns whether an error, or one that led to it, is of a kind."""
    while error is not None:
        if isinstance(error, kind):
            return True
        error = error.__cause__ or error.__context__
    return False


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
    thinking: list[str] = field(default_factory=list)  # as the server tells it apart
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
            if thinking:
                self.thinking.append(str(thinking))

    def parts(self, markers: tuple[str, str] | None) -> tuple[str, str | None, bool]:
        """Returns answer, thought (None: none was told) and whether it ended while thinking, as `split_text` does."""
        text = "".join(self.text)
        if self.thinking:
            return text, "".join(self.thinking), False
        return split_text(text, None if markers is None else Markers(*markers))

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

    def told(self, in_flight: int, refused: Mapping[str, str]) -> Provider:
        """Returns what else the server told; only what it did tell."""
        return Provider(
            model_version=self.model,
            system_fingerprint=self.fingerprint,
            finish=self.finish,
            refusal=self.refusal or None,
            refused=refused,
            cached_tokens=None if self.used is None else self.used.cache_read or None,
            in_flight=in_flight,
            token_logprobs=tuple(self.logprobs) or None,
        )


def _doubt(request: Request, reading: Reading) -> str | None:
    """Returns why the usage a server tells cannot be of this answer; None if it can, or there is none."""
    used, text = reading.used, "".join((*reading.text, *reading.thinking))
    if used is None:
        return None
    if _beyond(request, reading) and used.output - used.reasoning > len(text.encode("utf-8", "surrogatepass")):
        return f"{used.output} output tokens, and {request.max_tokens} were allowed"
    if used.output == 0 and text.strip():
        return "no output tokens for an answer that has text"
    if used.input == 0 and any(turn.content for turn in turns(request)):
        return "no input tokens for a prompt that has text"
    return None


def _beyond(request: Request, reading: Reading) -> bool:
    """Returns whether the server tells more tokens than were allowed; thinking is not bounded everywhere."""
    return reading.used is not None and reading.used.output - reading.used.reasoning > request.max_tokens + SLACK


def _confidence(logprobs: Sequence[float]) -> Confidence:
    """Returns how sure the model was of its tokens, in nats: on average, at least, and of the first."""
    return Confidence(sum(logprobs) / len(logprobs), min(logprobs), logprobs[0])
