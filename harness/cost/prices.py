"""What an API charges for a request, from a dated price file or, if asked for, from the `genai-prices` package.

Every request is priced on its own: a total of many would fall into a long-context tier that none of them reached.
Tokens are those of the provider's usage: cached ones are part of the input, reasoning ones part of the output, and
neither is counted twice. A model or a way of processing without a listed price is unknown, never free and never full
price. Prices are list prices in USD for 1M tokens; taxes, commitments and discounts are not in them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast

from harness.config.base import Strict, validate
from harness.config.files import bundled
from harness.config.price import Priced, Rates
from harness.config.yaml_file import read_yaml
from harness.errors import ConfigError, nearest

STATED = "run file"  # the source of a price that stands there
STALE_DAYS = 90  # list prices have moved within a quarter
Processing: TypeAlias = str  # standard, batch, or the word for a service tier that the provider has


class Price(Priced):
    """One model at one provider."""

    provider: str  # who is paid
    model: str  # its name there
    source: str  # the page the price is from
    retrieved: date  # when that page was last read

    @property
    def name(self) -> str:
        return f"{self.provider}/{self.model}"


@dataclass(frozen=True, slots=True)
class Packaged:
    """A model whose requests the package genai-prices prices, one by one: it has no single rate to show."""

    provider: str
    model: str
    source: str  # the package with its version: its data have no day


class PriceFile(Strict):
    currency: Literal["USD"]  # of all prices
    per_tokens: Literal[1_000_000]  # that a price is for
    prices: tuple[Price, ...]  # one for each model at a provider


@dataclass(frozen=True, slots=True)
class TokenCount:
    """What one request used, as the provider counts: cached tokens are part of the input, reasoning of the output."""

    input: int
    output: int
    cache_read: int = 0
    cache_write: int = 0
    reasoning: int = 0
    cache_write_1h: int = 0  # of `cache_write`, those kept for an hour


@dataclass(frozen=True, slots=True)
class RequestCost:
    """USD of one request. `usd` None is unknown, and `reason` says why. `parts` sum to `usd`."""

    usd: float | None
    parts: Mapping[str, float] = field(default_factory=dict)  # input, cache_read, cache_write, cache_write_1h, output
    reason: str | None = None


def read_prices(path: Path | None = None) -> tuple[Price, ...]:
    """Returns the prices of a file; default: the one that ships. Raises ConfigError for a file that cannot be used."""
    path = path or bundled("configs") / "prices" / "api.yaml"
    prices = validate(PriceFile, read_yaml(path).data, str(path)).prices
    names = [price.name for price in prices]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"{name} has two prices", where=str(path), fix="keep the newer one")
    return prices


_DAY = re.compile(r"[-@]20\d\d-?(0[1-9]|1[0-2])-?(0[1-9]|[12]\d|3[01])$")


def find_price(prices: Sequence[Price], model: str, provider: str | None = None) -> Price | None:
    """Returns the price of a model, named alone or as PROVIDER/MODEL; None if none is listed.

    A name that ends in a day (gpt-4o-2024-08-06) has the price of the model without it, unless it is listed itself.
    Raises `ConfigError` when several providers list the model and none is named: open models cost what the host asks.
    """
    for named in dict.fromkeys((model, _DAY.sub("", model))):
        listed = [p for p in prices if p.name == named and provider is None] or [
            p for p in prices if p.model == named and provider in (None, p.provider)
        ]
        if len(listed) > 1:
            hosts = ", ".join(p.provider for p in listed)
            raise ConfigError(f"{named} has a price at {hosts}", where="price", fix=f"name one: {listed[0].name}")
        if listed:
            return listed[0]
    return None


def price_request(price: Price | Packaged | None, used: TokenCount, processing: Processing = "standard") -> RequestCost:
    """Returns what one request costs: $ = (I − I_read − I_write)·p_in + I_read·p_read + I_write·p_write + O·p_out."""
    if price is None:
        return RequestCost(None, reason="the model has no listed price")
    cached = used.cache_read + used.cache_write
    apart = cached > used.input or used.reasoning > used.output or used.cache_write_1h > used.cache_write
    if apart or min(asdict(used).values()) < 0:
        return RequestCost(None, reason=f"the usage contradicts itself: {used}")
    if isinstance(price, Packaged):
        return genai_request(price.provider, price.model, used, processing)
    rates = _rates(price, used, processing)
    if rates is None:
        return RequestCost(None, reason=f"{price.name} lists no {processing} price")
    if used.cache_write_1h and rates.cache_write_1h is None:
        return RequestCost(None, reason=f"{price.name} lists no price of tokens that are kept for an hour")
    cache_read = rates.input if rates.cache_read is None else rates.cache_read
    cache_write = rates.input if rates.cache_write is None else rates.cache_write
    parts = {
        "input": (used.input - cached) * rates.input / 1e6,
        "cache_read": used.cache_read * cache_read / 1e6,
        "cache_write": (used.cache_write - used.cache_write_1h) * cache_write / 1e6,
        "cache_write_1h": used.cache_write_1h * (rates.cache_write_1h or 0.0) / 1e6,
        "output": used.output * rates.output / 1e6,
    }
    return RequestCost(sum(parts.values()), parts)


def _rates(price: Price, used: TokenCount, processing: Processing) -> Rates | None:
    """Returns the rates of a request of such a length, so processed; None where none are listed."""
    if processing not in ("standard", "batch"):
        return price.service_tiers.get(processing)
    reached = [tier for tier in price.tiers if used.input > tier.above_input_tokens]
    longest = max(reached, key=lambda tier: tier.above_input_tokens, default=price)
    return longest if processing == "standard" else longest.batch


def frozen(price: Price | Packaged) -> dict[str, object]:
    """Returns the price as JSON values, to be kept with a run."""
    if isinstance(price, Packaged):
        return asdict(price)
    return price.model_dump(mode="json", exclude_none=True)


def price_age(price: Price | Packaged, today: date) -> str:
    """Returns where a price is from, and how old it is, for a person."""
    if isinstance(price, Packaged):
        return f"price of {price.provider}/{price.model} by {price.source}, without a date"
    if price.source == STATED and price.retrieved >= today:
        return "price as the run file states it"
    days = (today - price.retrieved).days
    aged = f"{days} days ago" if days != 1 else "a day ago"
    old = f", OLD: list prices move within {STALE_DAYS} days" if days > STALE_DAYS else ""
    return f"price of {price.name} read on {price.retrieved}, {'today' if days <= 0 else aged}{old}"


@dataclass(frozen=True, slots=True)
class ListedPrice:
    """A price and how old it is. USD for 1M tokens."""

    provider: str
    model: str
    input: float
    output: float
    cache_read: float | None
    batch: bool  # a batch price is listed
    tiers: int  # further prices, of prompts beyond a length
    retrieved: str  # YYYY-MM-DD
    age_days: int
    stale: bool  # older than `STALE_DAYS`
    source: str


def list_prices(prices: Sequence[Price], today: date) -> tuple[ListedPrice, ...]:
    """Returns each price with its age in days and whether it is older than `STALE_DAYS`."""
    return tuple(
        ListedPrice(
            provider=p.provider,
            model=p.model,
            input=p.input,
            output=p.output,
            cache_read=p.cache_read,
            batch=p.batch is not None,
            tiers=len(p.tiers),
            retrieved=p.retrieved.isoformat(),
            age_days=(today - p.retrieved).days,
            stale=(today - p.retrieved).days > STALE_DAYS,
            source=p.source,
        )
        for p in prices
    )


def find_packaged(provider: str, model: str) -> Packaged | None:
    """Returns a model of the `genai-prices` package; None if it is not installed or does not know the model."""
    try:
        if genai_request(provider, model, TokenCount(1, 1)).usd is None:
            return None
    except ConfigError:
        return None
    return Packaged(provider, model, f"genai-prices {version('genai-prices')}")


def packaged_provider(url: str) -> str | None:
    """Returns which provider of the `genai-prices` package an address is of; None if it knows none, or is not there."""
    try:
        from genai_prices.data_snapshot import get_snapshot
    except ImportError:
        return None
    found = (one.id for one in get_snapshot().providers if one.api_pattern and re.match(one.api_pattern, url))
    return next(found, None)


def genai_request(provider: str, model: str, used: TokenCount, processing: Processing = "standard") -> RequestCost:
    """`price_request` from the data of the `genai-prices` package (extra `prices`). Nothing is sent over a network.

    That package bills full price, silently, for a batch or a service tier it has no rate for, and for tokens kept for
    an hour: such a request is unknown here.
    """
    try:
        from genai_prices import Usage, calc_price
    except ImportError as error:
        raise ConfigError(
            "these prices need the package genai-prices", fix="pip install 'openweights-harness[prices]'"
        ) from error

    def priced(context: dict[str, str] | None) -> tuple[RequestCost, bool]:
        """Returns the price, and whether it has a rate of its own for tokens that are kept for an hour.

        Raises LookupError for a model without any rate: the package would call it free.
        """
        count = Usage(
            input_tokens=used.input,
            output_tokens=used.output,
            cache_read_tokens=used.cache_read or None,
            cache_write_tokens=used.cache_write or None,
            cache_write_1h_tokens=used.cache_write_1h or None,
        )
        named = cast(Any, provider)  # the package lists the providers it knows; of another it raises LookupError
        found = calc_price(count, model, provider_id=named, price_context=context)
        parts = {"input": float(found.input_price), "output": float(found.output_price)}
        rates = found.model_price
        if getattr(rates, "input_mtok", None) is None and getattr(rates, "output_mtok", None) is None:
            raise LookupError(f"{provider}/{model} lists no price of tokens")
        hourly = getattr(rates, "cache_write_1h_mtok", None) is not None
        return RequestCost(float(found.total_price), parts), hourly

    own = {"batch": {"processing": "batch"}}.get(processing, {"service_tier": processing})
    try:
        standard, by_hour = priced(None)
        found, by_hour = (standard, by_hour) if processing == "standard" else priced(own)
    except (LookupError, ValueError) as error:
        return RequestCost(None, reason=str(error))
    if processing != "standard" and found.usd == standard.usd:
        return RequestCost(None, reason=f"{provider}/{model} lists no {processing} price")
    if used.cache_write_1h and not by_hour:
        return RequestCost(None, reason=f"{provider}/{model} lists no price of tokens that are kept for an hour")
    return found


def suggest(prices: Sequence[Price], model: str) -> str:
    """Returns the nearest listed name, for a message about a model without a price."""
    return nearest(model, [p.name for p in prices] + [p.model for p in prices])
