from itertools import combinations

import numpy as np
import pytest
from pytest import approx

from harness.stats import accuracy, maj_at_k, pass_at_k, pass_hat_k


@pytest.mark.parametrize(
    ("n", "c", "k", "chance"),
    [
        (10, 3, 1, 0.3),
        (10, 3, 5, 0.9166667),
        (200, 1, 100, 0.5),
        (200, 5, 10, 0.2282845),
        (100, 10, 10, 0.6695238),
        (10, 0, 5, 0.0),
        (10, 6, 5, 1.0),
    ],
)
def test_pass_at_k_is_the_unbiased_one(n, c, k, chance):
    assert pass_at_k(n, c, k) == approx(chance, abs=5e-8)


def test_pass_rules_equal_counting_every_draw():
    right = [1, 1, 1, 0, 0, 0, 0]
    for k in range(1, 8):
        draws = list(combinations(right, k))
        assert pass_at_k(7, 3, k) == approx(np.mean([any(d) for d in draws]))
        assert pass_hat_k(7, 3, k) == approx(np.mean([all(d) for d in draws]))
    assert (pass_at_k(7, 3, 1), pass_hat_k(7, 3, 1)) == approx((3 / 7, 3 / 7))


def winners_score(draw, scores):
    """Returns the score of the most frequent answer, by counting; ties share."""
    votes = [answer for answer in draw if answer is not None]
    if not votes:
        return 0.0
    most = max(map(votes.count, votes))
    return np.mean([scores[answer] for answer in set(votes) if votes.count(answer) == most])


@pytest.mark.parametrize(
    "answers", ["aab", "aabbc", "aabbccd", "abcdef", "aaab.", "a...", "....", "bbbaacc", "aabbb.c"]
)
def test_the_majority_rule_equals_counting_every_draw(answers):
    given = [None if letter == "." else letter for letter in answers]
    scores = {"a": 1.0, "b": 0.0, "c": 0.5, "d": 0.0, "e": 0.0, "f": 0.0}
    values = [scores.get(answer, 0.0) for answer in given]
    for k in range(1, len(given) + 1):
        expected = np.mean([winners_score(draw, scores) for draw in combinations(given, k)])
        assert maj_at_k(given, values, k) == approx(expected, abs=1e-12)


def test_the_majority_of_many_draws_nears_the_published_chances():
    answers = ["right"] * 6000 + ["wrong"] * 4000
    values = [1.0] * 6000 + [0.0] * 4000
    found = [maj_at_k(answers, values, k) for k in (1, 3, 5, 7)]
    assert found == approx([0.6, 0.648, 0.68256, 0.710208], abs=1e-4)


def test_ties_are_split_and_not_won_by_the_first():
    assert maj_at_k(["right", "wrong"], [1, 0], 2) == maj_at_k(["wrong", "right"], [0, 1], 2) == 0.5
    assert maj_at_k(["right", None], [1, 0], 2) == 1.0  # no answer does not vote


def test_the_interval_over_problems_is_about_problems_not_answers():
    rng = np.random.default_rng(0)
    rates = [pass_at_k(10, int(c), 3) for c in rng.binomial(10, rng.beta(1, 2, size=80))]
    found = accuracy(rates)
    assert (found.value, found.n) == (approx(np.mean(rates)), 80)
    assert found.stderr == approx(np.std(rates, ddof=1) / np.sqrt(80))
    twice = accuracy(rates + rates, list(range(80)) * 2)
    assert (twice.stderr, twice.low) == (approx(found.stderr, rel=0.01), approx(found.low, abs=0.003))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: pass_at_k(5, 2, 6), "cannot draw 6 answers from 5"),
        (lambda: pass_hat_k(5, 6, 2), "of which 6 are right"),
        (lambda: pass_at_k(5, 2, 0), "cannot draw 0"),
        (lambda: maj_at_k([], [], 1), "values is empty"),
        (lambda: maj_at_k(["a"], [1, 0], 1), "1 answers and 2 values"),
        (lambda: maj_at_k(["a"], [1], 2), "cannot draw 2"),
    ],
)
def test_a_callers_bug_is_a_value_error(call, words):
    with pytest.raises(ValueError, match=words):
        call()


@pytest.mark.slow
def test_the_interval_over_problems_covers_the_truth_where_most_are_solved():
    rng, held = np.random.default_rng(1), 0
    for _ in range(300):
        counts = rng.binomial(2, rng.beta(6, 1, size=30))
        found = accuracy([pass_at_k(2, int(c), 2) for c in counts] + [0.5])  # never 0/1 alone
        held += found.low <= 1 - 1 / 28 <= found.high  # 1 - E[(1 - p)^2] of Beta(6, 1)
    assert held / 300 >= 0.94
