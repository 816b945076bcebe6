"""How much memory there is, how many tokens fit in it, and what to do when it runs out."""

from __future__ import annotations

import os
from typing import Any

import torch

from harness.engine.loaded import LoadedModel

# Tokens at which a device's matrix products are at full speed: more in a batch would only cost memory.
FULL_SPEED_TOKENS = {"cpu": 1024, "mps": 4096, "cuda": 16384}
FEWEST_TOKENS = 64
USABLE_SHARE = 0.5  # of the free memory: the rest is for what is not counted here, and for other programs


def token_budget(loaded: LoadedModel, *, deterministic: bool = False) -> int:
    """Returns how many tokens to forward in one batch: what the device needs to be busy, less if memory is short.

    deterministic: do not look at free memory, so that every run composes its batches alike.
    """
    fast = FULL_SPEED_TOKENS.get(loaded.device.type, FULL_SPEED_TOKENS["cpu"])
    free = None if deterministic else free_bytes(loaded.device)
    if free is None:
        return fast
    return max(FEWEST_TOKENS, min(fast, int(free * USABLE_SHARE) // bytes_per_token(loaded.model)))


def bytes_per_token(model: Any) -> int:
    """Returns an estimate of the memory one forwarded token takes while a layer runs, in bytes.

    The widest layer's input and output (twice: gated feed-forward layers hold two), the residual stream, and the keys
    and values of eight earlier tokens, which is how far a batch's cache may exceed its tokens.
    """
    head = model.get_output_embeddings()
    linear = [m for m in model.modules() if isinstance(m, torch.nn.Linear) and m is not head]
    widest = max((m.out_features + m.in_features for m in linear), default=4096)
    hidden: int = model.get_input_embeddings().weight.shape[1]
    return (2 * widest + 24 * hidden) * torch.finfo(model.dtype).bits // 8


def free_bytes(device: Any) -> int | None:
    """Returns the memory free on a device, in bytes; None where it cannot be told."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    if device.type == "mps":
        return torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # Windows has no sysconf
        return None


def peak_bytes(device: Any) -> int | None:
    """Returns the most memory held so far, in bytes: of the device, or of this process on the CPU; None if unknown."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if device.type == "mps":
        return torch.mps.driver_allocated_memory()
    try:
        import resource
    except ImportError:  # Windows
        return None
    import sys

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def out_of_memory(error: BaseException) -> bool:
    """Returns whether an error says that a device has no memory left."""
    words = str(error).lower()
    return isinstance(error, torch.OutOfMemoryError) or "out of memory" in words or "can't allocate memory" in words


def release() -> None:
    """Gives cached device memory back. Call it outside the `except` block, whose traceback keeps tensors alive."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    elif torch.backends.mps.is_available():
        torch.mps.empty_cache()
