"""All that is known of a model folder, and what of it fits into so much free memory: `harness models`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from harness.models import find, safety
from harness.models.footprint import footprint
from harness.models.info import ModelInfo, digest_model, inspect_model
from harness.models.openness import Openness, describe

CONCURRENCY = (1, 8, 64)  # sequences at a time for which the largest context is given
_DTYPES = {"F32": "float32", "BF16": "bfloat16", "F16": "float16", "F8_E4M3": "float8", "F8_E5M2": "float8"}


@dataclass(frozen=True, slots=True)
class Fit:
    """The bytes a model takes as stored, and the context and concurrency that then fit. None is unknown."""

    weight_bytes: int
    cache_bytes_per_token: float | None
    reason: str | None  # why the cache is unknown
    free_bytes: float
    free_on: str  # "main memory", "GPU 0"
    largest_context: Mapping[int, int | None]  # tokens, by how many sequences there are at a time
    concurrency_at_full_context: int | None

    def as_json(self) -> dict[str, object]:
        """Returns the fit as JSON values."""
        return {**asdict(self), "largest_context": {str(n): tokens for n, tokens in self.largest_context.items()}}


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """What a model folder holds and declares."""

    path: Path
    info: ModelInfo
    openness: Openness
    memory: Fit
    files: Mapping[str, str]  # sha256 by name, of its top level

    def as_json(self) -> dict[str, object]:
        """Returns all of it as JSON values, what its headers tell on the top level."""
        known = {**asdict(self.info), "openness": asdict(self.openness), "memory": self.memory.as_json()}
        return {"path": str(self.path), **known, "files": dict(self.files)}


def demo_names() -> list[str]:
    """Returns the names of the demo models that ship with the package."""
    return sorted(path.name for path in find.DEMO.iterdir() if path.is_dir())


def read_folder(name: str, free_bytes: float, free_on: str) -> ModelFolder:
    """Returns what is known of a model folder, demo model or hub id, with what fits into so much memory.

    Reads all of its bytes, and loads nothing. Raises ModelError for a folder that is missing or not safe to load.
    """
    path = find.resolve_model(name)
    safety.check_safe(path)
    info = inspect_model(path)
    memory = fit(path, info.bytes, info.dtype, free_bytes, free_on)
    return ModelFolder(path, info, describe(path), memory, digest_model(path))


def fit(folder: Path, weight_bytes: int, dtype: str | None, free_bytes: float, free_on: str) -> Fit:
    """Returns what a model takes as stored, and the context and concurrency that fit into the free memory."""
    file = folder / "config.json"
    content = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    cache = _DTYPES.get(str(dtype), "bfloat16")
    needs = replace(footprint(content, parameters=0, dtype=cache), weight_bytes=weight_bytes)
    full = needs.context_length
    return Fit(
        weight_bytes=weight_bytes,
        cache_bytes_per_token=needs.cache_bytes_per_token,
        reason=needs.reason,
        free_bytes=free_bytes,
        free_on=free_on,
        largest_context={n: needs.largest_context(free_bytes, n) for n in CONCURRENCY},
        concurrency_at_full_context=None if full is None else needs.concurrency(free_bytes, full),
    )
