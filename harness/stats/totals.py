"""What the responses of a run tell beside their answers: money, tokens, characters, and what a reader must know.

    told(lines)         ->  by model and task: sums and counts, as JSON values
    footnotes(told)     ->  lines for below a table

Read from the log of responses alone, so that a run that was killed has its sums too. Unknown is None, never 0.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

Number = TypeVar("Number", int, float)


def total(values: Iterable[Number | None]) -> Number | None:
    """Returns the sum; None if any part is unknown."""
    whole: Number = 0
    for value in values:
        if value is None:
            return None
        whole += value
    return whole
