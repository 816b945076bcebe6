"""A text longer than the model reads, as windows that predict each of its tokens once."""

from __future__ import annotations

from collections.abc import Sequence

from harness.engine.tokens import ScoreSequence


def rolling_windows(ids: Sequence[int], *, max_length: int, prefix_token: int) -> list[ScoreSequence]:
    """Returns windows of at most `max_length` read tokens; together they judge every token of `ids` once.

    The first window reads the prefix token, then the text. Each later one judges up to `max_length` tokens more, and
    reads as many tokens before them as fit: at least one. As lm-eval 0.4.13 `get_rolling_token_windows` with the
    `context_len` 1 of its own models.
    """
    text = (prefix_token, *ids)  # text[i + 1] is ids[i]: a window that ends at `end` reads text[...:end]
    ends = [*range(max_length, len(ids), max_length), len(ids)]
    starts = [0, *ends[:-1]]
    return [
        ScoreSequence(tuple(text[max(0, end - max_length) : end + 1]), end - start)
        for start, end in zip(starts, ends, strict=True)
        if end
    ]
