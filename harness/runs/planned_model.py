"""A run's configuration to what will be asked: cells of requests, and a digest of all that could change an answer."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from harness.backends import BACKENDS, takes_messages
from harness.backends.servers.dispatch import price_of, unpriced
from harness.config.model import ModelConfig
from harness.config.objects import BACKEND
from harness.config.run import RunConfig
from harness.cost.prices import Price, frozen
from harness.cost.projection import served
from harness.errors import ConfigError, nearest
from harness.models import openness
from harness.models.find import resolve_model
from harness.models.info import ModelInfo, digest_model, inspect_model
from harness.models.safety import check_safe
from harness.runs.given import NOTHING, Given
from harness.runs.request_settings import generation_defaults
from harness.security.egress import PROVIDERS, egress, server, where
from harness.tasks.rows import digest

SCRIPTED = ("fake", "recorded")  # all of such a model is a file: a mistake in it is found before anything is asked


@dataclass(frozen=True, slots=True)
class PlannedModel:
    """A model of the plan, found and checked but not loaded."""

    config: ModelConfig  # `path` is the folder found
    digest: str  # of the weights, tokenizer and chat template; or of the script
    info: ModelInfo | None  # None: not a model folder
    files: Mapping[str, str]  # sha256 by file name

    @property
    def key(self) -> str:
        """Returns the digest of all of the model that could change an answer."""
        return digest([self.config.name, self.digest, _settings(self.config)])


def find_model(config: ModelConfig, given: Given = NOTHING) -> PlannedModel:
    """Returns a model found and checked, its files digested. Raises ConfigError or ModelError.

    Of a backend that is an object (`given`) only its class tells one from another.
    """
    if config.backend == BACKEND:
        kind = type(given.backend(config))
        return PlannedModel(config, digest([_settings(config), kind.__module__, kind.__qualname__]), None, {})
    if config.backend not in BACKENDS:
        raise ConfigError(
            f"no backend '{config.backend}'", where=f"model {config.name}", fix=nearest(config.backend, BACKENDS)
        )
    if config.backend != "transformers":
        files = _answers_digest(config)
        if config.backend in SCRIPTED:
            BACKENDS[config.backend](config).close()
        return PlannedModel(config, digest([_settings(config), files]), None, files)
    if config.path is None:
        raise ConfigError("no `path`", where=f"model {config.name}", fix="add `path:` with a model folder or hub id")
    folder = resolve_model(config.path, revision=config.revision, trust_remote_code=config.trust_remote_code)
    check_safe(folder, trust_remote_code=config.trust_remote_code)
    files = digest_model(folder)
    # the card, the licence and the list of what was released change no answer
    about = (".md", ".txt", ".yml")
    deciding = {name: sha for name, sha in files.items() if not name.endswith(about) or name == "merges.txt"}
    found = config.model_copy(update={"path": str(folder)})
    return PlannedModel(found, digest(deciding), inspect_model(folder), files)


def _answers_digest(config: ModelConfig) -> dict[str, str]:
    """Returns the digest of the file that a script is, or names."""
    file = _script_file(config)
    if file is None:
        return {}
    try:
        return {"script": hashlib.sha256(Path(file).read_bytes()).hexdigest()}
    except OSError:
        raise ConfigError(f"no script {file}", where=f"model {config.name}", fix="check the path") from None


def _script_file(config: ModelConfig) -> str | None:
    script = config.script or (config.path if config.backend == "recorded" else None)
    held = script.get("file") if isinstance(script, Mapping) else script
    return held if isinstance(held, str) else None


def by_messages(judge: PlannedModel) -> bool:
    """Returns whether a judge is asked by messages: wherever it can be, but where the run file says not to."""
    return judge.config.chat_template != "off" and _has_template(judge)


def _has_template(model: PlannedModel) -> bool:
    return takes_messages(model.config) or (model.info is not None and model.info.has_chat_template)


_NO_ANSWER = {"name", "path", "threads", "price", "limits", "api_key_env", "api_key_command", "proxy", "ca_file"}


def _settings(config: ModelConfig) -> dict[str, Any]:
    """Returns the settings that could change an answer: not where the files are, what it costs, or how fast it goes."""
    found = config.model_dump(mode="json", exclude=_NO_ANSWER)
    if _script_file(config) is not None:  # its content counts, which is digested, and not its path
        found["script"] = {**config.script, "file": None} if isinstance(config.script, Mapping) else None
    return found


def versions() -> dict[str, str | None]:
    """Returns the versions of the libraries that decide numbers."""
    return {name: _version(name) for name in ("openweights-harness", "torch", "transformers", "tokenizers")}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def listed_price(config: ModelConfig) -> Price | None:
    """Returns the price list entry of a model behind a server; None for one that is not listed or runs here."""
    if config.backend not in PROVIDERS:
        return None
    return price_of(config, config.backend if server(config).own else None)


def limits_of(config: ModelConfig, run: RunConfig) -> tuple[float | None, float | None]:
    """Returns the spend limits that bind a model, its own and the run's. Raises BackendError without a price.

    A server on this machine that has no price is paid nothing.
    """
    priced = listed_price(config) is not None
    found = (config.limits.max_cost, run.max_cost if priced or egress(config) is not None else None)
    if not priced and config.backend in PROVIDERS and found != (None, None):
        raise unpriced(config)
    return found


def described(model: PlannedModel) -> dict[str, Any]:
    """Returns what `plan.json` says of a model."""
    known = asdict(model.info) if model.info is not None else {}
    place = {"backend": model.config.backend, "where": where(model.config)}
    if model.info is not None:
        folder = Path(str(model.config.path))
        known["openness"] = asdict(openness.describe(folder))
        known["served"] = asdict(served(folder, model.info, model.config.dtype, model.config.quantization))
    own = generation_defaults(model.config, model.info)
    price = listed_price(model.config)
    return {
        "digest": model.digest,
        **place,
        "files": model.files,
        **known,
        "generation_config": own,
        "price": None if price is None else frozen(price),
    }
