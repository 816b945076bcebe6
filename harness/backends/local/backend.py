"""Runs any causal language model in this process, with transformers and torch."""

from __future__ import annotations

import gc
import logging
import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import torch

from harness.backends.base import ModelCard, by_mode
from harness.backends.local.about import LocalAbout
from harness.backends.local.load import _copy, _one_of, load
from harness.backends.local.render import _fit, _Prompt, _render, _vocabulary
from harness.backends.local.templates import ChatTemplate
from harness.engine import plain_method
from harness.engine.generate.batching import Generator
from harness.engine.generate.constrained import Constraint, Grammars
from harness.engine.generate.row import RowGenerated
from harness.engine.generate.sampling import check_sampling
from harness.engine.loaded import LoadedModel
from harness.engine.memory import token_budget
from harness.engine.replicas import Replicas
from harness.engine.score.choose import Scorer, near_ties, scorer_for
from harness.engine.score.prefix_walk import EngineStats
from harness.engine.score.rolling_windows import rolling_windows
from harness.engine.text.stop_strings import check_stop
from harness.engine.tokens import ScoredSequence, ScoreSequence, encode_pairs, encode_texts
from harness.errors import TaskError
from harness.values import Applied, Form, GenerateRequest, LoglikelihoodRequest, Request, Response, Writing

if TYPE_CHECKING:
    from harness.config.model import LocalModel


log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Methods:
    """Ways of running a model, each found out when it is first needed."""

    replicas: Replicas | None = None
    score: Scorer | None = None
    generate: Callable[..., Iterator[tuple[int, RowGenerated]]] | None = None
    grammars: Grammars | None = None


