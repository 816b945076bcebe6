"""Answers held to a JSON schema, a regular expression or a list of choices, each row by its own grammar.

The library is llguidance. Four were compared with GPT-2's 50,257 tokens and a schema of four fields on two cores:

    library              compile    a token    installs
    llguidance 1.9       2 ms       0.02-0.2 ms  8 MB, needs nothing else
    xgrammar 0.2         196 ms     0.02 ms    999 MB of triton come with it, also where there is no GPU
    outlines-core 0.2    225 ms     0.2 ms     5 MB; time and memory to compile grow with the schema
    lm-format-enforcer   -          -          its transformers part does not import with transformers 5

llguidance also names the keyword of a schema that it does not support, and never lets one pass unheeded.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from harness.errors import BackendError, TaskError
from harness.values import Form

if TYPE_CHECKING:
    import torch  # takes seconds to import, and a form is checked without it


def grammar_of(form: Form) -> str:
    """Returns the library's grammar of what an answer must be. Raises BackendError where the library is missing."""
    matcher = _library().LLMatcher
    grammar: str
    if form.schema:
        # One space after a colon or comma at most, as json.dumps writes: free white space lets a model fill its limit.
        options = {"item_separator": ", ", "key_separator": ": ", "whitespace_flexible": False}
        grammar = matcher.grammar_from_json_schema(form.schema, defaults=options)
    elif form.regex:
        grammar = matcher.grammar_from_regex(form.regex)
    else:
        choices = " | ".join(json.dumps(choice, ensure_ascii=False) for choice in form.choices)
        grammar = matcher.grammar_from_lark(f"start: {choices}")
    return grammar


def check_supported(form: Form, where: str = "") -> None:
    """Raises TaskError naming what of a schema or regex cannot be held to; no tokenizer is needed."""
    if not (form.schema or form.regex or (form.choices and all(form.choices))):
        raise TaskError("'choices' is empty or has an empty text", where=where, fix="give one text or more")
    key = next(key for key in FIXES if getattr(form, key))
    error = _library().LLMatcher.validate_grammar(grammar_of(form))
    if error:
        raise TaskError(f"'{key}' cannot be used: {' '.join(error.split())[:300]}", where=where, fix=FIXES[key])


def _library() -> Any:
    try:
        import llguidance
        import llguidance.hf
    except ImportError as missing:
        raise BackendError(
            "answers held to a schema, regex or choices need the package llguidance",
            fix="pip install 'openweights-harness[structured]'",
        ) from missing
    return llguidance


class Grammars:
    """Makes constraints for one model's tokenizer. `vocabulary` is the width of its logits."""

    def __init__(self, tokenizer: Any, vocabulary: int, eos_token: int | None = None) -> None:
        width = max(vocabulary, len(tokenizer))
        self.tokenizer = _library().hf.from_tokenizer(tokenizer, n_vocab=width, eos_token=eos_token)

    def constraint(self, form: Form, begun: str = "") -> Constraint:
        """Returns the constraint to what `form` says; `begun` is how the answer begins already.

        Raises TaskError naming what is not supported, and for a beginning that no such answer has.
        """
        check_supported(form)
        made = Constraint(self.tokenizer, grammar_of(form), tuple(self.tokenizer.tokenize_str(begun)))
        if not made.start().begins:
            raise TaskError(f"no answer of the form asked for begins with the prefill {begun[:40]!r}", fix="mend one")
        return made


FIXES = {
    "schema": "correct it, or leave out the keyword and check that part with a scorer",
    "regex": "correct it; look-around and back references are not supported",
    "choices": "give plain texts",
}


class Constraint:
    """A checked grammar, ready to hold any number of rows. `begun`: tokens that stand before what is held."""

    def __init__(self, tokenizer: Any, grammar: str, begun: Sequence[int] = ()) -> None:
        self.tokenizer, self.grammar, self.begun = tokenizer, grammar, list(begun)

    def start(self) -> Matcher:
        """Returns a matcher at the beginning of a new answer."""
        return Matcher(self)


class Matcher:
    """Where one row is in its grammar."""

    def __init__(self, constraint: Constraint) -> None:
        import llguidance.torch
        from llguidance import LLMatcher

        self.torch = llguidance.torch
        self.matcher = LLMatcher(constraint.tokenizer, constraint.grammar, log_level=0)
        self.begins = not constraint.begun or self.matcher.consume_tokens(constraint.begun)
        self.bits = self.torch.allocate_token_bitmask(1, constraint.tokenizer.vocab_size)

    def masked(self, logits: torch.Tensor) -> torch.Tensor:
        """Returns logits [vocabulary] with every token that the grammar does not allow next at -inf."""
        import numpy as np
        import torch

        self.torch.fill_next_token_bitmask(self.matcher, self.bits, 0)
        allowed = np.unpackbits(self.bits.numpy().view(np.uint8), bitorder="little")[: logits.shape[-1]]
        return logits.masked_fill(torch.from_numpy(allowed == 0).to(logits.device), -torch.inf)

    def push(self, token: int) -> bool:
        """Takes one token; returns whether the answer is complete and nothing can follow."""
        if not self.matcher.consume_token(token):
            raise RuntimeError(f"token {token} was drawn against its grammar: {self.matcher.get_error()}")
        return self.matcher.is_stopped()
