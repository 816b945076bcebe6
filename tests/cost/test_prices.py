from __future__ import annotations

import sys
from datetime import date

import pytest
from pytest import approx

from harness.cost.prices import (
    Price,
    TokenCount,
    find_price,
    frozen,
    genai_request,
    list_prices,
    price_request,
    read_prices,
)
from harness.errors import ConfigError

PRICES = read_prices()


def usd(model: str, processing: str = "standard", **used: int) -> float | None:
    return price_request(find_price(PRICES, model), TokenCount(**used), processing).usd


@pytest.mark.parametrize(
    ("model", "expected"),
    [("gpt-5", 0.0078125), ("claude-sonnet-4-5", 0.01245), ("gemini-2.5-pro", 0.0078125)],
)
def test_a_request_worked_by_hand_with_cached_tokens(model, expected):
    # 2000 in, of which 1500 from the cache, 700 out
    assert usd(model, input=2000, cache_read=1500, output=700) == approx(expected)


def test_reasoning_is_billed_once_inside_the_output():
    assert usd("gpt-5", input=0, output=700, reasoning=600) == usd("gpt-5", input=0, output=700)


def test_cache_writes_cost_their_own_rate():
    assert usd("claude-sonnet-4-5", input=1000, cache_write=1000, output=0) == approx(0.00375)


# --- the traps of reference/latency_and_cost.md 4 ---------------------------------------------------------------------


def test_trap_1_many_short_requests_never_fall_into_the_tier_of_a_long_one():
    price = find_price(PRICES, "claude-sonnet-4-5")
    short = [price_request(price, TokenCount(input=1000, output=100)).usd] * 1000
    assert sum(short) == approx(3.0 + 1.5)  # 1M in at 3, 100k out at 15
    assert price_request(price, TokenCount(input=1_000_000, output=0)).usd == approx(6.0)  # one of 1M is another thing
    assert usd("claude-sonnet-4-5", input=200_000, output=0) == approx(0.6)  # the tier begins above its bound
    assert usd("gemini-2.5-pro", input=200_001, output=1000) == approx(200_001 * 2.5e-6 + 1000 * 15e-6)


def test_trap_2_a_batch_without_a_listed_price_is_unknown_and_never_full_price():
    assert usd("gpt-5", "batch", input=2000, cache_read=1500, output=700) == approx(0.00390625)
    cost = price_request(find_price(PRICES, "llama-3.3-70b-versatile"), TokenCount(input=10, output=1), "batch")
    assert (cost.usd, cost.reason) == (None, "groq/llama-3.3-70b-versatile lists no batch price")
    assert usd("claude-sonnet-4-5", "batch", input=300_000, output=0) == approx(0.9)  # tiers hold in a batch


def test_trap_3_an_unknown_kind_of_token_is_an_error_and_not_free():
    with pytest.raises(TypeError, match="cached_tokens"):
        TokenCount(input=1, output=1, cached_tokens=1)


def test_trap_4_every_price_has_the_day_it_was_read_and_is_frozen_with_it():
    assert all(price.retrieved and price.source.startswith("https://") for price in PRICES)
    kept = frozen(find_price(PRICES, "openai/gpt-5"))
    assert kept["retrieved"] == "2026-10-14" and Price.model_validate(kept) == find_price(PRICES, "openai/gpt-5")


@pytest.mark.parametrize(
    "used",
    [
        {"input": 10, "cache_read": 11, "output": 1},
        {"input": 10, "output": 1, "reasoning": 2},
        {"input": -1, "output": 1},
    ],
)
def test_trap_5_usage_that_contradicts_itself_has_no_price(used):
    cost = price_request(find_price(PRICES, "gpt-5"), TokenCount(**used))
    assert cost.usd is None and "contradicts itself" in cost.reason


# --- unknown stays unknown --------------------------------------------------------------------------------------------


def test_an_unknown_model_is_unknown():
    assert find_price(PRICES, "my-local-model") is None
    cost = price_request(None, TokenCount(input=1, output=1))
    assert (cost.usd, cost.reason) == (None, "the model has no listed price")


def test_a_model_at_two_hosts_needs_the_name_of_one():
    one = find_price(PRICES, "gpt-5")
    two = [one, one.model_copy(update={"provider": "elsewhere"})]
    with pytest.raises(ConfigError, match="has a price at openai, elsewhere"):
        find_price(two, "gpt-5")
    assert find_price(two, "elsewhere/gpt-5").provider == "elsewhere"
    assert find_price(two, "gpt-5", provider="openai") is one


def test_the_list_shows_ages_and_marks_old_prices():
    rows = {row.model: row for row in list_prices(PRICES, date(2026, 11, 22))}
    assert rows["gpt-5"].age_days == 39 and not rows["gpt-5"].stale
    assert rows["llama-3.3-70b-versatile"].stale


# --- price files ------------------------------------------------------------------------------------------------------

GOOD = "currency: USD\nper_tokens: 1000000\nprices:\n"
ENTRY = "  - {provider: p, model: m, input: 1, output: 2, source: s, retrieved: '2026-01-01'}\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GOOD + ENTRY + ENTRY, "p/m has two prices"),
        (GOOD + ENTRY.replace("input: 1", "input: -1"), "input"),
        (GOOD + ENTRY.replace("input: 1", "inputs: 1"), "inputs"),
        (GOOD + ENTRY.replace(", retrieved: '2026-01-01'", ""), "retrieved"),
        (GOOD.replace("USD", "EUR") + ENTRY, "currency"),
        (GOOD.replace("1000000", "1000") + ENTRY, "per_tokens"),
    ],
)
def test_price_files_that_cannot_be_used_are_refused(tmp_path, text, message):
    path = tmp_path / "prices.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_prices(path)


# --- the same from genai-prices ---------------------------------------------------------------------------------------


def test_the_package_and_our_file_agree_on_every_model_we_list():
    pytest.importorskip("genai_prices")
    used = TokenCount(input=2000, output=700)
    for price in PRICES:
        assert genai_request(price.provider, price.model, used).usd == approx(price_request(price, used).usd), (
            price.name
        )


def test_the_package_has_no_silent_full_price_for_a_batch_and_no_price_for_the_unknown():
    pytest.importorskip("genai_prices")
    used = TokenCount(input=2000, output=700, cache_read=1500)
    assert genai_request("openai", "gpt-5", used, "batch").usd == approx(0.00390625)
    groq = genai_request("groq", "llama-3.3-70b-versatile", used, "batch")
    assert (groq.usd, groq.reason) == (None, "groq/llama-3.3-70b-versatile lists no batch price")
    assert genai_request("openai", "gpt-does-not-exist", used).usd is None


def test_without_the_package_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "genai_prices", None)
    with pytest.raises(ConfigError, match=r"openweights-harness\[prices\]"):
        genai_request("openai", "gpt-5", TokenCount(1, 1))
