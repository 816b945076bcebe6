"""Loads a causal language model with transformers: weights, number type, device, adapter, tokens that end a text."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import math
import os
import time
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig, GenerationConfig
from transformers.utils import logging as transformers_logging

from harness.backends.base import ModelCard
from harness.engine.fast_linear import quicken
from harness.engine.loaded import LoadedModel
from harness.errors import BackendError, ModelError
from harness.models.find import resolve_model, unreadable
from harness.models.info import context_length
from harness.models.safety import check_safe, check_versions
from harness.security.egress import HERE

if TYPE_CHECKING:
    from harness.config.model import LocalModel


DTYPES = {"auto": "auto", "fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
QUANTIZATIONS = {"8bit": {"load_in_8bit": True}, "4bit": {"load_in_4bit": True}}
DEFAULT_CONTEXT = 2048  # tokens, where neither config nor tokenizer states a limit; as lm-eval
NO_LIMIT = 10**9  # a tokenizer without a limit states one far above this


def load(config: LocalModel) -> tuple[LoadedModel, ModelCard]:
    """Returns the model ready to run, and what there is to say of it.

    The folder is checked before transformers sees it. Raises ModelError for a model that is missing, unsafe or
    incomplete, BackendError for a device or a library that is not there.
    """
    check_versions()
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


def _one_of(config: LocalModel, place: int) -> LocalModel:
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


def _copy(config: LocalModel, place: int) -> tuple[LoadedModel, str]:
    return load(_one_of(config, place))[0], config.engine


def available_cores() -> int:
    """Returns the cores this process may really use: its affinity, within the container's quota."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = Path("/sys/fs/cgroup/cpu.max")
    if quota.is_file():
        allowed, period = quota.read_text(encoding="utf-8").split()
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


def _weights(config: LocalModel, folder: Path) -> Any:
    options: dict[str, object] = {"use_safetensors": True, "output_loading_info": True, "dtype": DTYPES[config.dtype]}
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
    return model if config.adapter is None else _with_adapter(model, config.adapter, config.name)


def _with_adapter(model: Any, adapter: str, name: str) -> Any:
    if importlib.util.find_spec("peft") is None:
        where = f"model '{name}', adapter"
        raise BackendError("adapters need peft, which is not installed", where=where, fix="pip install peft")
    from peft import PeftConfig, PeftModel

    folder = resolve_model(adapter)
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


def _context(config: Mapping[str, object], tokenizer: Any) -> int:
    stated = context_length(config)
    if stated is not None:
        return stated
    limit = tokenizer.model_max_length
    return int(limit) if limit is not None and limit < NO_LIMIT else DEFAULT_CONTEXT


def _eos_tokens(tokenizer: Any, model: Any) -> tuple[int, ...]:
    stated = model.generation_config.eos_token_id if model.generation_config is not None else None
    several = stated if isinstance(stated, list) else [stated]
    return tuple(dict.fromkeys(token for token in (tokenizer.eos_token_id, *several) if token is not None))


def _devices(config: LocalModel, model: Any) -> tuple[str, ...]:
    """Returns the accelerators a model computes on; nothing where it is on one, or on none."""
    if config.device == "device_map":
        places = dict.fromkeys(getattr(model, "hf_device_map", {}).values())
        return tuple(f"cuda:{place}" if isinstance(place, int) else str(place) for place in places)
    if config.replicas > 1 and _device(config.device).startswith("cuda"):
        return tuple(f"cuda:{place}" for place in range(config.replicas))
    return ()


def _about(config: LocalModel, folder: Path, loaded: LoadedModel, seconds: float) -> ModelCard:
    model, template = loaded.model, loaded.tokenizer.chat_template
    source = template if isinstance(template, str) else repr(template)
    return ModelCard(
        model=config.name,
        backend=config.backend,
        folder=str(folder),
        revision=folder.name if folder.parent.name == "snapshots" else None,
        architecture=type(model).__name__,
        dtype=str(model.dtype).removeprefix("torch."),
        quantization=config.quantization,
        adapter=config.adapter,
        device=config.device if config.device == "device_map" else str(loaded.device),
        devices=_devices(config, model),
        device_name=torch.cuda.get_device_name(loaded.device) if loaded.device.type == "cuda" else None,
        threads=torch.get_num_threads(),
        parameters=sum(p.numel() for p in model.parameters()),
        context_length=loaded.max_length,
        chat_template_sha256=hashlib.sha256(source.encode()).hexdigest() if template else None,
        engine=config.engine,
        load_s=seconds,
        where=HERE.name,
        versions={name: metadata.version(name) for name in ("torch", "transformers", "tokenizers")},
    )
