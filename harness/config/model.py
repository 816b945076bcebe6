"""The models of a run file: one class for each sort of model, and the table of what runs them.

    {name: tiny, path: ./tiny}                                    LocalModel: weights on this machine
    {name: qwen, backend: openai, base_url: http://HOST/v1}       ServerModel: asked at an address
    {name: gpt, backend: openai, model: gpt-5.2}                  ProviderModel: asked at the provider's own
    {name: old, backend: recorded, script: answers.csv}           RecordedModel: answers of a file
    {name: fixed, backend: scripted, script: [...]}               ScriptedModel: answers by rules
    {name: mine, backend: python}                                 ObjectModel: an object of the program that runs it

A key that means nothing for a backend is refused with the backends that have it. One that stands there at its default
says nothing untrue, and is passed over: plans of earlier versions name every key.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeAlias

from pydantic import BeforeValidator, Discriminator, Field, Tag, TypeAdapter, field_validator, model_validator
from pydantic_core import PydanticCustomError

from harness.config.base import Name, Strict, Switch, _by_shape, validate
from harness.config.price import StatedPrice
from harness.errors import nearest


class LimitsConfig(Strict):
    """How hard a server is asked, and when to give up. None of it changes an answer."""

    concurrency: Annotated[int, Field(ge=1, le=1024)] = 8  # requests in flight at most; fewer while it says 429
    attempts: Annotated[int, Field(ge=1, le=100)] = 8  # of one request
    sample_s: Annotated[float, Field(gt=0)] = 600.0  # seconds for one request, all its attempts and waits together
    silence_s: Annotated[float, Field(gt=0)] = 120.0  # seconds without a byte that end an attempt
    max_cost: Annotated[float, Field(gt=0)] | None = None  # USD in this run; nothing is sent that could exceed it


STATED = ("licence", "provenance", "accepted_by")  # keys of what a person knows of a model, beside its files


class ModelConfig(Strict):
    """What every model has. Which class a model is of follows from its `backend`."""

    changes_no_answer: ClassVar[frozenset[str]] = frozenset({"name", *STATED})  # keys: where things are, what they cost

    name: Name  # as tables have it
    backend: str  # what runs it, see above
    chat_template: Switch = "auto"  # overrides the task's `chat` unless auto
    licence: str | None = None  # as you know it, where its folder is silent: told as stated
    provenance: str | None = None  # who made it, or where it is from; as above
    accepted_by: str | None = None  # who answers for what is stated

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_keys(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        backend = _backend(data.get("backend", cls.model_fields["backend"].get_default()))
        sort = BACKENDS.get(backend)
        without = frozenset() if sort is None else sort.without
        kept = {}
        for key, value in data.items():
            if key in cls.model_fields and key not in without:
                kept[key] = value
            elif not (owners := _owners(key)):
                hint = nearest(key, cls.model_fields.keys() - without)
                raise PydanticCustomError("unknown_key", "{key}|{hint}", {"key": key, "hint": hint})
            elif value != _defaults()[key]:
                told = {"key": key, "backend": backend, "owners": _listed(owners, backend)}
                what = "`{key}` means nothing for backend '{backend}'|leave it out: it is a key of {owners}"
                raise PydanticCustomError("meaningless_key", what, told)
        return kept if "backend" not in kept else kept | {"backend": backend}

    @property
    def tokenizer(self) -> str | None:
        """Returns the folder of its tokenizer; None where none is known."""
        return None

    @property
    def answers(self) -> str | None:
        """Returns the file with its answers, if they stand in one."""
        return None

    @property
    def in_batches(self) -> bool:
        """Returns whether all requests are handed over at once, and answered within a day."""
        return False

    def settings(self) -> dict[str, object]:
        """Returns the settings that could change an answer, as JSON values."""
        return self.model_dump(mode="json", exclude=set(self.changes_no_answer))


_DTYPES = {"float32": "fp32", "bfloat16": "bf16", "float16": "fp16", "float": "fp32", "half": "fp16"}


def _short_dtype(value: Any) -> Any:
    """Returns a number type by its name here, of one by torch's."""
    return _DTYPES.get(value.removeprefix("torch."), value) if isinstance(value, str) else value


