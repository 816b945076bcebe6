"""Files of a model folder, read as bytes and JSON: headers of safetensors, and nothing that could run code."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.errors import ModelError

DTYPE_BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "U16": 16, "I16": 16, "U32": 32, "I32": 32, "U64": 64, "I64": 64,
    "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8,
    "F8_E5M2FNUZ": 8, "F16": 16, "BF16": 16, "F32": 32, "F64": 64, "C64": 64,
}  # fmt: skip
MAX_HEADER = 100_000_000  # bytes; the safetensors library's own limit
MAX_JSON = 50_000_000  # bytes; a configuration file of 50 MB is an attack
MAX_DEPTH = 40  # of nested JSON


def _weights(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.safetensors"))


def _read_json(file: Path) -> dict[str, Any]:
    """Returns the object in a JSON file. Raises ModelError if it is anything else, twice-keyed, too big or too deep."""
    if file.stat().st_size > MAX_JSON:
        raise ModelError(f"larger than {MAX_JSON} bytes", where=str(file), fix="get the model's files again")

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = Counter(name for name, _ in pairs)
        twice = [name for name, count in names.items() if count > 1]
        if twice:
            raise ValueError(f"the key '{twice[0]}' stands twice in one object")
        return dict(pairs)

    try:
        content = json.loads(file.read_text(encoding="utf-8"), object_pairs_hook=once)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"not valid JSON: {error}", where=str(file), fix="get the model's files again") from None
    if not isinstance(content, dict):
        raise ModelError("not a JSON object", where=str(file), fix="get the model's files again")
    return content


def _walk(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yields every (path of keys, value) below `value`."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*path, str(key)), inner
        if len(path) < MAX_DEPTH:
            yield from _walk(inner, (*path, str(key)))


def read_header(file: Path) -> dict[str, dict[str, Any]]:
    """Returns {tensor name: {"dtype", "shape", "data_offsets"}} of a safetensors file.

    Raises ModelError unless the header is JSON within MAX_HEADER bytes and the tensors fill the rest of the file
    without gap or overlap, each with a known dtype and the bytes its shape needs.
    """
    size = file.stat().st_size

    def broken(why: str) -> ModelError:
        return ModelError(f"not a sound safetensors file: {why}", where=str(file), fix="get the model's files again")

    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if size < 8 or length > size - 8:
            raise broken(f"its header claims {length} bytes, the file has {size}")
        if length > MAX_HEADER:
            raise broken(f"its header of {length} bytes is over the limit of {MAX_HEADER}")
        text = stream.read(length)

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({name for name, _ in pairs}) < len(pairs):
            raise ValueError("a name stands twice")
        return dict(pairs)

    try:
        header = json.loads(text, object_pairs_hook=once)
    except (ValueError, RecursionError) as error:
        raise broken(f"its header is not JSON ({error})") from None
    if not isinstance(header, dict):
        raise broken("its header is not an object")
    notes = header.pop("__metadata__", {})
    if not isinstance(notes, dict) or not all(isinstance(value, str) for value in notes.values()):
        raise broken("__metadata__ is not an object of texts")
    spans = []
    for name, tensor in header.items():
        wrong = _wrong_tensor(tensor)
        if wrong:
            raise broken(f"tensor '{name[:60]}' {wrong}")
        spans.append((*tensor["data_offsets"], name))
    end = 0
    for first, last, name in sorted(spans):
        if first != end:
            raise broken(f"tensor '{name[:60]}' starts at byte {first}, the one before it ends at {end}")
        end = last
    if end != size - 8 - length:
        raise broken(f"its tensors end at byte {end}, its data at {size - 8 - length}")
    return header


def _wrong_tensor(tensor: Any) -> str | None:
    """Returns what is wrong with one entry of a header, or None."""
    if not isinstance(tensor, dict) or set(tensor) != {"dtype", "shape", "data_offsets"}:
        return "has not exactly dtype, shape and data_offsets"
    shape, offsets = tensor["shape"], tensor["data_offsets"]
    if tensor["dtype"] not in DTYPE_BITS:
        return f"has the unknown dtype {str(tensor['dtype'])[:20]!r}"
    if not isinstance(shape, list) or not all(type(n) is int and n >= 0 for n in shape):
        return "has a shape that is not a list of sizes"
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(type(n) is int and n >= 0 for n in offsets):
        return "has data_offsets that are not two positions"
    if (offsets[1] - offsets[0]) * 8 != math.prod(shape) * DTYPE_BITS[tensor["dtype"]]:
        return f"has {offsets[1] - offsets[0]} bytes, which its shape and dtype do not need"
    return None
