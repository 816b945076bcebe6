"""What the backends of servers share: one model behind an SDK, asked by `dispatch.run`, read piece by piece.

A backend of a provider says how a request is put (`params`) and how it is sent and read (`ask`). All else is here: how
an answer becomes a response, and what is said of it. What an exception leads to stands in `failures`, what a server's
words mean in the tables of `meanings` and `endings`.

A stop string is also looked for here, since servers differ in whether they return it and some take none. A parameter
that the server refuses is left out, see `parameters`, and every response names it in `provider.refused`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from importlib.metadata import version
from itertools import islice
from typing import ClassVar

import httpx2

from harness.backends.base import ModelCard, by_mode
from harness.backends.servers.attempt import Answer, Attempt, AttemptFailed
from harness.backends.servers.batch import Batches, Result, collect, handed_over
from harness.backends.servers.ceiling import limit_set_by
from harness.backends.servers.dispatch import Ask, Asked, Purse, bill, run
from harness.backends.servers.endings import Ending
from harness.backends.servers.event_stream import Dialect, read_stream
from harness.backends.servers.failures import FILTERED, Failures
from harness.backends.servers.parameters import Taken, flat
from harness.backends.servers.reading import Reading, beyond, doubt
from harness.backends.servers.replies import LONGEST_NAME, NEVER_SENT, BadReply
from harness.backends.servers.tariff import Tariff, price_of, unpriced
from harness.config.model import LimitsConfig, RemoteModel
from harness.cost.prices import frozen
from harness.engine.text.stop_strings import cut
from harness.engine.text.token_counts import counter_of
from harness.errors import BackendError
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

MOST_MODELS = 10_000  # of a server's list that are read


class ApiBackend:
    """One model at one server. See `Backend` for the contract."""

    package: ClassVar[str]  # of the SDK
    most_stops: ClassVar[int]  # stop strings the interface takes; the others are only looked for here
    sdk_error: ClassVar[type[Exception]]
    limit_name = "max_tokens"
    required: ClassVar[frozenset[str]]  # arguments that cannot be left out
    wordless: ClassVar[frozenset[str]] = frozenset()  # parts of Sampling that the interface does not take
    dialect: ClassVar[Dialect]

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
        self.failures = Failures(config, self.server, self.taken, self.sdk_error)

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

    def receive(self, chunks: Iterable[bytes], reading: Reading, check: Callable[[], None]) -> None:
        """Takes in an answer as its bytes come, streamed or in one piece; calls `check` for each piece."""
        reading.opened = True
        for piece in read_stream(chunks, self.dialect):
            check()
            reading.take(piece)

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
        return self._run(requests, self._generate)

    def _loglikelihoods(self, requests: Sequence[LoglikelihoodRequest]) -> Iterator[Response]:
        """Raises BackendError: this interface does not tell the log-probability of given text."""
        raise self.cannot_tell_loglikelihoods()

    def _run(
        self, requests: Sequence[Asked], ask: Ask[Asked], limits: LimitsConfig | None = None
    ) -> Iterator[Response]:
        """Yields a response to each request, asked by `ask` as often as it takes."""
        where, limits = f"{self.config.name} at {self.server.host}", limits or self.config.limits
        return run(requests, ask, limits=limits, tariff=self.tariff, purse=self.purse, where=where)

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
            return [flat(self.taken.sent(self.params(request), request.key)[0])]
        except AttemptFailed:
            return []

    def _generate(self, request: GenerateRequest, attempt: Attempt) -> Answer:
        params, left_out = self.taken.sent(self.params(request), request.key)
        reading = Reading(began=time.perf_counter())
        try:
            self.ask(params, reading, attempt.check)
            reading.close()
        except Exception as error:
            failure = self.failures.of(error, params, reading, request.key)
            if failure.kind != FILTERED:
                raise failure from error
            reading = Reading(reading.began)
            reading.refusal, reading.finish = f"{FILTERED}: the prompt", "content_filter"
        self.taken.answered(request.key)
        doubted = doubt(request, reading, self._counts(reading)) is not None
        return Answer(self._response(request, attempt, reading, left_out), reading.used, doubted)

    def _batched(self, requests: Sequence[GenerateRequest]) -> Iterator[Response]:
        waiting = handed_over(self.server.host)
        fresh = [request for request in requests if request.key not in waiting]
        if self.purse.limit is not None:
            self.purse.check(sum(self.tariff.bound(request, "batch") or 0.0 for request in fresh), "the batch")
        by_key = {request.key: request for request in requests}
        lines = {request.key: flat(self.taken.sent(self.params(request), request.key)[0]) for request in requests}
        try:
            most = max((request.sensitivity for request in requests), key=SENSITIVITIES.index)
            for result in collect(self.batches(), self.server.host, lines, sensitivity=most):
                yield self._from_batch(by_key[result.key], result)
        except self.sdk_error as error:
            failure = self.failures.of(error, {}, Reading(time.perf_counter()), "")
            raise failure.fatal or BackendError(f"the batch failed: {failure}", where=self.server.url) from error

    def _from_batch(self, request: GenerateRequest, result: Result) -> Response:
        reading, error = Reading(time.perf_counter()), result.error
        if result.body is not None:
            try:
                for piece in self.dialect.whole(result.body):
                    reading.take(replace(piece, done=True))
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
        whole = self._response(request, Attempt(1, 0, 0.0, 0.0, alone=False), reading, {})
        told = reading.provider(None, whole.provider.refused if whole.provider else {})
        return replace(whole, billing=paid, elapsed=None, provider=told)

    def _response(
        self, request: GenerateRequest, attempt: Attempt, reading: Reading, left_out: Mapping[str, str]
    ) -> Response:
        answer, thought, unclosed = reading.parts(request.writing.markers)
        text, stop_string = cut(answer, request.stop)
        untold = reading.finish is None and reading.used is not None and reading.used.output >= request.max_tokens
        length = stop_string is None and (reading.ending is Ending.LENGTH or untold)
        finish: Finish = "length" if length else "stop"
        input_tokens, output_tokens, counted = self._counted(request, reading)
        times = reading.times(self._counts(reading))
        sure = request.writing.logprobs and reading.logprobs and thought is None
        confidence = _confidence(reading.logprobs or ()) if sure else None
        refused = self.unsent(request) | dict(left_out) | self._unheeded(request, reading)
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
            thinking=self._thinking(reading, thought, cut=unclosed or (finish == "length" and not text.strip())),
            confidence=confidence,
            elapsed=times,
            provider=reading.provider(attempt.in_flight, refused),
            ttft_s=alone(times.first_token_s),
            last_token_s=alone(times.last_token_s),
            e2e_s=alone(times.e2e_s),
        )

    def _unheeded(self, request: GenerateRequest, reading: Reading) -> dict[str, str]:
        """Returns what the server did otherwise, or did not tell, of an answer."""
        found: dict[str, str] = {}
        if len(request.stop) > self.most_stops:
            found["stop"] = f"only {self.most_stops} are taken; all are cut here"
        if reading.finish is None:
            found["finish_reason"] = "not told by the server: taken for a stop, or for its limit where that is reached"
        if reading.others:
            found["n"] = "the server sent several answers to a request: the first is read, all are paid"
        return found

    def _counts(self, reading: Reading) -> int | None:
        """Returns the tokens of what has come, by our own count; None without a tokenizer."""
        return None if self.count is None else self.count("".join((*reading.thinking, *reading.text)))

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
        written = self._counts(reading)
        doubted = doubt(request, reading, written)
        if reading.used is not None and reading.others and doubted is None:
            doubted = "it is of all answers to the request"
        if reading.used is not None and doubted is None:
            return reading.used.input, reading.used.output, None
        why = "not told by the server" if reading.used is None else "not believed: what the server tells cannot be true"
        told = None if reading.used is None else asdict(reading.used)
        if self.count is None:
            return None, None, Counted(why, told, doubted)
        asked = self.count(request.prompt.content)
        return asked, written, Counted(f"counted here, {why}", told, doubted)

    # --- what goes wrong

    def probe(self, list_models: Callable[[], Iterator[str]]) -> None:
        """Notes the models the server lists, for messages: some list none. Raises BackendError if nobody answers."""
        try:
            self.failures.known = tuple(name[:LONGEST_NAME] for name in islice(list_models(), MOST_MODELS))
        except Exception as error:
            failure = self.failures.of(error, {}, Reading(time.perf_counter()), "")
            if failure.fatal is not None:
                raise failure.fatal from None
            if failure.kind in NEVER_SENT | {"timeout"}:
                named = failure.kind == "dns"
                fix = "mend the host name in `base_url`" if named else "check that the server runs at `base_url`"
                raise BackendError(f"no answer: {failure}", where=self.server.url, fix=fix) from None


def _confidence(logprobs: Sequence[float]) -> Confidence:
    """Returns how sure the model was of its tokens, in nats: on average, at least, and of the first."""
    return Confidence(sum(logprobs) / len(logprobs), min(logprobs), logprobs[0])
