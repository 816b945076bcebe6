"""Loads a causal language model with transformers: weights, number type, device, adapter, tokens that end a text."""

from __future__ import annotations

import hashlib
import math
import os
import time
from collections.abc import Mapping
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import GenerationConfig

from harness.backends.base import ModelCard
from harness.backends.local.adapter import find_adapter, with_adapter
from harness.backends.local.tokenizer import open_tokenizer, told_of
from harness.backends.local.weights import read_weights
from harness.engine.fast_linear import quicken
from harness.engine.loaded import LoadedModel
from harness.errors import BackendError
from harness.models.find import resolve_model
from harness.models.info import context_length
from harness.models.safety import check_safe, check_versions
from harness.security.egress import HERE

if TYPE_CHECKING:
    from harness.config.model import LocalModel


DEFAULT_CONTEXT = 2048  # tokens, where neither config nor tokenizer states a limit; as lm-eval
NO_LIMIT = 10**9  # a tokenizer without a limit states one far above this


def load(config: LocalModel) -> tuple[LoadedModel, ModelCard]:
    """Returns the model ready to run, and what there is to say of it.

    The folder is checked before transformers sees it, and the model reads two tokens. Raises ModelError for a model
    that is missing, unsafe, incomplete or does not run, BackendError for a device or a library that is not there.
    """
    check_versions()
    trusted = config.trust_remote_code
    folder = resolve_model(config.path, revision=config.revision, trust_remote_code=trusted)
    check_safe(folder, trust_remote_code=trusted)
    adapter = None if config.adapter is None else find_adapter(config.adapter, config.name)
    torch.set_num_threads(_threads(config))
    started = time.perf_counter()
    opened = open_tokenizer(folder, adapter, trusted=trusted)
    with told_of(folder):
        model, left_out = read_weights(config, folder, _device(config.device))
        if adapter is not None:
            model = with_adapter(model, adapter, len(opened.tokenizer))
        model.eval()
        if config.engine != "plain":
            quicken(model)
        eos = _eos_tokens(opened.tokenizer, model)
        model.generation_config = GenerationConfig()  # answers follow the task's settings, not the model folder's
        loaded = LoadedModel(
            model=model,
            tokenizer=opened.tokenizer,
            device=model.get_input_embeddings().weight.device,
            max_length=config.max_length or _context(model.config.to_dict(), opened.tokenizer),
            prefix_token=opened.prefix_token,
            eos_tokens=eos,
            opening=opened.frame.opening,
        )
        _try_out(loaded)
        about = _about(config, folder, loaded, time.perf_counter() - started)
    return loaded, replace(about, otherwise={**opened.otherwise, **left_out})


@torch.inference_mode()
def _try_out(loaded: LoadedModel) -> None:
    """Lets the model read two tokens: settings that fit no weights show here, and not in the middle of a run."""
    loaded.model(input_ids=torch.tensor([[loaded.prefix_token or 0, 0]], device=loaded.device))


def _one_of(config: LocalModel, place: int) -> LocalModel:
    """Returns the settings of one of a model's replicas: its own accelerator, or its part of the cores."""
    if config.replicas == 1:
        return config
    kind = _device(config.device)
    if kind == "cpu":
        return config.model_copy(update={"threads": max(1, _threads(config) // config.replicas)})
    if kind != "cuda" or config.replicas > torch.cuda.device_count():
        found = torch.cuda.device_count() if kind == "cuda" else 0
        what = f"{config.replicas} replicas on device '{config.device}': there are {found} devices to share between"
        raise BackendError(what, where=f"model '{config.name}'", fix="replicas: 1, or device: auto, cuda or cpu")
    return config.model_copy(update={"device": f"cuda:{place}"})


def _copy(config: LocalModel, place: int) -> tuple[LoadedModel, str]:
    return load(_one_of(config, place))[0], config.engine


def _threads(config: LocalModel) -> int:
    """Returns the threads to compute with: as the run file says, else as OMP_NUM_THREADS, else one a core."""
    told = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return config.threads or (int(told) if told.isdecimal() else 0) or available_cores()


def available_cores() -> int:
    """Returns the cores this process may really use: its affinity, within the container's quota."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = Path("/sys/fs/cgroup/cpu.max")
    if quota.is_file():
        allowed, period = quota.read_text(encoding="utf-8").split()
        if allowed != "max":
            cores = min(cores, max(1, math.ceil(int(allowed) / int(period))))
    return cores


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
    found = [token for token in (tokenizer.eos_token_id, *several) if token is not None]
    if not all(type(token) is int for token in found):
        raise ValueError(f"eos_token_id is {str(stated)[:60]}, which is no number of a token")
    return tuple(dict.fromkeys(found))


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
