"""Text of models, servers and files made harmless: names and messages may come from anywhere."""

from __future__ import annotations

import re

_HIDDEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069]")


def plain(text: str) -> str:
    """Returns the text with control and direction characters made visible."""
    return _HIDDEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
