"""Texts to token ids as lm-eval 0.4.13 makes them. The peer itself is asked in tests/parity."""

from __future__ import annotations

import logging
import random
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from harness.engine import tokens
from harness.engine.tokens import Frame, encode_pairs, encode_texts, frame_of
from tests.conftest import SHARED


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


def pairs(*given, bos=True, max_length=99, prefix_token=1):
    opening = (1,) if bos else ()
    made = encode_pairs(Letters(), given, max_length=max_length, prefix_token=prefix_token, opening=opening)
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
    texts = {"<s>c": [1, 99], "c": [1, 99], "\n<s>c": [10, 1, 99]}
    assert encode_texts(Letters(), texts, prefix_token=1, opening=(1,)) == texts


@pytest.mark.parametrize(
    ("template", "frame"),
    [
        ("$A", Frame()),
        ("<s> $A", Frame((0,))),
        ("$A </s>", Frame((), ("</s>",))),
        ("<s> $A </s>", Frame((0,), ("</s>",))),
        ("<s> <s> $A", Frame((0,), (), "<s>")),
        ("</s> <s> $A </s> </s>", Frame((1, 0), ("</s>", "</s>"))),
    ],
)
def test_what_a_tokenizer_puts_around_a_text_is_seen(template, frame):
    assert frame_of(trained(template=template)) == frame


def test_no_text_is_ended_before_the_model_has_read_on():
    tokenizer = trained(template="<s> $A </s>")
    bare = tokenizer.encode("one two", add_special_tokens=False)
    opening = frame_of(tokenizer).opening
    assert encode_texts(tokenizer, ["one two"], prefix_token=0, opening=opening) == {"one two": [0, *bare]}
    for count in (1, tokens.MANY):
        made = encode_pairs(tokenizer, [("one", " two")] * count, max_length=99, prefix_token=0, opening=opening)
        assert {(one.ids, one.n_scored) for one in made} == {((0, *bare), len(tokenizer.encode(" two")) - 2)}


def test_bos_can_be_left_out():
    assert pairs(("c", "d"), bos=False) == [(ids("cd"), 1, 0)]
    assert pairs((" ", "d"), bos=False) == [([1, *ids(" d")], 2, 0)]


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


# --- in pieces -------------------------------------------------------------------------------------------------------

NEWER = (  # the expression of Llama 3, which keeps punctuation and the line's end together
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|"
    r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
CORPUS = [
    "The answer is:\nA. one\nB. two\n\nAnswer: B\n",
    "it's 1234, isn't it?\n  é e\u0301 中文 😀",
    "a b ab\n ab  ab",
] * 3
BYTES = pre_tokenizers.ByteLevel(add_prefix_space=False)


def by(expression, behavior="isolated"):
    """Splits by an expression, then into bytes."""
    bytes_only = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(expression), behavior), bytes_only])


