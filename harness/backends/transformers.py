"""Runs any causal language model in this process, with transformers and torch."""

from __future__ import annotations

import contextlib
import gc
import hashlib
import importlib.util
import logging
import math
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from jinja2.exceptions import TemplateError
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig, GenerationConfig
from transformers.utils import logging as transformers_logging

from harness.engine import plain_method
from harness.engine.fast_linear import quicken
from harness.engine.generate.batching import Generator, RowGenerated, RowInput
from harness.engine.generate.constrained import Constraint, Grammars
from harness.engine.generate.sampling import check_sampling, row_seed
from harness.engine.loaded import LoadedModel
from harness.engine.memory import token_budget
from harness.engine.replicas import Replicas
from harness.engine.score.choose import Scorer, near_ties, scorer_for
from harness.engine.score.prefix_walk import EngineStats
from harness.engine.score.rolling_windows import rolling_windows
from harness.engine.text.stop_strings import check_stop
from harness.engine.text.thinking import Markers, Thinking, markers_of
from harness.engine.tokens import ScoredSequence, ScoreSequence, encode_pairs, encode_texts
from harness.errors import BackendError, ModelError, TaskError
from harness.models.find import resolve_model, unreadable
from harness.models.info import context_length
from harness.models.safety import check_safe, check_versions
from harness.values import Form, Message, Request, Response, Writing

if TYPE_CHECKING:
    from harness.config.model import ModelConfig

log = logging.getLogger(__name__)

