"""Texts to token ids as lm-eval 0.4.13 makes them. The peer itself is asked in tests/parity."""

from __future__ import annotations

import pytest

from harness.engine.tokens import encode_pairs, encode_texts


class Letters:
    """A tokenizer of one token a letter, except "ab" (200); it opens texts with <s> (1), and </s> is 2.

    It counts what it is asked, and merges across the boundary of a context that ends in "a".
    """

    def __init__(self, bos: bool = True) -> None:
        self.bos, self.asked = bos, []

    def __call__(self, texts, add_special_tokens=True, **options):
        single = isinstance(texts, str)
        if not single:
            self.asked += texts
        rows = [self._row(text, add_special_tokens) for text in ([texts] if single else texts)]
        return {"input_ids": rows[0] if single else rows}

    def _row(self, text, special):
        ids = [1] if special and self.bos else []
        for word in text.replace("<s>", "\1").replace("ab", "\310"):
            ids.append(ord(word))
        return ids

    def decode(self, ids):
        return "".join({1: "<s>", 2: "</s>"}.get(token, chr(token)) for token in ids)


def pairs(*given, bos=True, max_length=99, prefix_token=1, add_bos=None):
    made = encode_pairs(Letters(bos), given, max_length=max_length, prefix_token=prefix_token, add_bos=add_bos)
    return [(list(s.ids), s.n_scored, s.truncated_left) for s in made]


def ids(text):
    return [ord(letter) for letter in text]


def test_the_continuation_is_what_the_whole_text_has_beyond_the_context():
    assert pairs(("c", " d")) == [([1, *ids("c d")], 2, 0)]


def test_white_space_at_the_end_of_the_context_belongs_to_the_continuation():
    assert pairs(("c ", "d")) == pairs(("c", " d"))
    assert pairs(("c \n\t", "d")) == [([1, *ids("c \n\td")], 4, 0)]


def test_a_merge_across_the_boundary_is_split_by_length_as_the_peer_does():
    # "xa" + "b": the whole is x, ab: no longer than the context alone, so nothing is left to score.
    (sequence,) = encode_pairs(Letters(), [("xa", "b")], max_length=99, prefix_token=1)
    assert (sequence.n_scored, sequence.scorable) == (0, False)
    # "xa" + "bc": the context keeps its own ids, the rest of the whole text's follow.
    assert pairs(("xa", "bc")) == [([1, *ids("xa"), ord("c")], 1, 0)]


def test_an_empty_context_becomes_the_prefix_token():
    assert pairs(("", "cd")) == [([1, *ids("cd")], 2, 0)]
    assert pairs(("", "cd"), bos=False, prefix_token=2) == [([2, *ids("cd")], 2, 0)]
    assert pairs(("", "<s>cd")) == [([1, *ids("cd")], 2, 0)]  # it opens with the token already
    assert pairs((" ", "cd")) == [([1, *ids(" cd")], 3, 0)]
    assert pairs((" ", "cd"), bos=False) == [([1, *ids(" cd")], 3, 0)]


def test_without_any_token_to_open_a_text_its_first_token_cannot_be_scored():
    (sequence,) = encode_pairs(Letters(bos=False), [("", "cd")], max_length=99, prefix_token=None)
    assert not sequence.scorable


@pytest.mark.parametrize(("context", "continuation"), [("c", ""), ("", ""), ("  ", "")])
def test_an_empty_continuation_is_not_scorable(context, continuation):
    (sequence,) = encode_pairs(Letters(), [(context, continuation)], max_length=99, prefix_token=1)
    assert sequence.n_scored == len(context.replace("c", ""))
    assert sequence.scorable == (context == "  ")


def test_a_text_never_gets_a_second_bos():
    assert pairs(("<s>c", " d")) == pairs(("c", " d"))
    assert encode_texts(Letters(), ["<s>c", "c"], prefix_token=1) == {"<s>c": [1, 99], "c": [1, 99]}


def test_bos_can_be_left_out():
    assert pairs(("c", "d"), add_bos=False) == [(ids("cd"), 1, 0)]
    assert pairs((" ", "d"), add_bos=False) == [([1, *ids(" d")], 2, 0)]


def test_long_texts_lose_tokens_on_the_left_bos_first():
    # Five tokens fit beside the last one, which the model never reads.
    assert pairs(("cdefgh", "i"), max_length=5) == [(ids("defghi"), 1, 2)]
    assert pairs(("cdefg", "i"), max_length=6) == [([1, *ids("cdefgi")], 1, 0)]


def test_a_continuation_as_long_as_the_window_is_the_longest_that_is_scorable():
    made = encode_pairs(Letters(), [("c", "d" * 5), ("c", "d" * 6)], max_length=5, prefix_token=1)
    assert [(s.n_scored, s.scorable) for s in made] == [(5, True), (6, False)]


def test_every_distinct_text_is_encoded_once():
    tokenizer = Letters()
    encode_pairs(tokenizer, [("c", " d"), ("c", " e"), ("c ", "d"), ("c", " d")], max_length=9, prefix_token=1)
    assert sorted(tokenizer.asked) == ["c", "c d", "c e"]


def test_nothing_to_encode_is_nothing():
    assert encode_pairs(Letters(), [], max_length=9, prefix_token=1) == []
    assert encode_texts(Letters(), [], prefix_token=1) == {}
