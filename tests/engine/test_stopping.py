"""Stop strings are found at the token that completes them, wherever the token boundaries are."""

from __future__ import annotations

from itertools import groupby

import pytest

from harness.engine.text.stop_strings import STOP_LIMIT, WINDOW, StopScanner, check_stop, visible_text
from harness.errors import TaskError
from tests.support.bytes_tokenizer import bytes_tokenizer, ids_of


def found(text: str, *stop: str) -> tuple[str | None, str]:
    """Feeds a text token by token; returns the stop string and what had been fed when it was found."""
    scanner, ids = StopScanner(bytes_tokenizer(), stop), ids_of(text)
    for k, token in enumerate(ids):
        hit = scanner.push(token)
        if hit is not None:
            return hit, bytes_tokenizer().decode(ids[: k + 1])
    return None, text


def test_a_stop_string_across_many_tokens_is_found_at_its_last_byte():
    assert found("a line\n\nQuestion: more", "\n\nQuestion:") == ("\n\nQuestion:", "a line\n\nQuestion:")


@pytest.mark.parametrize("before", range(3 * WINDOW))
def test_it_is_found_wherever_the_window_has_moved_to(before: int):
    assert found("x" * before + "END of it", "END") == ("END", "x" * before + "END")


def test_a_stop_string_of_multi_byte_characters_is_found_when_its_last_byte_arrives():
    assert found("warm café ☕ and more", "é ☕") == ("é ☕", "warm café ☕")


def test_it_is_found_although_its_last_token_also_begins_another_character():
    class Pieces:  # tokens that are pieces of bytes, as a byte-level tokenizer's are
        texts = (b"caf", "é".encode()[:1], "é".encode()[1:] + "☕".encode()[:1], "☕".encode()[1:])

        def decode(self, ids, **options):
            return b"".join(self.texts[i] for i in ids).decode(errors="replace")

    scanner = StopScanner(Pieces(), ["fé"])
    assert [scanner.push(token) for token in range(4)] == [None, None, "fé", None]
    scanner = StopScanner(Pieces(), ["é☕"])
    assert [scanner.push(token) for token in range(4)] == [None, None, None, "é☕"]


@pytest.mark.parametrize("before", range(3 * WINDOW))
def test_it_is_found_among_bytes_that_are_read_together_or_not_at_all(before: int):
    class Bytes:  # as the byte fallback of many tokenizers: one wrong byte spoils the whole run
        def decode(self, ids, **options):
            runs = ["".join(group) for _, group in groupby(map(chr, ids), str.isascii)]
            return "".join(run if run.isascii() else self.character(run.encode("latin-1")) for run in runs)

        def character(self, run: bytes) -> str:
            try:
                return run.decode()
            except UnicodeDecodeError:
                return "\ufffd" * len(run)

    scanner, ids = StopScanner(Bytes(), ["日本"]), [*b"x" * before, *"の日本".encode()]
    assert [scanner.push(token) for token in ids] == [None] * (before + 8) + ["日本"]


def test_only_tokens_that_may_complete_a_stop_string_are_read_with_those_before_them():
    class Letters:
        read = 0

        def decode(self, ids, **options):
            self.read += len(ids)
            return "".join(map(chr, ids))

    letters = Letters()
    scanner = StopScanner(letters, ["END"])
    text = "a long answer " * 20
    assert [scanner.push(ord(c)) for c in text + "END"][-2:] == [None, "END"]
    assert letters.read == len(set(text + "END")) + len(text + "END")  # each kind of token, then all at the D


def test_half_a_character_is_not_taken_for_a_whole_one():
    assert found("é", "\ufffd")[0] is None


def test_a_stop_string_equal_to_a_special_token_is_found_and_cut():
    assert found("yes<|end|>no", "<|end|>")[0] == "<|end|>"
    assert visible_text(bytes_tokenizer(), ids_of("yes<|end|>"), ["<|end|>"]) == "yes"


def test_a_stop_string_that_only_contains_a_special_token_is_cut_where_it_begins():
    assert found("yes\n<|end|>", "\n<|end|>")[0] == "\n<|end|>"
    assert visible_text(bytes_tokenizer(), ids_of("<s>yes\n<|end|>"), ["\n<|end|>"]) == "yes"


def test_of_several_stop_strings_the_one_that_begins_first_counts():
    assert found("one two", "wo", "ne")[0] == "ne"
    assert found("abc", "c", "bc")[0] == "bc"
    assert visible_text(bytes_tokenizer(), ids_of("one two"), ["two", "e"]) == "on"


def test_repeated_beginnings_do_not_hide_a_stop_string():
    assert found("aaaaaaaaaab", "aab") == ("aab", "aaaaaaaaaab")


def test_without_a_stop_string_the_whole_text_is_visible_and_special_tokens_are_not():
    assert visible_text(bytes_tokenizer(), ids_of("<s>all of it</s>"), ["never"]) == "all of it"


def test_an_empty_stop_string_is_refused():
    with pytest.raises(TaskError, match="a stop string is empty"):
        check_stop(["ok", ""], where="tasks/a.yaml: stop")


def test_a_stop_string_longer_than_the_limit_is_refused():
    check_stop(["x" * STOP_LIMIT])
    with pytest.raises(TaskError, match=f"has {STOP_LIMIT + 1} characters, the limit is {STOP_LIMIT}"):
        check_stop(["x" * (STOP_LIMIT + 1)])


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.parametrize("name", ["gpt2", "falcon", "phi-3-mini"])
def test_with_real_tokenizers_it_is_found_at_the_first_token_that_completes_it(shared, name: str):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(shared / "tokenizers" / name)
    text = "The café's naïve owner said: “42 × 7 = 294”. 日本語 text, then\n\nQuestion: what now? \n Answer: 7"
    ids = tokenizer.encode(text, add_special_tokens=False)
    for stop in ("\n\nQuestion:", "日本", "= 294", "now? \n", "”.", "naïve o", "Answer"):
        scanner = StopScanner(tokenizer, [stop])
        hit = next(k for k, token in enumerate(ids) if scanner.push(token))
        assert stop in tokenizer.decode(ids[: hit + 1]) and stop not in tokenizer.decode(ids[:hit])
        assert visible_text(tokenizer, ids[: hit + 1], [stop]) == text[: text.index(stop)]
