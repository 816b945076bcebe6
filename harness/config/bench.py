"""What a run file may say of latency and load: `latency:`, `bench:` and the bounds under `slo:`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from harness.config.base import Strict


class LatencyConfig(Strict):
    """The single-stream phase after the accuracy pass."""

    @model_validator(mode="before")
    @classmethod
    def _of_a_number(cls, value: Any) -> Any:
        """Returns `latency: 0` as what it means."""
        if isinstance(value, bool):
            return {} if value else {"requests": 0}
        return {"requests": value} if isinstance(value, int) else value

    requests: Annotated[int, Field(ge=0, le=10_000)] = 20  # prompts of the task's own; 0: no latency phase
    warmup: Annotated[int, Field(ge=0)] = 3  # sent first and not counted


Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class SloConfig(Strict):
    """What a request must meet, and the share of requests that must meet all of it."""

    ttft_s: Seconds | None = None  # to the first token
    tpot_s: Seconds | None = None  # a token after the first
    response_s: Seconds | None = None  # from when it was due
    attainment: Annotated[float, Field(gt=0, le=1)] = 0.9  # of the requests must meet all bounds

    @model_validator(mode="after")
    def _a_bound(self) -> SloConfig:
        if self.ttft_s is None and self.tpot_s is None and self.response_s is None:
            raise PydanticCustomError("bound", "give at least one of `ttft_s`, `tpot_s` and `response_s`")
        return self


class LengthsConfig(Strict):
    """Made-up prompts of so many tokens, with answers of at most so many."""

    input: Annotated[int, Field(ge=1, le=1_000_000)]  # of a prompt
    output: Annotated[int, Field(ge=1, le=1_000_000)]  # of an answer, at most


class BenchConfig(Strict):
    """What `harness bench` measures of each model: loads on the tasks' own prompts, or on made-up ones."""

    single: bool = True  # one request at a time
    concurrency: tuple[Annotated[int, Field(ge=1, le=4096)], ...] = ()  # so many requests out at a time
    rate: tuple[Annotated[float, Field(gt=0, le=100_000)], ...] = ()  # requests a second, as they come (Poisson)
    sweep: bool = False  # single, all at once, then rates between the two
    offline: bool = False  # all at once
    requests: Annotated[int, Field(ge=1, le=1_000_000)] = 100  # of each scenario, warm-up apart
    seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0  # a scenario lasts at least
    max_seconds: Seconds = 600.0  # and at most
    warmup: Annotated[int, Field(ge=0, le=100_000)] = 5  # sent first and not counted
    slo: SloConfig | None = None  # bounds that requests should meet
    lengths: tuple[LengthsConfig, ...] = ()  # one or several shapes, instead of the tasks' prompts; six: a fit
    prefix_cache: Literal["allow", "defeat"] = "allow"  # defeat: every prompt opens with a number of its own

    @field_validator("lengths", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        return [value] if isinstance(value, Mapping) else value

    @field_validator("lengths", "concurrency", "rate")
    @classmethod
    def _each_once(cls, values: tuple[Any, ...]) -> tuple[Any, ...]:
        twice = next((value for i, value in enumerate(values) if value in values[:i]), None)
        if twice is not None:  # a load goes on by its name: two that are called alike would be one
            what = f"input {twice.input}, output {twice.output}" if isinstance(twice, LengthsConfig) else f"{twice:g}"
            raise PydanticCustomError("twice", "{what} stands twice|leave one of them out", {"what": what})
        return values

    @model_validator(mode="after")
    def _a_scenario(self) -> BenchConfig:
        if not (self.single or self.concurrency or self.rate or self.sweep or self.offline):
            raise PydanticCustomError("scenario", "no scenario: give one of `single`, `concurrency`, `rate`, `sweep`")
        return self