class TransformersBackend(LocalAbout):
    """One model, loaded when constructed. See `Backend` for the contract."""

    def __init__(self, config: LocalModel) -> None:
        self.config = config
        self.loaded, self._about = load(_one_of(config, 0))
        self._template = ChatTemplate(self.loaded.tokenizer)
        self._methods = _Methods()
        self._held: dict[tuple[Form, str], Constraint] = {}  # what answers were held to, each compiled once
        self._took: deque[EngineStats] = deque(maxlen=1)  # by the last scoring that came to its end

    def answer(self, requests: Sequence[Request]) -> Iterator[Response]:
        """Yields a response to each request: see `Backend`."""
        texts, given = by_mode(requests)
        if texts:
            yield from self._texts(texts)
        if given:
            yield from self._loglikelihoods(given)

    def _texts(self, requests: Sequence[GenerateRequest]) -> Iterator[Response]:
        """Yields texts as they finish."""
        run = self._generator()
        started = time.perf_counter()
        jobs, inputs = [], []
        prompts = [_render(self._template, request) for request in requests]
        ids = self._encode([prompt for prompt in prompts if prompt.error is None])
        for prompt in prompts:
            job = prompt if prompt.error else self._fit(prompt, next(ids))
            if job.error is not None:
                yield job.failed(job.error)
            else:
                jobs.append(job)
                inputs.append(job.input)
        waited = time.perf_counter() - started
        limits = [r.writing.wall_s for r in requests if r.writing.wall_s is not None]
        for index, made in run(inputs, wall_s=min(limits, default=None)):
            elapsed = time.perf_counter() - started if len(requests) == 1 else None
            yield jobs[index].generated(made, waited, elapsed)

    def _loglikelihoods(self, requests: Sequence[LoglikelihoodRequest]) -> Iterator[Response]:
        """Yields log-probabilities; a request is ready when the last of its continuations is."""
        run = self._scorer()
        started = time.perf_counter()
        prompts = [_render(self._template, request) for request in requests]
        jobs: list[_ScoreJob] = []
        for prompt, own in zip(prompts, self._sequences(prompts), strict=True):
            wrong = prompt.error or _unscorable(self.loaded, prompt.request, own)
            if wrong is not None:
                yield prompt.failed(wrong)
            else:
                jobs.append(_ScoreJob(prompt, tuple(own)))
        owner = [(job, place) for job in jobs for place in range(len(job.sequences))]
        sequences = [job.sequences[place] for job, place in owner]
        encode_s = time.perf_counter() - started
        keep = lambda stats: self._took.append(replace(stats, encode_s=encode_s))
        for index, scored in run(self.loaded, sequences, batch_tokens=self._budget(), on_stats=keep):
            job, place = owner[index]
            job.found[place] = scored
            if len(job.found) == len(job.sequences):
                yield job.response(time.perf_counter() - started if len(requests) == 1 else None)
        if self.loaded.model.dtype in (torch.bfloat16, torch.float16) and len(requests) > 1:
            decisions = [
                [(one.logprob, sequence.n_scored) for one, sequence in zip(job.scored, job.sequences, strict=True)]
                for job in jobs
                if len(job.sequences) > 1
            ]
            ties = near_ties(decisions, self.loaded.model.dtype)
            what = (
                "%s: %d of %d decisions lie within half precision's rounding of a tie: other hardware may differ there"
            )
            log.info(what, self.config.name, ties, len(decisions))

    def _sequences(self, prompts: Sequence[_Prompt[LoglikelihoodRequest]]) -> Iterator[list[ScoreSequence]]:
        """Yields what is scored for each prompt: a sequence for each continuation, or the windows of a rolling text."""
        loaded, asked = self.loaded, [p for p in prompts if p.error is None]
        plain = [p for p in asked if not p.request.rolling]
        pairs = [((p.marked or p.text) + given, text) for p in plain for given, text in p.request.pairs]
        by_marks = [p.marked is not None for p in plain for _ in p.request.pairs]

        def encode(marks: bool, some: Sequence[tuple[str, str]]) -> list[ScoreSequence]:
            room, opening = loaded.max_length, loaded.opening
            reader, prefix = self._reader(marks), loaded.prefix_token
            return encode_pairs(reader, some, max_length=room, prefix_token=prefix, opening=opening)

        encoded = _apart(pairs, by_marks, encode)
        texts = [text for p in asked if p.request.rolling for text in p.request.continuations]
        whole = encode_texts(loaded.tokenizer, texts, prefix_token=loaded.prefix_token)
        for prompt in prompts:
            if prompt.error is not None:
                yield []
            elif not prompt.request.rolling:
                yield [next(encoded) for _ in prompt.request.continuations]
            elif loaded.prefix_token is None:
                yield [ScoreSequence((), 1)]  # nothing stands before the first token
            else:
                ids = whole[prompt.request.continuations[0]]
                yield rolling_windows(ids, max_length=loaded.max_length, prefix_token=loaded.prefix_token)

    def computed(self) -> EngineStats | None:
        """Returns what the last complete scoring took: tokens billed and really computed, seconds, memory."""
        return self._took[0] if self._took else None

    def describe(self) -> ModelCard:
        """Returns what was loaded."""
        return self._about

    def close(self) -> None:
        """Drops the weights and gives their memory back."""
        if self._methods.replicas is not None:
            self._methods.replicas.close()
        self.__dict__.pop("loaded", None)  # closed twice is closed
        self._methods = _Methods()
        self._held.clear()
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _scorer(self) -> Scorer:
        """Returns the method that scores; the first call tries it out, so it stands outside any timing."""
        methods = self._methods
        if methods.score is None and self.config.replicas > 1:
            others = [partial(_copy, self.config, place) for place in range(1, self.config.replicas)]
            methods.replicas = Replicas(self.loaded, self.config.engine, others)
            methods.score = methods.replicas.score
        elif methods.score is None:
            methods.score = scorer_for(self.loaded, self.config.engine)
        return methods.score

    def _budget(self) -> int | None:
        """Returns the tokens of a batch, None for what free memory allows."""
        if self.config.batch_tokens is None and self.config.deterministic:
            return token_budget(self.loaded, deterministic=True)
        return self.config.batch_tokens

    def _fit(self, prompt: _Prompt[GenerateRequest], ids: Sequence[int]) -> _Prompt[GenerateRequest]:
        """Returns the prompt ready to run, or with the reason why it cannot be."""
        request = prompt.request
        try:
            check_stop(request.stop)
            check_sampling(request.sampling)
            return _fit(self.loaded, prompt, ids, self._constraint(request.writing))
        except TaskError as error:
            return replace(prompt, error=error.what)

    def _constraint(self, writing: Writing) -> Constraint | None:
        """Returns what an answer is held to. Raises TaskError for a form that cannot be, or not after its prefill."""
        if writing.form is None:
            return None
        key = (writing.form, writing.prefill)
        if key not in self._held:
            if self._methods.grammars is None:
                loaded = self.loaded
                end = loaded.eos_tokens[0] if loaded.eos_tokens else None
                self._methods.grammars = Grammars(loaded.tokenizer, _predicted(loaded), end)
            self._held[key] = self._methods.grammars.constraint(*key)
        return self._held[key]

    def _generator(self) -> Callable[..., Iterator[tuple[int, RowGenerated]]]:
        """Returns the method that generates; as above."""
        if self._methods.generate is None:
            generator = Generator(self.loaded, "plain" if self.config.engine == "plain" else None)
            self._methods.generate = partial(generator.run, budget=self.config.batch_tokens)
        return self._methods.generate

    def _reader(self, marks: bool) -> Any:
        """Returns what reads texts: the tokenizer, or its copy in which only marked texts are control tokens."""
        return self._template.control.reader if marks else self.loaded.tokenizer

    def _encode(self, prompts: Sequence[_Prompt[GenerateRequest]]) -> Iterator[list[int]]:
        """Yields the ids of each prompt."""
        loaded = self.loaded

        def encode(marks: bool, texts: Sequence[str]) -> list[list[int]]:
            reader, opening = self._reader(marks), loaded.opening
            ids = encode_texts(reader, texts, prefix_token=loaded.prefix_token, opening=opening)
            return [ids[text] for text in texts]

        texts = [prompt.marked or prompt.text for prompt in prompts]
        return _apart(texts, [prompt.marked is not None for prompt in prompts], encode)