class LocalModel(ModelConfig):
    """A model whose weights this machine runs, in this process."""

    changes_no_answer: ClassVar[frozenset[str]] = frozenset({"name", "path", "threads", *STATED})

    backend: str = "transformers"
    path: str  # a model folder, a demo model, or a hub id
    revision: str | None = None  # hub id: the commit to use
    dtype: Annotated[Literal["auto", "fp32", "bf16", "fp16"], BeforeValidator(_short_dtype)] = (
        "auto"  # auto: as the weights are stored
    )
    device: Annotated[str, Field(pattern=r"^(auto|cpu|mps|cuda(:\d+)?|device_map)$")] = "auto"  # auto: a GPU if any
    adapter: str | None = None  # a PEFT adapter folder or id
    quantization: Literal["8bit", "4bit"] | None = None  # needs bitsandbytes
    trust_remote_code: bool = False  # run Python that comes with the weights: only if you have read it
    engine: Literal["auto", "plain"] = "auto"  # plain: the slow reference method
    batch_tokens: Annotated[int, Field(ge=1)] | None = None  # tokens in one batch; default: from free memory
    deterministic: bool = False  # compose batches alike whatever memory is free: the same bits in every run
    replicas: Annotated[int, Field(ge=1)] = 1  # copies of the model, each on a device of its own, that share the work
    max_length: Annotated[int, Field(ge=2)] | None = None  # tokens; default: what the model allows
    threads: Annotated[int, Field(ge=1)] | None = None  # CPU; default: the cores this process may use

    @property
    def tokenizer(self) -> str | None:
        return self.path


class RemoteModel(ModelConfig):
    """A model that is asked over a network interface, on this machine or elsewhere."""

    changes_no_answer: ClassVar[frozenset[str]] = frozenset(
        {"name", "path", "price", "limits", "api_key_env", "api_key_command", "proxy", "ca_file", "stream", *STATED}
    )

    backend: str = "openai"
    model: str | None = None  # its name at the server; default: `name`
    path: str | None = None  # a folder with its tokenizer: tokens are counted here where the server does not
    api: Literal["chat", "completions"] = "chat"  # completions: the prompt as it is, without a chat template
    api_key_env: str | None = None  # environment variable with the key; default: the provider's, at its own address
    api_key_command: Annotated[tuple[str, ...], Field(min_length=1)] | None = (
        None  # prints the key, as [secret-tool, lookup, service, openai]; run when a key is needed, without a shell
    )
    proxy: str | None = None  # http://HOST:PORT that requests go through; those of the environment are not used
    ca_file: str | None = None  # certificates (PEM) to trust in place of the system's
    stream: bool = True  # off: the answer comes in one piece, and the first token has no time
    batch: bool = False  # hand all requests over at once, answered within a day at the batch price
    logprobs: bool = False  # keep the log-probability of each generated token
    extra: Mapping[str, object] = Field(
        default_factory=dict
    )  # added to each request's body, as {reasoning_effort: low}
    price: (
        Annotated[Annotated[str, Tag("(text)")] | Annotated[StatedPrice, Tag("(keys)")], Discriminator(_by_shape)]
        | None
    ) = None  # PROVIDER/MODEL of the price list, or {input, output} in USD for 1M tokens
    limits: LimitsConfig = LimitsConfig()  # how hard it is asked

    @field_validator("extra")
    @classmethod
    def _sets_nothing_of_ours(cls, extra: Mapping[str, object]) -> Mapping[str, object]:
        ours = ("model", "messages", "prompt", "contents", "stream")
        if taken := [key for key in ours if key in extra]:
            what = "`{key}` is not to be set here: what is asked, and of which model, follows from the run and the task"
            raise PydanticCustomError("sets_ours", what, {"key": taken[0]})
        return extra

    @property
    def served_as(self) -> str:
        """Returns its name at the server."""
        return self.model or self.name

    @property
    def address(self) -> str | None:
        """Returns where it is asked; None: at the provider's own address."""
        return None

    @property
    def unencrypted(self) -> bool:
        """Returns whether requests may go unencrypted to a host that is not this machine."""
        return False

    @property
    def tokenizer(self) -> str | None:
        return self.path

    @property
    def in_batches(self) -> bool:
        return self.batch


