"""Prices of tokens as a person may write them: for one model in a run file, and for many in a price file."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Annotated

from pydantic import Field

from harness.config.base import Strict

Rate = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Rates(Strict):
    """USD for 1M tokens. A cache rate that is not listed is no discount: those tokens cost what input costs.

    Tokens written for an hour are dearer than others wherever they have a price: without a rate of theirs what they
    cost is unknown.
    """

    input: Rate  # of the prompt
    output: Rate  # of the answer, thinking included
    cache_read: Rate | None = None  # of a prompt's tokens that the provider had kept
    cache_write: Rate | None = None  # of tokens that it then keeps
    cache_write_1h: Rate | None = None  # of those it keeps for an hour


class Tier(Rates):
    """Rates of the whole request once its input is longer than `above_input_tokens`."""

    above_input_tokens: Annotated[int, Field(gt=0)]  # of the prompt
    batch: Rates | None = None  # of requests handed over together, answered within a day


class Priced(Rates):
    """All rates of one model."""

    batch: Rates | None = None  # None: no batch price is listed
    tiers: tuple[Tier, ...] = ()  # by rising length
    service_tiers: Mapping[str, Rates] = Field(default_factory=dict)  # of requests with that `service_tier`, as flex


class StatedPrice(Priced):
    """What a model costs, as a run file says it."""

    retrieved: date | None = None  # when that was read somewhere; default: on the day of the run
