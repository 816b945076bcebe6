"""What the requests to one model cost: told before they are sent, as the most it can be, and after, by what they used.

The most is computed from the body that is sent (`ceiling`). A server may keep to no limit: what one answer used beyond
is added to what all later ones are taken to use at most.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import date

from harness.backends.servers.ceiling import Ceiling, Unbounded, ceiling, together
from harness.config.base import validate
from harness.config.model import RemoteModel
from harness.cost.prices import (
    STATED,
    Packaged,
    Price,
    Processing,
    TokenCount,
    find_packaged,
    find_price,
    packaged_provider,
    price_request,
    read_prices,
    suggest,
)
from harness.errors import BackendError, ConfigError
from harness.security.egress import place_of, server
from harness.values import GenerateRequest, LoglikelihoodRequest, Prompt, Request

Bodies = Callable[[Request], Sequence[Mapping[str, object]]]  # that one attempt at a request sends


def price_of(config: RemoteModel) -> Price | Packaged | None:
    """Returns what a model's tokens cost: as stated, as listed by name, or as listed for whoever is asked.

    Listed is what stands in the price file, then what the package genai-prices knows. None is unknown. Raises
    ConfigError for a name that neither lists.
    """
    model, prices = config.served_as, read_prices()
    if isinstance(config.price, str):
        provider, slash, name = config.price.partition("/")
        found = find_price(prices, config.price) or (find_packaged(provider, name) if slash else None)
        if found is None:
            raise ConfigError(
                f"no price for '{config.price}'", where=f"model {config.name}", fix=suggest(prices, config.price)
            )
        return found
    if config.price is not None:
        given = config.price.model_dump(exclude_none=True)
        stated = {"provider": config.backend, "model": model, "source": STATED, "retrieved": date.today()}
        return validate(Price, {**stated, **given}, f"price of model {config.name}")
    if (own := place_of(config).provider) is not None:
        return find_price(prices, model, own) or find_packaged(own, model)
    known = packaged_provider(server(config).url)
    return None if known is None else find_packaged(known, model)


def unpriced(config: RemoteModel) -> BackendError:
    """Returns what is raised where money is limited and a model's price is not known."""
    return BackendError(
        f"a spend limit needs a price, and none is known for {config.served_as}",
        where=f"model {config.name}",
        fix="add `price: {input: ..., output: ...}` in USD per 1M tokens",
    )


class Tariff:
    """What requests cost that are sent in the bodies that `bodies` returns. USD; None is unknown."""

    def __init__(self, name: str, price: Price | Packaged | None, bodies: Bodies) -> None:
        self.price, self.proven = price, False  # proven: an answer has shown what its server keeps to
        self._name, self._bodies = name, bodies
        self._input = self._output = 0  # tokens beyond what a body allowed, at most

    def most_usd(self, request: Request, processing: Processing | None = None) -> float | None:
        """Returns what one attempt can cost at most; None without a price, or where that is unknown."""
        try:
            return self.bound(request, processing)
        except BackendError:
            return None

    def bound(self, request: Request, processing: Processing | None = None) -> float | None:
        """Returns what one attempt can cost at most; None without a price. Raises BackendError where that is unknown.

        `processing`: batch, in place of what the body asks for.
        """
        if self.price is None:
            return None
        try:
            most = self._ceiling(request)
        except Unbounded as hangs_on:
            raise self._no_bound(str(hangs_on)) from None
        used = TokenCount(most.input, most.output)
        ways = [used, replace(used, cache_write=used.input)]
        if most.kept_for_an_hour:
            ways.append(replace(used, cache_write=used.input, cache_write_1h=used.input))
        asked = processing or most.processing
        kinds = (asked, "standard") if asked == "batch" else (asked,)  # no batch price: at most the usual
        for kind in kinds:
            told = [price_request(self.price, way, kind) for way in ways]
            if all(one.usd is not None for one in told):
                return max(one.usd for one in told if one.usd is not None)
        raise self._no_bound(next(one.reason or "" for one in told if one.usd is None))

    def likely_usd(self, request: Request, characters_a_token: int, *, longest: bool, batch: bool) -> float | None:
        """Returns what a request costs at so many characters a token, its answer of one token or as long as may be.

        None where that is unknown.
        """
        try:
            most = self._ceiling(request)
        except Unbounded:
            return None
        read = sum(math.ceil(characters / characters_a_token) for characters in _characters(request))
        used = TokenCount(read, most.output if longest else 1)
        return price_request(self.price, used, "batch" if batch else most.processing).usd

    def usd(self, request: Request, used: TokenCount, processing: Processing | None = None) -> float | None:
        """Returns what an attempt cost by what it used, and takes note of what it used beyond its limits."""
        if self.price is None:
            return None
        try:
            most = self._ceiling(request)
        except Unbounded:
            most = Ceiling(used.input, used.output)
        self.proven = True
        self._input += max(0, used.input - most.input)
        self._output += max(0, used.output - most.output)
        return price_request(self.price, used, processing or most.processing).usd

    def _ceiling(self, request: Request) -> Ceiling:
        return together([ceiling(body) for body in self._bodies(request)]).raised(self._input, self._output)

    def _no_bound(self, hangs_on: str) -> BackendError:
        return BackendError(
            f"a spend limit needs a bound on what a request costs, and there is none: {hangs_on}",
            where=f"model {self._name}",
            fix="leave that out of the model's `extra`, or state its price, or take `max_cost` away",
        )


def planned(config: RemoteModel, price: Price | Packaged | None) -> Tariff:
    """Returns the tariff of a model that is not yet asked: of what its requests say and its `extra`, in any dialect."""

    def bodies(request: Request) -> Sequence[Mapping[str, object]]:
        if isinstance(request, LoglikelihoodRequest):
            texts = [[*_turns(request), given + text] for given, text in request.pairs]
            return [{"prompt": text, "max_tokens": 1, **config.extra} for text in texts]
        writing = request.writing
        own: dict[str, object] = {"prompt": _turns(request), "max_tokens": request.max_tokens}
        if writing.form is not None and writing.form.schema:
            own["json_schema"] = writing.form.schema
        if writing.thinking_budget is not None:
            own["thinking_budget"] = writing.thinking_budget
        return [own | dict(config.extra)]

    return Tariff(config.name, price, bodies)


def _characters(request: Request) -> list[int]:
    """Returns the characters that each request of an attempt gives to read."""
    prompt = request.prompt.characters
    if isinstance(request, GenerateRequest):
        return [prompt]
    return [prompt + len(given + text) for given, text in request.pairs]


def _turns(request: Request) -> list[str]:
    return [turn.content for turn in request.prompt.turns]


def refuse_unbounded(config: RemoteModel, price: Price | Packaged) -> None:
    """Raises BackendError where the settings of a model leave no bound on what a request costs."""
    planned(config, price).bound(GenerateRequest("", "", Prompt(""), max_tokens=1))
