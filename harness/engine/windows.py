"""A text longer than the model reads, as windows that predict each of its tokens once."""

from __future__ import annotations

from collections.abc import Sequence

from harness.engine.tokens import ScoreSequence


def rolling_windows(ids: Sequence[int], *, max_length: int, prefix_token: int, context: int = 1) -> list[ScoreSequence]:
    """Returns windows of at most `max_length` read tokens; together they judge every token of `ids` once.

    The first window reads the prefix token, then the text. Each later one judges up to `max_length - context + 1`
    tokens more and reads as many tokens before them as fit: at least `context`. `context` 1 is the fastest, a larger
    one gives each token more to go by. As lm-eval 0.4.13 `get_rolling_token_windows`.
    """
    if not 1 <= context <= max_length:
        raise ValueError(f"context is {context}: it must be in 1..{max_length}, the longest sequence the model reads")
    text = (prefix_token, *ids)  # text[i + 1] is ids[i]: a window that ends at `end` reads text[...:end]
    step = max_length - context + 1
    ends = [*range(max_length, len(ids), step), len(ids)]
    starts = [0, *ends[:-1]]
    return [
        ScoreSequence(tuple(text[max(0, end - max_length) : end + 1]), end - start)
        for start, end in zip(starts, ends, strict=True)
        if end
    ]
