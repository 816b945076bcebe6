"""A model behind the OpenAI interface: OpenAI itself, or any server that speaks it, asked with the official SDK.

Chat and completions, streamed or in one piece. A stop string is also looked for here, since servers differ in whether
they return it and some take no stop strings at all. A parameter that the server refuses is left out from then on, and
every response names it in `details.refused`.

Given text is scored through completions with `echo` or, on vLLM, `prompt_logprobs`: only open servers offer it.
"""

from __future__ import annotations

import logging
import re
import ssl
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx2
import openai

from harness.backends.flow import Answer, Attempt, AttemptFailed, price_of, retry_after, run
from harness.backends.remote import PROVIDERS, can_score, redact, server, where
from harness.config import ModelConfig
from harness.cost.prices import TokenCount
from harness.errors import BackendError, HarnessError, nearest
from harness.values import Finish, Message, Request, Response

log = logging.getLogger("harness")

PROBE_S = 10.0  # for the list of models
MOST_STOPS = 4  # the interface takes no more; the others are only looked for here
FINISH: dict[str, Finish] = {"length": "length", "max_tokens": "length"}  # anything else is a stop
ORDER_NATS = 1e-2  # scores of one request may differ by this much between orders (servers batch in low precision)


class OpenAIBackend:
    """One model at one server. See `Backend` for the contract."""

    def __init__(self, config: ModelConfig) -> None:
        self.config = config
        self.server = server(config)
        self.model = config.model or config.name
        own = self.server.host == httpx2.URL(PROVIDERS["openai"].url).host
        self.limit_name = "max_completion_tokens" if own and config.api == "chat" else "max_tokens"
        self.price = price_of(config, "openai" if own else None)
        if config.limits.max_cost is not None and self.price is None:
            raise BackendError(
                f"a spend limit needs a price, and none is known for {self.model}",
                where=f"model {config.name}",
                fix="add `price: {input: ..., output: ...}` in USD per 1M tokens",
            )
        self.server.key()
        http = self.server.client(
            openai.DefaultHttpxClient,
            silence_s=config.limits.silence_s,
            connections=config.limits.concurrency,
        )
        self.client = openai.OpenAI(
            api_key="set by the guard when a request is sent",
            base_url=self.server.url,
            max_retries=0,
            http_client=http,
        )
        self.refused: dict[str, str] = {}  # parameter -> what the server said
        self.versions: set[str] = set()  # of the model, as the server names them
        self.order_checked = False
        self.known = self._models()

    def generate(self, requests: Sequence[Request]) -> Iterator[Response]:
        """Yields texts as they finish."""
        return run(requests, self._generate, limits=self.config.limits, price=self.price)

    def score(self, requests: Sequence[Request]) -> Iterator[Response]:
        """Yields log-probabilities. Raises BackendError where the server does not tell those of given text."""
        if not can_score(self.config):
            raise self._cannot_score("")
        if requests and not self.order_checked:
            self._check_order(requests)
            self.order_checked = True
        yield from run(requests, self._score, limits=self.config.limits, price=self.price)

    def describe(self) -> Mapping[str, Any]:
        """Returns what is known of the model and its server."""
        return {
            "model": self.model,
            "backend": "openai",
            "dtype": None,
            "device": None,
            "parameters": None,
            "context_length": None,
            "chat_template_sha256": None,
            "where": where(self.config),
            "api": self.config.api,
            "price": None if self.price is None else self.price.model_dump(mode="json", exclude_none=True),
            "versions": {"openai": openai.__version__},
        }

    def close(self) -> None:
        """Closes the connections."""
        self.client.close()

    # --- generation

    def _generate(self, request: Request, attempt: Attempt) -> Answer:
        params = self._params(request)
        create = (self.client.chat if self.config.api == "chat" else self.client).completions.create
        reading = Reading(began=time.perf_counter())
        try:
            reply = create(**params)
            if self.config.stream:
                with reply:
                    for chunk in reply:
                        attempt.check()
                        reading.add(chunk.to_dict(warnings=False))
            else:
                reading.add(reply.to_dict(warnings=False))
            reading.close()
        except Exception as error:
            raise self._failure(error, params, reading) from error
        self.versions.update(filter(None, [reading.model]))
        return Answer(self._response(request, attempt, reading), reading.used)

    def _params(self, request: Request) -> dict[str, Any]:
        """Returns the arguments of the SDK's `create`, less what the server refused."""
        chat, sampling = self.config.api == "chat", request.sampling
        asked: dict[str, Any] = {self.limit_name: request.max_tokens, "temperature": sampling.temperature}
        extra: dict[str, Any] = dict(self.config.extra)
        if sampling.temperature > 0:
            asked |= {"top_p": sampling.top_p, "seed": sampling.seed + request.epoch}
            defaults = {"top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0}  # open servers take these
            extra |= {key: getattr(sampling, key) for key, usual in defaults.items() if getattr(sampling, key) != usual}
        if request.stop:
            asked["stop"] = list(request.stop[:MOST_STOPS])
        if self.config.logprobs:
            asked["logprobs"] = True if chat else 1
        if self.config.stream:
            asked["stream_options"] = {"include_usage": True}
        params = {"model": self.model, **asked, "stream": self.config.stream}
        if chat:
            params["messages"] = [{"role": turn.role, "content": turn.content} for turn in _turns(request)]
        else:
            params["prompt"] = _text(request)
        kept = {key: value for key, value in params.items() if key not in self.refused}
        kept_extra = {key: value for key, value in extra.items() if key not in self.refused}
        return kept | ({"extra_body": kept_extra} if kept_extra else {})

    def _response(self, request: Request, attempt: Attempt, reading: Reading) -> Response:
        text, stop_string = cut("".join(reading.text), request.stop)
        times = reading.times()
        details: dict[str, Any] = {"times": times, "in_flight": attempt.in_flight, **reading.details()}
        if self.refused:
            details["refused"] = dict(self.refused)
        if len(request.stop) > MOST_STOPS and "stop" not in self.refused:
            details["refused"] = {
                **details.get("refused", {}),
                "stop": f"only {MOST_STOPS} are taken; all are cut here",
            }
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

    # --- scoring

    def _score(self, request: Request, attempt: Attempt) -> Answer:
        if not isinstance(request.prompt, str):
            raise AttemptFailed("unsupported", "a chat prompt cannot be scored by a server", retry=False, billed=False)
        began, params = time.perf_counter(), {}
        logprobs, greedy, tokens, model = [], [], 0, None
        total = TokenCount(0, 0)
        try:
            for continuation in request.continuations:
                attempt.check()
                whole = request.prompt + continuation
                params = {"model": self.model, "prompt": whole, "max_tokens": 1, "temperature": 0.0, "stream": False}
                params |= {"echo": True, "logprobs": 1}
                reply = self.client.completions.create(**params, extra_body=self.config.extra or None)
                body = reply.to_dict(warnings=False)
                model = body.get("model")
                value, most_likely = echoed(body, request.prompt, whole)
                used = usage(body.get("usage"))
                logprobs.append(value)
                greedy.append(most_likely)
                if used is not None:
                    tokens = max(tokens, used.input)
                    total = TokenCount(total.input + used.input, total.output + used.output, total.cache_read)
        except NotEchoed as error:
            raise AttemptFailed("unsupported", str(error), retry=False, fatal=self._cannot_score(str(error))) from None
        except Exception as error:
            failure = self._failure(error, params, Reading(began))
            if failure.kind in {"http 400", "http 422"} and re.search("echo|logprobs", failure.detail):
                failure.fatal = self._cannot_score(failure.detail)
            raise failure from error
        elapsed = time.perf_counter() - began
        response = Response(
            key=request.key,
            prompt=request.prompt,
            logprobs=tuple(logprobs),
            greedy=tuple(greedy),
            input_tokens=tokens,
            batch_size=attempt.in_flight,
            e2e_s=elapsed + attempt.handed_s if attempt.alone else None,
            details={"times": {"e2e_s": elapsed}, "in_flight": attempt.in_flight, "model_version": model},
        )
        return Answer(response, total if total.input else None)

    def _check_order(self, requests: Sequence[Request]) -> None:
        """Asks two requests in both orders. Raises BackendError if that changes their scores.

        Some servers with a prefix cache read log-probabilities from memory that another request wrote
        (vllm-project/vllm #42019): such scores say nothing.
        """
        pair = requests[:2]
        limits = self.config.limits.model_copy(update={"concurrency": 1})
        seen: dict[str, tuple[float, ...]] = {}
        for order in (pair, pair[::-1]):
            for response in run(order, self._score, limits=limits, price=self.price):
                if response.logprobs is None:
                    return  # the pass itself tells why
                before = seen.setdefault(response.key, response.logprobs)
                worst = max((abs(a - b) for a, b in zip(before, response.logprobs)), default=0.0)
                if worst > ORDER_NATS:
                    raise BackendError(
                        f"the server's log-probabilities depend on the order of requests (by {worst:.3g} nats)",
                        where=self.server.url,
                        fix="switch its prefix cache off, or run choice tasks with `as: generate`",
                    )

    def _cannot_score(self, why: str) -> BackendError:
        return BackendError(
            "the server does not tell the log-probability of given text" + (f": {why}" if why else ""),
            where=f"{self.model} at {self.server.url}, api: {self.config.api}",
            fix="run choice tasks as their generated twin: `as: generate` in the run file",
        )

    # --- what goes wrong

    def _models(self) -> tuple[str, ...]:
        """Returns the models the server lists; nothing where it lists none. Raises BackendError if nobody answers."""
        try:
            return tuple(model.id for model in self.client.with_options(timeout=PROBE_S).models.list().data)
        except Exception as error:
            failure = self._failure(error, {}, Reading(time.perf_counter()))
            if failure.fatal is not None:
                raise failure.fatal from None
            if failure.kind in {"connection", "tls", "timeout"}:
                raise BackendError(
                    f"no answer: {failure}", where=self.server.url, fix="check that the server runs at `base_url`"
                ) from None
            return ()

    def _failure(self, error: Exception, params: Mapping[str, Any], reading: Reading) -> AttemptFailed:
        """Returns what an exception of the SDK means."""
        if isinstance(error, AttemptFailed):
            return error
        cause = error.__cause__ or error.__context__
        for inner in (error, cause):
            if isinstance(inner, HarnessError):
                return AttemptFailed("stopped", str(inner), retry=False, billed=False, fatal=inner)
        began = bool(reading.chunks)
        if isinstance(error, openai.APIStatusError):
            return self._refusal(error, params)
        if isinstance(error, openai.APITimeoutError | httpx2.TimeoutException):
            return AttemptFailed("timeout", f"nothing for {self.config.limits.silence_s:g} s", used=reading.used)
        if isinstance(error, openai.APIConnectionError | httpx2.TransportError):
            detail = str(cause or error)
            if isinstance(cause, ssl.SSLError) or "CERTIFICATE" in detail or "SSL" in detail:
                return AttemptFailed("tls", detail, billed=False)
            kind = "cut" if began or "incomplete" in detail or "disconnected" in detail else "connection"
            return AttemptFailed(kind, detail, billed=kind == "cut", used=reading.used)
        if isinstance(error, openai.APIError):  # an error event in the stream
            return AttemptFailed("server error", str(error.message), used=reading.used)
        if isinstance(error, ValueError | TypeError | KeyError | AttributeError | IndexError | httpx2.HTTPError):
            return AttemptFailed("invalid", f"{type(error).__name__}: {error}", used=reading.used)
        raise error

    def _refusal(self, error: openai.APIStatusError, params: Mapping[str, Any]) -> AttemptFailed:
        status, headers = error.status_code, error.response.headers
        body = error.body if isinstance(error.body, dict) else {}
        said = str(body.get("message") or body.get("detail") or error.message)
        code = str(body.get("code") or "")
        kind, place = f"http {status}", self.server.url
        if code == "insufficient_quota":
            fatal = BackendError(f"the account has no credit left: {redact(said)}", where=place)
            return AttemptFailed(kind, said, retry=False, billed=False, fatal=fatal)
        if status == 429 or (status == 503 and headers.get("retry-after")):
            wait = retry_after(headers.get("retry-after"))
            millis = retry_after(headers.get("retry-after-ms"))
            wait = wait if millis is None else millis / 1000
            return AttemptFailed(kind, said, wait_s=wait, busy=True, billed=False)
        if status in {401, 403}:
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
        return AttemptFailed(kind, said, retry=retry, billed=False, wait_s=retry_after(headers.get("retry-after")))

    def _refused_parameter(self, body: Mapping[str, Any], said: str, params: Mapping[str, Any]) -> str | None:
        """Notes the optional parameter a 400 is about, and returns its name; None if it is about something else."""
        optional = {*params, *params.get("extra_body", {})} - {"model", "messages", "prompt", "stream", "extra_body"}
        named = str(body.get("param") or "").split(".")[0]
        if named not in optional:
            found = [name for name in optional if re.search(rf"\b{re.escape(name)}\b", said)]
            named = max(found, key=len, default="")
        if not named:
            return None
        other = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}.get(named)
        if other is not None:
            if other not in said or self.limit_name == other:
                return None  # the value is what the server does not like
            self.limit_name = other
        else:
            self.refused[named] = redact(said)[:200]
        return named


