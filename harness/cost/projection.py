"""What a model should cost on a chip where nobody measured it: a roofline from the model's files and the chip's sheet.

    τ(I, O) = a·I + b·O + c·(I·O + O²/2)       as in `capacity`, in GPU-seconds
    a = b = 2·N/(s_F·F) + 2·(g − 1)·S/L        N numbers used for a token, F operations a second
    c = κ·(1 + W/M)/(s_B·B)                    κ bytes of cache a token, W of weights, M left for caches, B a second

g chips hold one copy and divide each layer among them; S are the bytes that they then add up for a token, twice a
layer, over links of L bytes a second. The shares s_F and s_B of the peaks are assumed: public tables of dense models on
busy servers show 0.45 to 0.60 and 0.73 to 0.90. A projection is never a measurement, and says so. Not in it: attention
over prompts beyond some 20,000 tokens, and experts of a layer that are not equally busy.
Source: reference/latency_and_cost.md §3.2, tested in tests/cost on NVIDIA's public tables.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from pydantic import TypeAdapter

from harness.config.accelerators import Chip
from harness.config.machine import MachineConfig
from harness.cost.capacity import Capacity, token_price
from harness.cost.machines import hourly
from harness.errors import ConfigError
from harness.models.footprint import (
    NUMBER_BYTES,
    SHARE,
    Footprint,
    footprint,
    parameter_sizes,
    text_config,
    whole,
)
from harness.models.info import ModelInfo
from harness.models.sizes import stored_sizes, used_of

COPY_SIZES = (1, 2, 4, 8, 16)  # chips that may hold one copy: layers divide evenly among these
LONG_PROMPT = 20_000  # tokens, beyond which the projection is too low
TESTED = 7e9  # parameters used for a token: the tables that the shares are from begin at 8 billion, dense


@dataclass(frozen=True, slots=True)
class Shares:
    """What a busy server gets of a chip's peak operations, and of its memory's peak bandwidth."""

    compute: float
    bandwidth: float


ASSUMED, WORST, BEST = Shares(0.5, 0.8), Shares(0.45, 0.73), Shares(0.60, 0.90)


@dataclass(frozen=True, slots=True)
class Served:
    """What serving a model asks of chips, as its files tell: what `harness run` keeps of it for a projection."""

    memory: Footprint
    bits: int  # in which it computes: 8 (floats), 16 or 32
    parameters: int | None  # numbers in its weights; None: unknown
    active_parameters: int | None  # of them those used for a token; None: unknown
    summed_bytes: int | None  # S: of a token, by the chips that hold one copy; None: unknown, and one chip holds it
    reason: str | None = None  # why there is no projection, whatever the chip

    def cache_bytes(self, tokens: float, chips: int = 1) -> float:
        """Returns the cache of one sequence on all chips of a copy: what cannot be divided, each of them keeps.

        Raises ConfigError where the cache is unknown.
        """
        held = self.memory.cache_bytes(tokens)
        if held is None:
            raise ConfigError(self.memory.reason or "its cache is unknown", fix="measure it instead")
        return held * max(1.0, chips / self.memory.cache_heads)

    def at_a_time(self, chip: Chip, tokens: float, chips: int) -> int:
        """Returns how many sequences of `tokens` one copy holds beside its weights."""
        free = chip.memory_bytes * chips * SHARE - self.memory.weight_bytes
        return max(0, int(free // self.cache_bytes(tokens, chips)))


_STORED = {"F64": "float32", "F32": "float32", "BF16": "bfloat16", "F16": "float16"}
_RUN_AS = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}


def served(folder: Path, info: ModelInfo, dtype: str = "auto", quantization: str | None = None) -> Served:
    """Returns what serving a model folder asks, as stored or in another `dtype`. Reads headers, and no weights.

    Numbers that are packed into others (4-bit weights) are counted on the architecture, which takes seconds.
    """
    file = folder / "config.json"
    config = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    kind, stored = str(info.dtype), _STORED.get(str(info.dtype))
    run_as = _RUN_AS.get(dtype, stored) if stored is not None and "quantization_config" not in config else None
    cache = run_as or "bfloat16"
    weights = info.bytes if dtype == "auto" or run_as is None else info.parameters * NUMBER_BYTES[run_as]
    needs = replace(footprint(config, parameters=0, dtype=cache), weight_bytes=weights)
    sizes = stored_sizes(folder, config) or _built(file)
    used = None if sizes is None else used_of(config, sizes)
    reasons = (
        (quantization, "its weights were quantized while loading; project a folder with quantized weights"),
        (needs.cache_bytes_per_token is None, needs.reason),
        (used is None, "how many of its parameters a token uses is unknown"),
    )
    return Served(
        memory=needs,
        bits=32 if cache == "float32" else 8 if kind.startswith("F8_") else 16,
        parameters=None if sizes is None else sum(sizes.values()),
        active_parameters=used,
        summed_bytes=_summed(config, 4 if cache == "float32" else 2),
        reason=next((why for so, why in reasons if so), None),
    )


def _built(config_file: Path) -> dict[str, int] | None:
    """Returns the numbers of each tensor by architecture; None where transformers cannot build it."""
    try:
        return parameter_sizes(config_file)
    except (OSError, ValueError, KeyError, ImportError, TypeError, AttributeError):
        return None


def _summed(config: Mapping[str, object], number_bytes: int) -> int | None:
    text = text_config(config)
    layers, hidden = whole(text, "num_hidden_layers", "n_layer"), whole(text, "hidden_size", "n_embd", "d_model")
    return None if layers is None or hidden is None else 2 * layers * hidden * number_bytes


def restored(values: Mapping[str, object]) -> Served:
    """Returns what a plan keeps of a model, as it was."""
    return TypeAdapter(Served).validate_python(values)


def project(chip: Chip, model: Served, *, context: float, chips: int = 1, shares: Shares = ASSUMED) -> Capacity:
    """Returns what a saturated server of a model should need, a copy on so many chips, at a mean `context` in tokens.

    Raises ConfigError where the weights do not fit, and for what the model's files or the chip's sheet do not tell.
    """
    weights, memory = model.memory.weight_bytes, chip.memory_bytes * chips
    free = memory * SHARE - weights
    if free <= 0:
        raise ConfigError(
            f"weights of {weights / 1e9:.0f} GB do not fit into {memory / 1e9:.0f} GB",
            where="projection",
            fix="project for a larger chip, or for quantized weights",
        )
    if model.active_parameters is None:
        raise ConfigError("how many of its parameters a token uses is unknown", fix="measure it instead")
    flops = {8: chip.flops_8bit or chip.flops, 16: chip.flops, 32: chip.flops_32bit}[model.bits]
    if flops is None:
        raise _unlisted("operations in 32 bit", "tflops_32bit")
    per_token = 2.0 * model.active_parameters / (shares.compute * flops) + _summing_s(chip, model, chips)
    cache = model.cache_bytes(context, chips) / context
    per_context = cache * (1.0 + weights / free) / (shares.bandwidth * chip.bytes_per_s)
    return Capacity(a=per_token, b=per_token, c=per_context, label="projected")


def _summing_s(chip: Chip, model: Served, chips: int) -> float:
    """Returns the seconds that the chips of a copy take to add up what they found for a token."""
    if chips == 1:
        return 0.0
    if chip.link_bytes_per_s is None or model.summed_bytes is None:
        raise _unlisted("links", "link_gb_per_s")
    return 2.0 * (chips - 1) * model.summed_bytes / chip.link_bytes_per_s


def _unlisted(what: str, key: str) -> ConfigError:
    return ConfigError(f"the chip's {what} are unknown", where="projection", fix=f"add `{key}` to the machine file")


@dataclass(frozen=True, slots=True)
class RequestPrice:
    """USD of the tokens of a projected request. None: no answer is written."""

    usd_per_1m_input: float
    usd_per_1m_output: float | None
    usd_per_request: float


@dataclass(frozen=True, slots=True)
class MachineHour:
    """What an hour of the whole machine costs, in USD. None: unknown, and `reason` says why."""

    usd_per_hour: float | None
    label: str
    date: str
    reason: str | None


@dataclass(frozen=True, slots=True)
class Assumed:
    """The shares that a projection rests on."""

    compute: float  # of the chip's peak operations
    bandwidth: float  # of its memory's peak bandwidth
    memory: float  # of its memory
    utilisation: float  # of the paid hours


@dataclass(frozen=True, slots=True)
class Projected:
    """What a machine should do for requests of so many tokens in and out. Seconds are GPU-seconds of a busy machine."""

    machine: str
    input_tokens: float
    output_tokens: float
    chip: str
    chips: int  # in the machine
    chips_a_copy: int
    gpu_s: float  # of a request
    gpu_s_low: float  # at the best shares
    gpu_s_high: float  # at the worst
    requests_per_s: float  # of the whole machine, as all that follow
    input_tokens_per_s: float
    output_tokens_per_s: float
    tpot_s_at_least: float | None  # of one stream; None: no answer is written
    requests_at_a_time: int
    memory_bytes: float
    bits: int  # in which it computes
    active_parameters: int
    used_share: float  # of all parameters
    assumed: Assumed
    price: MachineHour
    by_utilisation: Mapping[float, RequestPrice]  # by the share of paid hours in use; empty without a price

    def as_json(self) -> dict[str, object]:
        """Returns the projection as JSON values."""
        shares = {f"{share:g}": asdict(cost) for share, cost in self.by_utilisation.items()}
        return {"label": "projected", "reason": None, **asdict(self), "by_utilisation": shares}


@dataclass(frozen=True, slots=True)
class NoProjection:
    """Why a machine is not projected for a model."""

    machine: str
    input_tokens: float | None
    output_tokens: float | None
    reason: str

    def as_json(self) -> dict[str, object]:
        """Returns the reason as JSON values."""
        return {"label": "projected", **asdict(self)}


Projection = Projected | NoProjection


def projection(
    model: Served, machine: MachineConfig, input_tokens: float | None, output_tokens: float | None
) -> Projection:
    """Returns what a machine should do for requests of so many tokens in and out, or why that is unknown.

    Of a machine with several chips, copies of the model fill it, each on as few or many chips as make a request
    cheapest.
    """
    try:
        return _projected(model, machine, input_tokens, output_tokens)
    except ConfigError as error:
        return NoProjection(machine.name, input_tokens, output_tokens, f"{error.what}; {error.fix}")


def _projected(model: Served, machine: MachineConfig, read: float | None, written: float | None) -> Projected:
    if (chip := machine.sheet) is None:
        raise ConfigError(f"machine '{machine.name}' names no chip", fix="add `chip:` to its file")
    if read is None or written is None:
        raise ConfigError("the lengths of its requests are unknown", fix="harness models projects at stated ones")
    longest, context = model.memory.context_length, read + written / 2.0
    if model.reason is not None or model.active_parameters is None or model.parameters is None:
        raise ConfigError(model.reason or "its parameters are unknown", fix="measure it instead")
    if longest is not None and read + written > longest:
        what = f"{read + written:,.0f} tokens are more than the model's context of {longest:,}"
        raise ConfigError(what, fix="project for shorter requests")
    chips, capacity = _cheapest(chip, model, machine.gpus, read, written)
    fast, slow = (
        project(chip, model, context=context, chips=chips, shares=shares).gpu_s(read, written)
        for shares in (BEST, WORST)
    )
    each = capacity.gpu_s(read, written)
    used, hour = model.active_parameters / model.parameters, hourly(machine)
    return Projected(
        machine=machine.name,
        input_tokens=read,
        output_tokens=written,
        chip=machine.chip if isinstance(machine.chip, str) else "chip",
        chips=machine.gpus,
        chips_a_copy=chips,
        gpu_s=each,
        gpu_s_low=fast,
        gpu_s_high=slow,
        requests_per_s=machine.gpus / each,
        input_tokens_per_s=machine.gpus / each * read,
        output_tokens_per_s=machine.gpus / each * written,
        tpot_s_at_least=model.memory.weight_bytes * used / (chips * chip.bytes_per_s) if written else None,
        requests_at_a_time=model.at_a_time(chip, read + written, chips) * (machine.gpus // chips),
        memory_bytes=chip.memory_bytes * machine.gpus,
        bits=model.bits if model.bits != 8 or chip.flops_8bit else 16,
        active_parameters=model.active_parameters,
        used_share=used,
        assumed=Assumed(ASSUMED.compute, ASSUMED.bandwidth, SHARE, machine.utilisation),
        price=MachineHour(hour.total, hour.label, machine.date, hour.reason),
        by_utilisation=_by_utilisation(capacity, machine, hour.total, read, written),
    )


def _by_utilisation(
    capacity: Capacity, machine: MachineConfig, usd_per_hour: float | None, read: float, written: float
) -> dict[float, RequestPrice]:
    """Returns what a request costs on an always busy machine, and at its stated utilisation."""
    if usd_per_hour is None:
        return {}
    shares = dict.fromkeys((1.0, machine.utilisation))
    prices = {s: token_price(capacity, read, written, usd_per_hour / machine.gpus, s) for s in shares}
    return {
        share: RequestPrice(
            usd_per_1m_input=price.usd_per_1m_input,
            usd_per_1m_output=price.usd_per_1m_output if written else None,
            usd_per_request=price.usd_per_request,
        )
        for share, price in prices.items()
    }


def _cheapest(chip: Chip, model: Served, gpus: int, read: float, written: float) -> tuple[int, Capacity]:
    """Returns on how many of a machine's chips a copy answers such a request in the fewest GPU-seconds, and how few."""
    found: list[tuple[int, Capacity]] = []
    for chips in (size for size in COPY_SIZES if gpus % size == 0):
        try:
            capacity = project(chip, model, context=read + written / 2.0, chips=chips)
            if not model.at_a_time(chip, read + written, chips):
                what = f"no request of {read + written:,.0f} tokens fits beside the weights"
                raise ConfigError(what, fix="project for a larger chip, or for shorter requests")
        except ConfigError as error:
            refused = error  # the reason at the largest size is told, if none will do
        else:
            found.append((chips, capacity))
    if not found:  # one chip is always tried, so something was refused
        raise refused
    return min(found, key=lambda one: one[1].gpu_s(read, written))
