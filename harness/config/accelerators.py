"""Accelerators that a machine file may name, with the peak figures of their makers' data sheets."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Chip:
    """Peak figures of one accelerator, dense (without sparsity). None: it cannot, or its sheet does not tell."""

    flops: float  # operations a second in 16 bit
    bytes_per_s: float  # of its memory
    memory_bytes: float
    flops_8bit: float | None = None  # in 8-bit floats; None: such weights are computed with in 16 bit
    flops_32bit: float | None = None  # without TF32
    link_bytes_per_s: float | None = None  # to the other chips of its machine, in one direction


CHIPS = {
    "l4": Chip(121e12, 300e9, 24e9, 242e12, 30.3e12, 32e9),  # PCIe 4.0 x16
    "a100": Chip(312e12, 2.039e12, 80e9, None, 19.5e12, 300e9),  # SXM, 80 GB; its 8-bit figure is of integers
    "h100": Chip(989e12, 3.35e12, 80e9, 1979e12, 67e12, 450e9),  # SXM
    "h200": Chip(989e12, 4.8e12, 141e9, 1979e12, 67e12, 450e9),  # SXM
}
