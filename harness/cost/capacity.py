"""How many GPU-seconds a request takes on a busy server, fitted from a few shapes, and what its tokens then cost.

    τ(I, O) = a·I + b·O + c·(I·O + O²/2)      GPU-seconds for a request of I uncached input and O output tokens

a: seconds a prompt token takes; b: an output token; c: an output token for each token of context it looks back on.
The parts sum to what the request costs, so the machine is charged once. For prompts far beyond 20,000 tokens a term in
I²/2 is missing. Source: reference/latency_and_cost.md §3.2, tested there and in tests/cost on NVIDIA's public tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from harness.errors import ConfigError

MIN_SHAPES = 6  # three coefficients, and as many again to see whether they hold


@dataclass(frozen=True, slots=True)
class Shape:
    """A saturated measurement: requests of I input and O output tokens took `gpu_s` GPU-seconds each."""

    input_tokens: float
    output_tokens: float
    gpu_s: float


@dataclass(frozen=True, slots=True)
class Capacity:
    """Coefficients in GPU-seconds, and how far a left-out shape was missed (relative); None: nothing was left out."""

    a: float
    b: float
    c: float
    label: Literal["measured", "projected"]
    n: int = 0
    error_mean: float | None = None
    error_max: float | None = None

    def gpu_s(self, input_tokens: float, output_tokens: float) -> float:
        """Returns τ(I, O)."""
        x = _terms(input_tokens, output_tokens)
        return self.a * x[0] + self.b * x[1] + self.c * x[2]


@dataclass(frozen=True, slots=True)
class TokenPrice:
    """USD at stated lengths. `usd_per_request` is the sum of its input and output parts."""

    usd_per_1m_input: float
    usd_per_1m_output: float
    usd_per_request: float
    input_share: float
    utilisation: float


def _terms(i: float, o: float) -> tuple[float, float, float]:
    return i, o, i * o + o * o / 2.0


def fit(shapes: Sequence[Shape]) -> Capacity:
    """Returns the coefficients by least squares of the relative error, none below zero, with leave-one-out errors.

    Raises `ConfigError` for fewer than `MIN_SHAPES` shapes, or for shapes that cannot tell the terms apart.
    """
    if len(shapes) < MIN_SHAPES:
        raise ConfigError(
            f"{len(shapes)} shapes are too few to fit three coefficients and test them",
            where="shapes",
            fix=f"measure at least {MIN_SHAPES}: short and long prompts with short and long answers",
        )
    errors = []
    for out in range(len(shapes)):
        held = shapes[out]
        rest = [shape for i, shape in enumerate(shapes) if i != out]
        a, b, c = _solve(rest)
        x = _terms(held.input_tokens, held.output_tokens)
        errors.append(abs((a * x[0] + b * x[1] + c * x[2]) / held.gpu_s - 1.0))
    a, b, c = _solve(shapes)
    return Capacity(a, b, c, "measured", len(shapes), sum(errors) / len(errors), max(errors))


def _solve(shapes: Sequence[Shape]) -> tuple[float, float, float]:
    import numpy as np
    from scipy.optimize import nnls

    relative = np.array([_terms(s.input_tokens, s.output_tokens) for s in shapes]) / [[s.gpu_s] for s in shapes]
    size = np.linalg.norm(relative, axis=0)
    if np.linalg.matrix_rank(relative / size) < 3:
        raise ConfigError(
            "these shapes cannot tell prompt, answer and context apart",
            where="shapes",
            fix="vary the lengths of prompts and of answers independently",
        )
    found, _ = nnls(relative / size, np.ones(len(shapes)))
    a, b, c = (float(x) for x in found / size)
    return a, b, c


def token_price(
    capacity: Capacity, input_tokens: float, output_tokens: float, usd_per_gpu_hour: float, utilisation: float = 1.0
) -> TokenPrice:
    """Returns what tokens cost at the workload's own lengths, with the machine busy for `utilisation` of its hours."""
    usd_per_s = usd_per_gpu_hour / 3600.0 / utilisation
    reading = capacity.a
    writing = capacity.b + capacity.c * (input_tokens + output_tokens / 2.0)
    total = capacity.gpu_s(input_tokens, output_tokens)
    return TokenPrice(
        usd_per_1m_input=1e6 * reading * usd_per_s,
        usd_per_1m_output=1e6 * writing * usd_per_s,
        usd_per_request=total * usd_per_s,
        input_share=reading * input_tokens / total,
        utilisation=utilisation,
    )


@dataclass(frozen=True, slots=True)
class Fleet:
    """A fleet with separate nodes for reading prompts and for writing answers (§3.2 C)."""

    prefill_nodes: float
    decode_nodes: float
    usd_per_1m_input: float
    usd_per_1m_output: float
    usd_per_1m: float  # all tokens together


def split_fleet(
    *,
    input_tokens: float,
    output_tokens: float,
    input_tokens_per_s: float,
    output_tokens_per_s: float,
    hours: float,
    usd_per_node_hour: float,
) -> Fleet:
    """Returns the nodes that `hours` of this traffic keep busy and what its tokens cost. Speeds are those of a node."""
    reading = input_tokens / (input_tokens_per_s * hours * 3600.0)
    writing = output_tokens / (output_tokens_per_s * hours * 3600.0)
    per_node = hours * usd_per_node_hour
    return Fleet(
        prefill_nodes=reading,
        decode_nodes=writing,
        usd_per_1m_input=reading * per_node / input_tokens * 1e6,
        usd_per_1m_output=writing * per_node / output_tokens * 1e6,
        usd_per_1m=(reading + writing) * per_node / (input_tokens + output_tokens) * 1e6,
    )