Given = TypeVar("Given")
Made = TypeVar("Made")


def _apart(
    items: Sequence[Given], marks: Sequence[bool], run: Callable[[bool, Sequence[Given]], Sequence[Made]]
) -> Iterator[Made]:
    """Yields what `run` makes of each item, in their order, those with marks and those without handed over apart."""
    made = {mark: iter(run(mark, [item for item, own in zip(items, marks) if own is mark])) for mark in set(marks)}
    return (next(made[mark]) for mark in marks)


@dataclass(frozen=True, slots=True)
class _ScoreJob:
    """A request whose continuations are being scored."""

    prompt: _Prompt[LoglikelihoodRequest]
    sequences: tuple[ScoreSequence, ...]
    found: dict[int, ScoredSequence] = field(default_factory=dict)  # by place among the sequences

    @property
    def scored(self) -> list[ScoredSequence]:
        """Returns what each sequence brought, once that of all is known."""
        return [self.found[place] for place in range(len(self.sequences))]

    def response(self, elapsed: float | None) -> Response:
        """Returns the response once everything is scored."""
        scored = self.scored
        wrong = next((one.error for one in scored if one.error), None)
        if wrong is None and not all(math.isfinite(one.logprob) for one in scored):
            wrong = plain_method.NOT_FINITE
        if wrong is not None:
            return self.prompt.failed(wrong)
        rolling, told = self.prompt.request.rolling, self.prompt.otherwise
        fallback = next((one.fallback for one in scored if one.fallback), None)
        logprobs, greedy = tuple(one.logprob for one in scored), tuple(one.greedy for one in scored)
        lengths = [one.n_scored if rolling else len(one.ids) for one in self.sequences]
        return Response(
            key=self.prompt.request.key,
            prompt=self.prompt.text,
            logprobs=(math.fsum(logprobs),) if rolling else logprobs,
            greedy=(all(greedy),) if rolling else greedy,
            input_tokens=(sum if rolling else max)(lengths),
            truncated_left=max(sequence.truncated_left for sequence in self.sequences),
            batch_size=max(one.batch_size for one in scored),
            prefill_s=sum(one.prefill_s for one in scored),
            decode_s=0.0,
            e2e_s=elapsed,
            applied=Applied(otherwise=told, fallback=fallback) if told or fallback else None,
        )


def _unscorable(loaded: LoadedModel, request: LoglikelihoodRequest, sequences: Sequence[ScoreSequence]) -> str | None:
    """Returns why the request cannot be scored, or None."""
    if not sequences:
        return "there is no continuation to score"
    texts = request.continuations * (len(sequences) if request.rolling else 1)
    for text, sequence in zip(texts, sequences, strict=True):
        if sequence.n_scored == 0:
            return f"the continuation {text[:40]!r} adds no token to the prompt"
        if sequence.n_scored > loaded.max_length:
            return f"the continuation {text[:40]!r} has {sequence.n_scored} tokens, the model reads {loaded.max_length}"
        if not sequence.scorable:
            return "the prompt is empty and the model has no token that opens a text"
        if max(sequence.ids) >= _vocabulary(loaded):
            return f"the tokenizer gives token {max(sequence.ids)}, the model knows {_vocabulary(loaded)}"
        judged = max(sequence.ids[-sequence.n_scored :])
        if judged >= _predicted(loaded):
            return f"the tokenizer gives token {judged}, the model predicts {_predicted(loaded)}"
    return None


def _predicted(loaded: LoadedModel) -> int:
    """Returns how many tokens the head tells apart: it can be smaller than the vocabulary that is read."""
    head = loaded.model.get_output_embeddings()
    return _vocabulary(loaded) if head is None else head.weight.shape[0]
