"""The weights of a model folder, by transformers: all that the model has is there, and all that is there is used."""

from __future__ import annotations

import contextlib
import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText, BitsAndBytesConfig
from transformers.quantizers.auto import AUTO_QUANTIZATION_CONFIG_MAPPING
from transformers.utils import logging as transformers_logging

from harness.errors import BackendError, ModelError, nearest
from harness.models.files import _read_json
from harness.models.safety import is_causal

if TYPE_CHECKING:
    from harness.config.model import LocalModel

DTYPES = {"auto": "auto", "fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
QUANTIZATIONS = {"8bit": {"load_in_8bit": True}, "4bit": {"load_in_4bit": True}}
# Tensors that a model computes itself, or holds once under another name: written by older versions of libraries.
COMPUTED = re.compile(
    r"(^|\.)(inv_freq|masked_bias|attn\.bias|attention\.bias|(cos|sin)_cached|position_ids|_extra_state|causal_mask"
    r"|slopes|num_batches_tracked)$"
)
HEAD = re.compile(r"(^|\.)(lm_head|embed_out|output)\.weight$")
# Parts beside the language model: heads for training and for guessing ahead, and what reads images and sound.
BESIDE = re.compile(
    r"(^|\.)(v_head|value_head|reward_head|mtp(_\w+)?|nextn\w*|medusa\w*|eagle\w*|vision_\w+|visual|audio_\w+"
    r"|multi_modal_projector|mm_projector|image_newline|embed_(vision|audio)|connector)(\.|$)"
)


def read_weights(config: LocalModel, folder: Path, device: str) -> tuple[Any, dict[str, str]]:
    """Returns the model on its device, and what of the folder's weights was left out, by part.

    Raises ModelError for tensors that are missing, of another shape, or unknown to the model, and for a quantization
    that transformers does not know.
    """
    settings = _read_json(folder / "config.json")
    _refuse_unknown_quantization(settings, folder)
    options: dict[str, object] = {"use_safetensors": True, "output_loading_info": True, "dtype": DTYPES[config.dtype]}
    if config.quantization is not None:
        if importlib.util.find_spec("bitsandbytes") is None:
            what = f"quantization: {config.quantization} needs bitsandbytes, which is not installed"
            raise BackendError(what, where=f"model '{config.name}'", fix="pip install bitsandbytes")
        options["quantization_config"] = BitsAndBytesConfig(**QUANTIZATIONS[config.quantization])
    # Weights go to their device as they are read; a quantized model cannot be moved afterwards.
    if device != "cpu":
        options["device_map"] = "auto" if device == "device_map" else {"": device}
    own_code = config.trust_remote_code and settings.get("auto_map")
    # One that reads images too is loaded whole, and given text alone.
    kind: Any = AutoModelForCausalLM if own_code or is_causal(settings) else AutoModelForImageTextToText
    with _no_progress_bar():
        model, info = kind.from_pretrained(
            str(folder), local_files_only=True, trust_remote_code=config.trust_remote_code, **options
        )
    lacking = sorted(map(str, [*info["missing_keys"], *info["mismatched_keys"]]))
    if lacking:
        # transformers would fill them with random numbers and go on.
        what = f"the weights lack {len(lacking)} tensors of the right shape, first {lacking[0]}"
        raise ModelError(what, where=str(folder), fix="the folder is incomplete or its config.json is another model's")
    return model, _left_out(model, sorted(map(str, info["unexpected_keys"])), folder)


def _left_out(model: Any, names: list[str], folder: Path) -> dict[str, str]:
    """Returns what is to be said of tensors that the model has no place for. Raises ModelError if they are its own."""
    tied = bool(getattr(model.config, "tie_word_embeddings", False))
    unused = [name for name in names if not COMPUTED.search(name) and not (tied and HEAD.search(name))]
    beside = [name for name in unused if BESIDE.search(name)]
    strange = [name for name in unused if name not in set(beside)]
    if strange:
        what = f"the weights hold {len(strange)} tensors that the model has no place for, first {strange[0]}"
        fix = "config.json is another model's, or lacks the settings of an adapter or quantization"
        raise ModelError(what, where=str(folder), fix=fix)
    if not beside:
        return {}
    return {"weights": f"{len(beside)} tensors beside the language model are not loaded, first {beside[0][:80]}"}


def _refuse_unknown_quantization(settings: dict[str, Any], folder: Path) -> None:
    """Raises ModelError for a quantization that transformers would pass over, and read the weights as plain numbers."""
    for part in (settings, settings.get("text_config")):
        stated = part.get("quantization_config") if isinstance(part, dict) else None
        if stated is None:
            continue
        method = stated.get("quant_method") if isinstance(stated, dict) else None
        loads_in = isinstance(stated, dict) and (stated.get("load_in_4bit") or stated.get("load_in_8bit"))
        known = [*AUTO_QUANTIZATION_CONFIG_MAPPING, "bitsandbytes"]
        if not loads_in and method not in known:
            what = f"the weights are quantized by {str(method)[:60]!r}, which transformers does not know"
            near = nearest(str(method), known)
            raise ModelError(what, where=f"{folder / 'config.json'}, quantization_config", fix=near)


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
