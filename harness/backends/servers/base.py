"""What the backends of servers share: one model behind an SDK, asked by `dispatch.run`, read piece by piece.

A backend of a provider says how a request is put (`params`) and how it is sent and read (`ask`). All else is here:
what an exception leads to, what a refused parameter does, how an answer becomes a response. What a server's words mean
stands in the tables of `meanings`.

A stop string is also looked for here, since servers differ in whether they return it and some take none. A parameter
that the server refuses is left out from then on, and every response names it in `provider.refused`. Where an error does
not say in a field of its own which parameter it is about, one that its message mentions is left out of that request on
trial, and from then on only if the server then answers.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from importlib.metadata import version
from typing import Any, ClassVar

import httpx2

from harness.backends.base import ModelCard, by_mode
from harness.backends.servers.batch import Batches, Result, collect, handed_over
from harness.backends.servers.ceiling import limit_set_by
from harness.backends.servers.dispatch import Answer, Attempt, AttemptFailed, Purse, bill, run
from harness.backends.servers.meanings import Ending, Meaning, Refused, ending, refusal
from harness.backends.servers.parameters import Taken, flat
from harness.backends.servers.reading import Reading, beyond, doubt
from harness.backends.servers.replies import NEVER_SENT, BadReply, reached, transport_failure
from harness.backends.servers.tariff import Tariff, price_of, unpriced
from harness.config.model import RemoteModel
from harness.cost.prices import frozen
from harness.engine.text.stop_strings import cut
from harness.engine.text.token_counts import counter_of
from harness.errors import BackendError, HarnessError, nearest
from harness.security.egress import place_of, server
from harness.security.secrets import redact
from harness.values import (
    SENSITIVITIES,
    Confidence,
    Counted,
    Finish,
    GenerateRequest,
    LoglikelihoodRequest,
    PaidAttempt,
    Request,
    Response,
    Thinking,
)

FILTERED = "content filter"  # of the provider, on a prompt: its way to refuse, and no error


class ApiBackend:
    """One model at one server. See `Backend` for the contract."""

    package: ClassVar[str]  # of the SDK
    most_stops: ClassVar[int]  # stop strings the interface takes; the others are only looked for here
    sdk_error: ClassVar[type[Exception]]
    limit_name = "max_tokens"
    required: ClassVar[frozenset[str]]  # arguments that cannot be left out
    wordless: ClassVar[frozenset[str]] = frozenset()  # parts of Sampling that the interface does not take

    def __init__(self, config: RemoteModel) -> None:
        self.config = config
        self.server = server(config)
        self.model = config.served_as
        self.own = self.server.own
        self.price = price_of(config)
        if config.limits.max_cost is not None and self.price is None:
            raise unpriced(config)
        self.purse, self.tariff = Purse(config.limits.max_cost), Tariff(config.name, self.price, self._bodies)
        self.count = counter_of(config.tokenizer)  # our own, where the server's count is missing or cannot be true
        self.server.key()
        self.taken = Taken(self.limit_name, self.required)
        self.http = self.server.client(
            httpx2.Client, silence_s=config.limits.silence_s, connections=config.limits.concurrency
        )
        self.known: tuple[str, ...] = ()  # models the server lists

    def params(self, request: GenerateRequest) -> dict[str, object]:
        """Returns the arguments of the SDK's call, `extra_body` among them. What was refused is taken out later."""
        raise NotImplementedError

    def ask(self, params: Mapping[str, object], reading: Reading, check: Callable[[], None]) -> None:
        """Sends a request and reads the answer; calls `check` for each piece."""
        raise NotImplementedError

    def unsent(self, request: GenerateRequest) -> dict[str, str]:
        """Returns what the task asks about drawing and writing that this interface has no word for."""
        sampling, writing, said = request.sampling, request.writing, "not asked of the server"
        drawn = sampling.temperature > 0
        asked = {
            "seed": drawn,
            "min_p": drawn and sampling.min_p > 0,
            "repetition_penalty": sampling.repetition_penalty != 1.0,
        }
        found = {name: said for name, wanted in asked.items() if wanted and name in self.wordless}
        if (own := limit_set_by(self.config.extra)) is not None:
            found["max_tokens"] = f"the model's `extra` sets {own}"
        if writing.form is not None and not self.form(request):
            found["constrain"] = f"{said}; the answer is only checked"
        if (writing.thinking != "auto" or writing.thinking_budget is not None) and not self.thinking(request):
            found["thinking"] = f"{said}: set it in the model's `extra`"
        return found

    def form(self, request: GenerateRequest) -> dict[str, object]:
        """Returns the parameters that hold an answer to its form; none where the interface has none."""
        return {}

    def thinking(self, request: GenerateRequest) -> dict[str, object]:
        """Returns the parameters that switch thinking on or off, or bound it; none where the interface has none."""
        return {}

    def read_whole(self, reading: Reading, body: Mapping[str, object]) -> None:
        """Takes in an answer that came in one piece, as a batch brings it."""
        raise NotImplementedError

    def batches(self) -> Batches:
        """Returns the provider's batch interface; asked only where the settings have `batch`."""
        raise NotImplementedError

    def answer(self, requests: Sequence[Request]) -> Iterator[Response]:
        """Yields a response to each request: see `Backend`."""
        for request in requests:
            self.server.refuse(request.sensitivity)
        texts, given = by_mode(requests)
        if texts:
            yield from self._texts(texts)
        if given:
            yield from self._loglikelihoods(given)

    def _texts(self, requests: Sequence[GenerateRequest]) -> Iterator[Response]:
        """Yields texts as they finish. A single request is never a batch: it is asked for its time, or is the last."""
        if self.config.batch and len(requests) > 1:
            return self._batched(requests)
        return run(requests, self._generate, limits=self.config.limits, tariff=self.tariff, purse=self.purse)

    def _loglikelihoods(self, requests: Sequence[LoglikelihoodRequest]) -> Iterator[Response]:
        """Raises BackendError: this interface does not tell the log-probability of given text."""
        raise self.cannot_tell_loglikelihoods()

    def describe(self) -> ModelCard:
        """Returns what is known of the model and its server."""
        return ModelCard(
            self.model,
            self.config.backend,
            place_of(self.config).name,
            api=self.config.api,
            price=None if self.price is None else frozen(self.price),
            versions={self.package: version(self.package)},
        )

    def computed(self) -> None:
        """Returns None: what a server computed is not told."""

    def close(self) -> None:
        """Closes the connections."""
        self.http.close()

    def cannot_tell_loglikelihoods(self, why: str = "") -> BackendError:
        """Returns what is raised where choices cannot be scored."""
        return BackendError(
            "the server does not tell the log-probability of given text" + (f": {why}" if why else ""),
            where=f"{self.model} at {self.server.url}",
            fix="run choice tasks as their generated twin: `as: generate` in the run file",
        )

    # --- generation

    def _bodies(self, request: Request) -> Sequence[Mapping[str, object]]:
        """Returns what one attempt at a request sends; nothing where it cannot be put to this interface."""
        if not isinstance(request, GenerateRequest):
            return []
        try:
            return [flat(self.taken.kept(self.params(request), request.key))]
        except AttemptFailed:
            return []

    def _generate(self, request: GenerateRequest, attempt: Attempt) -> Answer:
        params = self.taken.kept(self.params(request), request.key)
        reading = Reading(began=time.perf_counter())
        try:
            self.ask(params, reading, attempt.check)
            reading.close()
        except Exception as error:
            failure = self.failure(error, params, reading)
            if failure.kind != FILTERED:
                raise self.taken.on_trial(request.key, params, failure) from error
            reading = Reading(reading.began)
            reading.refusal, reading.finish = f"{FILTERED}: the prompt", "content_filter"
        self.taken.answered(request.key)
        doubted = doubt(request, reading) is not None
        return Answer(self._response(request, attempt, reading), reading.used, doubted)

    def _batched(self, requests: Sequence[GenerateRequest]) -> Iterator[Response]:
        waiting = handed_over(self.server.host)
        fresh = [request for request in requests if request.key not in waiting]
        if self.purse.limit is not None:
            self.purse.check(sum(self.tariff.bound(request, "batch") or 0.0 for request in fresh), "the batch")
        by_key = {request.key: request for request in requests}
        lines = {request.key: flat(self.taken.kept(self.params(request), request.key)) for request in requests}
        try:
            most = max((request.sensitivity for request in requests), key=SENSITIVITIES.index)
            for result in collect(self.batches(), self.server.host, lines, sensitivity=most):
                yield self._from_batch(by_key[result.key], result)
        except self.sdk_error as error:
            failure = self.failure(error, {}, Reading(time.perf_counter()))
            raise failure.fatal or BackendError(f"the batch failed: {failure}", where=self.server.url) from error

    def _from_batch(self, request: GenerateRequest, result: Result) -> Response:
        reading, error = Reading(time.perf_counter()), result.error
        if result.body is not None:
            try:
                self.read_whole(reading, result.body)
                reading.close()
            except BadReply as fault:
                error = f"invalid: {fault}"
        usd = self.tariff.usd(request, reading.used, "batch") if reading.used else None
        if result.body is None:
            usd = 0.0  # what failed in a batch is not charged
        tried = PaidAttempt(
            "answered" if error is None else "failed",
            usd,
            most_usd=None if usd is not None else self.tariff.most_usd(request, "batch"),
            tokens=asdict(reading.used) if reading.used else None,
            processing="batch",
        )
        paid = bill([tried])
        self.purse.spent += paid.most_usd or 0.0
        if error is not None:
            failed = Response(request.key, None, finish_reason="error", error=redact(error), billing=paid)
            return replace(failed, provisional=result.transient)
        whole = self._response(request, Attempt(1, 0, 0.0, 0.0, alone=False), reading)
        told = reading.provider(None, whole.provider.refused if whole.provider else {})
        return replace(whole, billing=paid, elapsed=None, provider=told)

    def _response(self, request: GenerateRequest, attempt: Attempt, reading: Reading) -> Response:
        answer, thought, unclosed = reading.parts(request.writing.markers)
        text, stop_string = cut(answer, request.stop)
        finish: Finish = "length" if stop_string is None and reading.ending is Ending.LENGTH else "stop"
        input_tokens, output_tokens, counted = self._counted(request, reading)
        times = reading.times()
        sure = request.writing.logprobs and reading.logprobs and thought is None
        confidence = _confidence(reading.logprobs) if sure else None
        refused = self.unsent(request) | self.taken.refused
        if len(request.stop) > self.most_stops:
            refused.setdefault("stop", f"only {self.most_stops} are taken; all are cut here")
        if reading.finish and ending(reading.finish) is None and not reading.refusal:
            refused.setdefault("finish_reason", f"'{reading.finish}' is not known here: taken for a stop")
        if beyond(request, reading) and counted is None:
            refused.setdefault("max_tokens", f"ignored: {output_tokens} tokens came, {request.max_tokens} were allowed")
        if request.writing.logprobs and confidence is None:
            refused.setdefault("logprobs", "not told by the server for this answer")

        def alone(s: float | None) -> float | None:
            return s + attempt.handed_s if s is not None and attempt.alone else None

        return Response(
            key=request.key,
            prompt=request.prompt.text,
            text=text,
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            finish_reason=finish,
            stop_string=stop_string if stop_string is not None else reading.stop_string,
            batch_size=attempt.in_flight,
            counted=counted,
            thinking=self._thinking(reading, thought, cut=finish == "length" and (unclosed or not text.strip())),
            confidence=confidence,
            elapsed=times,
            provider=reading.provider(attempt.in_flight, refused),
            ttft_s=alone(times.first_token_s),
            last_token_s=alone(times.last_token_s),
            e2e_s=alone(times.e2e_s),
        )

    def _thinking(self, reading: Reading, thought: str | None, *, cut: bool) -> Thinking | None:
        """Returns what was thought; None if nothing tells that anything was."""
        tokens = (reading.used.reasoning or None) if reading.used is not None else None
        if thought is None and tokens is None:
            return None
        if thought is not None and tokens is None and self.count is not None:
            tokens = self.count(thought)
        return Thinking(thought, tokens, cut)

    def _counted(self, request: GenerateRequest, reading: Reading) -> tuple[int | None, int | None, Counted | None]:
        """Returns input and output tokens, and what is to be said of them where they are not the server's own count.

        Ours are of the text alone: without special tokens, a chat template, or thinking that was not sent.
        """
        doubted = doubt(request, reading)
        if reading.used is not None and doubted is None:
            return reading.used.input, reading.used.output, None
        why = "not told by the server" if reading.used is None else "not believed: what the server tells cannot be true"
        told = None if reading.used is None else asdict(reading.used)
        if self.count is None:
            return None, None, Counted(why, told, doubted)
        written = self.count("".join((*reading.thinking, *reading.text)))
        asked = self.count(request.prompt.content)
        return asked, written, Counted(f"counted here, {why}", told, doubted)

    # --- what goes wrong

    def probe(self, list_models: Callable[[], Iterator[str]]) -> tuple[str, ...]:
        """Returns the models the server lists; nothing where it lists none. Raises BackendError if nobody answers."""
        try:
            return tuple(list_models())
        except Exception as error:
            failure = self.failure(error, {}, Reading(time.perf_counter()))
            if failure.fatal is not None:
                raise failure.fatal from None
            if failure.kind in NEVER_SENT | {"timeout"}:
                named = failure.kind == "dns"
                fix = "mend the host name in `base_url`" if named else "check that the server runs at `base_url`"
                raise BackendError(f"no answer: {failure}", where=self.server.url, fix=fix) from None
            return ()

    def failure(self, error: Exception, params: Mapping[str, object], reading: Reading) -> AttemptFailed:
        """Returns what an exception of the SDK means."""
        if isinstance(error, AttemptFailed):
            return error
        both = (error, error.__cause__ or error.__context__)
        for inner in both:
            if isinstance(inner, HarnessError):
                return AttemptFailed("stopped", str(inner), retry=False, billed=False, fatal=inner)
        if isinstance(error, BadReply):
            if error.refused is not None:
                return self._in_stream(error.refused, reading)
            return AttemptFailed(error.kind, error.detail, used=reading.used)
        reply = getattr(error, "response", None)
        if isinstance(error, self.sdk_error) and reply is not None and reply.status_code >= 300:
            found = refusal(reply.status_code, reply.headers, error_body(error), str(error))
            return self._refusal(found, params, reply.headers.get("location", "nowhere"))
        if any(isinstance(inner, httpx2.TimeoutException) for inner in both):
            return AttemptFailed("timeout", f"nothing for {self.config.limits.silence_s:g} s", used=reading.used)
        if transport := next((inner for inner in both if isinstance(inner, httpx2.TransportError)), None):
            answering = bool(reading.chunks) or not isinstance(transport, httpx2.ConnectError | httpx2.ProxyError)
            kind = transport_failure(transport, answering=answering)
            return AttemptFailed(kind, str(transport), billed=reached(kind), used=reading.used)
        if isinstance(error, self.sdk_error):
            return self._in_stream(refusal(None, {}, error_body(error), str(error)), reading)
        if isinstance(error, ValueError | TypeError | KeyError | AttributeError | IndexError | httpx2.HTTPError):
            return AttemptFailed("invalid", f"{type(error).__name__}: {error}", used=reading.used)
        raise error

    def _in_stream(self, found: Refused, reading: Reading) -> AttemptFailed:
        """Returns what an error event means, in a stream that had begun: the server may have worked."""
        final = found.meaning in {Meaning.TOO_LONG, Meaning.WITHHELD}
        busy = found.meaning is Meaning.BUSY
        return AttemptFailed(found.kind, found.said, retry=not final, busy=busy, used=reading.used)

    def _refusal(self, found: Refused, params: Mapping[str, object], location: str) -> AttemptFailed:
        """Returns what an answer other than 200 leads to."""
        kind, said, meaning = found.kind, found.said, found.meaning
        if (fatal := self._fatal(found, asked=bool(params))) is not None:
            return AttemptFailed(kind, said, retry=False, billed=False, fatal=fatal)
        if meaning is Meaning.BUSY:
            return AttemptFailed(kind, said, wait_s=found.wait_s, busy=True, billed=False)
        if meaning is Meaning.WITHHELD:
            return AttemptFailed(FILTERED, said, retry=False)
        if meaning is Meaning.TOO_LONG:
            return AttemptFailed("context too long", said, retry=False, billed=False)
        if meaning is Meaning.PARAMETER and self.taken.leave_out(found, params):
            return AttemptFailed("refused parameter", found.parameter, billed=False, wait_s=0.0)
        if meaning is Meaning.REDIRECT:
            return AttemptFailed("redirect", f"to {location}: not followed", retry=False, billed=False)
        return AttemptFailed(kind, said, retry=meaning is Meaning.TRANSIENT, billed=False, wait_s=found.wait_s)

    def _fatal(self, found: Refused, *, asked: bool) -> BackendError | None:
        """Returns what ends the run, for what concerns every request; `asked`: for an answer, not for a list."""
        said, place = redact(found.said)[:200], self.server.url
        if found.meaning is Meaning.NO_CREDIT:
            return BackendError(f"the account has no credit left: {said}", where=place)
        if found.meaning is Meaning.NOT_HERE:
            what = f"the server does not offer {self.model} from here ({found.status}): {said}"
            return BackendError(what, where=place, fix="name an address of a region that has it in `base_url`")
        if found.meaning is Meaning.KEY:
            name = self.server.key_name
            key = f"the key in {name}" if name else "a request without a key"
            fix = "check the key and what it may do" if name else "name its variable in `api_key_env`"
            return BackendError(f"the server refuses {key} ({found.status}): {said}", where=place, fix=fix)
        if found.meaning is Meaning.NO_MODEL and asked:
            near = nearest(self.model, self.known) if self.known else "check `model` and `base_url`"
            return BackendError(f"the server has no {self.model} ({found.status}): {said}", where=place, fix=near)
        return None


def error_body(error: Any) -> Mapping[str, object]:
    """Returns what an SDK's exception holds of the server's error: message, code, param; {} for anything else."""
    body = next((b for b in (getattr(error, "body", None), getattr(error, "details", None)) if isinstance(b, dict)), {})
    inner = body.get("error")
    return inner if isinstance(inner, dict) else body


def _confidence(logprobs: Sequence[float]) -> Confidence:
    """Returns how sure the model was of its tokens, in nats: on average, at least, and of the first."""
    return Confidence(sum(logprobs) / len(logprobs), min(logprobs), logprobs[0])
