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
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from harness.errors import BackendError, TaskError


class Grammars:
    """Makes constraints for one model's tokenizer. `vocabulary` is the width of its logits."""

    def __init__(self, tokenizer: Any, vocabulary: int, eos_token: int | None = None) -> None:
        try:
            import llguidance.hf
        except ImportError as missing:
            raise BackendError(
                "answers held to a schema, regex or choices need the package llguidance",
                fix="pip install 'openweights-harness[structured]'",
            ) from missing
        width = max(vocabulary, len(tokenizer))
        self.tokenizer = llguidance.hf.from_tokenizer(tokenizer, n_vocab=width, eos_token=eos_token)

    def schema(self, schema: Mapping[str, Any], where: str = "") -> Constraint:
        """Returns the constraint to JSON texts that `schema` accepts. Raises TaskError naming what is not supported."""
        from llguidance import LLMatcher

        # One space after a colon or comma at most, as json.dumps writes: free white space lets a model fill its limit.
        options = {"item_separator": ", ", "key_separator": ": ", "whitespace_flexible": False}
        return self._checked("schema", LLMatcher.grammar_from_json_schema(json.dumps(schema), defaults=options), where)

    def regex(self, pattern: str, where: str = "") -> Constraint:
        """Returns the constraint to texts that `pattern` matches as a whole (no look-around, no back references)."""
        from llguidance import LLMatcher

        return self._checked("regex", LLMatcher.grammar_from_regex(pattern), where)

    def choices(self, choices: Sequence[str], where: str = "") -> Constraint:
        """Returns the constraint to exactly one of `choices`."""
        from llguidance import LLMatcher

        if not choices or not all(choices):
            raise TaskError("'choices' is empty or has an empty text", where=where, fix="give one text or more")
        options = " | ".join(json.dumps(choice, ensure_ascii=False) for choice in choices)
        return self._checked("choices", LLMatcher.grammar_from_lark(f"start: {options}"), where)

    def _checked(self, key: str, grammar: str, where: str) -> Constraint:
        from llguidance import LLMatcher

        error = LLMatcher(self.tokenizer, grammar, log_level=0).get_error()
        if error:
            raise TaskError(f"'{key}' cannot be used: {' '.join(error.split())[:300]}", where=where, fix=FIXES[key])
        return Constraint(self.tokenizer, grammar)


FIXES = {
    "schema": "correct it, or leave out the keyword and check that part with a scorer",
    "regex": "correct it; look-around and back references are not supported",
    "choices": "give plain texts",
}


class Constraint:
    """A checked grammar, ready to hold any number of rows."""

    def __init__(self, tokenizer: Any, grammar: str) -> None:
        self.tokenizer, self.grammar = tokenizer, grammar

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
        self.bits = self.torch.allocate_token_bitmask(1, constraint.tokenizer.vocab_size)

    def masked(self, logits: torch.Tensor) -> torch.Tensor:
        """Returns logits [vocabulary] with every token that the grammar does not allow next at -inf."""
        self.torch.fill_next_token_bitmask(self.matcher, self.bits, 0)
        allowed = np.unpackbits(self.bits.numpy().view(np.uint8), bitorder="little")[: logits.shape[-1]]
        return logits.masked_fill(torch.from_numpy(allowed == 0).to(logits.device), -torch.inf)

    def push(self, token: int) -> bool:
        """Takes one token; returns whether the answer is complete and nothing can follow."""
        if not self.matcher.consume_token(token):
            raise RuntimeError(f"token {token} was drawn against its grammar: {self.matcher.get_error()}")
        return self.matcher.is_stopped()
