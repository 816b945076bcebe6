"""What a model folder is, and whether it is safe to load.

Everything here reads files and never builds a model: no pickle is opened, no code from the folder runs, and torch is
not imported. `check_safe` looks at the folder before transformers does.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml

from harness.config.files import bundled
from harness.config.yaml_file import read_yaml
from harness.errors import BackendError, ModelError, nearest

OWN_BACKEND = ("openai", "anthropic", "google")  # providers with a backend of that name
DEMO = Path(__file__).parent / "demo" / "models"
PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib", ".npy", ".npz", ".msgpack", ".h5")
FLOORS = {  # oldest version without a known way to run code from a model folder
    "torch": "2.10",  # CVE-2026-24747
    "transformers": "5.3",  # CVE-2026-4372, CVE-2026-5241
    "jinja2": "3.1.6",  # CVE-2025-27516
}
DTYPE_BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "U16": 16, "I16": 16, "U32": 32, "I32": 32, "U64": 64, "I64": 64,
    "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8,
    "F8_E5M2FNUZ": 8, "F16": 16, "BF16": 16, "F32": 32, "F64": 64, "C64": 64,
}  # fmt: skip
MAX_HEADER = 100_000_000  # bytes; the safetensors library's own limit
MAX_JSON = 50_000_000  # bytes; a configuration file of 50 MB is an attack
MAX_DEPTH = 40  # of nested JSON
MAX_TEMPLATE = 500_000  # characters; the longest in use has about 20,000


# --- finding ---------------------------------------------------------------------------------------------------------


def resolve_model(path: str | Path, *, revision: str | None = None, trust_remote_code: bool = False) -> Path:
    """Returns the folder of a model: itself, a bundled demo model by name, or a hub id's files on this machine.

    A hub id is looked up in the local cache first; only what is not there is fetched, and only weights in
    safetensors, settings, tokenizer and texts. Raises ModelError with the near match if there is no such model, and
    for one that is known to be asked at a provider, before anything is looked up.
    """
    text = str(path)
    folder = Path(text).expanduser()
    if folder.is_dir():
        return folder
    if folder.is_file():
        raise ModelError("a model is a folder, and this is a file", where=text, fix=f"give its folder: {folder.parent}")
    if (DEMO / text).is_dir() and re.fullmatch(r"[\w.-]+", text):
        return DEMO / text
    _refuse_served(text)
    if re.fullmatch(r"[\w.-]+/[\w.-]+", text) and not text.startswith(".") and not folder.parent.is_dir():
        return _from_hub(text, revision, trust_remote_code)
    beside = _models_in(folder.parent)
    fix = nearest(folder.name, beside) if "/" in text else nearest(text, beside | _models_in(DEMO))
    fix = fix or "give a folder, a demo model's name, or a hub id org/name"
    raise ModelError(f"no model folder '{text}'", where=str(folder.absolute()), fix=fix)


def _refuse_served(name: str) -> None:
    """Raises ModelError for a model of the price file, by its name or PROVIDER/NAME: providers give out no weights."""
    for listed in read_yaml(bundled("configs") / "prices" / "api.yaml").data["prices"]:
        provider, model = listed["provider"], listed["model"]
        if name in (model, f"{provider}/{model}"):
            own = f"backend: {provider}" if provider in OWN_BACKEND else "backend: openai, base_url: ..."
            what = f"'{name}' is asked at a provider ({provider}), and is no model folder"
            raise ModelError(what, where=f"model {name}", fix=f"name it in a run file: `- {{name: {model}, {own}}}`")


def _models_in(folder: Path) -> set[str]:
    """Returns the names of the folders in a folder that can be a model or an adapter; hidden ones are not offered."""
    files = (file for name in ("config.json", "adapter_config.json") for file in folder.glob(f"*/{name}"))
    return {file.parent.name for file in files if not file.parent.name.startswith(".")}


def unreadable(folder: Path, error: Exception) -> ModelError:
    """Returns what to tell where transformers cannot open the tokenizer or the weights of a folder."""
    files = [name for pattern in ("tok*", "vocab*", "*.tiktoken", "*.model") for name in folder.glob(pattern)]
    fix = "get all files of the model again; some need a newer transformers"
    if not files:
        return ModelError("the model folder has no tokenizer", where=str(folder), fix=fix.split(";")[0])
    reason = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
    return ModelError(f"transformers cannot load the model: {reason}", where=str(folder), fix=fix)


def _from_hub(name: str, revision: str | None, trust_remote_code: bool) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    patterns = ["*.safetensors", "*.json", "*.jinja", "*.model", "*.txt", "*.tiktoken", "*.md", "LICENSE*"]
    wanted = {"revision": revision, "allow_patterns": patterns + (["*.py"] if trust_remote_code else [])}
    try:
        return Path(snapshot_download(name, local_files_only=True, **wanted))
    except (LocalEntryNotFoundError, HFValidationError):
        pass  # not here yet
    try:
        return Path(snapshot_download(name, **wanted))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        reason = str(error).strip().splitlines()[0][:200]
        fix = "check the name and the connection, or give the path of a model folder"
        what = f"no model '{name}' on this machine, and the hub did not give it: {reason}"
        raise ModelError(what, where=f"hub id {name}, revision {revision or 'main'}", fix=fix) from None


# --- what it is ------------------------------------------------------------------------------------------------------


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
        name=folder.resolve().name,
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


def digest_model(folder: Path) -> dict[str, str]:
    """Returns the sha256 of every file of the folder's top level, by name. Reads all weights: seconds per GB."""
    digests = {}
    for file in sorted(p for p in folder.iterdir() if p.is_file()):
        with file.open("rb") as stream:
            digests[file.name] = hashlib.file_digest(stream, "sha256").hexdigest()
    return digests


