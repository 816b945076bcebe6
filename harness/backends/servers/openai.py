"""A model behind the OpenAI interface: OpenAI itself, or any server that speaks it, asked with the official SDK.

Chat and completions, streamed or in one piece. Given text is scored through completions, with `echo` or
`prompt_logprobs`, which open servers such as vLLM offer and closed APIs do not.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import httpx2
import openai

from harness.backends.servers.about import OpenAIAbout
from harness.backends.servers.attempt import Answer, Attempt, AttemptFailed
from harness.backends.servers.base import ApiBackend
from harness.backends.servers.batch import RETRIES, Result
from harness.backends.servers.dispatch import bill
from harness.backends.servers.echoed_logprobs import WAYS, Misspelt, NotTold, given_logprob
from harness.backends.servers.meanings import ABOUT_THE_REQUEST
from harness.backends.servers.openai_protocol import MOST_STOPS, OPENAI, Wire
from harness.backends.servers.parameters import in_one_body
from harness.backends.servers.reading import Reading
from harness.backends.servers.replies import JSON, openai_usage
from harness.config.model import RemoteModel
from harness.cost.prices import TokenCount
from harness.errors import BackendError
from harness.security.secrets import redact
from harness.values import (
    Counted,
    Elapsed,
    GenerateRequest,
    LoglikelihoodRequest,
    PaidAttempt,
    Provider,
    Request,
    Response,
)

PROBE_S = 10.0  # for the list of models
ORDER_NATS = 1e-2  # scores of one request may differ by this much between orders (servers batch in low precision)


class OpenAIBackend(OpenAIAbout, ApiBackend):
    """One model at one server that speaks the OpenAI interface."""

    package = "openai"
    most_stops = MOST_STOPS
    sdk_error = openai.APIError
    required = frozenset({"model", "messages", "prompt", "stream", "extra_body"})
    dialect = OPENAI

    def __init__(self, config: RemoteModel) -> None:
        super().__init__(config)
        self.wire = Wire(self.model, config.api, self.own)
        self.taken.limit_name = self.wire.limit_name
        self.client = openai.OpenAI(
            api_key="put in by the guard when a request is sent",
            base_url=self.server.url,
            max_retries=0,
            http_client=self.http,
            timeout=self.http.timeout,
        )
        self.order_checked = False
        self.way = 0  # of WAYS
        self.proven = False  # it has told what was asked
        probe = self.client.with_options(timeout=httpx2.Timeout(min(PROBE_S, config.limits.silence_s)))
        self.probe(lambda: (model.id for model in probe.models.list().data))

    def params(self, request: GenerateRequest) -> dict[str, object]:
        if self.config.api != "chat":
            _text(request)
        asked = self.wire.asked(request) | {"stream": self.config.stream}
        asked[self.taken.limit_name] = asked.pop(self.wire.limit_name)  # the server may know it by its other name
        if self.config.logprobs:
            asked["logprobs"] = True if self.config.api == "chat" else 1
        if self.config.stream:
            asked["stream_options"] = {"include_usage": True}
        return asked | {"extra_body": self.wire.extra(request) | dict(self.config.extra)}

    def ask(self, params: Mapping[str, object], reading: Reading, check: Callable[[], None]) -> None:
        stream_cls = openai.Stream[
            Any
        ]  # whatever comes is read as bytes: the SDK's reader passes over what is no event
        body = in_one_body(params)
        with self.client.post(self.wire.path, cast_to=object, body=body, stream=True, stream_cls=stream_cls) as reply:
            self.receive(reply.response.iter_bytes(), reading, check)

    def form(self, request: GenerateRequest) -> dict[str, object]:
        return self.wire.form(request)

    def thinking(self, request: GenerateRequest) -> dict[str, object]:
        return self.wire.thinking(request)

    def batches(self) -> OpenAIBatches:
        return OpenAIBatches(self.client, "/v1/chat/completions" if self.config.api == "chat" else "/v1/completions")

    def _loglikelihoods(self, requests: Sequence[LoglikelihoodRequest]) -> Iterator[Response]:
        """Yields log-probabilities. Raises BackendError where the server does not tell those of given text."""
        if not self.capabilities(self.config).loglikelihood:
            raise self.cannot_tell_loglikelihoods()
        tried: list[PaidAttempt] = []
        if requests and not self.order_checked:
            tried = self._check_order(requests)
            self.order_checked = True
        for response in self._run(requests, self._loglikelihood):
            yield _also_paid(response, tried) if tried else response
            tried = []

    # --- scoring

    def _loglikelihood(self, request: LoglikelihoodRequest, attempt: Attempt) -> Answer:
        prompt = request.prompt.text
        if prompt is None:
            raise AttemptFailed("unsupported", "a chat prompt cannot be scored by a server", retry=False, billed=False)
        began, way = time.perf_counter(), self.way
        logprobs: list[float] = []
        greedy: list[bool] = []
        tokens: list[int] = []  # of the prompts whose tokens are told
        model = None
        total = TokenCount(0, 0)
        try:
            for given, continuation in request.pairs:
                attempt.check()
                whole = prompt + given + continuation
                body = self._given(whole, way, temperature=0.0, stream=False)
                model = body.get("model")
                value, most_likely = given_logprob(body, prompt + given, whole)
                used = openai_usage(body.get("usage"))
                logprobs.append(value)
                greedy.append(most_likely)
                if used is not None:
                    tokens.append(used.input)
                    total = TokenCount(total.input + used.input, total.output + used.output, total.cache_read)
        except NotTold as error:
            raise self._other_way(way, str(error), used=total) from None
        except Misspelt as error:
            raise AttemptFailed("unsupported", str(error), retry=False, used=total) from None
        except Exception as error:
            failure = self.failures.of(error, {"model": self.model, "prompt": prompt}, Reading(began), request.key)
            if failure.kind in {f"http {status}" for status in ABOUT_THE_REQUEST} and not self.proven:
                failure = self._refused_way(way, failure, total)
            raise failure from error
        self.proven = True
        elapsed = time.perf_counter() - began
        known = len(tokens) == len(logprobs)
        response = Response(
            key=request.key,
            prompt=prompt,
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

    def _bodies(self, request: Request) -> Sequence[Mapping[str, object]]:
        if isinstance(request, GenerateRequest) or request.prompt.text is None:
            return super()._bodies(request)
        texts = (f"{request.prompt.text}{given}{text}" for given, text in request.pairs)
        return [{"prompt": text, "max_tokens": 1, **WAYS[self.way], **self.config.extra} for text in texts]

    def _given(self, text: str, way: int, **more: Any) -> JSON:
        """Returns what the server answers when it is asked in one way for the log-probabilities of a text."""
        extra = {**WAYS[way], **self.config.extra}
        reply = self.client.completions.create(model=self.model, prompt=text, max_tokens=1, extra_body=extra, **more)
        body: JSON = reply.to_dict(warnings=False)
        return body

    def _other_way(self, way: int, why: str, used: TokenCount) -> AttemptFailed:
        """Returns the failure of one way to ask for given text: the next one is tried, or there is none."""
        self.way = max(self.way, min(way + 1, len(WAYS) - 1))
        if way + 1 < len(WAYS):
            return AttemptFailed(f"not told by {next(iter(WAYS[way]))}", why, free=True, used=used, wait_s=0.0)
        return AttemptFailed("unsupported", why, retry=False, used=used, fatal=self.cannot_tell_loglikelihoods(why))

    def _refused_way(self, way: int, failure: AttemptFailed, used: TokenCount) -> AttemptFailed:
        """Returns what a refusal means where no way has told anything yet: of the way, or of this text alone.

        After the last way one short text tells the two apart.
        """
        if way + 1 < len(WAYS):
            return self._other_way(way, failure.detail, used)
        told = next((i for i in range(len(WAYS)) if self._tells(i)), None)
        if told is None:
            return self._other_way(way, failure.detail, used)
        self.way = told
        return failure

    def _tells(self, way: int) -> bool:
        """Returns whether the server tells the log-probability of a short text when it is asked in one way."""
        try:
            given_logprob(self._given("a b", way), "a", "a b")
        except openai.APIStatusError as error:
            return error.status_code not in ABOUT_THE_REQUEST
        except NotTold:
            return False
        except Misspelt:
            return True
        return True

    def _check_order(self, requests: Sequence[LoglikelihoodRequest]) -> list[PaidAttempt]:
        """Asks two requests in both orders, and returns these attempts. Raises BackendError if scores change.

        Some servers with a prefix cache read log-probabilities from memory that another request wrote
        (vllm-project/vllm #42019): such scores say nothing.
        """
        pair = requests[:2]
        limits = self.config.limits.model_copy(update={"concurrency": 1})
        seen: dict[str, tuple[float, ...]] = {}
        tried: list[PaidAttempt] = []
        for order in (pair, pair[::-1]):
            for response in self._run(order, self._loglikelihood, limits):
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
    path: Literal["/v1/chat/completions", "/v1/completions"]

    def submit(self, lines: Sequence[tuple[str, Mapping[str, object]]]) -> str:
        asked = ({"custom_id": key, "method": "POST", "url": self.path, "body": body} for key, body in lines)
        data = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in asked).encode()
        file = self.client.files.create(file=("requests.jsonl", data), purpose="batch")
        made = self.client.batches.create(input_file_id=file.id, endpoint=self.path, completion_window="24h")
        return made.id

    def _batch(self, id: str) -> JSON:
        """Returns what the provider tells of a batch."""
        told: JSON = self.client.with_options(max_retries=RETRIES).batches.retrieve(id).to_dict(warnings=False)
        return told

    def ended(self, id: str) -> bool:
        found = self._batch(id)
        if found.get("status") == "failed":
            said = [str(item.get("message")) for item in (found.get("errors") or {}).get("data") or []]
            raise BackendError(f"the batch was refused: {redact('; '.join(said[:3]))}", where=f"batch {id}")
        return found.get("status") in {"completed", "expired", "cancelled"}

    def results(self, id: str) -> Iterator[Result]:
        found = self._batch(id)
        for file in filter(None, (found.get("output_file_id"), found.get("error_file_id"))):
            for line in self.client.with_options(max_retries=RETRIES).files.content(file).content.split(b"\n"):
                if line.strip():  # a line ends in LF alone: U+2028 is text
                    yield _result(json.loads(line))


def _result(told: Any) -> Result:
    """Returns what a line of a batch's file says."""
    reply = told.get("response") or {}
    if reply.get("status_code") == 200:
        return Result(told["custom_id"], reply["body"])
    fault = told.get("error") or (reply.get("body") or {}).get("error") or {}
    final = reply.get("status_code") in {400, 404, 413, 422}
    return Result(told["custom_id"], None, str(fault.get("message") or "no answer"), not final)


def _text(request: GenerateRequest) -> str:
    if request.prompt.text is not None:
        return request.prompt.text
    raise AttemptFailed(
        "unsupported", "completions take text, not messages: use `api: chat`", retry=False, billed=False
    )