# --- reading what comes back -----------------------------------------------------------------------------------------


@dataclass(slots=True)
class Reading:
    """What has arrived of one answer. Reads only what it knows; new and missing fields are no failure."""

    began: float
    text: list[str] = field(default_factory=list)
    thinking: int = 0  # characters
    refusal: list[str] = field(default_factory=list)
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

    def add(self, body: Mapping[str, Any]) -> None:
        """Takes in one chunk, or the whole answer. What comes after the answer has ended is not part of it."""
        now = time.perf_counter()
        if isinstance(body.get("error"), dict | str) and body["error"]:
            raise AttemptFailed("server error", str(body["error"]))
        self.model = self.model or body.get("model")
        self.fingerprint = self.fingerprint or body.get("system_fingerprint")
        self.used = usage(body.get("usage")) or self.used
        choices = body.get("choices") or []
        if not choices or self.finish is not None:
            return
        choice = choices[0]
        part = choice.get("delta") or choice.get("message") or {}
        text = part.get("content") or choice.get("text") or ""
        thinking = part.get("reasoning_content") or part.get("reasoning") or ""
        if not isinstance(text, str):
            raise AttemptFailed("invalid", f"the text is a {type(text).__name__}")
        if text or thinking:
            self.first = now if self.first is None else self.first
            self.last = now
            self.chunks += 1
            self.text.append(text)
            self.thinking += len(str(thinking))
        if part.get("refusal"):
            self.refusal.append(str(part["refusal"]))
        self.logprobs += _token_logprobs(choice.get("logprobs"))
        if choice.get("finish_reason"):
            self.finish = str(choice["finish_reason"])
        if isinstance(choice.get("stop_reason"), str):  # vLLM names the string
            self.stop_string = choice["stop_reason"]

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
        refusal = "".join(self.refusal) or ("content_filter" if self.finish == "content_filter" else None)
        known = {
            "model_version": self.model,
            "system_fingerprint": self.fingerprint,
            "finish": self.finish,
            "refusal": refusal,
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


def usage(told: Any) -> TokenCount | None:
    """Returns the tokens a server says it used; None if it says nothing that can be read."""
    if not isinstance(told, Mapping):
        return None
    prompt, completion = told.get("prompt_tokens_details") or {}, told.get("completion_tokens_details") or {}
    try:
        count = TokenCount(
            input=int(told["prompt_tokens"]),
            output=int(told.get("completion_tokens") or 0),
            cache_read=int(prompt.get("cached_tokens") or 0),
            reasoning=int(completion.get("reasoning_tokens") or 0),
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        return None
    return count if min(count.input, count.output, count.cache_read, count.reasoning) >= 0 else None


class NotEchoed(Exception):
    """The server did not return what it was asked to echo."""


def echoed(body: Mapping[str, Any], prompt: str, whole: str) -> tuple[float, bool]:
    """Returns the summed log-probability (nats) of what follows `prompt` in an echoed text, and whether it is greedy.

    A token belongs to what follows if it ends after the prompt does; white space at the end of a prompt counts as part
    of what follows, as in process. The one token generated after the text is not read.
    """
    found = ((body.get("choices") or [{}])[0] or {}).get("logprobs") or {}
    tokens, values, offsets = (found.get(key) or [] for key in ("tokens", "token_logprobs", "text_offset"))
    if not values or len(offsets) != len(values) or len(tokens) != len(values):
        raise NotEchoed("no log-probabilities of the echoed text came back")
    boundary, end = len(prompt.rstrip()), len(whole)
    ends = [*offsets[1:], offsets[-1] + len(tokens[-1])]
    mine = [i for i in range(len(values)) if ends[i] > boundary and offsets[i] < end]
    if not mine or any(values[i] is None for i in mine):
        raise NotEchoed("the echoed text lacks log-probabilities of the continuation")
    tops = found.get("top_logprobs") or []
    greedy = bool(tops) and all(_is_top(values[i], tops[i]) for i in mine)
    return float(sum(values[i] for i in mine)), greedy


def _is_top(value: float, top: Any) -> bool:
    return isinstance(top, Mapping) and bool(top) and value >= max(top.values()) - 1e-9


def _token_logprobs(told: Any) -> list[float]:
    """Returns the log-probabilities of a chunk's tokens, of either interface."""
    if not isinstance(told, Mapping):
        return []
    if told.get("content"):
        return [float(item["logprob"]) for item in told["content"]]
    return [float(value) for value in told.get("token_logprobs") or [] if value is not None]


def cut(text: str, stops: Sequence[str]) -> tuple[str, str | None]:
    """Returns the text before the first stop string, and that string; the whole text and None if there is none."""
    found = [(text.find(stop), -len(stop), stop) for stop in stops if stop in text]
    if not found:
        return text, None
    at, _, stop = min(found)
    return text[:at], stop


def _turns(request: Request) -> tuple[Message, ...]:
    return (Message("user", request.prompt),) if isinstance(request.prompt, str) else request.prompt


def _text(request: Request) -> str:
    if isinstance(request.prompt, str):
        return request.prompt
    raise AttemptFailed(
        "unsupported", "completions take text, not messages: use `api: chat`", retry=False, billed=False
    )
