"""What the responses of a run tell beside their answers: money, tokens, characters, and what a reader must know.

    told(lines)         ->  by model and task: sums and counts, as JSON values
    footnotes(told)     ->  lines for below a table

Read from the log of responses alone, so that a run that was killed has its sums too. Unknown is None, never 0.
"""

from __future__ import annotations

from collections.abc import Iterable


def total(values: Iterable[float | None]) -> float | None:
    """Returns the sum; None if any part is unknown."""
    parts = list(values)
    return None if None in parts else sum(parts)