class ServerModel(RemoteModel):
    """A model asked at an address of one's own choice."""

    changes_no_answer: ClassVar[frozenset[str]] = RemoteModel.changes_no_answer | {"allow_http"}

    base_url: str  # with its version, as http://127.0.0.1:8000/v1
    allow_http: bool = False  # send without encryption to a host that is not this machine

    @property
    def address(self) -> str | None:
        return self.base_url

    @property
    def unencrypted(self) -> bool:
        return self.allow_http


class ProviderModel(RemoteModel):
    """A model asked at its provider's own address."""


class RecordedModel(ModelConfig):
    """Answers that were given earlier, judged like any others."""

    changes_no_answer: ClassVar[frozenset[str]] = frozenset({"name", "path", *STATED})

    backend: str = "recorded"
    script: str | Mapping[str, object] | None = None  # the file, or {file, id, text, model, prompt}
    model: str | None = None  # of a file with the answers of several: which one, as the file names it
    path: str | None = None  # the file, as `script` has it

    @property
    def answers(self) -> str | None:
        given = self.script or self.path
        file = given.get("file") if isinstance(given, Mapping) else given
        return file if isinstance(file, str) else None

    def settings(self) -> dict[str, object]:
        found = super().settings()  # the content of the file counts, which is digested, and not its path
        return found | {"script": {**self.script, "file": None} if isinstance(self.script, Mapping) else None}


class ScriptedModel(ModelConfig):
    """Answers by rules, for tests and trials: it needs no weights."""

    backend: str = "scripted"
    script: Any = None  # rules, or the path of a YAML file with them; none: made up from the prompt

    @property
    def answers(self) -> str | None:
        return self.script if isinstance(self.script, str) else None

    def settings(self) -> dict[str, object]:
        return super().settings() | ({} if self.answers is None else {"script": None})  # as above


class ObjectModel(ModelConfig):
    """A backend that a program hands over as an object; `harness.run` finds it by its name."""

    backend: str = "python"


@dataclass(frozen=True, slots=True)
class BackendEntry:
    """What runs a model, and which keys such a model has."""

    at: str  # "module:Class", imported when it is first asked
    settings: type[ModelConfig]
    about: str = ""  # the part of it that answers before its libraries are imported; default: the class itself
    addressed: type[ModelConfig] | None = None  # where `base_url` is given
    without: frozenset[str] = frozenset()  # keys of these classes that its interface has no word for
    needs: str = ""  # the extra of this package that brings what it imports


_AT = "harness.backends"


def _server(at: str, about: str, *without: str) -> BackendEntry:
    """Returns the entry of a backend that asks over a network."""
    place = f"{_AT}.servers"
    known = f"{place}.about:{about}"
    return BackendEntry(f"{place}.{at}", ProviderModel, known, ServerModel, frozenset(without), needs="api")


BACKENDS: dict[str, BackendEntry] = {
    "transformers": BackendEntry(
        f"{_AT}.local.backend:TransformersBackend", LocalModel, f"{_AT}.local.about:LocalAbout"
    ),
    "openai": _server("openai:OpenAIBackend", "OpenAIAbout"),
    "anthropic": _server("anthropic:AnthropicBackend", "AnthropicAbout", "api", "logprobs"),
    "google": _server("google:GoogleBackend", "GoogleAbout", "api", "batch"),
    "recorded": BackendEntry(f"{_AT}.recorded.backend:RecordedBackend", RecordedModel),
    "scripted": BackendEntry(f"{_AT}.scripted:ScriptedBackend", ScriptedModel),
    "python": BackendEntry("harness.runs.given:Lent", ObjectModel),
}
_OLD_NAMES = {"fake": "scripted", "local": "transformers"}  # still read
_CLASSES: tuple[type[ModelConfig], ...] = (
    *(LocalModel, ServerModel, ProviderModel),
    *(RecordedModel, ScriptedModel, ObjectModel),
)


