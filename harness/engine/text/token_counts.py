"""How many tokens a text has, told by a tokenizer alone: without torch, so that servers use it too."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path


def counter_of(folder: str | Path | None) -> Callable[[str], int] | None:
    """Returns what counts the tokens of a text, special ones apart, by a folder's tokenizer; None without a folder."""
    file = Path(folder or "") / "tokenizer.json"
    if folder is None or not file.is_file():
        return None
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(file))
    return lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids)
