"""Control tokens whose text stands in the data: they are read as text there, and stay control tokens in a template.

    control = ControlTokens(tokenizer)
    hidden = control.hide("He wrote </s>.")      # what a chat template is given
    control.mark(rendered)                       # what `control.reader()` reads: only marked texts are control tokens
    control.show(rendered)                       # the same as a person reads it

The reader is a copy of the tokenizer in which each control token is spelt with marks around it, so that nothing in the
data can spell one. The marks are drawn anew in every process, and are never part of any number.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Sequence
from functools import cached_property
from typing import Any

_NONCE = secrets.token_hex(8)
_OPEN, _HIDE, _CLOSE = f"\uf8f1{_NONCE}", f"\uf8f2{_NONCE}", "\uf8f3"
_PLACE = re.compile(f"{_HIDE}(\\d+){_CLOSE}")
_PIPED = re.compile(r"<\|.+\|>", re.DOTALL)
SAMPLE = "The cat, 12 mats:\n  one\ttwo"


class ControlTokens:
    """The texts that a tokenizer reads as control tokens."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._texts = _texts(tokenizer)
        self._numbers = {text: number for number, text in enumerate(self._texts)}
        self._any = re.compile("|".join(map(re.escape, self._texts)) or r"(?!)")

    def first_in(self, texts: Sequence[str]) -> str | None:
        """Returns the first text of a control token that stands in any of these, or None."""
        found = (self._any.search(text) for text in texts)
        return next((match[0] for match in found if match), None)

    def hide(self, text: str) -> str:
        """Returns a text of the data with its control texts put out of a template's sight."""
        return self._any.sub(lambda match: f"{_HIDE}{self._numbers[match[0]]}{_CLOSE}", text)

    def show(self, text: str) -> str:
        """Returns what was hidden as it stood."""
        return _PLACE.sub(lambda match: self._texts[int(match[1])], text)

    def mark(self, text: str) -> str:
        """Returns a text for `reader`: the control tokens in sight are marked, what was hidden is text again."""
        return self.show(self._any.sub(lambda match: marked(match[0]), text))

    @cached_property
    def reader(self) -> MarkedReader | None:
        """The tokenizer that reads marked texts; None where it cannot be made, or does not read as the other does."""
        try:
            made = MarkedReader(self._tokenizer, self._texts)
        except Exception:  # the library raises no narrower one, and has a say in what it can be rebuilt from
            return None
        asked = {"add_special_tokens": False, "return_attention_mask": False}
        same = made([SAMPLE])["input_ids"] == self._tokenizer([SAMPLE], **asked)["input_ids"]
        alone = made([marked(text) for text in self._texts])["input_ids"]
        known = [[self._tokenizer.convert_tokens_to_ids(text)] for text in self._texts]
        return made if same and alone == known else None


def marked(text: str) -> str:
    """Returns the text of a control token as a `MarkedReader` knows it."""
    return f"{_OPEN}{text}{_CLOSE}"


def _texts(tokenizer: Any) -> tuple[str, ...]:
    """Returns the texts of control tokens, longest first: those the tokenizer calls special, and its chat template's.

    Other added tokens (white space, `<think>`) are words that a text may hold.
    """
    template = str(getattr(tokenizer, "chat_template", None) or "")
    added = getattr(tokenizer, "added_tokens_decoder", {}).values()
    own = {token.content for token in added if token.special}
    own |= {token.content for token in added if _PIPED.fullmatch(token.content) and token.content in template}
    own |= set(getattr(tokenizer, "all_special_tokens", ()))
    return tuple(sorted((text for text in own if text.strip()), key=lambda text: (-len(text), text)))


class MarkedReader:
    """A tokenizer in which only marked texts are control tokens. Called as a tokenizer is, it adds no special ones."""

    def __init__(self, tokenizer: Any, texts: Sequence[str]) -> None:
        from tokenizers import Tokenizer

        self._decode = tokenizer.decode
        written = json.loads(tokenizer.backend_tokenizer.to_str())
        names = {text: marked(text) for text in texts}
        model, own = written["model"], {token["content"]: token["id"] for token in written["added_tokens"]}
        for token in written["added_tokens"]:
            token["content"] = names.get(token["content"], token["content"])
        if isinstance(model["vocab"], dict):
            model["vocab"] = {names.get(piece, piece): number for piece, number in model["vocab"].items()}
        else:
            model["vocab"] = [[names.get(piece, piece), score] for piece, score in model["vocab"]]
        if model.get("unk_token") in names:
            model["unk_token"] = names[model["unk_token"]]
        written.update(post_processor=None, truncation=None, padding=None)
        self._inner = Tokenizer.from_str(json.dumps(written))
        # An added token that is no word of the model gets a number by its place: not always the one it had.
        self._ids = {self._inner.token_to_id(names.get(text, text)): number for text, number in own.items()}

    def __call__(self, texts: Sequence[str], **options: object) -> dict[str, list[list[int]]]:
        """Returns the ids of each text, under the key that tokenizers have for them."""
        encoded = self._inner.encode_batch(list(texts), add_special_tokens=False)
        return {"input_ids": [[self._ids.get(number, number) for number in one.ids] for one in encoded]}

    def decode(self, ids: Sequence[int]) -> str:
        """Returns the text of control tokens with their marks."""
        return marked(self._decode(ids))
