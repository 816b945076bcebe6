"""Matrix products in fp32 on processors where the library that torch asks for them is not the fastest it has."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import torch

LEAST_WEIGHTS = 2**17  # of a layer; below that the call costs more than the product


class _Linear(torch.nn.Linear):
    """A linear layer whose product oneDNN computes, on the weights as they lie."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = torch.ops.mkldnn._linear_pointwise(input, self.weight, self.bias, "none", [], "")
        return out


def quicken(model: Any) -> int:
    """Lets the larger fp32 linear layers of a model on the CPU use oneDNN; returns how many do.

    torch asks MKL for products in fp32, which keeps to narrow instructions off Intel's processors. On an AMD EPYC with
    AVX-512 oneDNN was 2.3 times as fast (`tests/benchmarks/scoring.py` measures both). Results differ by rounding.
    Which library is used depends on the processor alone, so that runs on one machine are bit-equal.
    """
    if not _is_mkl_slow():
        return 0
    found = [module for module in model.modules() if type(module) is torch.nn.Linear and _gains(module)]
    for module in found:
        module.__class__ = _Linear
    return len(found)


def _gains(module: Any) -> bool:
    weight = module.weight
    large = weight.dtype == torch.float32 and weight.device.type == "cpu" and weight.numel() >= LEAST_WEIGHTS
    return large and not hasattr(module, "_hf_hook")  # accelerate moves the weights of these in and out


@cache
def _is_mkl_slow() -> bool:
    wide = torch.backends.cpu.get_cpu_capability().startswith("AVX512")
    both = torch.backends.mkl.is_available() and torch.backends.mkldnn.is_available()
    return wide and both and _vendor() != "GenuineIntel"


def _vendor() -> str | None:
    """Returns who made the processor, None where the system does not tell."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("vendor_id")), None)
