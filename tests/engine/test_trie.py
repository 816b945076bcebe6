"""The prefix tree: what is shared, what is cut into rows, and that no token is planned twice."""

from __future__ import annotations

import random

import numpy as np
import pytest

from harness.engine.score import prefix_tree
from harness.engine.tokens import ScoreSequence


def sequence(text: str, n_scored: int = 1) -> ScoreSequence:
    """One token a letter."""
    return ScoreSequence(tuple(map(ord, text)), n_scored)


def forest(seed: int, n: int = 60) -> list[ScoreSequence]:
    """Random texts over two letters: much is shared, some are the start of others."""
    draw = random.Random(seed)
    return [sequence("".join(draw.choices("ab", k=draw.randint(2, 40)))) for _ in range(n)]


def walk(group: prefix_tree.Group):
    yield group
    for inner in group.groups:
        yield from walk(inner)


def test_the_tree_has_one_node_for_each_shared_token():
    tree = prefix_tree.build([sequence("header-question-A"), sequence("header-question-B"), sequence("header-other-A")])
    assert [len(ids) for ids in tree.inputs] == [13, 16]  # A and B differ in the token that is only judged
    assert tree.distinct_tokens == len("header-question-") + len("other-")


def test_sequences_that_differ_in_the_last_token_only_share_one_input():
    tree = prefix_tree.build([sequence("question A"), sequence("question B"), sequence("question A")])
    assert tree.readers == ((0, 1, 2),)


@pytest.mark.parametrize("seed", range(4))
def test_the_tree_counts_as_many_tokens_as_there_are_distinct_prefixes(seed):
    sequences = forest(seed)
    prefixes = {one.ids[:end] for one in sequences for end in range(1, len(one.ids))}
    assert prefix_tree.build(sequences).distinct_tokens == len(prefixes)


@pytest.mark.parametrize("budget", [1, 3, 16, 100, 10_000])
def test_a_plan_covers_every_position_of_every_input_once(budget, monkeypatch):
    monkeypatch.setattr(prefix_tree, "SPREAD_TOKENS", 20)
    monkeypatch.setattr(prefix_tree, "ROW_TOKENS", 10)
    tree = prefix_tree.build(forest(5))
    covered = [np.zeros(length, dtype=int) for length in tree.lengths]
    for group in walk(prefix_tree.plan(tree, budget)):
        for index in group.members:
            covered[index][group.start : group.stop] += 1
        for inputs in group.rows:
            row = prefix_tree.row(tree, inputs, group.stop)
            assert len(row.tokens) <= budget
            for index, slots in zip(inputs, row.slots):
                covered[index][group.stop :] += 1
                assert row.tokens[slots].tolist() == tree.inputs[index][group.stop :].tolist()
                assert row.depths[slots].tolist() == list(range(group.stop, tree.lengths[index]))
    assert all((times == 1).all() for times in covered)


def test_each_token_of_a_row_sees_its_own_ancestors_and_itself():
    tree = prefix_tree.build([sequence("pqab_"), sequence("pqacd_"), sequence("pz_")])
    row = prefix_tree.row(tree, [0, 1, 2], 1)
    assert "".join(map(chr, row.tokens)) == "qabcdz"
    for slots in row.slots:
        for place, slot in enumerate(slots):
            assert np.flatnonzero(row.sees[slot]).tolist() == slots[: place + 1].tolist()


def test_short_branches_are_packed_into_rows_with_little_room_left():
    draw = random.Random(0)
    sequences = [ScoreSequence(tuple(draw.choices(range(50_000), k=draw.randint(10, 60))), 1) for _ in range(400)]
    tree = prefix_tree.build(sequences)
    (group,) = walk(prefix_tree.plan(tree, 100_000))
    lengths = [len(prefix_tree.row(tree, inputs, 0).tokens) for inputs in group.rows]
    assert max(lengths) <= prefix_tree.ROW_TOKENS
    assert sum(lengths) > 0.97 * len(lengths) * prefix_tree.ROW_TOKENS


def test_a_long_shared_header_is_a_prefix_and_a_short_one_is_repeated():
    long, short = "h" * 200, "h"
    for header, expected in ((long, [200]), (short, [])):
        draw = random.Random(1)
        sequences = [sequence(header + "".join(draw.choices("0123456789", k=100))) for _ in range(20)]
        groups = list(walk(prefix_tree.plan(prefix_tree.build(sequences), 1000)))
        assert [group.stop for group in groups[1:]] == expected


def test_no_sequences_make_an_empty_plan():
    tree = prefix_tree.build([])
    assert tree.distinct_tokens == 0
    assert prefix_tree.plan(tree, 100).rows == ()
