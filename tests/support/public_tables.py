"""NVIDIA's published speeds of busy servers, for tests of the fit and of the projection."""

from __future__ import annotations

from harness.cost.capacity import Shape

# Saturated output tokens/s by (input, output) lengths: NVIDIA TensorRT-LLM docs/source/performance/perf-overview.md
LENGTHS = [
    (128, 128),
    (128, 2048),
    (128, 4096),
    (500, 2000),
    (1000, 1000),
    (1000, 2000),
    (2048, 128),
    (2048, 2048),
    (5000, 500),
    (20000, 2000),
]
LLAMA_70B_H200 = (3803, 4336, 2872, 3666, 2909, 2994, 442, 2003, 566, 283)
LLAMA_70B_2_H100 = (6378, 6651, 4199, 5222, 4205, 4146, 762, 3082, 898, 437)
LLAMA_8B_H200 = (27911, 26221, 18027, 20770, 17744, 16828, 3538, 12194, 3902, 1804)
LLAMA_8B_H100 = (28312, 22714, 14325, 17660, 15220, 13899, 3450, 9305, 3459, 1351)


def table(speeds, gpus=1) -> list[Shape]:
    return [Shape(i, o, gpus * o / speed) for (i, o), speed in zip(LENGTHS, speeds, strict=True)]
