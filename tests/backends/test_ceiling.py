"""The most a request can cost follows from the body that is sent, whoever put its keys there."""

from __future__ import annotations

from typing import Any

import pytest

from harness.backends.servers.ceiling import OVERHEAD, Unbounded, ceiling
from harness.backends.servers.tariff import Tariff, planned, price_of, refuse_unbounded
from harness.config.model import model_of
from harness.cost.prices import TokenCount
from harness.errors import BackendError
from harness.values import GenerateRequest, LoglikelihoodRequest, Prompt

ASKED = {"model": "m", "messages": [{"role": "user", "content": "abcd"}], "max_tokens": 16}


@pytest.mark.parametrize(
    ("more", "tokens"),
    [
        ({}, 16),
        ({"max_tokens": 4000}, 4000),
        ({"max_tokens": "4000"}, 4000),
        ({"max_completion_tokens": 4000}, 4000),
        ({"max_output_tokens": 300}, 300),
        ({"generationConfig": {"maxOutputTokens": 4000}}, 4000),
        ({"http_options": {"extra_body": {"generationConfig": {"maxOutputTokens": 70}}}}, 70),
        ({"options": {"num_predict": 900}}, 900),  # Ollama
        ({"n_predict": 900}, 900),  # llama.cpp
        ({"max_completion_tokens": None}, 16),  # not set: the other one holds
        ({"n": 5}, 80),
        ({"best_of": 8, "n": 2}, 128),
        ({"candidate_count": 4}, 64),
        ({"generationConfig": {"candidateCount": 3, "maxOutputTokens": 10}}, 48),
        ({"reasoning": {"max_tokens": 2000}}, 2016),  # OpenRouter
        ({"reasoning": {"effort": "high"}}, 16),
        ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, 1040),
        ({"thinking_config": {"thinking_budget": 512}}, 528),
        ({"thinking_config": {"thinking_budget": -1}}, 16),
        ({"thinking_budget": 100, "n": 2}, 232),
        ({"prediction": {"type": "content", "content": "x" * 50}}, 66),
        ({"response_format": {"type": "json_schema", "json_schema": {"properties": {"max_tokens": 9999}}}}, 16),
        ({"tools": [{"type": "function", "function": {"parameters": {"n": 50, "max_tokens": 9999}}}]}, 16),
    ],
)
def test_an_answer_has_no_more_tokens_than_its_body_allows(more: dict[str, Any], tokens: int):
    assert ceiling(ASKED | more).output == tokens


def test_all_that_is_given_to_read_is_counted_as_bytes():
    plain = ceiling(ASKED).input
    assert plain == 4 + OVERHEAD
    assert ceiling(ASKED | {"messages": [{"role": "user", "content": "ü" * 10}]}).input == 20 + OVERHEAD
    schema = {"type": "object", "properties": {"a": {"type": "string", "description": "d" * 1000}}}
    for more in ({"response_format": {"json_schema": schema}}, {"tools": [{"type": "function", "function": schema}]}):
        assert ceiling(ASKED | more).input > plain + 1000
    assert ceiling(ASKED | {"system": "s" * 300}).input == plain + 300
    many = [{"role": "user", "content": "a"}] * 1000
    assert ceiling(ASKED | {"messages": many}).input >= 1000 + 10 * 1000  # a template marks each of them


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"max_tokens": None}, "an answer without a limit"),
        ({"max_tokens": -1}, "an answer without a limit"),
        ({"n_predict": -1}, "an answer without a limit"),
        ({"web_search_options": {"search_context_size": "high"}}, "a search of the web"),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "a tool that the provider runs"),
        ({"tools": [{"google_search": {}}]}, "a tool that the provider runs"),
        ({"plugins": [{"id": "web"}]}, "plugins"),
        ({"cached_content": "cachedContents/1"}, "kept at the provider"),
        ({"models": ["a", "b"]}, "other models"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "u"}}]}]}, "no text"),
        ({"contents": [{"role": "user", "parts": [{"inline_data": {"data": "AA"}}]}]}, "no text"),
    ],
)
def test_what_no_body_bounds_is_named(more: dict[str, Any], why: str):
    with pytest.raises(Unbounded, match=why):
        ceiling(ASKED | more)


def request(limit: int = 16) -> GenerateRequest:
    return GenerateRequest("k", "s", Prompt("abcd"), max_tokens=limit)


def tariff(price: Any, **extra: Any) -> Tariff:
    model = model_of(name="m", backend="openai", base_url="http://127.0.0.1:9/v1", price=price, extra=extra)
    return planned(model, price_of(model))


def test_the_dearest_way_counts_a_service_tier_and_a_cache_of_an_hour():
    rates = {"input": 1.0, "output": 10.0, "cache_write": 1.25, "cache_write_1h": 2.0}
    read = (4 + OVERHEAD) / 1e6
    assert tariff(rates).bound(request()) == pytest.approx(1.25 * read + 160e-6)
    kept = tariff(rates, cache_control={"type": "ephemeral", "ttl": "1h"}).bound(request())
    assert kept is not None and kept > 2.0 * read + 160e-6
    own = rates | {"service_tiers": {"priority": {"input": 2, "output": 20}}}
    assert tariff(own, service_tier="priority").bound(request()) == pytest.approx(2 * read + 320e-6)
    assert tariff(rates, service_tier="auto").bound(request()) == tariff(rates).bound(request())
    for extra in ({"service_tier": "priority"}, {"cache_control": {"ttl": "1h"}}):
        with pytest.raises(BackendError, match="a spend limit needs a bound"):
            tariff({"input": 1.0, "output": 10.0}, **extra).bound(request())
        assert tariff({"input": 1.0, "output": 10.0}, **extra).most_usd(request()) is None


def test_settings_without_a_bound_are_refused_before_anything_is_asked():
    price = {"input": 1.0, "output": 10.0}
    model = model_of(name="m", backend="openai", price=price, extra={"max_tokens": None})
    with pytest.raises(BackendError, match=r"there is none: an answer without a limit(.|\n)*model m(.|\n)*`extra`"):
        refuse_unbounded(model, price_of(model))
    fine = model_of(name="m", backend="openai", price=price, extra={"reasoning_effort": "low"})
    refuse_unbounded(fine, price_of(fine))


def test_what_a_server_wrote_beyond_its_limit_is_expected_of_it_from_then_on():
    asked = tariff({"input": 1.0, "output": 10.0})
    before = asked.bound(request())
    assert not asked.proven
    assert asked.usd(request(), TokenCount(20, 10)) == pytest.approx(120e-6)
    assert asked.proven and asked.bound(request()) == before  # it kept to its limit
    asked.usd(request(), TokenCount(20, 4016, reasoning=4000))
    assert asked.bound(request()) == pytest.approx(before + 4000 * 10e-6)
    asked.usd(request(), TokenCount(20, 4016, reasoning=4000))
    assert asked.bound(request()) == pytest.approx(before + 4000 * 10e-6)  # as much as was seen, and no more


def test_each_text_that_is_scored_is_a_request_of_its_own():
    scored = LoglikelihoodRequest("k", "s", Prompt("abcd"), (" yes", " no"))
    assert tariff({"input": 1.0, "output": 0.0}).bound(scored) == pytest.approx((2 * (4 + OVERHEAD) + 4 + 3) / 1e6)
