"""Run, model, machine and task files as frozen values, checked once at the edge.

    YAML -> RunConfig(ModelConfig..., TaskConfig..., MachineConfig)

Unknown keys are refused with the nearest known one. After this nothing reads the command line or a YAML file.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from harness.config.base import Name, Strict
from harness.config.task import Switch


class LimitsConfig(Strict):
    """How hard a server is asked, and when to give up. None of it changes an answer."""

    concurrency: Annotated[int, Field(ge=1, le=1024)] = 8  # requests in flight at most; fewer while it says 429
    attempts: Annotated[int, Field(ge=1, le=100)] = 8  # of one request
    sample_s: Annotated[float, Field(gt=0)] = 600.0  # seconds for one request, all its attempts and waits together
    silence_s: Annotated[float, Field(gt=0)] = 120.0  # seconds without a byte that end an attempt
    max_cost: Annotated[float, Field(gt=0)] | None = None  # USD in this run; nothing is sent that could exceed it


class ModelConfig(Strict):
    """What runs the requests, and how."""

    name: Name
    backend: str = "transformers"
    path: str | None = None  # a model folder, a demo model, or a hub id; at a server: a folder with its tokenizer
    revision: str | None = None  # hub id: the commit to use
    dtype: Literal["auto", "fp32", "bf16", "fp16"] = "auto"  # auto: as the weights are stored
    device: Annotated[str, Field(pattern=r"^(auto|cpu|mps|cuda(:\d+)?|device_map)$")] = "auto"
    adapter: str | None = None  # a PEFT adapter folder or id
    quantization: Literal["8bit", "4bit"] | None = None  # needs bitsandbytes
    chat_template: Switch = "auto"  # overrides the task's `chat` unless auto
    trust_remote_code: bool = False  # run Python that comes with the weights: only if you have read it
    engine: Literal["auto", "plain"] = "auto"  # plain: the slow reference method
    batch_tokens: Annotated[int, Field(ge=1)] | None = None  # tokens in one batch; default: from free memory
    deterministic: bool = False  # compose batches alike whatever memory is free: the same bits in every run
    replicas: Annotated[int, Field(ge=1)] = 1  # copies of the model, each on a device of its own, that share scoring
    max_length: Annotated[int, Field(ge=2)] | None = None  # tokens; default: what the model allows
    threads: Annotated[int, Field(ge=1)] | None = None  # CPU; default: the cores this process may use
    script: Any = None  # backend fake: rules, or the path of a YAML file with them; recorded: the file of answers
    # servers and APIs
    model: str | None = None  # its name at the server; default: `name`
    base_url: str | None = None  # with its version, as http://127.0.0.1:8000/v1; default: the provider's own
    api: Literal["chat", "completions"] = "chat"  # completions: the prompt as it is, without a chat template
    api_key_env: str | None = (
        None  # environment variable with the key; default: the provider's, at its own address only
    )
    api_key_command: Annotated[tuple[str, ...], Field(min_length=1)] | None = (
        None  # prints the key, as [secret-tool, lookup, service, openai]; run when a key is needed, without a shell
    )
    allow_http: bool = False  # send without encryption to a host that is not this machine
    proxy: str | None = None  # http://HOST:PORT that requests go through; those of the environment are not used
    ca_file: str | None = None  # certificates (PEM) to trust in place of the system's
    stream: bool = True  # off: the answer comes in one piece, and the first token has no time
    batch: bool = False  # openai, anthropic: hand all requests over at once, answered within a day at the batch price
    logprobs: bool = False  # keep the log-probability of each generated token
    extra: Mapping[str, Any] = Field(default_factory=dict)  # added to each request's body, as {reasoning_effort: low}
    price: str | Mapping[str, float] | None = None  # PROVIDER/MODEL of the price file, or {input, output} USD per 1M
    limits: LimitsConfig = LimitsConfig()


def model_from_path(path: str) -> dict[str, Any]:
    """Returns the settings of a model given by folder, demo name or hub id alone; its last part is its name."""
    return {"name": Path(path).name or path, "path": path}