DTYPES = {"auto": "auto", "fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
QUANTIZATIONS = {"8bit": {"load_in_8bit": True}, "4bit": {"load_in_4bit": True}}
DEFAULT_CONTEXT = 2048  # tokens, where neither config nor tokenizer states a limit; as lm-eval
SWITCHES = ("enable_thinking", "thinking")  # what chat templates call their switch
TEMPLATE_ERRORS = (TemplateError, TypeError, ValueError, LookupError, AttributeError, ArithmeticError)
NO_LIMIT = 10**9  # a tokenizer without a limit states one far above this


class TransformersBackend:
    """One model, loaded when constructed. See `Backend` for the contract."""

    def __init__(self, config: ModelConfig) -> None:
        self.config = config
        self.loaded, self._about = load(_one_of(config, 0))
        self._methods: dict[str, Any] = {}  # of running the model, found out when first needed
        self._held: dict[tuple[Form, str], Constraint] = {}  # what answers were held to, each compiled once
        self._took: deque[EngineStats] = deque(maxlen=1)  # by the last scoring that came to its end

    def generate(self, requests: Sequence[Request]) -> Iterator[Response]:
        """Yields texts as they finish."""
        run = self._generator()
        started = time.perf_counter()
        jobs, inputs = [], []
        prompts = [_render(self.loaded.tokenizer, request) for request in requests]
        ids = self._encode([prompt.text for prompt in prompts if prompt.error is None])
        for prompt in prompts:
            job = prompt if prompt.error else self._fit(prompt, ids[prompt.text])
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

    def score(self, requests: Sequence[Request]) -> Iterator[Response]:
        """Yields log-probabilities; a request is ready when the last of its continuations is."""
        run = self._scorer()
        started = time.perf_counter()
        prompts = [_render(self.loaded.tokenizer, request) for request in requests]
        jobs: list[_ScoreJob] = []
        for prompt, own in zip(prompts, self._sequences(prompts), strict=True):
            wrong = prompt.error or _unscorable(self.loaded, prompt.request, own)
            if wrong is not None:
                yield prompt.failed(wrong)
            else:
                jobs.append(_ScoreJob(prompt, tuple(own), [None] * len(own)))
        owner = [(job, place) for job in jobs for place in range(len(job.sequences))]
        sequences = [job.sequences[place] for job, place in owner]
        encode_s = time.perf_counter() - started
        keep = lambda stats: self._took.append(replace(stats, encode_s=encode_s))
        for index, scored in run(self.loaded, sequences, batch_tokens=self._budget(), on_stats=keep):
            job, place = owner[index]
            job.scored[place] = scored
            if None not in job.scored:
                yield job.response(time.perf_counter() - started if len(requests) == 1 else None)
        if self.loaded.model.dtype in (torch.bfloat16, torch.float16) and len(requests) > 1:
            decisions = [[one.logprob for one in job.scored] for job in jobs if len(job.scored) > 1]
            ties = near_ties(decisions, self.loaded.model.dtype)
            what = (
                "%s: %d of %d decisions lie within half precision's rounding of a tie: other hardware may differ there"
            )
            log.info(what, self.config.name, ties, len(decisions))

    def _sequences(self, prompts: Sequence[_Prompt]) -> Iterator[list[ScoreSequence]]:
        """Yields what is scored for each prompt: a sequence for each continuation, or the windows of a rolling text."""
        loaded, asked = self.loaded, [p for p in prompts if p.error is None]
        pairs = [(p.text + given, text) for p in asked if not p.request.rolling for given, text in p.request.pairs]
        options = {"prefix_token": loaded.prefix_token, "add_bos": loaded.add_bos}
        encoded = iter(encode_pairs(loaded.tokenizer, pairs, max_length=loaded.max_length, **options))
        texts = [text for p in asked if p.request.rolling for text in p.request.continuations]
        whole = encode_texts(loaded.tokenizer, texts, prefix_token=loaded.prefix_token, add_bos=False)
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

    def statistics(self) -> Mapping[str, Any] | None:
        """Returns what the last complete scoring took: tokens billed and really computed, seconds, memory."""
        return asdict(self._took[0]) if self._took else None

    def describe(self) -> Mapping[str, Any]:
        """Returns what was loaded, as JSON values."""
        return self._about

    def close(self) -> None:
        """Drops the weights and gives their memory back."""
        if "replicas" in self._methods:
            self._methods["replicas"].close()
        self.loaded = None
        self._methods.clear()
        self._held.clear()
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _scorer(self) -> Scorer:
        """Returns the method that scores; the first call tries it out, so it stands outside any timing."""
        if "score" not in self._methods and self.config.replicas > 1:
            others = [partial(_copy, self.config, place) for place in range(1, self.config.replicas)]
            self._methods["replicas"] = Replicas(self.loaded, self.config.engine, others)
            self._methods["score"] = self._methods["replicas"].score
        elif "score" not in self._methods:
            self._methods["score"] = scorer_for(self.loaded, self.config.engine)
        return self._methods["score"]

    def _budget(self) -> int | None:
        """Returns the tokens of a batch, None for what free memory allows."""
        if self.config.batch_tokens is None and self.config.deterministic:
            return token_budget(self.loaded, deterministic=True)
        return self.config.batch_tokens

    def _fit(self, prompt: _Prompt, ids: Sequence[int]) -> _Prompt:
        """Returns the prompt ready to run, or with the reason why it cannot be."""
        try:
            check_stop(prompt.request.stop)
            check_sampling(prompt.request.sampling)
            return _fit(self.loaded, prompt, ids, self._constraint(prompt.request.writing))
        except TaskError as error:
            return _Prompt(prompt.request, prompt.text, prompt.details, error.what)

    def _constraint(self, writing: Writing) -> Constraint | None:
        """Returns what an answer is held to. Raises TaskError for a form that cannot be, or not after its prefill."""
        if writing.form is None:
            return None
        key = (writing.form, writing.prefill)
        if key not in self._held:
            if "grammars" not in self._methods:
                loaded = self.loaded
                end = loaded.eos_tokens[0] if loaded.eos_tokens else None
                self._methods["grammars"] = Grammars(loaded.tokenizer, _predicted(loaded), end)
            self._held[key] = self._methods["grammars"].constraint(*key)
        return self._held[key]

    def _generator(self) -> Callable[..., Iterator[tuple[int, RowGenerated]]]:
        """Returns the method that generates; as above."""
        if "generate" not in self._methods:
            generator = Generator(self.loaded, "plain" if self.config.engine == "plain" else None)
            self._methods["generate"] = partial(generator.run, budget=self.config.batch_tokens)
        return self._methods["generate"]

    def _encode(self, texts: Sequence[str]) -> dict[str, list[int]]:
        loaded = self.loaded
        return encode_texts(loaded.tokenizer, texts, prefix_token=loaded.prefix_token, add_bos=loaded.add_bos)


# --- loading ---------------------------------------------------------------------------------------------------------


def load(config: ModelConfig) -> tuple[LoadedModel, dict[str, Any]]:
    """Returns the model ready to run, and what there is to say of it.

    The folder is checked before transformers sees it. Raises ModelError for a model that is missing, unsafe or
    incomplete, BackendError for a device or a library that is not there.
    """
    check_versions()
    if config.path is None:
        raise ModelError(f"model '{config.name}' has no path", fix="path: a model folder, a demo model, or a hub id")
    trusted = config.trust_remote_code
    folder = resolve_model(config.path, revision=config.revision, trust_remote_code=trusted)
    check_safe(folder, trust_remote_code=trusted)
    torch.set_num_threads(config.threads or available_cores())
    started = time.perf_counter()
    tokenizer = _opened(AutoTokenizer, folder, trusted)
    model = _weights(config, folder)
    model.eval()
    if config.engine != "plain":
        quicken(model)
    eos = _eos_tokens(tokenizer, model)
    model.generation_config = GenerationConfig()  # answers follow the task's settings, not the model folder's
    loaded = LoadedModel(
        model=model,
        tokenizer=tokenizer,
        device=model.get_input_embeddings().weight.device,
        max_length=config.max_length or _context(model.config.to_dict(), tokenizer),
        prefix_token=tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id,
        eos_tokens=eos,
        add_bos=None,
    )
    return loaded, _about(config, folder, loaded, time.perf_counter() - started)


def _one_of(config: ModelConfig, place: int) -> ModelConfig:
    """Returns the settings of one of a model's replicas: its own accelerator, or its part of the cores."""
    if config.replicas == 1:
        return config
    kind = _device(config.device)
    if kind == "cpu":
        return config.model_copy(update={"threads": max(1, (config.threads or available_cores()) // config.replicas)})
    if kind != "cuda" or config.replicas > torch.cuda.device_count():
        found = torch.cuda.device_count() if kind == "cuda" else 0
        what = f"{config.replicas} replicas on device '{config.device}': there are {found} devices to share between"
        raise BackendError(what, where=f"model '{config.name}'", fix="replicas: 1, or device: auto, cuda or cpu")
    return config.model_copy(update={"device": f"cuda:{place}"})


def _copy(config: ModelConfig, place: int) -> tuple[LoadedModel, str]:
    return load(_one_of(config, place))[0], config.engine


def available_cores() -> int:
    """Returns the cores this process may really use: its affinity, within the container's quota."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = Path("/sys/fs/cgroup/cpu.max")
    if quota.is_file():
        allowed, period = quota.read_text().split()
        if allowed != "max":
            cores = min(cores, max(1, math.ceil(int(allowed) / int(period))))
    return cores


def _opened(kind: Any, folder: Path, trusted: bool, **options: Any) -> Any:
    """Returns `kind.from_pretrained` of a local folder. The network is never asked."""
    try:
        with _no_progress_bar():
            return kind.from_pretrained(str(folder), local_files_only=True, trust_remote_code=trusted, **options)
    except (OSError, ValueError, KeyError, ImportError, TypeError) as error:
        raise unreadable(folder, error) from error


@contextlib.contextmanager
def _no_progress_bar() -> Iterator[None]:
    """Keeps transformers from drawing its own bar over the run's."""
    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()


def _weights(config: ModelConfig, folder: Path) -> Any:
    options: dict[str, Any] = {"use_safetensors": True, "output_loading_info": True, "dtype": DTYPES[config.dtype]}
    device = _device(config.device)
    if config.quantization is not None:
        if importlib.util.find_spec("bitsandbytes") is None:
            what = f"quantization: {config.quantization} needs bitsandbytes, which is not installed"
            raise BackendError(what, where=f"model '{config.name}'", fix="pip install bitsandbytes")
        options["quantization_config"] = BitsAndBytesConfig(**QUANTIZATIONS[config.quantization])
    # Weights go to their device as they are read; a quantized model cannot be moved afterwards.
    if device != "cpu":
        options["device_map"] = "auto" if device == "device_map" else {"": device}
    model, info = _opened(AutoModelForCausalLM, folder, config.trust_remote_code, **options)
    lacking = sorted(map(str, [*info["missing_keys"], *info["mismatched_keys"]]))
    if lacking:
        # transformers would fill them with random numbers and go on.
        what = f"the weights lack {len(lacking)} tensors of the right shape, first {lacking[0]}"
        raise ModelError(what, where=str(folder), fix="the folder is incomplete or its config.json is another model's")
    return model if config.adapter is None else _with_adapter(model, config)


def _with_adapter(model: Any, config: ModelConfig) -> Any:
    if importlib.util.find_spec("peft") is None:
        where = f"model '{config.name}', adapter"
        raise BackendError("adapters need peft, which is not installed", where=where, fix="pip install peft")
    from peft import PeftConfig, PeftModel

    folder = resolve_model(config.adapter)
    check_safe(folder, adapter=True)
    try:
        if PeftConfig.from_pretrained(str(folder)).is_prompt_learning:
            what = "the adapter adds virtual tokens to the prompt, which this backend cannot count"
            raise ModelError(what, where=str(folder), fix="use an adapter of the weights, such as LoRA")
        # The base model with the adapter's layers put into it: the same class, with the same signature.
        return PeftModel.from_pretrained(model, str(folder), is_trainable=False).get_base_model()
    except (OSError, ValueError, KeyError, RuntimeError, TypeError) as error:
        reason = str(error).strip().splitlines()[0][:300]
        raise ModelError(f"the adapter does not fit the model: {reason}", where=str(folder)) from error


def _device(name: str) -> str:
    """Returns where the model goes: `auto` is the first of cuda, mps and cpu that is there."""
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return next(kind for kind, available in there.items() if available)
    kind, _, number = name.partition(":")
    if not there.get(kind, True) or (number and int(number) >= torch.cuda.device_count()):
        found = ", ".join(kind for kind, available in there.items() if available)
        raise BackendError(f"there is no device '{name}' here", fix=f"device: auto, or one of: {found}")
    return name


def _context(config: Mapping[str, Any], tokenizer: Any) -> int:
    stated = context_length(config)
    if stated is not None:
        return stated
    limit = tokenizer.model_max_length
    return int(limit) if limit is not None and limit < NO_LIMIT else DEFAULT_CONTEXT


def _eos_tokens(tokenizer: Any, model: Any) -> tuple[int, ...]:
    stated = model.generation_config.eos_token_id if model.generation_config is not None else None
    several = stated if isinstance(stated, list) else [stated]
    return tuple(dict.fromkeys(token for token in (tokenizer.eos_token_id, *several) if token is not None))


def _about(config: ModelConfig, folder: Path, loaded: LoadedModel, seconds: float) -> dict[str, Any]:
    model, template = loaded.model, loaded.tokenizer.chat_template
    source = template if isinstance(template, str) else repr(template)
    return {
        "model": config.name,
        "backend": "transformers",
        "folder": str(folder),
        "revision": folder.name if folder.parent.name == "snapshots" else None,
        "architecture": type(model).__name__,
        "dtype": str(model.dtype).removeprefix("torch."),
        "quantization": config.quantization,
        "adapter": config.adapter,
        "device": config.device if config.device == "device_map" else str(loaded.device),
        "device_name": torch.cuda.get_device_name(loaded.device) if loaded.device.type == "cuda" else None,
        "threads": torch.get_num_threads(),
        "parameters": sum(p.numel() for p in model.parameters()),
        "context_length": loaded.max_length,
        "chat_template_sha256": hashlib.sha256(source.encode()).hexdigest() if template else None,
        "engine": config.engine,
        "load_s": seconds,
        "where": "this machine",
        "versions": {name: metadata.version(name) for name in ("torch", "transformers", "tokenizers")},
    }


# --- one request -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Prompt:
    """A request with its prompt as the model gets it, or the reason there is none."""

    request: Request
    text: str = ""
    details: Mapping[str, Any] | None = None
    error: str | None = None
    input: RowInput | None = None
    truncated_left: int = 0

    def failed(self, why: str) -> Response:
        """Returns the response of a request that has no answer."""
        error = f"sample '{self.request.sample_id}': {why}"
        return Response(key=self.request.key, prompt=self.text or None, finish_reason="error", error=error)

    def generated(self, made: RowGenerated, waited: float, elapsed: float | None) -> Response:
        """Returns the response; `elapsed` seconds since it was asked are known only of a request that ran alone."""
        if made.error is not None:
            return self.failed(made.error)
        if made.finish_reason == "time" and not made.ids:
            why = f"the {self.request.writing.wall_s:g} seconds of wall_s were over before it was begun"
            return replace(self.failed(why), finish_reason="time", details={"transient": True})  # a resume has its own
        return Response(
            key=self.request.key,
            prompt=self.text,
            text=made.text,
            input_tokens=len(self.input.ids),
            output_tokens=len(made.ids),
            truncated_left=self.truncated_left,
            finish_reason=made.finish_reason,
            stop_string=made.stop_string if made.stop_string in self.request.stop else None,
            batch_size=made.batch_size,
            prefill_s=made.prefill_s,
            decode_s=made.decode_s,
            ttft_s=None if elapsed is None else waited + made.first_token_s,
            last_token_s=None if elapsed is None else waited + made.last_token_s,
            e2e_s=elapsed,
            details={**(self.details or {}), **made.details(), "prompt_ids_sha256": ids_digest(self.input.ids)},
        )


@dataclass(frozen=True, slots=True)
class _ScoreJob:
    """A request whose continuations are being scored."""

    prompt: _Prompt
    sequences: tuple[ScoreSequence, ...]
    scored: list[ScoredSequence | None]

    def response(self, elapsed: float | None) -> Response:
        """Returns the response once everything is scored."""
        wrong = next((one.error for one in self.scored if one.error), None)
        if wrong is None and not all(math.isfinite(one.logprob) for one in self.scored):
            wrong = plain_method.NOT_FINITE
        if wrong is not None:
            return self.prompt.failed(wrong)
        rolling = self.prompt.request.rolling
        logprobs, greedy = tuple(one.logprob for one in self.scored), tuple(one.greedy for one in self.scored)
        lengths = [one.n_scored if rolling else len(one.ids) for one in self.sequences]
        return Response(
            key=self.prompt.request.key,
            prompt=self.prompt.text,
            logprobs=(math.fsum(logprobs),) if rolling else logprobs,
            greedy=(all(greedy),) if rolling else greedy,
            input_tokens=(sum if rolling else max)(lengths),
            truncated_left=max(sequence.truncated_left for sequence in self.sequences),
            batch_size=max(one.batch_size for one in self.scored),
            prefill_s=sum(one.prefill_s for one in self.scored),
            decode_s=0.0,
            e2e_s=elapsed,
            details=self.prompt.details or {},
        )


def ids_digest(ids: Sequence[int]) -> str:
    """Returns the sha256 (hex) of token ids, written in decimal with commas between."""
    return hashlib.sha256(",".join(map(str, ids)).encode()).hexdigest()


def _render(tokenizer: Any, request: Request) -> _Prompt:
    """Returns the prompt's text: as given, or messages through the model's chat template.

    A template that takes no system message gets it at the head of the first user message, which is noted. Where the
    last message is the assistant's, its text follows the template's opening of an answer.
    """
    thinking = request.writing.thinking
    if isinstance(request.prompt, str):
        wrong = "thinking is switched on by a chat template, and this prompt has none" if thinking == "on" else None
        return _Prompt(request, request.prompt, error=wrong)
    if not tokenizer.chat_template:
        return _Prompt(request, error="the model has no chat template (set chat_template: off)")
    switchable = any(name in str(tokenizer.chat_template) for name in SWITCHES)
    if thinking == "on" and not switchable:
        return _Prompt(request, error="the model's chat template has no switch for thinking (set switch: auto)")
    options = {} if thinking == "auto" else dict.fromkeys(SWITCHES, thinking == "on")
    begun = request.prompt[-1].content if request.prompt[-1].role == "assistant" else ""
    messages = request.prompt[:-1] if begun else request.prompt
    details = {"thinking_switch": "the chat template has none"} if thinking == "off" and not switchable else {}
    turns = [{"role": turn.role, "content": turn.content} for turn in messages]
    try:
        text = _templated(tokenizer, turns, options)
    except TEMPLATE_ERRORS as error:
        folded = _fold_system(messages)
        if folded is None:
            return _Prompt(request, error=f"the model's chat template refuses the messages: {error}")
        try:
            text = _templated(tokenizer, folded, options)
        except TEMPLATE_ERRORS as error:
            return _Prompt(request, error=f"the model's chat template refuses the messages: {error}")
        details["system_message"] = "put before the first user message"
    markers = _markers(tokenizer, request.writing)
    if begun and markers and text.rstrip().endswith(markers.start) and markers.end not in begun:
        return _Prompt(
            request, text, error=f"the chat template opens {markers.start}, where a prefill would be thought"
        )
    return _Prompt(request, text + begun, details)


def _templated(tokenizer: Any, turns: list[dict[str, str]], options: Mapping[str, bool]) -> str:
    return tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True, **options)


def _markers(tokenizer: Any, writing: Writing) -> Markers | None:
    return Markers(*writing.markers) if writing.markers else markers_of(tokenizer)


def _fold_system(messages: Sequence[Message]) -> list[dict[str, str]] | None:
    if len(messages) < 2 or messages[0].role != "system" or messages[1].role != "user":
        return None
    first = {"role": "user", "content": f"{messages[0].content}\n\n{messages[1].content}"}
    return [first, *({"role": turn.role, "content": turn.content} for turn in messages[2:])]


def _fit(loaded: LoadedModel, prompt: _Prompt, ids: Sequence[int], constraint: Constraint | None) -> _Prompt:
    """Returns the prompt with its token ids, the last that leave room for the answer."""
    request, details, writing = prompt.request, prompt.details, prompt.request.writing
    room = loaded.max_length - request.max_tokens
    if not ids and loaded.prefix_token is not None:
        ids = [loaded.prefix_token]
    error = None
    if not ids:
        error = "the prompt is empty and the model has no token that opens a text"
    elif request.max_tokens < 1:
        error = f"max_tokens is {request.max_tokens}: ask for at least one token"
    elif room < 1:
        error = (
            f"max_tokens {request.max_tokens} leaves no room for a prompt in a context of {loaded.max_length} tokens"
        )
    elif max(ids) >= _vocabulary(loaded):
        error = f"the tokenizer gives token {max(ids)}, the model knows {_vocabulary(loaded)}"
    elif not isinstance(request.prompt, str) and _opens_twice(loaded, ids):
        error = f"the model's chat template opens the text with {loaded.tokenizer.bos_token} twice: mend the template"
    if error is not None:
        return _Prompt(request, prompt.text, details, error)
    kept = tuple(ids[-room:])
    sampling = request.sampling
    seed = row_seed(sampling.seed, request.sample_id, request.epoch, request.turn)
    # A model may spell its end-of-text token out in ordinary tokens; that ends the answer too, as in lm-eval.
    stop = (*request.stop, *_eos_text(loaded))
    markers = _markers(loaded.tokenizer, writing)
    thinking = Thinking(markers, writing.thinking_budget) if markers else None
    if writing.thinking_budget is not None and thinking is None:
        unheeded = "unheeded: the tokenizer has no known markers of thinking, and the task names none"
        details = {**(details or {}), "thinking_budget": unheeded}
    more = {"constraint": constraint, "thinking": thinking, "logprobs": writing.logprobs}
    given = RowInput(kept, request.max_tokens, stop, sampling, seed, **more)
    return _Prompt(request, prompt.text, details, None, given, len(ids) - len(kept))


def _unscorable(loaded: LoadedModel, request: Request, sequences: Sequence[ScoreSequence]) -> str | None:
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


def _opens_twice(loaded: LoadedModel, ids: Sequence[int]) -> bool:
    bos = loaded.tokenizer.bos_token_id
    return bos is not None and list(ids[:3]).count(bos) > 1


def _eos_text(loaded: LoadedModel) -> tuple[str, ...]:
    text = loaded.tokenizer.eos_token
    return (text,) if text else ()


def _vocabulary(loaded: LoadedModel) -> int:
    return loaded.model.get_input_embeddings().weight.shape[0]


def _predicted(loaded: LoadedModel) -> int:
    """Returns how many tokens the head tells apart: it can be smaller than the vocabulary that is read."""
    head = loaded.model.get_output_embeddings()
    return _vocabulary(loaded) if head is None else head.weight.shape[0]
