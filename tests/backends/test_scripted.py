"""The scripted model."""

from __future__ import annotations

import json

import pytest

from harness.backends import load
from harness.backends.scripted import Rule, read_script
from harness.config.model import model_of
from harness.errors import ConfigError
from harness.values import Request
from tests.support.asking import request_of


def scripted(*rules: Rule, **times: float):
    answers = [rule.model_dump() for rule in rules]
    return load(model_of(name="m", backend="scripted", script={"answers": answers, **times}))


def ask(sample_id="1", prompt="a b c", **changes) -> Request:
    return request_of(f"k{sample_id}", sample_id, prompt, **changes)


def test_the_first_rule_that_fits_answers():
    fake = scripted(Rule(sample="7", text="seven"), Rule(prompt="b+", text="bees"))
    texts = [r.text for r in fake.answer([ask("7"), ask("8"), ask("9", "none")])]
    assert texts[:2] == ["seven", "bees"]
    assert len(texts[2]) == 8  # made up from the prompt's digest


def test_scoring_prefers_the_scripted_text():
    fake = scripted(Rule(text="billing"))
    (response,) = fake.answer([ask(mode="loglikelihood", continuations=(" shipping", " billing"))])
    assert response.logprobs[1] == -0.1 > response.logprobs[0]
    assert response.greedy == (False, True)


def test_answers_without_a_script_are_the_same_on_every_machine():
    (response,) = scripted().answer([ask(mode="loglikelihood", continuations=(" x",))])
    assert response.logprobs == pytest.approx((-1.84805,), abs=1e-4)


def test_an_injected_error_fails_one_request_only():
    fake = scripted(Rule(sample="2", error="connection lost"))
    assert [r.error for r in fake.answer([ask("1"), ask("2"), ask("3")])] == [None, "connection lost", None]
    assert [r.error for r in fake.answer([ask("2", mode="loglikelihood", continuations=("x",))])] == ["connection lost"]


def test_the_wrong_number_of_logprobs_is_an_error_of_that_request():
    fake = scripted(Rule(logprobs=(-1.0,)))
    (response,) = fake.answer([ask(mode="loglikelihood", continuations=("a", "b"))])
    assert response.error == "the script gives 1 logprobs for 2 continuations"


@pytest.mark.parametrize(
    ("text", "stop", "max_tokens", "kept", "tokens", "finish", "stop_string"),
    [
        ("one two three", (), 9, "one two three", 3, "stop", None),
        ("one two three", (), 2, "one two", 2, "length", None),
        ("one two three", (), 3, "one two three", 3, "stop", None),
        ("one two three", ("two",), 9, "one ", 2, "stop", "two"),
        ("one two three", ("three",), 2, "one two", 2, "length", None),
        ("one two three", ("three", "one"), 9, "", 1, "stop", "one"),
        ("", (), 9, "", 0, "stop", None),
    ],
)
def test_texts_end_at_a_stop_string_or_at_the_limit(text, stop, max_tokens, kept, tokens, finish, stop_string):
    fake = scripted(Rule(text=text))
    (response,) = fake.answer([ask(stop=stop, max_tokens=max_tokens)])
    assert (response.text, response.output_tokens, response.finish_reason) == (kept, tokens, finish)
    assert response.stop_string == stop_string


def test_times_are_those_of_the_script():
    fake = scripted(Rule(text="x y"), prefill_s_per_token=1.0, decode_s_per_token=10.0)
    (response,) = fake.answer([ask(prompt="a b c")])
    assert (response.ttft_s, response.last_token_s, response.e2e_s) == (13.0, 23.0, 23.0)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("answer: []", ["unknown key 'answer'", "did you mean 'answers'?"]),
        ("answers: [{sampel: 1}]", ["unknown key 'sampel'", "did you mean 'sample'?"]),
        ("answers: [{prompt: '('}]", ["answers.0.prompt", "not a regular expression"]),
        ("decode_s_per_token: -1", ["decode_s_per_token", "greater than or equal to 0"]),
    ],
)
def test_a_wrong_script_is_named(tmp_path, content, words):
    path = tmp_path / "script.yaml"
    path.write_text(content)
    with pytest.raises(ConfigError) as caught:
        read_script(path)
    assert all(word in str(caught.value) for word in [*words, "script.yaml"])


def test_a_script_is_a_file_or_stands_in_the_run_file_itself(tmp_path):
    rules = {"answers": [{"sample": 7, "text": "seven"}]}
    (tmp_path / "script.json").write_text(json.dumps(rules))
    for script in (rules, rules["answers"], str(tmp_path / "script.json")):
        fake = load(model_of(name="m", backend="fake", script=script))
        assert [r.text for r in fake.answer([ask("7")])] == ["seven"]
    with pytest.raises(ConfigError, match=r"scripts\.json"):
        read_script(tmp_path / "scripts.json")
