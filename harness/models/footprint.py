"""How much memory a model takes: weights, key-value cache for each token, and what context × concurrency then fits.

All of it from `config.json`, before anything is loaded. Bytes. The key-value cache of one token is

    2 · layers · key-value heads · head size · bytes of a number

less where a layer looks back through a window only. A model whose state is no such cache (recurrent, or compressed in
a way not known here) has an unknown cache, never a zero one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

NUMBER_BYTES = {"float32": 4.0, "float16": 2.0, "bfloat16": 2.0, "float8": 1.0, "8bit": 1.0, "4bit": 0.5}
SHARE = 0.9  # of the device's memory that is used: the rest is for activations and fragments


@dataclass(frozen=True, slots=True)
class Layers:
    """Layers that look back over the whole context, and those that look back over a window of tokens."""

    full: int
    windowed: int
    window: int | None


@dataclass(frozen=True, slots=True)
class Footprint:
    """What a model needs, in bytes. `cache_bytes_per_token` None: unknown, and `reason` says why."""

    weight_bytes: float
    cache_bytes_per_token: float | None  # while no window is full
    layers: Layers | None = None
    context_length: int | None = None
    reason: str | None = None
    cache_heads: int = 1  # parts into which the cache of a token can be divided, a chip each

    def cache_bytes(self, tokens: float) -> float | None:
        """Returns the cache of one sequence of `tokens`: a windowed layer keeps no more than its window."""
        layers = self.layers
        if self.cache_bytes_per_token is None or layers is None:
            return None
        kept = layers.full * tokens + layers.windowed * min(tokens, layers.window or tokens)
        return self.cache_bytes_per_token / (layers.full + layers.windowed) * kept

    def concurrency(self, memory_bytes: float, context: int) -> int | None:
        """Returns how many sequences of `context` tokens fit beside the weights; None if the cache is unknown."""
        one = self.cache_bytes(context)
        if one is None:
            return None
        return max(0, int((memory_bytes * SHARE - self.weight_bytes) // one))

    def largest_context(self, memory_bytes: float, concurrency: int = 1) -> int | None:
        """Returns the longest context (at most the model's own) at which `concurrency` sequences fit."""
        if self.cache_bytes_per_token is None or self.context_length is None:
            return None
        low, high = 0, self.context_length  # low fits
        while low < high:
            middle = (low + high + 1) // 2
            if (self.concurrency(memory_bytes, middle) or 0) >= concurrency:
                low = middle
            else:
                high = middle - 1
        return low


def footprint(
    config: Mapping[str, object], *, parameters: int, dtype: str = "bfloat16", cache_dtype: str | None = None
) -> Footprint:
    """Returns what a model with this `config.json` and so many parameters needs in `dtype`.

    `cache_dtype`: of the cache, if another. `parameters` is in the files' headers, or from `count_parameters`.
    """
    weights = parameters * NUMBER_BYTES[dtype]
    number = NUMBER_BYTES[cache_dtype or ("bfloat16" if dtype in {"8bit", "4bit", "float8"} else dtype)]
    text = text_config(config)
    context = whole(text, "max_position_embeddings", "n_positions", "n_ctx")
    layers = _layers(text)
    cached = _cached_numbers(text)
    if layers is None or cached is None:
        kind = text.get("model_type", "this architecture")
        return Footprint(weights, None, None, context, f"the state of {kind} is no key-value cache known here")
    width, heads = cached
    cache = (layers.full + layers.windowed) * width * number
    return Footprint(weights, cache, layers, context, cache_heads=heads)


def text_config(config: Mapping[str, object]) -> dict[str, object]:
    """Returns a `config.json` with what it says of its text model in place."""
    inner = config.get("text_config")
    return {**config, **(inner if isinstance(inner, dict) else {})}


def whole(text: Mapping[str, object], *names: str) -> int | None:
    """Returns the first of these keys that holds a number above zero; other architectures hold lists there."""
    return next((value for name in names if isinstance(value := text.get(name), int) and value > 0), None)


def _layers(text: Mapping[str, object]) -> Layers | None:
    """Returns the layers by how far they look back; None where any of them is no attention at all."""
    count = whole(text, "num_hidden_layers", "n_layer", "num_layers")
    if count is None:
        return None
    window = whole(text, "sliding_window")
    kinds = text.get("layer_types")
    if kinds is not None:
        if not isinstance(kinds, list) or not set(map(str, kinds)) <= {"full_attention", "sliding_attention"}:
            return None
        windowed = kinds.count("sliding_attention")
        return Layers(len(kinds) - windowed, windowed, window)
    if text.get("use_sliding_window", window is not None) and window:
        return Layers(0, count, window)
    return Layers(count, 0, None)


def _cached_numbers(text: Mapping[str, object]) -> tuple[int, int] | None:
    """Returns how many numbers one layer keeps for one token, and for how many heads; None if that is not known."""
    if rank := whole(text, "kv_lora_rank"):  # multi-head latent attention, as servers cache it: one for all heads
        return rank + (whole(text, "qk_rope_head_dim") or 0), 1
    heads = whole(text, "num_attention_heads", "n_head")
    hidden = whole(text, "hidden_size", "n_embd", "d_model")
    if heads is None or hidden is None or text.get("state_size"):
        return None
    shared = 1 if text.get("multi_query") else heads
    groups = whole(text, "num_key_value_heads", "num_kv_heads") or shared
    return 2 * groups * (whole(text, "head_dim") or hidden // heads), groups


def count_parameters(config_file: Path) -> int:
    """Returns the parameters of the model that a `config.json` describes, as `parameter_sizes` counts them."""
    return sum(parameter_sizes(config_file).values())


def parameter_sizes(config_file: Path) -> dict[str, int]:
    """Returns the parameters of the model that a `config.json` describes, by tensor: built without memory or weights.

    Takes seconds (transformers is imported). The folder has to be one that `models.check_safe` accepts.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(config_file.parent, local_files_only=True, trust_remote_code=False)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    model.tie_weights()
    return {name: parameter.numel() for name, parameter in model.named_parameters()}
