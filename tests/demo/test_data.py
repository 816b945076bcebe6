"""The demo data: what is committed can be made again, and nothing of the test rows is ever shown in training."""

from __future__ import annotations

import hashlib
import itertools
import json
import random
import re
from collections import Counter

import pytest

from harness.demo import data, texts, words

TASKS = tuple(data.TEST_ROWS)
STREAMED = 12_000  # examples of the training stream that are made again and compared


def rows_of(task: str, split: str) -> list[dict]:
    lines = data.path_of(task).read_text(encoding="utf-8").splitlines()
    return [row for row in map(json.loads, lines) if row["split"] == split]


@pytest.fixture(scope="module", params=TASKS)
def both(request) -> tuple[str, list[data.Example], list[data.Example]]:
    """A task, its committed test examples, and the start of what the models are trained on, from the training seed."""
    committed = [example for example in data.committed(request.param) if example.row["split"] == "test"]
    return request.param, committed, list(itertools.islice(texts.training_stream(request.param), STREAMED))


@pytest.mark.parametrize("task", TASKS)
def test_the_generator_writes_the_committed_rows_byte_for_byte(task):
    assert data.render_rows(task).encode() == data.path_of(task).read_bytes()


@pytest.mark.parametrize("task", TASKS)
def test_the_task_file_names_the_digest_of_its_data(task):
    source = texts.task_of(task).data
    assert source.file == data.path_of(task).name
    assert source.sha256 == hashlib.sha256(data.path_of(task).read_bytes()).hexdigest()


@pytest.mark.parametrize("task", TASKS)
def test_there_are_enough_rows_each_with_its_own_id_and_text(task):
    test, dev = rows_of(task, "test"), rows_of(task, "dev")
    assert len(test) >= 300 and len(dev) >= 5
    assert len({row["id"] for row in test + dev}) == len(test + dev)
    assert len({texts.question(task, row) for row in test}) == len(test)


@pytest.mark.slow
def test_no_test_text_is_seen_in_training(both):
    task, committed, _ = both
    rows_each = texts.SHOTS + 1 if task == "product-facts" else 1
    stream = itertools.islice(texts.sequences(task), STREAMED // rows_each)
    shown = {piece.text for pieces in stream for piece in pieces}
    assert not shown & {texts.question(task, example.row) for example in committed}


@pytest.mark.slow
def test_no_test_template_is_seen_in_training(both):
    _, committed, streamed = both
    assert not set().union(*(e.templates for e in committed)) & set().union(*(e.templates for e in streamed))
    assert all(example.templates for example in committed)


@pytest.mark.slow
def test_no_test_slot_value_is_seen_in_training(both):
    _, committed, streamed = both
    assert not set().union(*(e.slots for e in committed)) & set().union(*(e.slots for e in streamed))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["statements", "zero-shot facts"])
def test_nothing_that_teaches_the_catalogue_holds_a_test_question(kind):
    questions = {row["question"] for row in rows_of("product-facts", "test")}
    for pieces in itertools.islice(texts.sequences(kind), STREAMED):
        lines = pieces[0].text.split("\n")
        assert not questions.intersection(lines)
        assert not any(line.startswith(tuple(questions)) for line in lines[:2])


def pairs_of_words() -> dict[str, tuple]:
    """Every (train, test) pair of `words.py` whose sides must share nothing, by name."""
    pairs = {f"TICKETS {team}": pair for team, pair in words.TICKETS.items()}
    pairs |= {f"QUESTIONS {attribute}": pair for attribute, pair in words.QUESTIONS.items()}
    names = ("OPENINGS", "ASIDES", "CLOSINGS", "LATER", "RATHER", "JOINED", "ITEMS", "SIGNATURES", "SHORT_FORMS",
             "INVOICES", "PO_LINES", "NUMBER_PREFIXES")  # fmt: skip
    return pairs | {name: getattr(words, name) for name in names}


@pytest.mark.parametrize("name", pairs_of_words())
def test_the_two_sides_of_the_words_are_disjoint(name):
    training, test = pairs_of_words()[name]
    assert not (set(training) & set(test)) - {""}


def test_no_written_out_test_template_equals_a_written_out_training_template():
    def written(templates):
        parts = [[t.split("|") for t in re.findall(r"\[([^\]]*)\]", template)] for template in templates]
        frames = [re.sub(r"\[[^\]]*\]", "%s", template) for template in templates]
        return {frame % choice for frame, options in zip(frames, parts) for choice in itertools.product(*options)}

    for training, test in words.TICKETS.values():
        assert not written(training) & written(test)


@pytest.mark.parametrize("value", [0, 17, "Bralden", ("red", "white"), "2024-05-01"])
def test_every_value_belongs_to_exactly_one_side(value):
    assert data.TRAIN.takes(value) != data.TEST.takes(value)


def test_every_team_is_asked_for_about_equally_often():
    counts = Counter(row["team"] for row in rows_of("support-routing", "test"))
    assert set(counts) == set(words.TEAMS)
    assert max(counts.values()) < 0.2 * sum(counts.values())


def test_the_right_letter_tells_nothing_by_its_place():
    counts = Counter(row["answer"] for row in rows_of("product-facts", "test"))
    assert set(counts) == set(data.LETTERS)
    assert max(counts.values()) < 0.35 * sum(counts.values())


def test_every_right_option_is_what_the_catalogue_says():
    facts = data.catalogue()
    for row in rows_of("product-facts", "test"):
        assert row[row["answer"]] == facts[row["product"], row["attribute"]]
        assert len({row[letter] for letter in data.LETTERS}) == 4


def test_every_field_of_an_invoice_can_be_read_from_its_text():
    for row in rows_of("invoice-fields", "test"):
        fields, text = row["fields"], row["text"]
        assert fields["vendor"] in text and fields["number"] in text
        assert f"{fields['total']:.2f}" in text
        assert fields["purchase_order"] is None or fields["purchase_order"] in text


def test_some_rows_of_each_task_are_hard():
    for task in TASKS:
        kinds = Counter(row["difficulty"] for row in rows_of(task, "test"))
        assert kinds["noisy"] >= 0.1 * sum(kinds.values())
    assert Counter(row["difficulty"] for row in rows_of("support-routing", "test"))["ambiguous"] >= 10


def test_slips_of_the_finger_leave_slots_alone():
    noisy = data._misspell("please return the parcel with {order} inside", random.Random(1), rate=1.0)
    assert "{order}" in noisy
    assert noisy != "please return the parcel with {order} inside"
