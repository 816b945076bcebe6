"""What the answers of a row took: seconds, tokens, money and joules. Unknown is None, never 0."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from harness.analysis.usage import CellUsage
from harness.config.machine import MachineConfig
from harness.cost.attribution import Pass, attribute
from harness.cost.machines import hourly
from harness.cost.prices import Packaged, Price
from harness.measure import energy as counters
from harness.measure.latency import percentile, tpot
from harness.measure.other_work import Bystanders
from harness.stats.totals import total
from harness.store.schema import (
    Cost,
    EnergyLine,
    EnergyUse,
    EngineLine,
    Latency,
    LatencyLine,
    PassLine,
    PricedMachine,
    PromptTokens,
    Throughput,
    TimedAlone,
    Tokens,
)
from harness.values import Estimate, Record


def throughput(lines: Sequence[PassLine]) -> Throughput:
    """Returns the accuracy pass as a whole: the sum of its sittings, model loaded. Unknown without a measurement."""
    if not lines:
        return Throughput()
    wall_s = sum(line.wall_s for line in lines)
    read, written = total(line.input_tokens for line in lines), total(line.output_tokens for line in lines)
    return Throughput(
        wall_s=wall_s,
        samples=sum(line.samples for line in lines),
        input_tokens=read,
        output_tokens=written,
        prefill_s=total(line.prefill_s for line in lines),
        decode_s=total(line.decode_s for line in lines),
        input_tokens_per_s=(read or 0) / wall_s or None,
        output_tokens_per_s=(written or 0) / wall_s or None,
    )


def latency(lines: Sequence[LatencyLine]) -> Latency:
    """Returns the times of the requests that ran alone, of the last sitting that timed any.

    Failed requests are left out and counted.
    """
    line = lines[-1] if lines else None
    timed = () if line is None else line.responses
    good = [one for one in timed if one.error is None and one.e2e_s is not None]

    def of(seconds: Callable[[TimedAlone], float | None], q: float) -> Estimate:
        return percentile([s for one in good if (s := seconds(one)) is not None], q)

    return Latency(
        ttft_p50=of(lambda one: one.ttft_s, 0.50),
        ttft_p95=of(lambda one: one.ttft_s, 0.95),
        tpot_p50=of(tpot, 0.50),
        e2e_p50=of(lambda one: one.e2e_s, 0.50),
        e2e_p95=of(lambda one: one.e2e_s, 0.95),
        n=len(good),
        failed=len(timed) - len(good),
        warmup=0 if line is None else line.warmup,
        bystanders=(line and line.bystanders) or Bystanders(),
    )


def tokens(usage: CellUsage) -> Tokens:
    """Returns what was read and written, as the log of responses tells it."""
    return Tokens(
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        thinking_tokens=usage.thinking_tokens,
        input_characters=usage.input_characters,
        output_characters=usage.output_characters,
        usage=usage.counted,
    )


def cost_on_machine(
    done: Throughput, records: Sequence[Record], machine: MachineConfig | None, usage: CellUsage
) -> Cost:
    """Returns the cost of the pass. A sitting that was killed has no times: the rest stands for the whole."""
    price = None if machine is None else hourly(machine)
    samples = done.samples or 0
    share = min(1.0, samples / len(records))  # a failed sample may have been asked in two sittings
    found = attribute(
        Pass(
            wall_s=done.wall_s,
            prefill_s=done.prefill_s,
            decode_s=done.decode_s,
            input_tokens=done.input_tokens or 0,
            output_tokens=done.output_tokens or 0,
            samples=samples,
            correct=share * sum(record.value or 0.0 for record in records),
        ),
        usd_per_hour=None if price is None else price.total,
        utilisation=1.0 if machine is None else machine.utilisation,
    )
    return Cost(
        usd=found.usd,
        known_usd=None,
        input_usd=found.parts.get("input"),
        output_usd=found.parts.get("output"),
        usd_per_1m_input=found.usd_per_1m_input,
        usd_per_1m_output=found.usd_per_1m_output,
        usd_per_1k_samples=found.usd_per_1k_samples,
        usd_per_correct=found.usd_per_correct,
        usd_per_1m_characters=_per_characters(found.usd, usage),
        reasons=found.reasons,
    )


def cost_billed(price: Price | Packaged | None, usage: CellUsage, records: Sequence[Record]) -> Cost:
    """Returns the cost of answers that a provider billed, request by request; per token it is the list price.

    Every attempt is paid for, those that failed too. Of recorded answers it is what their file says.
    """
    rates = price if isinstance(price, Price) else None
    usd, correct = usage.usd, sum(record.value or 0.0 for record in records)
    return Cost(
        usd=usd,
        known_usd=usage.known_usd,
        input_usd=None,
        output_usd=None,
        usd_per_1m_input=None if rates is None else rates.input,
        usd_per_1m_output=None if rates is None else rates.output,
        usd_per_1k_samples=None if usd is None else usd / len(records) * 1e3,
        usd_per_correct=None if usd is None or not correct else usd / correct,
        usd_per_1m_characters=_per_characters(usd, usage),
        reasons={} if usd is not None else {"usd": "the provider's price or its count of tokens is not known"},
    )


def _per_characters(usd: float | None, usage: CellUsage) -> float | None:
    """Returns USD for 1M characters read and written together: the same unit whatever a model's tokens are."""
    characters = total([usage.input_characters, usage.output_characters])
    return None if usd is None or not characters else usd / characters * 1e6


