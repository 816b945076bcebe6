"""A grammar lets through exactly what it describes, and one that cannot be used is refused by name."""

from __future__ import annotations

import json
import random
import sys

import pytest
import torch

from harness.engine.generate.constrained import Constraint, Grammars
from harness.errors import BackendError, TaskError
from harness.values import Form
from tests.support.bytes_tokenizer import bytes_tokenizer, ids_of

EOS, VOCABULARY = 2, 270
SCHEMA = {
    "type": "object",
    "properties": {
        "team": {"enum": ["billing", "shipping"]},
        "amount": {"type": "integer", "minimum": 0, "maximum": 999},
        "note": {"type": "string", "maxLength": 8},
    },
    "required": ["team", "amount", "note"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def grammars() -> Grammars:
    return Grammars(bytes_tokenizer(), VOCABULARY, EOS)


def accepts(constraint: Constraint, text: str) -> bool:
    """Returns whether every token of the text, and then the end, is let through."""
    matcher, ids = constraint.start(), [*ids_of(text), EOS]
    for k, token in enumerate(ids):
        if matcher.masked(torch.zeros(VOCABULARY))[token] == -torch.inf:
            return False
        if matcher.push(token):  # complete: only the end may be left
            return k >= len(ids) - 2
    return True


def random_text(constraint: Constraint, seed: int) -> str:
    """Returns what a model without any idea would write."""
    matcher, rng, ids = constraint.start(), random.Random(seed), []
    while True:
        allowed = matcher.masked(torch.zeros(VOCABULARY)).isfinite().nonzero().flatten().tolist()
        token = rng.choice(allowed)
        ids += [] if token == EOS else [token]
        if matcher.push(token) or token == EOS:
            return bytes_tokenizer().decode(ids)


@pytest.mark.slow
def test_whatever_is_drawn_under_a_schema_is_valid(grammars: Grammars):
    constraint = grammars.constraint(Form(schema=json.dumps(SCHEMA)))
    for seed in range(20):
        value = json.loads(random_text(constraint, seed))
        assert set(value) == {"team", "amount", "note"}
        assert value["team"] in ("billing", "shipping") and 0 <= value["amount"] <= 999 and len(value["note"]) <= 8


@pytest.mark.slow
def test_a_schema_lets_valid_texts_through_and_no_others(grammars: Grammars):
    constraint = grammars.constraint(Form(schema=json.dumps(SCHEMA)))
    assert accepts(constraint, '{"team": "billing", "amount": 12, "note": "ok"}')
    assert not accepts(constraint, '{"team": "sales", "amount": 12, "note": "ok"}')
    assert not accepts(constraint, '{"team": "billing", "amount": 1200, "note": "ok"}')
    assert not accepts(constraint, '{"team": "billing"}')


def test_a_regex_holds_the_whole_answer(grammars: Grammars):
    constraint = grammars.constraint(Form(regex=r"[A-Z]{2}-\d{1,3}"))
    assert accepts(constraint, "DE-7") and accepts(constraint, "FR-123")
    assert not accepts(constraint, "DE-1234") and not accepts(constraint, "de-7") and not accepts(constraint, "x DE-7")


def test_choices_are_texts_and_not_patterns(grammars: Grammars):
    constraint = grammars.constraint(Form(choices=("a.b", 'say "no"', "caffè", "a")))
    for text in ("a.b", 'say "no"', "caffè", "a"):
        assert accepts(constraint, text)
    assert not accepts(constraint, "axb") and not accepts(constraint, "say")


@pytest.mark.parametrize(
    ("schema", "named"),
    [
        ({"type": "array", "uniqueItems": True}, "uniqueItems"),
        ({"not": {"type": "string"}}, "not"),
        ({"if": {}, "then": {}}, "if"),
        ({"type": "strin"}, "strin"),
        ({"type": "string", "format": "zebra"}, "zebra"),
        ({"$ref": "#/nowhere"}, "/nowhere"),
    ],
)
def test_a_schema_that_is_invalid_or_unsupported_is_refused_by_its_keyword(grammars, schema: dict, named: str):
    with pytest.raises(TaskError, match=f"'schema' cannot be used: .*{named}"):
        grammars.constraint(Form(schema=json.dumps(schema)))


def test_a_broken_regex_and_empty_choices_are_refused(grammars: Grammars):
    with pytest.raises(TaskError, match=r"'regex' cannot be used: .*unclosed group"):
        grammars.constraint(Form(regex="(a|b"))
    with pytest.raises(TaskError, match=r"'regex' cannot be used: .*look-around"):
        grammars.constraint(Form(regex="(?=a)b"))
    for choices in ((), ("a", "")):
        with pytest.raises(TaskError, match="'choices' is empty or has an empty text"):
            grammars.constraint(Form(choices=choices))


def test_without_the_library_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "llguidance.hf", None)
    with pytest.raises(
        BackendError, match=r"need the package llguidance\n.*pip install 'openweights-harness\[structured"
    ):
        Grammars(bytes_tokenizer(), VOCABULARY, EOS)


def test_a_token_against_the_grammar_is_our_own_bug_and_told_so(grammars: Grammars):
    with pytest.raises(RuntimeError, match="was drawn against its grammar"):
        grammars.constraint(Form(choices=("a",))).start().push(ids_of("b")[0])


@pytest.mark.slow
@pytest.mark.shared
def test_with_a_real_tokenizer_tokens_of_several_characters_are_held_too(shared):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(shared / "tokenizers" / "gpt2")
    matcher = (
        Grammars(tokenizer, 50_304, tokenizer.eos_token_id).constraint(Form(choices=("billing", "shipping"))).start()
    )
    allowed = matcher.masked(torch.zeros(50_304)).isfinite().nonzero().flatten().tolist()
    texts = {tokenizer.decode([token]) for token in allowed}
    assert {"bill", "billing", "ship", "sh", "b", "s"} & texts >= {"bill", "ship", "b", "s"}
    assert all("billing".startswith(t) or "shipping".startswith(t) for t in texts)
