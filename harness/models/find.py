"""From a name to a model folder: a path, a bundled demo model, or an id of the hub that is on this disk or fetched."""

from __future__ import annotations

import re
from pathlib import Path

from harness.config.files import bundled
from harness.config.yaml_file import read_yaml
from harness.errors import ModelError, nearest

OWN_BACKEND = ("openai", "anthropic", "google")  # providers with a backend of that name
DEMO = Path(__file__).parents[1] / "demo" / "models"


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
    if folder.suffix.lower() == ".gguf" or (text.count("/") == 1 and text.lower().endswith("-gguf")):
        raise ModelError(
            "GGUF files are not supported yet",
            where=text,
            fix="give a folder with safetensors, or let llama-server serve it and ask that: "
            "{name: m, backend: openai, base_url: http://127.0.0.1:8080/v1}",
        )
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


_PROVIDERS_NAMES = {
    r"(chat)?gpt-(?!neo|j-|oss|2$)[\w.-]+|o[1-9](-[\w.-]+)?": "openai",
    r"claude-[\w.-]+": "anthropic",
    r"gemini-[\w.-]+": "google",
}


def _refuse_served(name: str) -> None:
    """Raises ModelError for a model of the price file, by its name or PROVIDER/NAME: providers give out no weights."""
    for listed in read_yaml(bundled("configs") / "prices" / "api.yaml").data["prices"]:
        provider, model = listed["provider"], listed["model"]
        if name in (model, f"{provider}/{model}"):
            own = f"backend: {provider}" if provider in OWN_BACKEND else "backend: openai, base_url: ..."
            what = f"'{name}' is asked at a provider ({provider}), and is no model folder"
            raise ModelError(what, where=f"model {name}", fix=f"name it in a run file: `- {{name: {model}, {own}}}`")
    for pattern, provider in _PROVIDERS_NAMES.items():
        if re.fullmatch(rf"({provider}/)?({pattern})", name):
            model = name.removeprefix(f"{provider}/")
            what = f"'{name}' looks like a model of {provider}, and is no model folder"
            fix = f"name it in a run file: `- {{name: {model}, backend: {provider}}}`"
            raise ModelError(what, where=f"model {name}", fix=fix)


def _models_in(folder: Path) -> set[str]:
    """Returns the names of the folders in a folder that can be a model or an adapter; hidden ones are not offered."""
    files = (file for name in ("config.json", "adapter_config.json") for file in folder.glob(f"*/{name}"))
    return {file.parent.name for file in files if not file.parent.name.startswith(".")}


def unreadable(folder: Path, error: BaseException) -> ModelError:
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
    patterns += ["*.py"] if trust_remote_code else []
    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=patterns, local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError):
        pass  # not here yet
    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=patterns))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        reason = str(error).strip().splitlines()[0][:200]
        fix = "check the name and the connection, or give the path of a model folder"
        what = f"no model '{name}' on this machine, and the hub did not give it: {reason}"
        raise ModelError(what, where=f"hub id {name}, revision {revision or 'main'}", fix=fix) from None