def context_length(config: Mapping[str, Any]) -> int | None:
    """Returns the longest sequence in tokens that a config.json states, the text model's first."""
    for part in (config.get("text_config") or {}, config):
        for key in ("n_positions", "max_position_embeddings", "n_ctx"):
            if isinstance(part.get(key), int):
                return part[key]
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


# --- how many of its numbers a token uses ----------------------------------------------------------------------------

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


def stored_sizes(folder: Path, config: Mapping[str, Any]) -> dict[str, int] | None:
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


def used_of(config: Mapping[str, Any], sizes: Mapping[str, int]) -> int | None:
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


# --- safe loading ----------------------------------------------------------------------------------------------------

REFUSED_KEYS = {  # whatever their value: each of them has made transformers or peft import code
    "_attn_implementation_internal": "it can name a repository whose code is then run",
    "_experts_implementation_internal": "it can name a repository whose code is then run",
    "custom_pipelines": "it names Python code to run",
    "custom_generate": "it names Python code to run",
    "megatron_config": "it makes a Python package named in the file be imported",
}
CODE_KEYS = ("auto_map", "custom_code", "trust_remote_code")  # allowed once the run file says trust_remote_code
# Notes left by the training machine. Nothing follows them: the folder is always loaded by its own path.
NOTES = ("_name_or_path", "name_or_path", "model_name_or_path", "base_model_name_or_path", "special_tokens_map_file")
FOLLOWED = re.compile(r"file|path|repo|dir$|url|kernel|implementation|backbone|checkpoint", re.IGNORECASE)
ELSEWHERE = re.compile(r"^[/~\\]|\.\.|\\|://|^[A-Za-z]:|^[\w.@-]+/[\w./@:-]+$")


def check_versions() -> None:
    """Raises BackendError if an installed library is older than the first version that loads models safely."""
    from packaging.version import Version

    for name, floor in FLOORS.items():
        installed = metadata.version(name)
        if Version(installed) < Version(floor):
            what = f"{name} {installed} can be made to run code by a model's files"
            raise BackendError(what, fix=f"pip install '{name}>={floor}'")


def check_safe(folder: Path, *, trust_remote_code: bool = False, adapter: bool = False) -> None:
    """Raises ModelError, naming file and key, if loading the folder could run code or read outside of it.

    Refused: weights other than safetensors, broken or overlapping safetensors, shards elsewhere, links out of the
    folder, code named in any configuration file, model types transformers does not know, chat templates that do
    not render in a bounded sandbox. Not covered: faults in the libraries themselves above the floors of
    `check_versions`, and a template that behaves only until it sees a certain text.
    """
    _check_links(folder)
    _check_weights(folder)
    for file in sorted(folder.glob("*.json")):
        if "config" in file.name or file.name in ("special_tokens_map.json", "chat_template.json"):
            _lint(_read_json(file), file, trust_remote_code)
    _check_index(folder)
    for file in _weights(folder):
        read_header(file)
    if not adapter:
        _check_architecture(folder, trust_remote_code)
    elif not (folder / "adapter_config.json").is_file():
        raise ModelError("no adapter_config.json: this is not an adapter", where=str(folder), fix="give a PEFT adapter")
    for source, where in _templates(folder):
        _check_template(source, where)