def prompt_tokens(lines: Sequence[EngineLine], cost: Cost) -> PromptTokens:
    """Returns the prompt tokens that were really computed, those a server without sharing would bill, and USD per 1M.

    Unknown where no engine counted them: for text that is generated, and behind a server.
    """
    if not lines:
        return PromptTokens()
    computed, billed = sum(line.forwarded_tokens for line in lines), sum(line.prompt_tokens for line in lines)
    usd = cost.input_usd

    def per_1m(tokens: int) -> float | None:
        return usd / tokens * 1e6 if usd is not None and tokens else None

    return PromptTokens(computed, per_1m(computed), billed, per_1m(billed))


def energy(
    lines: Sequence[EnergyLine], done: Throughput, records: Sequence[Record], machine: MachineConfig | None
) -> EnergyUse:
    """Returns the joules of the pass, by token, sample and correct answer; unknown, with the reason, if any sitting's.

    Counted is the whole device, other work on it included; a sitting that was killed has no joules. `net_joules` are
    those above the device at rest; carbon only where the machine file tells the grid's.
    """
    joules = total(line.joules for line in lines) if lines else None
    unknown = next((line for line in lines if line.joules is None), None)
    window = sum(line.window_s for line in lines)
    at_rest = total(None if line.idle_watts is None else line.idle_watts * line.window_s for line in lines)
    whole = counters.Energy(
        method="none" if joules is None else "+".join(dict.fromkeys(line.method for line in lines)),
        joules=joules,
        window_s=window,
        idle_watts=None if at_rest is None or not window else at_rest / window,
        reason=None if joules is not None else _why_unknown(unknown),
    )
    samples = done.samples or 0
    right = sum(record.value or 0.0 for record in records) * samples / len(records)
    grid = None if machine is None else machine.grid_g_per_kwh
    pue = machine.owned.pue if machine is not None and machine.owned is not None else 1.0

    def each(count: float) -> float | None:
        return whole.joules / count if whole.joules is not None and count else None

    return EnergyUse(
        method=whole.method,
        joules=whole.joules,
        watts=whole.watts,
        idle_watts=whole.idle_watts,
        net_joules=whole.net_joules,
        j_per_output_token=each(done.output_tokens or 0),
        j_per_sample=each(samples),
        j_per_correct=each(right),
        carbon_g=counters.carbon_g(whole, grid, pue),
        reason=whole.reason,
    )


def _why_unknown(line: EnergyLine | None) -> str:
    if line is None or line.reason is None:
        return "energy was not measured"
    return line.reason


def priced(machine: MachineConfig) -> PricedMachine:
    """Returns a machine with what an hour of it costs."""
    price = hourly(machine)
    return PricedMachine(machine, price.total, price.parts)
