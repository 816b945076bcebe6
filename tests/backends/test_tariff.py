"""What a model's tokens cost in a run: stated, listed, or known to genai-prices; and what is said of a bad price."""

from __future__ import annotations

from typing import Any

import pytest

from harness.backends.servers.tariff import price_of
from harness.config.base import validate
from harness.config.model import model_of
from harness.config.run import RunConfig
from harness.cost.prices import TokenCount, price_request
from harness.errors import ConfigError


def test_a_price_is_stated_listed_or_unknown():
    def priced(**changes):
        return price_of(model_of(name="gpt-5", backend="openai", **changes))

    assert priced().output == 10.0 and priced().provider == "openai"
    assert priced(price={"input": 1, "output": 2}).output == 2
    assert priced(price="google/gemini-2.5-pro").output == 10.0
    assert priced(model="gpt-unheard-of") is None
    with pytest.raises(ConfigError, match=r"no price for 'openai/gpt5'(.|\n)*did you mean 'openai/gpt-5'"):
        priced(price="openai/gpt5")


@pytest.mark.parametrize(
    ("model", "usd"),
    [
        ("gpt-4o-2024-08-06", 12.5),  # of gpt-4o
        ("gpt-4o-2024-05-13", 20.0),  # it has a price of its own
        ("gpt-5-2025-08-07", 11.25),
        ("gpt-5.2", 15.75),  # known to genai-prices alone
    ],
)
def test_dated_names_and_those_of_genai_prices_have_a_price_in_a_run(model: str, usd: float):
    found = price_of(model_of(name=model, backend="openai"))
    assert price_request(found, TokenCount(10**6, 10**6)).usd == pytest.approx(usd)


def test_the_price_of_a_host_is_found_by_its_address_and_a_server_of_ones_own_has_none():
    at = lambda url: price_of(model_of(name="m", model="openai/gpt-oss-120b", backend="openai", base_url=url))
    assert (found := at("https://api.groq.com/openai/v1")) is not None and found.provider == "groq"
    assert at("https://gpu.example.com/v1") is None and at("http://127.0.0.1:8000/v1") is None


@pytest.mark.parametrize(
    ("price", "said"),
    [
        ({"input": "0,25", "output": 2}, "price.input: no number (given: '0,25')"),
        ({"input": 1, "output": None}, "price.output: no number (given: None)"),
        ({"input": 1, "output": float("nan")}, "price.output: no finite number"),
        ({"input": float("inf"), "output": 1}, "price.input: no finite number"),
        ({"input": 1}, "key 'models.0.price.output' is missing"),
        ({"input": 1, "outptu": 2}, "unknown key 'outptu'"),
        ({"input": 1, "output": 2, "batch": {"input": "a", "output": 1}}, "price.batch.input: no number (given: 'a')"),
        (5, "price: no keys with values"),
    ],
)
def test_what_is_wrong_with_a_price_is_told_in_words(price: Any, said: str):
    with pytest.raises(ConfigError) as caught:
        model = {"name": "m", "backend": "openai", "base_url": "http://127.0.0.1:9/v1", "price": price}
        validate(RunConfig, {"run": "r", "tasks": ["t"], "models": [model]}, "run.yaml")
    assert said in str(caught.value) and "str" not in str(caught.value)


def test_batch_prices_and_tiers_of_ones_own_are_charged():
    stated = {
        "input": 1.0,
        "output": 10.0,
        "batch": {"input": 0.5, "output": 5},
        "tiers": [{"above_input_tokens": 1000, "input": 2, "output": 20}],
        "service_tiers": {"flex": {"input": 0.25, "output": 2.5}},
    }
    price = price_of(model_of(name="m", backend="openai", price=stated))
    usd = lambda used, way="standard": price_request(price, used, way).usd
    assert usd(TokenCount(1000, 100)) == pytest.approx(2e-3)
    assert usd(TokenCount(1001, 100)) == pytest.approx(4.002e-3)
    assert usd(TokenCount(1000, 100), "batch") == pytest.approx(1e-3)
    assert usd(TokenCount(1000, 100), "flex") == pytest.approx(0.5e-3)
    assert usd(TokenCount(1000, 100), "priority") is None  # never the usual price for another way


@pytest.mark.parametrize("key", ["model", "messages", "prompt", "contents", "stream"])
def test_extra_does_not_replace_what_is_asked(key: str):
    model = {"name": "m", "backend": "openai", "base_url": "http://127.0.0.1:9/v1", "extra": {key: "x"}}
    with pytest.raises(ConfigError, match=f"`{key}` is not to be set here"):
        validate(RunConfig, {"run": "r", "tasks": ["t"], "models": [model]}, "run.yaml")
