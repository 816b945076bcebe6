"""Prompts that no prefix cache can help with: a task's own with a mark before each, and made-up ones."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import overload

from harness.values import GenerateRequest, Message, Prompt, Request

MARK = "[0123456789ab] "  # what `Unlike` puts before a prompt, with other digits


class Unlike(Sequence[Request]):
    """The requests again and again, each opening with a number of its own, so that no prefix cache can help.

    The number changes at each reading, so that no scenario meets the prompts of the one before. For speed alone: the
    model reads a changed prompt.
    """

    def __init__(self, requests: Sequence[Request], seed: int | str = 0) -> None:
        self._requests, self._seed, self._read = requests, seed, 0

    def __len__(self) -> int:
        return 1 << 40

    @overload
    def __getitem__(self, index: int) -> Request: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Request]: ...

    def __getitem__(self, index: int | slice) -> Request | Sequence[Request]:
        if isinstance(index, slice):
            raise TypeError("an endless sequence has no slices")
        request = self._requests[index % len(self._requests)]
        mark = f"[{random.Random(f'{self._seed}/{self._read}').getrandbits(48):012x}] "
        self._read += 1
        if request.prompt.text is not None:
            return replace(request, prompt=Prompt(mark + request.prompt.text))
        first, *others = request.prompt.messages
        return replace(request, prompt=Prompt(messages=(Message(first.role, mark + first.content), *others)))


WORDS = (
    "the of and to in for on with as by at from this that which order report price table letter number month paper "
    "water house street field river stone light paint glass metal engine signal market bridge garden window winter"
)


def synthetic_requests(
    input_tokens: int, output_tokens: int, n: int, *, count: Callable[[str], int] | None = None, seed: int | str = 0
) -> list[GenerateRequest]:
    """Returns `n` requests of about so many input tokens of common words, all different from the first word on.

    With `count` the length is right to a few tokens; without one, a word is taken for a token. Output lengths need a
    server that is told not to stop early (`extra: {ignore_eos: true}` where it knows that).
    """
    made = []
    common = WORDS.split()
    for i in range(n):
        rng = random.Random(f"{seed}/{i}")
        words = rng.choices(common, k=input_tokens)
        if count is not None:
            for _ in range(3):  # the length is almost linear in the words
                words = words[: max(1, round(len(words) * input_tokens / max(1, count(" ".join(words)))))]
                words += rng.choices(common, k=max(0, input_tokens - count(" ".join(words))))
        made.append(
            GenerateRequest(
                f"synthetic-{seed}-{i}", str(i), Prompt(" ".join(words)), max_tokens=output_tokens, sensitivity="public"
            )
        )
    return made