def _backend(name: Any) -> str:
    return _OLD_NAMES.get(name, name) if isinstance(name, str) else str(name)


def settings_of(backend: str | None) -> type[ModelConfig] | None:
    """Returns which class a backend's models are of, under a name of earlier versions too; None if it is not known."""
    entry = BACKENDS.get(_backend(backend))
    return None if entry is None else entry.settings


def _owners(key: str) -> list[str]:
    """Returns the backends that have a key."""
    return [
        name
        for name, entry in BACKENDS.items()
        if key not in entry.without
        and any(key in kind.model_fields for kind in (entry.settings, entry.addressed) if kind is not None)
    ]


def _listed(owners: list[str], backend: str) -> str:
    """Returns in words which backends have a key; the own one has it where it is asked at an address."""
    if backend in owners:
        return f"backend {backend} with a `base_url`"
    return f"backend {owners[0]}" if len(owners) == 1 else f"the backends {', '.join(owners)}"


@cache
def _defaults() -> dict[str, object]:
    """Returns what each key is where it is not given, as JSON values."""
    needed = {"name": "m", "path": "p", "base_url": "u"}
    found: dict[str, object] = {}
    for kind in _CLASSES:
        made = kind.model_validate({key: value for key, value in needed.items() if key in kind.model_fields})
        found |= made.model_dump(mode="json", exclude=set(needed))
    return found | dict.fromkeys(needed)


def _known(value: Any) -> Any:
    """Returns a model as written; raises for a backend that there is not."""
    if isinstance(value, Mapping) and "backend" in value and _backend(value["backend"]) not in BACKENDS:
        told = {"name": str(value["backend"]), "hint": nearest(str(value["backend"]), BACKENDS)}
        raise PydanticCustomError("no_backend", "no backend '{name}'|{hint}", told)
    return value


def _class_of(value: Any) -> str:
    """Returns which class a model is of, so that messages speak of that one only."""
    if isinstance(value, ModelConfig):
        return f"({type(value).__name__})"
    if not isinstance(value, Mapping):
        return "(LocalModel)"
    entry = BACKENDS[_backend(value.get("backend", "transformers"))]
    addressed = entry.addressed is not None and value.get("base_url") is not None
    return f"({(entry.addressed if addressed and entry.addressed else entry.settings).__name__})"


Model: TypeAlias = Annotated[
    Annotated[LocalModel, Tag("(LocalModel)")]
    | Annotated[ServerModel, Tag("(ServerModel)")]
    | Annotated[ProviderModel, Tag("(ProviderModel)")]
    | Annotated[RecordedModel, Tag("(RecordedModel)")]
    | Annotated[ScriptedModel, Tag("(ScriptedModel)")]
    | Annotated[ObjectModel, Tag("(ObjectModel)")],
    Discriminator(_class_of),
    BeforeValidator(_known),
]


class _Alone(Strict):
    model: Model


def read_model(settings: Mapping[str, object], where: str) -> Model:
    """Returns a model of its settings; `where` is what messages name. Raises ConfigError."""
    return validate(_Alone, {"model": settings}, where).model


def model_of(**settings: Any) -> Any:
    """Returns a model of its settings, as a run file names them. Raises pydantic's ValidationError."""
    return TypeAdapter(Model).validate_python(settings)


def model_from_path(path: str) -> dict[str, object]:
    """Returns the settings of a model given by folder, demo name or hub id alone; its last part is its name."""
    return {"name": hub_id(Path(path)).rpartition("/")[2] or path, "path": path}


def hub_id(folder: Path) -> str:
    """Returns what a model folder is called: ORG/NAME of the hub where it lies in its cache, else its own name."""
    repository = folder.parent.parent.name  # models--ORG--NAME/snapshots/COMMIT
    if folder.parent.name == "snapshots" and repository.startswith("models--"):
        return repository.removeprefix("models--").replace("--", "/")
    return folder.name
