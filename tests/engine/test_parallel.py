"""Several copies of a model share the work by subtrees, and give the numbers of one."""

from __future__ import annotations

import random
from functools import partial

import pytest
import torch

from harness.engine import replicas
from harness.engine.score import prefix_tree
from harness.engine.score.prefix_walk import score
from harness.engine.tokens import ScoreSequence
from harness.errors import BackendError
from tests.support.architectures import VOCABULARY, load


def subjects(n: int = 4, each: int = 12) -> list[ScoreSequence]:
    draw = random.Random(0)
    sequences = []
    for _ in range(n):
        header = tuple(draw.choices(range(3, VOCABULARY), k=50))
        for _ in range(each):
            question = header + tuple(draw.choices(range(3, VOCABULARY), k=20))
            sequences += [ScoreSequence((*question, letter), 1) for letter in (10, 11)]
    draw.shuffle(sequences)
    return sequences


def copy(engine: str = "auto"):
    torch.set_num_threads(1)
    return load("llama"), engine


def broken():
    raise RuntimeError("no such device")


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("n", [1, 2, 4])
def test_subtrees_stay_whole_and_the_work_is_even(n):
    sequences = subjects()
    parts = replicas.split(sequences, n)
    assert sorted(index for part in parts for index in part) == list(range(len(sequences)))
    work = [prefix_tree.build([sequences[index] for index in part]).distinct_tokens for part in parts]
    assert sum(work) == prefix_tree.build(sequences).distinct_tokens
    assert max(work) - min(work) < 10


def test_one_header_is_cut_between_its_questions():
    sequences = subjects(n=1, each=40)
    parts = replicas.split(sequences, 2)
    assert min(map(len, parts)) >= 36
    assert sum(map(len, parts)) == 80


def test_more_copies_than_sequences_leave_some_idle():
    parts = replicas.split([ScoreSequence((5, 6, 7), 1)], 3)
    assert sorted(map(len, parts)) == [0, 0, 1]
    assert replicas.split([], 2) == [[], []]


@pytest.mark.slow
def test_two_processes_give_the_numbers_of_one_and_their_work_adds_up():
    loaded, engine = copy()
    sequences, stats, alone = subjects(), [], []
    expected = dict(score(loaded, sequences, on_stats=alone.append))
    held = replicas.Replicas(loaded, engine, [partial(copy, "auto")])
    try:
        for _ in range(2):  # the processes stay for the next task
            scored = dict(held.score(loaded, sequences, on_stats=stats.append))
    finally:
        held.close()
    assert [scored[i].logprob for i in range(len(sequences))] == pytest.approx(
        [expected[i].logprob for i in range(len(sequences))], abs=1e-5
    )
    assert stats[1].forwarded_tokens == alone[0].forwarded_tokens
    assert stats[1].prompt_tokens == alone[0].prompt_tokens
    assert not held.processes


@pytest.mark.slow
def test_a_copy_that_fails_is_an_error_with_its_reason():
    loaded, engine = copy()
    held = replicas.Replicas(loaded, engine, [broken])
    try:
        with pytest.raises(BackendError, match=r"(?s)copy 2 of the model failed.*no such device"):
            list(held.score(loaded, subjects()))
    finally:
        held.close()


def test_a_copy_whose_process_is_killed_is_an_error_not_an_endless_wait():
    loaded, engine = copy()
    held = replicas.Replicas(loaded, engine, [partial(copy, "auto")])
    try:
        held.processes[0].kill()
        with pytest.raises(BackendError, match="copy 2 of the model ended by itself"):
            list(held.score(loaded, subjects()))
    finally:
        held.close()
