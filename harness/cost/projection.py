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
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from harness.config.accelerators import Chip
from harness.config.machine import MachineConfig
from harness.cost.capacity import Capacity, TokenPrice, token_price
from harness.cost.machines import hourly
from harness.errors import ConfigError
from harness.models.footprint import (
    NUMBER_BYTES,
    SHARE,
    Footprint,
    Layers,
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
        """Returns the cache of one sequence on all chips of a copy: what cannot be divided, each of them keeps."""
        return self.memory.cache_bytes(tokens) * max(1.0, chips / self.memory.cache_heads)

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


def _summed(config: Mapping[str, Any], number_bytes: int) -> int | None:
    text = text_config(config)
    layers, hidden = whole(text, "num_hidden_layers", "n_layer"), whole(text, "hidden_size", "n_embd", "d_model")
    return None if layers is None or hidden is None else 2 * layers * hidden * number_bytes


def restored(values: Mapping[str, Any]) -> Served:
    """Returns what a plan keeps of a model, as it was."""
    memory = dict(values["memory"])
    layers = memory["layers"] and Layers(**memory["layers"])
    return Served(**{**values, "memory": Footprint(**{**memory, "layers": layers})})


def project(chip: Chip, model: Served, *, context: float, chips: int = 1, shares: Shares = ASSUMED) -> Capacity:
    """Returns what a saturated server of a model should need, a copy on so many chips, at a mean `context` in tokens.

    Raises ConfigError where the weights do not fit, and for what the chip's sheet does not tell.
    """
    weights, memory = model.memory.weight_bytes, chip.memory_bytes * chips
    free = memory * SHARE - weights
    if free <= 0:
        raise ConfigError(
            f"weights of {weights / 1e9:.0f} GB do not fit into {memory / 1e9:.0f} GB",
            where="projection",
            fix="project for a larger chip, or for quantized weights",
        )
    flops = {8: chip.flops_8bit or chip.flops, 16: chip.flops, 32: chip.flops_32bit}[model.bits]
    if flops is None or (chips > 1 and (chip.link_bytes_per_s is None or model.summed_bytes is None)):
        key, what = ("tflops_32bit", "operations in 32 bit") if flops is None else ("link_gb_per_s", "links")
        raise ConfigError(f"the chip's {what} are unknown", where="projection", fix=f"add `{key}` to the machine file")
    summing = 2.0 * (chips - 1) * model.summed_bytes / chip.link_bytes_per_s if chips > 1 else 0.0
    per_token = 2.0 * model.active_parameters / (shares.compute * flops) + summing
    cache = model.cache_bytes(context, chips) / context
    per_context = cache * (1.0 + weights / free) / (shares.bandwidth * chip.bytes_per_s)
    return Capacity(a=per_token, b=per_token, c=per_context, label="projected")


def projection(
    model: Served, machine: MachineConfig, input_tokens: float | None, output_tokens: float | None
) -> dict[str, Any]:
    """Returns what a machine should do for requests of so many tokens in and out, as JSON values.

    Of a machine with several chips, copies of the model fill it, each on as few or many chips as make a request
    cheapest. Where there is no projection only `reason` says why.
    """
    asked = {"machine": machine.name, "input_tokens": input_tokens, "output_tokens": output_tokens}
    try:
        found = {"reason": None, **_projected(model, machine, input_tokens, output_tokens)}
    except ConfigError as error:
        found = {"reason": f"{error.what}; {error.fix}"}
    return {"label": "projected", **asked, **found}


def _projected(model: Served, machine: MachineConfig, read: float | None, written: float | None) -> dict[str, Any]:
    if (chip := machine.sheet) is None:
        raise ConfigError(f"machine '{machine.name}' names no chip", fix="add `chip:` to its file")
    if None in (read, written):
        raise ConfigError("the lengths of its requests are unknown", fix="harness models projects at stated ones")
    longest, context = model.memory.context_length, read + written / 2.0
    if model.reason is not None:
        raise ConfigError(model.reason, fix="measure it instead")
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
    return {
        "chip": machine.chip if isinstance(machine.chip, str) else "chip",
        "chips": machine.gpus,
        "chips_a_copy": chips,
        "gpu_s": each,
        "gpu_s_low": fast,
        "gpu_s_high": slow,
        "requests_per_s": machine.gpus / each,
        "input_tokens_per_s": machine.gpus / each * read,
        "output_tokens_per_s": machine.gpus / each * written,
        "tpot_s_at_least": model.memory.weight_bytes * used / (chips * chip.bytes_per_s) if written else None,
        "requests_at_a_time": model.at_a_time(chip, read + written, chips) * (machine.gpus // chips),
        "memory_bytes": chip.memory_bytes * machine.gpus,
        "bits": model.bits if model.bits != 8 or chip.flops_8bit else 16,
        "active_parameters": model.active_parameters,
        "used_share": used,
        "assumed": asdict(ASSUMED) | {"memory": SHARE, "utilisation": machine.utilisation},
        "price": {"usd_per_hour": hour.total, "label": hour.label, "date": machine.date, "reason": hour.reason},
        "by_utilisation": {
            f"{share:g}": _priced(token_price(capacity, read, written, hour.total / machine.gpus, share), written)
            for share in dict.fromkeys((1.0, machine.utilisation))
            if hour.total is not None
        },
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
    if not found:
        raise refused
    return min(found, key=lambda one: one[1].gpu_s(read, written))


def _priced(price: TokenPrice, written: float) -> dict[str, float | None]:
    return {
        "usd_per_1m_input": price.usd_per_1m_input,
        "usd_per_1m_output": price.usd_per_1m_output if written else None,
        "usd_per_request": price.usd_per_request,
    }


def lines(found: Mapping[str, Any]) -> Iterator[str]:
    """Yields a projection for a person: a heading, and lines that stand below it."""
    read, written = found["input_tokens"], found["output_tokens"]
    asked = "" if None in (read, written) else f": requests of {read:,.0f} tokens in, {written:,.0f} out"
    yield f"  projected     for {found['machine']}, not measured{asked}"
    told = [("unknown", found["reason"])] if found["reason"] is not None else _told(found)
    yield from (f"    {label:11} {text}" for label, text in told)


def _told(found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yields (label, text) of what is projected and of what it rests on, each for one line of a terminal."""
    rates = f"{found['input_tokens_per_s']:,.0f} tokens/s in and {found['output_tokens_per_s']:,.0f} out, together"
    yield "saturated", f"{rates}, by the whole machine"
    span = f"{found['gpu_s_low']:.3g} to {found['gpu_s_high']:.3g} over the range of the shares"
    yield "a request", f"{found['gpu_s']:.3g} GPU-seconds ({span})"
    if (least := found["tpot_s_at_least"]) is not None:
        yield "one stream", f"TPOT {least * 1e3:.3g} ms or more: the weights in use are read for each token"
    copies, size = found["chips"] // found["chips_a_copy"], f"{found['chips_a_copy']} × {found['chip']}"
    held = f"1 copy on {size}" if copies == 1 else f"{copies} copies, each on {size}"
    many = f"{found['requests_at_a_time']:,} such requests at a time"
    yield "fits", f"{held}; {many} in {found['memory_bytes'] / 1e9:,.0f} GB"
    price = found["price"]
    if price["reason"] is not None:
        yield "unknown", f"the cost: {price['reason']}"
    else:
        yield "price", f"${price['usd_per_hour']:.4g}/h ({price['label']}, {price['date']})"
    for share, cost in found["by_utilisation"].items():
        written = "" if cost["usd_per_1m_output"] is None else f", ${cost['usd_per_1m_output']:.3g}/1M out"
        rate = f"${cost['usd_per_1m_input']:.3g}/1M in{written}, ${cost['usd_per_request']:.3g} a request"
        yield f"{100 * float(share):.0f} % in use", rate
    peaks = f"{_range('compute')} of the {found['bits']}-bit peak, {_range('bandwidth')} of bandwidth"
    yield "assumed", f"{peaks}, {100 * SHARE:.0f} % of memory"
    if found["active_parameters"] < TESTED:
        yield "at best", "these shares are of larger models: a small one keeps less of a chip busy"
    if found["used_share"] < 1.0:
        used = f"{100 * found['used_share']:.1f} %"
        yield "at best", f"a token uses {used} of the parameters, as if experts were equally busy"
    if found["input_tokens"] > LONG_PROMPT:
        yield "at best", f"attention over prompts beyond {LONG_PROMPT:,} tokens is not in it"


def _range(share: str) -> str:
    assumed, worst, best = (f"{100 * getattr(case, share):.0f}" for case in (ASSUMED, WORST, BEST))
    return f"{assumed} % ({worst} to {best} %)"
