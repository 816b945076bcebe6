"""Tokens per second of the whole system over a pass. Never to be put in one column with the speed one user sees."""

from __future__ import annotations

from collections.abc import Iterable

from harness.values import Response


def throughput(responses: Iterable[Response], wall_s: float | None) -> dict[str, float | int | None]:
    """Returns real tokens per second over `wall_s` seconds, by direction; answers that failed count for nothing.

    Unknown (None) without a duration. No output at all (a task that only scores) has no output speed.
    """
    good = [r for r in responses if r.error is None]
    read = sum(r.input_tokens for r in good)
    written = sum(r.output_tokens for r in good)
    return {
        "wall_s": wall_s,
        "input_tokens": read,
        "output_tokens": written,
        "input_tokens_per_s": read / wall_s if wall_s and read else None,
        "output_tokens_per_s": written / wall_s if wall_s and written else None,
    }