def trained(steps=BYTES, normalizer=None, template="<s> $A", added=(), dropout=None):
    """A byte-level BPE whose BOS is <s> (0) and with </s> (1), trained on a few lines."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = steps
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    specials = ["<s>", "</s>"]
    made.train_from_iterator(
        CORPUS, trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, special_tokens=specials)
    )
    made.model.dropout = dropout
    if normalizer is not None:
        made.normalizer = normalizer
    if template is not None:
        made.post_processor = processors.TemplateProcessing(template, special_tokens=[("<s>", 0), ("</s>", 1)])
    made.add_tokens(list(added))
    return PreTrainedTokenizerFast(tokenizer_object=made, bos_token="<s>", eos_token="</s>")


GREEDY = [AddedToken("<|end|>", rstrip=True, normalized=False), AddedToken("<|go|>", lstrip=True, normalized=False)]
CUT = {
    "gpt2-like": trained(),
    "no bos": trained(template=None),
    "newer": trained(by(NEWER), normalizers.NFC()),
    "greedy": trained(added=GREEDY),
    "newer greedy": trained(by(NEWER), normalizers.NFC(), added=GREEDY),
}
BITS = [
    *"ab1.:,'?!-_/\"é中٣²½\u0301\u200d😀\u00a0\u2028\x1c\x85",
    " ",
    " ",
    "\n",
    "\n",
    "  ",
    "\n\n",
    "\r\n",
    "\t",
    "'s",
    " the",
]
BITS += [
    "\nAnswer",
    "A. ",
    "2026",
    " ab",
    "<s>",
    "</s>",
    "<",
    "s>",
    "<|end|>",
    "<|go|>",
    "<|endoftext|>",
    ">>TITLE<<",
    "<|en",
    "d|>",
]
found = cache(tokens._cuts)


def some_text(rng):
    anything = lambda: chr(rng.choice([rng.randrange(0xD800), rng.randrange(0xE000, 0x110000)]))
    return "".join(rng.choice(BITS) if rng.random() < 0.95 else anything() for _ in range(rng.randrange(14)))


def assert_pieces_make_the_whole(tokenizer, seed):
    rng = random.Random(seed)
    pairs = [(some_text(rng) or "a", some_text(rng)) for _ in range(100)]
    moved = [tokens._move_white_space(*pair) for pair in pairs]
    prefix = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    options = {"prefix_token": prefix, "opening": rng.choice([frame_of(tokenizer).opening, ()])}
    in_pieces = tokens._encode_pieces(tokenizer, moved, found(tokenizer), **options)
    for pair, ours, whole in zip(moved, in_pieces, tokens._encode_whole(tokenizer, moved, **options), strict=True):
        assert ours == whole, pair


@pytest.mark.slow
@pytest.mark.parametrize("name", CUT)
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**9))
def test_pieces_of_a_text_read_as_the_whole_text(name, seed):
    assert_pieces_make_the_whole(CUT[name], seed)


@cache
def real(name):
    return AutoTokenizer.from_pretrained(SHARED / "tokenizers" / name)


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.parametrize("name", ["gpt2", "falcon"])
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**9))
def test_pieces_of_a_text_read_as_the_whole_text_by_real_tokenizers(name, seed):
    assert_pieces_make_the_whole(real(name), seed)


def test_lines_that_contexts_share_and_their_last_word_are_pieces():
    newer = found(CUT["newer"])
    assert newer.pieces("one two\nA.\nB 2\nthe answer is") == ["one two", "\nA.\nB 2", "\nthe answer", " is"]
    assert newer.pieces("") == [""]
    assert found(CUT["gpt2-like"]).pieces("one\nA.\nB:") == ["one", "\nA.", "\nB:"]


def test_white_space_an_added_token_takes_is_not_cut_off():
    assert found(CUT["greedy"]).pieces("x<|end|>\ny") == ["x<|end|>\ny"]


@pytest.mark.parametrize(
    "options",
    [
        {"steps": pre_tokenizers.ByteLevel(add_prefix_space=True)},
        {"steps": by(r"(?<=a)\n|\p{L}+|\s+")},
        {"steps": by(r".+\n|.+")},
        {"steps": by(NEWER, "merged_with_next")},
        {"steps": pre_tokenizers.Metaspace()},
        {"normalizer": normalizers.Prepend("_")},
        {"normalizer": normalizers.NFC(), "added": [AddedToken("x", normalized=True)]},
        {"added": [AddedToken("two words", normalized=False)]},
        {"added": [AddedToken("\nword", single_word=True, normalized=False)]},
        {"dropout": 0.1},
    ],
    ids=str,
)
def test_a_tokenizer_that_may_read_a_piece_otherwise_is_given_whole_texts(options):
    assert tokens._cuts(trained(**options)) is None


@pytest.mark.slow
@pytest.mark.shared
def test_a_tokenizer_that_rewrites_its_text_is_given_whole_texts():
    assert tokens._cuts(real("phi-3-mini")) is None


MANY = [(f"a question {i}\nab: ", choice) for i in range(tokens.MANY) for choice in ("one", "two")]


def test_many_pairs_are_read_in_pieces_and_few_whole_alike(monkeypatch):
    asked = []
    whole = tokens._encode_whole
    monkeypatch.setattr(
        tokens, "_encode_whole", lambda t, some, **options: asked.append(len(some)) or whole(t, some, **options)
    )
    many = encode_pairs(CUT["gpt2-like"], MANY, max_length=20, prefix_token=0)
    assert asked == [0, tokens.TRIED + 1]
    few = encode_pairs(CUT["gpt2-like"], MANY[:9], max_length=20, prefix_token=0)
    assert asked[2:] == [9]
    assert many[:9] == few


def test_where_trying_shows_a_difference_all_texts_are_read_whole(monkeypatch, caplog):
    wrong = lambda t, some, cuts, **options: [((0,), (0,))] * len(some)
    monkeypatch.setattr(tokens, "_encode_pieces", wrong)
    with caplog.at_level(logging.INFO):
        made = encode_pairs(CUT["gpt2-like"], MANY, max_length=20, prefix_token=0)
    assert made[:9] == encode_pairs(CUT["gpt2-like"], MANY[:9], max_length=20, prefix_token=0)
    assert [r.message for r in caplog.records if "whole texts" in r.message] == [
        "the tokenizer reads pieces of texts otherwise than whole texts; it is given whole texts"
    ]
