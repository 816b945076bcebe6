"""Words of the report that its parts share. Rows are counted from 1."""

from __future__ import annotations

import re
from collections.abc import Sequence


def row_list(numbers: Sequence[int]) -> str:
    """Returns "row 3" or "rows 3, 7, ..."."""
    shown = ", ".join(map(str, numbers[:6])) + (", ..." if len(numbers) > 6 else "")
    return f"row{'s' if len(numbers) > 1 else ''} {shown}"


def group_list(groups: Sequence[Sequence[int]]) -> str:
    """Returns "rows 3/9, 4/8, ..." for groups of rows that belong together."""
    shown = ", ".join("/".join(map(str, group[:4])) for group in groups[:4])
    return f"rows {shown}" + (", ..." if len(groups) > 4 else "")


def counted(n: int, noun: str) -> str:
    """Returns "1 row", "1,200 rows"."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def short(text: str, width: int) -> str:
    """Returns a text on one line of at most `width` characters, with nothing a terminal would obey."""
    plain = " ".join(re.sub(r"[^\w\s\x20-\x7e]", "?", text).split()) or "?"
    return plain if len(plain) <= width else plain[: width - 1] + "…"
