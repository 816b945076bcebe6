"""Whether a model folder is safe to load, looked at before transformers sees it.

Only files are read: no pickle is opened, no code from the folder runs, and torch is not imported.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path

from harness.errors import BackendError, ModelError, nearest
from harness.models.files import MAX_DEPTH, _read_json, _walk, _weights, read_header

PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib", ".npy", ".npz", ".msgpack", ".h5")
FLOORS = {  # oldest version without a known way to run code from a model folder
    "torch": "2.10",  # CVE-2026-24747
    "transformers": "5.3",  # CVE-2026-4372, CVE-2026-5241
    "jinja2": "3.1.6",  # CVE-2025-27516
}
MAX_TEMPLATE = 500_000  # characters; the longest in use has about 20,000
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


def _lint(content: dict[str, object], file: Path, trust_remote_code: bool) -> None:
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
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES  # type: ignore[attr-defined]  # imported there, then extended

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
        if kind == "" and path:
            continue  # a part without a type of its own, as transformers writes it
        if kind is not None and (not isinstance(kind, str) or kind not in CONFIG_MAPPING_NAMES):
            what = f"transformers knows no model_type {str(kind)[:60]!r}"
            near = nearest(str(kind), CONFIG_MAPPING_NAMES)
            raise ModelError(what, where=f"{file}, {'.'.join(path) or 'top level'}", fix=near)
    kind = config.get("model_type")
    if kind is None:
        raise ModelError("config.json names no model_type", where=str(file), fix="get the model's files again")
    if not is_causal(config) and not reads_images(config):
        what = f"'{kind}' is not a causal language model"
        raise ModelError(what, where=str(file), fix="give a model that AutoModelForCausalLM loads")
    stated = config.get("architectures") or []
    for name in stated if isinstance(stated, list) else [stated]:
        if not isinstance(name, str) or not re.fullmatch(r"\w+", name):
            what = f"architectures holds {str(name)[:60]!r}, which is not a class name"
            raise ModelError(what, where=str(file), fix="get the model's files again")


def is_causal(config: Mapping[str, object]) -> bool:
    """Returns whether a config.json is that of a causal language model alone."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    return config.get("model_type") in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES


def reads_images(config: Mapping[str, object]) -> bool:
    """Returns whether a config.json is that of a causal language model which reads images too."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES

    return config.get("model_type") in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES and "text_config" in config


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
