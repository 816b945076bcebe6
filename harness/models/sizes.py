"""How many parameters and bytes a model folder holds, and how many of them a token uses."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from harness.errors import ModelError
from harness.models.files import DTYPE_BITS, _read_json, _weights, read_header

EXPERTS = ("num_local_experts", "n_routed_experts", "num_experts", "moe_num_experts")  # of a layer
CHOSEN = ("num_experts_per_tok", "moe_topk", "moe_k", "top_k_experts")  # of them, for each token
ROUTED = ".experts."  # in the name of a tensor that holds experts a token may choose; shared ones are named otherwise


def active_parameters(folder: Path) -> int | None:
    """Returns how many numbers are used for each token: of experts, those that are chosen. None if packed (4-bit)."""
    try:
        config = _read_json(folder / "config.json")
        sizes = stored_sizes(folder, config)
    except (OSError, ModelError):
        return None
    return None if sizes is None else used_of(config, sizes)


def stored_sizes(folder: Path, config: Mapping[str, object]) -> dict[str, int] | None:
    """Returns the numbers of each tensor in the weights; None where several are packed into one, as 4-bit ones are.

    Quantized weights are packed unless most are stored in 8 bit, as they are. Raises ModelError for a broken header.
    """
    tensors = {name: tensor for file in _weights(folder) for name, tensor in read_header(file).items()}
    sizes = {name: math.prod(tensor["shape"]) for name, tensor in tensors.items()}
    by_dtype: Counter[str] = Counter()
    for name, tensor in tensors.items():
        by_dtype[tensor["dtype"]] += sizes[name]
    if not tensors or any(DTYPE_BITS[dtype] < 8 for dtype in by_dtype):
        return None
    plain = by_dtype.most_common(1)[0][0].startswith(("F8_", "I8"))
    return sizes if plain or "quantization_config" not in config else None


def used_of(config: Mapping[str, object], sizes: Mapping[str, int]) -> int | None:
    """Returns the numbers of so many a tensor that one token uses: all, but of routed experts the chosen share.

    None where the model has experts and its configuration does not tell how many a token chooses, or its tensors'
    names not which of them are experts.
    """
    inner = config.get("text_config")
    config = {**config, **(inner if isinstance(inner, dict) else {})}
    experts = next((config[key] for key in EXPERTS if config.get(key)), None)
    routed = sum(size for name, size in sizes.items() if ROUTED in name)
    if experts is None and not routed:
        return sum(sizes.values())
    chosen = next((config[key] for key in CHOSEN if config.get(key)), None)
    if not routed or not isinstance(experts, int) or not isinstance(chosen, int) or not 0 < chosen <= experts:
        return None
    return sum(sizes.values()) - routed + round(routed * chosen / experts)
