"""A model of a run file, found and looked at before anything is asked: its files, digest, template and limits."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from harness import backends
from harness.backends import Capabilities, Place, load
from harness.backends.servers.tariff import price_of, refuse_unbounded, unpriced
from harness.config.model import LocalModel, ModelConfig, ObjectModel, RemoteModel
from harness.config.run import RunConfig
from harness.cost.prices import Packaged, Price
from harness.cost.projection import served
from harness.errors import ConfigError
from harness.models import openness
from harness.models.find import resolve_model
from harness.models.info import ADAPTER, ModelInfo, deciding, digest_model, inspect_model, with_template_of
from harness.models.safety import check_safe
from harness.runs.given import NOTHING, Given
from harness.runs.request_settings import generation_defaults
from harness.store.schema import ModelEntry
from harness.tasks.rows import digest


@dataclass(frozen=True, slots=True)
class PlannedModel:
    """A model of the plan, found and checked but not loaded."""

    config: ModelConfig  # `path` is the folder found
    digest: str  # of the weights, tokenizer and chat template; or of the script
    info: ModelInfo | None  # None: not a model folder
    files: Mapping[str, str]  # sha256 by file name
    capabilities: Capabilities
    place: Place
    price: Price | Packaged | None  # what its tokens cost at its server; None: not listed, or it runs here

    @property
    def weights(self) -> LocalModel:
        """Returns the settings of a model with a folder on this machine; to be asked where `info` is known."""
        assert isinstance(self.config, LocalModel)
        return self.config

    @property
    def key(self) -> str:
        """Returns the digest of all of the model that could change an answer."""
        return digest([self.config.name, self.digest, self.config.settings()])


def find_model(config: ModelConfig, given: Given = NOTHING) -> PlannedModel:
    """Returns a model found and checked, its files digested. Raises ConfigError or ModelError.

    Of a backend that is an object (`given`) only its class tells one from another.
    """
    if isinstance(config, ObjectModel):
        kind, (can, place) = type(given.backend(config)), given.about(config)
        told = digest([config.settings(), kind.__module__, kind.__qualname__])
        return PlannedModel(config, told, None, {}, can, place, None)
    asked = backends.about(config)
    can, place = asked.capabilities(config), asked.place(config)
    if not (can.weights and isinstance(config, LocalModel)):
        files = _answers_digest(config)
        if can.file:
            load(config).close()
        price = price_of(config) if isinstance(config, RemoteModel) else None
        return PlannedModel(config, digest([config.settings(), files]), None, files, can, place, price)
    folder = resolve_model(config.path, revision=config.revision, trust_remote_code=config.trust_remote_code)
    check_safe(folder, trust_remote_code=config.trust_remote_code)
    files = digest_model(folder)
    found, info = config.model_copy(update={"path": str(folder)}), inspect_model(folder)
    if config.adapter is not None:
        adapter = resolve_model(config.adapter)
        check_safe(adapter, adapter=True)
        files |= {f"{ADAPTER}{name}": sha for name, sha in digest_model(adapter).items()}
        info = with_template_of(info, adapter)
    return PlannedModel(found, digest(deciding(files)), info, files, can, place, None)


def _answers_digest(config: ModelConfig) -> dict[str, str]:
    """Returns the digest of the file that a script is, or names."""
    file = config.answers
    if file is None:
        return {}
    try:
        return {"script": hashlib.sha256(Path(file).read_bytes()).hexdigest()}
    except OSError:
        raise ConfigError(f"no script {file}", where=f"model {config.name}", fix="check the path") from None


def by_messages(judge: PlannedModel) -> bool:
    """Returns whether a judge is asked by messages: wherever it can be, but where the run file says not to."""
    return judge.config.chat_template != "off" and _has_template(judge)


def _has_template(model: PlannedModel) -> bool:
    return model.capabilities.messages or (model.info is not None and model.info.has_chat_template)


def versions() -> dict[str, str | None]:
    """Returns the versions of the libraries that decide numbers."""
    return {name: _version(name) for name in ("openweights-harness", "torch", "transformers", "tokenizers")}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def limits_of(model: PlannedModel, run: RunConfig) -> tuple[float | None, float | None]:
    """Returns the spend limits that bind a model, its own and the run's.

    Raises BackendError without a price, or where its settings leave no bound on what a request costs.

    A server on this machine that has no price is paid nothing.
    """
    if not isinstance(model.config, RemoteModel):
        return None, None
    price = model.price
    found = (model.config.limits.max_cost, run.max_cost if price or model.place.egress is not None else None)
    if found != (None, None):
        if price is None:
            raise unpriced(model.config)
        refuse_unbounded(model.config, price)
    return found


def described(model: PlannedModel) -> ModelEntry:
    """Returns what `plan.json` says of a model."""
    declared, asks = None, None
    if model.info is not None:
        folder = Path(model.weights.path)
        declared = openness.with_stated(openness.describe(folder), model.config)
        asks = served(folder, model.info, model.weights.dtype, model.weights.quantization)
    return ModelEntry(
        digest=model.digest,
        backend=model.config.backend,
        where=model.place.name,
        files=model.files,
        generation_config=generation_defaults(model.config, model.info),
        price=model.price,
        info=model.info,
        openness=declared,
        served=asks,
    )
