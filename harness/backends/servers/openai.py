"""A model behind the OpenAI interface: OpenAI itself, or any server that speaks it, asked with the official SDK.

Chat and completions, streamed or in one piece. Given text is scored through completions, with `echo` or
`prompt_logprobs`, which open servers such as vLLM offer and closed APIs do not.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import httpx2
import openai

from harness.backends.capabilities import can_score
from harness.backends.servers.base import ApiBackend, Reading
from harness.backends.servers.batch import RETRIES, Result
from harness.backends.servers.dispatch import Answer, Attempt, AttemptFailed, bill, run
from harness.backends.servers.echoed_logprobs import WAYS, Misspelt, NotTold, given_logprob
from harness.backends.servers.openai_protocol import MOST_STOPS, Wire
from harness.config.model import ModelConfig
from harness.cost.prices import TokenCount
from harness.errors import BackendError
from harness.security.secrets import redact
from harness.values import Counted, Elapsed, PaidAttempt, Provider, Request, Response

PROBE_S = 10.0  # for the list of models
ORDER_NATS = 1e-2  # scores of one request may differ by this much between orders (servers batch in low precision)


class OpenAIBackend(ApiBackend):
    """One model at one server that speaks the OpenAI interface."""

    package = "openai"
    most_stops = MOST_STOPS
    sdk_error = openai.APIError
    required = frozenset({"model", "messages", "prompt", "stream", "extra_body"})

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.wire = Wire(self.model, config.api, self.own)
        self.limit_name = self.wire.limit_name
        self.client = openai.OpenAI(
            api_key="put in by the guard when a request is sent",
            base_url=self.server.url,
            max_retries=0,
            http_client=self.http,
            timeout=self.http.timeout,
        )
        self.order_checked = False
        self.way = 0  # of WAYS
        probe = self.client.with_options(timeout=httpx2.Timeout(min(PROBE_S, config.limits.silence_s)))
        self.known = self.probe(lambda: (model.id for model in probe.models.list().data))

    def params(self, request: Request) -> dict[str, Any]:
        if self.config.api != "chat":
            _text(request)
        asked = self.wire.asked(request) | {"stream": self.config.stream}
        asked[self.limit_name] = asked.pop(self.wire.limit_name)  # the server may know it by its other name
        if self.config.logprobs:
            asked["logprobs"] = True if self.config.api == "chat" else 1
        if self.config.stream:
            asked["stream_options"] = {"include_usage": True}
        return asked | {"extra_body": self.wire.extra(request) | dict(self.config.extra)}

    def ask(self, params: Mapping[str, Any], reading: Reading, check: Callable[[], None]) -> None:
        reply = (self.client.chat if self.config.api == "chat" else self.client).completions.create(**params)
        if not self.config.stream:
            return read(reading, reply.to_dict(warnings=False))
        with reply:
            for chunk in reply:
                check()
                read(reading, chunk.to_dict(warnings=False))

    def form(self, request: Request) -> dict[str, Any]:
        return self.wire.form(request)

    def thinking(self, request: Request) -> dict[str, Any]:
        return self.wire.thinking(request)

    def read_whole(self, reading: Reading, body: Mapping[str, Any]) -> None:
        read(reading, body)

    def batches(self) -> OpenAIBatches:
        path = "/v1/chat/completions" if self.config.api == "chat" else "/v1/completions"
        return OpenAIBatches(self.client, path)

    def score(self, requests: Sequence[Request]) -> Iterator[Response]:
        """Yields log-probabilities. Raises BackendError where the server does not tell those of given text."""
        if not can_score(self.config):
            raise self.cannot_score()
        tried: list[PaidAttempt] = []
        if requests and not self.order_checked:
            tried = self._check_order(requests)
            self.order_checked = True
        for response in run(requests, self._score, limits=self.config.limits, price=self.price, purse=self.purse):
            yield _also_paid(response, tried) if tried else response
            tried = []

    # --- scoring

    def _score(self, request: Request, attempt: Attempt) -> Answer:
        if not isinstance(request.prompt, str):
            raise AttemptFailed("unsupported", "a chat prompt cannot be scored by a server", retry=False, billed=False)
        began, way = time.perf_counter(), self.way
        logprobs, greedy, tokens, model = [], [], [], None
        total = TokenCount(0, 0)
        try:
            for given, continuation in request.pairs:
                attempt.check()
                whole = request.prompt + given + continuation
                params = {"model": self.model, "prompt": whole, "max_tokens": 1, "temperature": 0.0, "stream": False}
                reply = self.client.completions.create(**params, extra_body={**WAYS[way], **self.config.extra})
                body = reply.to_dict(warnings=False)
                model = body.get("model")
                value, most_likely = given_logprob(body, request.prompt + given, whole)
                used = usage(body.get("usage"))
                logprobs.append(value)
                greedy.append(most_likely)
                tokens.append(None if used is None else used.input)
                if used is not None:
                    total = TokenCount(total.input + used.input, total.output + used.output, total.cache_read)
        except NotTold as error:
            raise self._other_way(way, str(error), used=total) from None
        except Misspelt as error:
            raise AttemptFailed("unsupported", str(error), retry=False, used=total) from None
        except Exception as error:
            failure = self.failure(error, {"model": self.model}, Reading(began))
            if failure.kind in {"http 400", "http 422"} and re.search("echo|logprobs", failure.detail):
                raise self._other_way(way, failure.detail, used=total) from error
            raise failure from error
        elapsed = time.perf_counter() - began
        known = None not in tokens
        response = Response(
            key=request.key,
            prompt=request.prompt,
            logprobs=tuple(logprobs),
            greedy=tuple(greedy),
            input_tokens=max(tokens) if known else None,
            batch_size=attempt.in_flight,
            e2e_s=elapsed + attempt.handed_s if attempt.alone else None,
            counted=None if known else Counted("not told by the server"),
            elapsed=Elapsed(e2e_s=elapsed),
            provider=Provider(model_version=model, in_flight=attempt.in_flight),
        )
        return Answer(response, total if known else None)

    def _other_way(self, way: int, why: str, used: TokenCount) -> AttemptFailed:
        """Returns the failure of one way to ask for given text: the next one is tried, or there is none."""
        self.way = max(self.way, min(way + 1, len(WAYS) - 1))
        if way + 1 < len(WAYS):
            return AttemptFailed(f"not told by {next(iter(WAYS[way]))}", why, used=used, wait_s=0.0)
        return AttemptFailed("unsupported", why, retry=False, used=used, fatal=self.cannot_score(why))

    def _check_order(self, requests: Sequence[Request]) -> list[PaidAttempt]:
        """Asks two requests in both orders, and returns these attempts. Raises BackendError if scores change.

        Some servers with a prefix cache read log-probabilities from memory that another request wrote
        (vllm-project/vllm #42019): such scores say nothing.
        """
        pair = requests[:2]
        limits = self.config.limits.model_copy(update={"concurrency": 1})
        seen: dict[str, tuple[float, ...]] = {}
        tried: list[PaidAttempt] = []
        for order in (pair, pair[::-1]):
            for response in run(order, self._score, limits=limits, price=self.price, purse=self.purse):
                tried += [replace(one, outcome=f"order check: {one.outcome}") for one in response.attempts]
                if response.logprobs is None:
                    return tried  # the pass itself tells why
                before = seen.setdefault(response.key, response.logprobs)
                worst = max((abs(a - b) for a, b in zip(before, response.logprobs)), default=0.0)
                if worst > ORDER_NATS:
                    raise BackendError(
                        f"the server's log-probabilities depend on the order of requests (by {worst:.3g} nats)",
                        where=self.server.url,
                        fix="switch its prefix cache off, or run choice tasks with `as: generate`",
                    )
        return tried


def _also_paid(response: Response, tried: list[PaidAttempt]) -> Response:
    """Returns a response with the attempts that were made before it, beside the answers, on its bill."""
    return replace(response, billing=bill([*tried, *response.attempts]))


@dataclass(frozen=True, slots=True)
class OpenAIBatches:
    """A file of requests is uploaded, and a file of answers comes back."""

    client: openai.OpenAI
    path: str

    def submit(self, lines: Sequence[tuple[str, Mapping[str, Any]]]) -> str:
        asked = ({"custom_id": key, "method": "POST", "url": self.path, "body": body} for key, body in lines)
        data = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in asked).encode()
        file = self.client.files.create(file=("requests.jsonl", data), purpose="batch")
        made = self.client.batches.create(input_file_id=file.id, endpoint=self.path, completion_window="24h")
        return made.id

    def ended(self, id: str) -> bool:
        found = self.client.with_options(max_retries=RETRIES).batches.retrieve(id).to_dict(warnings=False)
        if found.get("status") == "failed":
            said = [str(item.get("message")) for item in (found.get("errors") or {}).get("data") or []]
            raise BackendError(f"the batch was refused: {redact('; '.join(said[:3]))}", where=f"batch {id}")
        return found.get("status") in {"completed", "expired", "cancelled"}

    def results(self, id: str) -> Iterator[Result]:
        found = self.client.with_options(max_retries=RETRIES).batches.retrieve(id).to_dict(warnings=False)
        for file in filter(None, (found.get("output_file_id"), found.get("error_file_id"))):
            for line in self.client.with_options(max_retries=RETRIES).files.content(file).text.splitlines():
                told = json.loads(line)
                reply = told.get("response") or {}
                if reply.get("status_code") == 200:
                    yield Result(told["custom_id"], reply["body"])
                else:
                    fault = told.get("error") or (reply.get("body") or {}).get("error") or {}
                    final = reply.get("status_code") in {400, 404, 413, 422}
                    yield Result(told["custom_id"], None, str(fault.get("message") or "no answer"), not final)


def read(reading: Reading, body: Mapping[str, Any]) -> None:
    """Takes in one chunk, or the whole answer. Reads only what it knows: new and missing fields are no failure.

    What comes after the answer has ended is not part of it, but for the usage.
    """
    if isinstance(body.get("error"), dict | str) and body["error"]:
        raise AttemptFailed("server error", str(body["error"]))
    reading.model = reading.model or body.get("model")
    reading.fingerprint = reading.fingerprint or body.get("system_fingerprint")
    reading.used = usage(body.get("usage")) or reading.used
    choices = body.get("choices") or []
    if not choices or reading.finish is not None:
        return
    choice = choices[0]
    part = choice.get("delta") or choice.get("message") or {}
    reading.add(
        part.get("content") or choice.get("text"),
        part.get("reasoning_content") or part.get("reasoning"),
    )
    reading.refusal += str(part.get("refusal") or "")
    reading.logprobs += _token_logprobs(choice.get("logprobs"))
    if choice.get("finish_reason"):
        reading.finish = str(choice["finish_reason"])
        if reading.finish == "content_filter":
            reading.refusal = reading.refusal or "content_filter"
    if isinstance(choice.get("stop_reason"), str):  # vLLM names the string
        reading.stop_string = choice["stop_reason"]


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
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        return None
    return count if min(count.input, count.output, count.cache_read, count.reasoning) >= 0 else None


def _token_logprobs(told: Any) -> list[float]:
    """Returns the log-probabilities of a chunk's tokens, of either interface."""
    if not isinstance(told, Mapping):
        return []
    if told.get("content"):
        return [float(item["logprob"]) for item in told["content"]]
    return [float(value) for value in told.get("token_logprobs") or [] if value is not None]


def _text(request: Request) -> str:
    if isinstance(request.prompt, str):
        return request.prompt
    raise AttemptFailed(
        "unsupported", "completions take text, not messages: use `api: chat`", retry=False, billed=False
    )
