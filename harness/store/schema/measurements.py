"""Lines of `measurements.jsonl`: one class for each kind, told apart by the key `kind`.

Of a model:   model (what was loaded, each time), stopped (what ended its work early), memory
Of a cell:    pass (the answers of one sitting), energy and engine (of the same sitting), latency, charge
Of a load:    request (one timed request), load (one scenario)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import Field

from harness.measure.energy import Energy
from harness.measure.load.timed import Timed
from harness.measure.other_work import Bystanders
from harness.store.schema.bench import BenchRow
from harness.store.schema.codec import Codec
from harness.values import Mode


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelLine:
    """What a model was when it was loaded, or reached, for one sitting. None: unknown, or it does not apply."""

    model: str  # as the run names it
    load_s: float | None  # None: it was running already
    sealed: str | None  # what kept data on this machine meanwhile: kernel, namespace, or none with the reason
    backend: str | None = None
    where: str | None = None
    served_as: str | None = None  # the name by which its server, or the file of its answers, knows it
    folder: str | None = None
    revision: str | None = None
    architecture: str | None = None
    dtype: str | None = None
    quantization: str | None = None
    adapter: str | None = None
    device: str | None = None
    device_name: str | None = None
    threads: int | None = None
    parameters: int | None = None
    context_length: int | None = None  # tokens
    chat_template_sha256: str | None = None
    engine: str | None = None
    api: str | None = None
    price: Mapping[str, object] | None = None  # as listed when it was asked
    origin: str | None = None  # of recorded answers: the tool that wrote them
    file: str | None = None  # of recorded answers
    otherwise: Mapping[str, str] = field(default_factory=dict)  # part of its files -> what was done instead
    versions: Mapping[str, str | None] = field(default_factory=dict)  # of libraries
    in_process: bool | None = None  # of a load: whether it ran in this process
    url: str | None = None  # of a load on a server
    kind: Literal["model"] = "model"


def model_line(name: str, load_s: float | None, sealed: str | None, about: Mapping[str, Any], **more: Any) -> ModelLine:
    """Returns what is noted of a model, of what its backend says of it; `more` are further fields."""
    own = {"model", "load_s", "sealed", "served_as", "kind"}
    known = {key: value for key, value in about.items() if key in ModelLine.__dataclass_fields__ and key not in own}
    return ModelLine(model=name, load_s=load_s, sealed=sealed, served_as=about.get("model"), **known, **more)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoppedLine:
    """Why a model's work ended before all was answered: its spend limit."""

    model: str
    reason: str
    kind: Literal["stopped"] = "stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryLine:
    """Bytes this process held at the end of a model's work, and at most; those on a device as torch counts them."""

    model: str
    rss_bytes: int | None = None
    peak_rss_bytes: int | None = None
    peak_allocated_bytes: int | None = None
    kind: Literal["memory"] = "memory"


@dataclass(frozen=True, slots=True, kw_only=True)
class PassLine:
    """The answers of one cell in one sitting: real tokens, machine seconds, money. None is unknown."""

    model: str
    task: str
    mode: Mode
    wall_s: float
    samples: int  # a conversation is one, of the sitting in which it ended
    responses: int
    sent_bytes: int | None = None
    failed: int
    input_tokens: int | None
    output_tokens: int | None
    prefill_s: float | None
    decode_s: float | None
    usd: float | None = None
    cut_off: bool = False  # from outside, with requests under way
    bystanders: Bystanders | None = None  # None: written before it was measured
    kind: Literal["pass"] = "pass"


@dataclass(frozen=True, slots=True, kw_only=True)
class EnergyLine(Energy):
    """The joules of a `PassLine`'s sitting."""

    model: str
    task: str
    mode: Mode
    kind: Literal["energy"] = "energy"


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineLine:
    """What our engine computed in a `PassLine`'s sitting, and what a server without sharing would bill."""

    model: str
    task: str
    mode: Mode
    sequences: int
    prompt_tokens: int  # as a server without sharing bills them: every sequence whole
    forwarded_tokens: int = 0  # really computed
    distinct_tokens: int | None = None
    padding_tokens: int | None = None
    judged_rows: int | None = None
    batches: int | None = None
    out_of_memory_retries: int | None = None
    longest_cache_tokens: int | None = None
    encode_s: float | None = None
    forward_s: float = 0.0
    projection_s: float | None = None
    total_s: float = 0.0
    peak_memory_bytes: int | None = None
    kind: Literal["engine"] = "engine"


@dataclass(frozen=True, slots=True)
class TimedAlone:
    """One request that ran by itself. Seconds from the moment it was handed over; None: not known."""

    key: str
    input_tokens: int | None
    output_tokens: int | None
    ttft_s: float | None
    last_token_s: float | None
    e2e_s: float | None
    error: str | None
    after_first: int | None = None  # output tokens that came after the first moment, of a stream; 0: none is known


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyLine:
    """The requests of one cell that were timed one after the other, after `warmup` that were not noted."""

    model: str
    task: str
    mode: Mode
    warmup: int
    bystanders: Bystanders | None = None  # None: written before it was measured
    responses: tuple[TimedAlone, ...]
    kind: Literal["latency"] = "latency"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChargeLine:
    """What a request beside the answers cost at a provider, and sent there."""

    model: str
    task: str
    mode: Mode
    phase: str
    usd: float | None
    most_usd: float | None
    sent_bytes: int | None = None
    kind: Literal["charge"] = "charge"


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestLine(Timed):
    """One request under load. USD where it has a price: what it cost, None where unknown, and the most it can have."""

    model: str
    task: str
    scenario: str
    sitting: int = 1  # of its model: the requests of a load that was cut off have another than the load that counts
    usd: float | None = None
    most_usd: float | None = None
    kind: Literal["request"] = "request"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadLine:
    """One scenario of a load on a model."""

    row: BenchRow
    sitting: int = 1  # of its model
    kind: Literal["load"] = "load"


Measurement = Annotated[
    ModelLine
    | StoppedLine
    | MemoryLine
    | PassLine
    | EnergyLine
    | EngineLine
    | LatencyLine
    | ChargeLine
    | RequestLine
    | LoadLine,
    Field(discriminator="kind"),
]
MEASUREMENTS: Codec[Measurement] = Codec(Measurement, "measurement")
