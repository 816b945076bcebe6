"""What a model folder says of itself: architecture, context, licence, chat template, and the digest of its weights.

Only files are read: no pickle is opened, no code from the folder runs, and torch is not imported.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from harness.config.model import hub_id
from harness.models.files import _read_json, _weights, read_header


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What a model folder says of itself. None: it does not say."""

    name: str
    architecture: str | None
    parameters: int  # numbers stored in the weights
    dtype: str | None  # of most of them, as safetensors names it
    bytes: int  # of all weight files
    context_length: int | None  # tokens
    has_chat_template: bool
    chat_template_sha256: str | None
    licence: str | None  # as the model card declares it
    base_model: str | None


def inspect_model(folder: Path) -> ModelInfo:
    """Returns what is known of the folder from its files' headers. Raises ModelError if a header is broken."""
    tensors = [tensor for file in _weights(folder) for tensor in read_header(file).values()]
    by_dtype: Counter[str] = Counter()
    for tensor in tensors:
        by_dtype[tensor["dtype"]] += math.prod(tensor["shape"])
    config = _read_json(folder / "config.json") if (folder / "config.json").is_file() else {}
    card = front_matter(folder / "README.md")
    template = chat_template(folder)
    base = card.get("base_model")
    return ModelInfo(
        name=hub_id(folder.resolve()),
        architecture=next(iter(config.get("architectures") or []), None),
        parameters=by_dtype.total(),
        dtype=by_dtype.most_common(1)[0][0] if by_dtype else None,
        bytes=sum(file.stat().st_size for file in _weights(folder)),
        context_length=context_length(config),
        has_chat_template=template is not None,
        chat_template_sha256=None if template is None else hashlib.sha256(template.encode()).hexdigest(),
        licence=card.get("license_name") or card.get("license"),
        base_model=base[0] if isinstance(base, list) and base else base or None,
    )


def with_template_of(info: ModelInfo, adapter: Path) -> ModelInfo:
    """Returns what is known of a model with an adapter, whose own chat template goes before the model's."""
    template = chat_template(adapter)
    if template is None:
        return info
    return replace(info, has_chat_template=True, chat_template_sha256=hashlib.sha256(template.encode()).hexdigest())


def digest_model(folder: Path) -> dict[str, str]:
    """Returns the sha256 of every file of the folder's top level, by name. Reads all weights: seconds per GB."""
    digests = {}
    for file in sorted(p for p in folder.iterdir() if p.is_file()):
        with file.open("rb") as stream:
            digests[file.name] = hashlib.file_digest(stream, "sha256").hexdigest()
    return digests


ADAPTER = "adapter/"  # before the names of an adapter's files, beside those of the model


def deciding(files: Mapping[str, str]) -> dict[str, str]:
    """Returns the files of a model folder that could change an answer.

    The card, the licence and the list of what was released cannot.
    """
    about = (".md", ".txt", ".yml")
    return {name: sha for name, sha in files.items() if not name.endswith(about) or name == "merges.txt"}


def context_length(config: Mapping[str, Any]) -> int | None:
    """Returns the longest sequence in tokens that a config.json states, the text model's first."""
    text = config.get("text_config")
    for part in (text if isinstance(text, dict) else {}, config):
        for key in ("n_positions", "max_position_embeddings", "n_ctx", "max_seq_len", "max_sequence_length"):
            if type(length := part.get(key)) is int and length > 0:
                return length
    return None


def chat_template(folder: Path) -> str | None:
    """Returns the source of the default chat template, or None if the model has none."""
    file = folder / "chat_template.jinja"
    if file.is_file():
        return file.read_text(encoding="utf-8")
    for name in ("chat_template.json", "tokenizer_config.json"):
        found = _read_json(folder / name).get("chat_template") if (folder / name).is_file() else None
        if isinstance(found, list):  # several, by name
            named = {item.get("name"): item.get("template") for item in found if isinstance(item, dict)}
            found = named.get("default")
        if isinstance(found, str):
            return found
    return None


def has_tokenizer(folder: Path) -> bool:
    """Returns whether a folder has a tokenizer of its own, and not its settings alone."""
    files = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "*.tiktoken", "tekken.json")
    return any(any(folder.glob(name)) for name in files)


def front_matter(card: Path) -> dict[str, Any]:
    """Returns the keys at the head of a model card; none where there are none, or they cannot be read."""
    if not card.is_file():
        return {}
    parts = card.read_text(encoding="utf-8", errors="replace")[:100_000].split("---\n", 2)
    if len(parts) < 3 or parts[0].strip("\ufeff \n"):
        return {}
    try:
        content = yaml.safe_load(parts[1])
    except yaml.YAMLError:
        return {}
    return content if isinstance(content, dict) else {}