def _weights(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.safetensors"))


def _check_links(folder: Path) -> None:
    home = folder.resolve()
    # The hub's cache keeps files under blobs/ and links to them from snapshots/<commit>/.
    homes = [home, home.parent.parent / "blobs"] if home.parent.name == "snapshots" else [home]
    for file in sorted(folder.rglob("*")):
        if file.is_symlink() and not any(file.resolve().is_relative_to(place) for place in homes):
            what = f"'{file.name}' is a link to a file outside the model's folder"
            raise ModelError(what, where=str(file), fix="copy the file into the folder if you trust it")


def _check_weights(folder: Path) -> None:
    if _weights(folder):
        return
    pickles = [p.name for p in sorted(folder.iterdir()) if p.suffix.lower() in PICKLES]
    if pickles:
        what = f"the weights are not in safetensors: {', '.join(pickles[:3])} can run any code when opened"
        raise ModelError(what, where=str(folder), fix="convert them to safetensors on a machine you can lose")
    raise ModelError("no weights: there is no .safetensors file", where=str(folder), fix="give a complete model folder")


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


def _lint(content: dict[str, Any], file: Path, trust_remote_code: bool) -> None:
    for path, value in _walk(content):
        key, dotted, where = path[-1], ".".join(path[:6]), str(file)
        if len(path) > MAX_DEPTH:
            raise ModelError(f"nested deeper than {MAX_DEPTH} levels at {dotted}", where=where, fix="do not load it")
        if value in (None, False, "", [], {}):
            continue
        if key in REFUSED_KEYS:
            raise ModelError(f"the key '{dotted}' is refused: {REFUSED_KEYS[key]}", where=where, fix="remove the key")
        if key in CODE_KEYS and not trust_remote_code:
            what = f"the key '{dotted}' makes Python code from the model's repository run"
            fix = "read that code, then set trust_remote_code: true for this model in the run file"
            raise ModelError(what, where=where, fix=fix)
        owner = next((name for name in reversed(path) if not name.isdigit()), key)  # of an item of a list: the list
        inside_code_map = trust_remote_code and any(name in CODE_KEYS for name in path)
        followed = FOLLOWED.search(owner) and owner not in NOTES and not inside_code_map
        if isinstance(value, str) and followed and ELSEWHERE.search(value):
            what = f"the key '{dotted}' points outside the model's folder: {value[:80]!r}"
            raise ModelError(what, where=where, fix="remove the key, or give a file name inside the folder")
        if key == "parent_library" and not re.fullmatch(r"transformers(\.\w+)*", str(value)):
            what = f"the key '{dotted}' names a Python package to import: {str(value)[:80]!r}"
            raise ModelError(what, where=where, fix="remove the key")
        if key.endswith("_class") and isinstance(value, str) and not re.fullmatch(r"\w+", value):
            raise ModelError(f"the key '{dotted}' is not a class name: {value[:80]!r}", where=where, fix="remove it")


def _check_architecture(folder: Path, trust_remote_code: bool) -> None:
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    file = folder / "config.json"
    if (folder / "adapter_config.json").is_file():
        # transformers would go and load whatever base model this file names.
        what, fix = "this is an adapter, not a model", "give the base model as path and this folder as adapter"
        raise ModelError(what, where=str(folder), fix=fix)
    if not file.is_file():
        fix = "get that file from where the model came from: it says what the model is"
        raise ModelError("the model folder has no config.json", where=str(folder), fix=fix)
    config = _read_json(file)
    if trust_remote_code and config.get("auto_map"):
        return
    for path, value in [((), config), *_walk(config)]:
        kind = value.get("model_type") if isinstance(value, dict) else None
        if kind is not None and kind not in CONFIG_MAPPING_NAMES:
            what = f"transformers knows no model_type {str(kind)[:60]!r}"
            near = nearest(str(kind), CONFIG_MAPPING_NAMES)
            raise ModelError(what, where=f"{file}, {'.'.join(path) or 'top level'}", fix=near)
    kind = config.get("model_type")
    if kind is None:
        raise ModelError("config.json names no model_type", where=str(file), fix="get the model's files again")
    if kind not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        what = f"'{kind}' is not a causal language model"
        raise ModelError(what, where=str(file), fix="give a model that AutoModelForCausalLM loads")
    for name in config.get("architectures") or []:
        if not isinstance(name, str) or not re.fullmatch(r"\w+", name):
            what = f"architectures holds {str(name)[:60]!r}, which is not a class name"
            raise ModelError(what, where=str(file), fix="get the model's files again")


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


def _check_index(folder: Path) -> None:
    for file in sorted(folder.glob("*.index.json")):
        if ".safetensors." not in file.name:
            continue  # of pickled shards, which are never read
        shards = _read_json(file).get("weight_map")
        if not isinstance(shards, dict) or not shards:
            raise ModelError("the shard index has no weight_map", where=str(file), fix="get the model's files again")
        for shard in sorted(set(map(str, shards.values()))):
            if not re.fullmatch(r"[\w.-]+\.safetensors", shard):
                what = f"the shard index names {shard[:80]!r}, which is not a safetensors file of this folder"
                raise ModelError(what, where=str(file), fix="get the model's files again")
            if not (folder / shard).is_file():
                what = f"the shard '{shard}' is missing"
                raise ModelError(what, where=str(file), fix="complete the download")


# --- chat templates --------------------------------------------------------------------------------------------------


def _templates(folder: Path) -> Iterator[tuple[str, str]]:
    """Yields (source, where) of every chat template in the folder, default or not."""
    for file in sorted([*folder.glob("*.jinja"), *folder.glob("additional_chat_templates/*.jinja")]):
        yield file.read_text(encoding="utf-8", errors="replace"), str(file)
    for file in (folder / "tokenizer_config.json", folder / "chat_template.json"):
        found = _read_json(file).get("chat_template") if file.is_file() else None
        if isinstance(found, str):
            yield found, f"{file}, chat_template"
        elif isinstance(found, list):
            for item in found:
                if isinstance(item, dict) and isinstance(item.get("template"), str):
                    yield item["template"], f"{file}, chat_template '{item.get('name')}'"


def _check_template(source: str, where: str) -> None:
    """Raises ModelError if the template is too long, has `**`, or does not render within bounds in a child process.

    Jinja's sandbox keeps a template from reaching Python, but not from filling memory. The child has 2 seconds of
    processor time and 512 MB. A template may fail on the trial's messages (some accept no system message): that is
    fine. It may not run out of time or memory, nor try to leave the sandbox.
    """
    if len(source) > MAX_TEMPLATE:
        raise ModelError(f"the chat template has {len(source)} characters", where=where, fix="do not load it")
    from jinja2 import Environment, TemplateSyntaxError, nodes

    try:
        tree = Environment(extensions=["jinja2.ext.loopcontrols"]).parse(GENERATION_TAGS.sub("", source))
    except (TemplateSyntaxError, RecursionError) as error:
        raise ModelError(f"the chat template does not parse: {error}", where=where, fix="mend or remove it") from None
    powers = next(tree.find_all(nodes.Pow), None)
    if powers is not None:
        what = f"the chat template raises to a power in line {powers.lineno}: it could fill the memory"
        raise ModelError(what, where=where, fix="remove it if you trust the rest")
    foreign = next(tree.find_all((nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends)), None)
    if foreign is not None:
        what = f"the chat template includes another file in line {foreign.lineno}"
        raise ModelError(what, where=where, fix="do not load it")
    why = _trial(GENERATION_TAGS.sub("", source))
    if why:
        raise ModelError(f"the chat template {why}", where=where, fix="do not use it: set chat_template: off")


# Tags that transformers adds to the language to mark the assistant's tokens; they print nothing.
GENERATION_TAGS = re.compile(r"{%-?\s*(?:end)?generation\s*-?%}")

_TRIAL = r"""
import datetime, json, sys
from jinja2.exceptions import SecurityError, TemplateError
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment
try:
    import resource
    resource.setrlimit(resource.RLIMIT_CPU, (2, 2))
    resource.setrlimit(resource.RLIMIT_AS, (1 << 29, 1 << 29))
except (ImportError, ValueError, OSError):
    pass  # no such limits here: the clock's stays
source = sys.stdin.read()
def refuse(message): raise TemplateError(message)
environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])
environment.filters["tojson"] = lambda value, **options: json.dumps(value, ensure_ascii=False)
environment.globals.update(raise_exception=refuse, strftime_now=datetime.datetime.now().strftime)
said = (("system", "Be brief."), ("user", "Hi"), ("assistant", "Yes?"), ("user", "Why?"))
turns = [{"role": role, "content": content} for role, content in said]
for messages in (turns, turns[1:2]):
    try:
        text = environment.from_string(source).render(
            messages=messages, add_generation_prompt=True, bos_token="<s>", eos_token="</s>", tools=None)
        if len(text) > 1_000_000: sys.exit(5)
    except SecurityError: sys.exit(3)
    except MemoryError: sys.exit(4)
    except (TemplateError, TypeError, ValueError, KeyError, AttributeError, IndexError): pass
    except OverflowError as error: sys.exit(3 if "Range too big" in str(error) else 4)
"""
_TRIAL_SAYS = {
    0: None,
    3: "tries to leave its sandbox",
    4: "runs out of memory on four short messages",
    5: "writes over a million characters for four short messages",
}


def _trial(source: str) -> str | None:
    """Returns what a template does wrong when rendered in a limited child process, or None."""
    command = [sys.executable, "-I", "-c", _TRIAL]
    try:
        done = subprocess.run(command, input=source.encode(errors="replace"), capture_output=True, timeout=20)
    except subprocess.TimeoutExpired:
        return "does not end on four short messages"
    return _TRIAL_SAYS.get(done.returncode, "does not end on four short messages")
