"""chrF is sacrebleu's to the last bit, for texts of any script, length and oddness."""

from __future__ import annotations

import random

import pytest

from harness.scoring.scorers import score_answer
from harness.scoring.scorers.chrf import LARGEST_BASE, chrf2

ALPHABETS = (
    "ab",
    "abcdefgh ,.",
    "aé ß\u00a0\t",
    "αβγд я",
    "中文字符 ab",
    "\U0001f600a \u2028",
    "".join(map(chr, range(32, 2000))),
)


def sacrebleu(expected: str, answer: str) -> float:
    metrics = pytest.importorskip("sacrebleu.metrics")
    return metrics.CHRF().sentence_score(answer, [expected]).score / 100


def pair(draw: random.Random) -> tuple[str, str]:
    """Returns two texts of up to 60 characters of one alphabet, the second often the first with parts changed."""
    alphabet = draw.choice(ALPHABETS)
    one = "".join(draw.choice(alphabet) for _ in range(draw.choice((0, 1, 3, 5, 6, 7, 20, 60))))
    if draw.random() < 0.3:
        return one, "".join(draw.choice(alphabet) for _ in range(draw.randrange(60)))
    return one, "".join(draw.choice(alphabet) if draw.random() < 0.2 else character for character in one)


@pytest.mark.slow
def test_it_is_sacrebleus_on_thousands_of_pairs():
    draw = random.Random(0)
    pairs = [pair(draw) for _ in range(4000)]
    assert len(set(pairs)) > 2500
    assert [chrf2(*one) for one in pairs] == [sacrebleu(*one) for one in pairs]


def test_texts_of_too_many_different_characters_are_left_to_sacrebleu():
    many = "".join(map(chr, range(0x4E00, 0x4E00 + LARGEST_BASE - 1)))
    assert chrf2(many, many) == 1.0  # the largest base still counts
    more = many + "x"
    assert chrf2(more, more) is None
    assert score_answer("chrf", more, more)[0] == pytest.approx(1.0)
    assert score_answer("chrf", more, more[::-1])[0] == sacrebleu(more, more[::-1])


def test_of_several_accepted_texts_the_nearest_counts():
    assert score_answer("chrf", ["dog", "a cat"], "a cat")[0] == 1.0
    assert score_answer("chrf", "cat", None)[0] == 0.0
