"""A byte-level tokenizer of 262 tokens, made on the spot: special tokens first, then one token a byte."""

from __future__ import annotations

from functools import cache
from typing import Any

SPECIAL = ("<pad>", "<s>", "</s>", "<|end|>")
ADDED = ("<think>", "</think>")  # tokens of their own, but not special: decoding keeps them


@cache
def bytes_tokenizer() -> Any:
    """Returns the tokenizer; BOS is 1, EOS is 2, `<|end|>` is 3."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {text: i for i, text in enumerate([*SPECIAL, *alphabet])}
    inner = Tokenizer(models.BPE(vocabulary, [], unk_token=None))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    inner.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        additional_special_tokens=["<|end|>"],
    )
    tokenizer.add_tokens(list(ADDED))
    return tokenizer


def ids_of(text: str) -> list[int]:
    """Returns the tokens of a text; the texts of special and added tokens become those tokens."""
    return bytes_tokenizer().encode(text, add_special_tokens=False)
