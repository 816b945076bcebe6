from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pytest import approx
from sklearn.metrics import confusion_matrix, f1_score, precision_recall_fscore_support

from harness.stats import LabelScore, accuracy, multi_label, single_label, wilson


def test_each_label_has_its_scores_and_an_abstention_its_own_column():
    found = single_label(["a", "a", "b", "b", "c"], ["a", "b", "b", None, "c"])
    assert tuple(replace(label, f1_low=None, f1_high=None) for label in found.labels) == (
        LabelScore("a", precision=1.0, recall=0.5, f1=approx(2 / 3), support=2),
        LabelScore("b", precision=0.5, recall=0.5, f1=0.5, support=2),
        LabelScore("c", precision=1.0, recall=1.0, f1=1.0, support=1),
    )
    assert found.confusion == ((1, 1, 0, 0), (0, 1, 0, 1), (0, 0, 1, 0))
    assert found.abstentions == 1
    assert found.macro_f1.value == approx((2 / 3 + 0.5 + 1) / 3)
    assert found.micro_f1.value == approx(6 / 9)


@pytest.mark.slow
def test_scores_equal_scikit_learns():
    rng = np.random.default_rng(0)
    labels = ["a", "b", "c", "d"]
    for _ in range(20):
        expected = rng.choice(labels, size=50).tolist()
        answers = [e if rng.uniform() < 0.6 else str(rng.choice(labels)) for e in expected]
        ours = single_label(expected, answers, labels)
        precision, recall, f1, support = precision_recall_fscore_support(expected, answers, labels=labels)
        assert [s.precision for s in ours.labels] == approx(precision)
        assert [s.recall for s in ours.labels] == approx(recall)
        assert [s.f1 for s in ours.labels] == approx(f1)
        assert [s.support for s in ours.labels] == support.tolist()
        assert ours.macro_f1.value == approx(f1_score(expected, answers, average="macro"))
        assert ours.micro_f1.value == approx(accuracy([float(e == a) for e, a in zip(expected, answers)]).value)
        assert np.array(ours.confusion)[:, :-1].tolist() == confusion_matrix(expected, answers, labels=labels).tolist()


def test_scores_of_label_sets_equal_scikit_learns():
    rng = np.random.default_rng(1)
    truth, found = rng.uniform(size=(2, 40, 3)) < 0.4
    names = np.array(["x", "y", "z"])
    ours = multi_label([names[row].tolist() for row in truth], [names[row].tolist() for row in found], names.tolist())
    assert ours.macro_f1.value == approx(f1_score(truth, found, average="macro"))
    assert ours.micro_f1.value == approx(f1_score(truth, found, average="micro"))
    assert [s.f1 for s in ours.labels] == approx(f1_score(truth, found, average=None))
    assert ours.confusion is None and ours.abstentions == 0


def test_a_label_neither_expected_nor_answered_has_no_score_and_does_not_lower_the_mean():
    found = single_label(["a", "a"], ["a", None], labels=["a", "b"])
    assert found.labels[1] == LabelScore("b", None, None, None, 0)  # nor an interval
    assert found.macro_f1.value == found.labels[0].f1 == approx(2 / 3)
    never = single_label(["a", "a"], [None, None])
    assert (never.labels[0].precision, never.labels[0].recall, never.macro_f1.value) == (None, 0.0, 0.0)


def test_a_labels_f1_has_the_interval_of_the_share_of_hits_among_all_that_name_it():
    found = single_label(list("aaaaabbbbb"), list("aaabbbbbba")).labels[0]  # a: 3 hits, 2 missed, 1 more claimed
    share = wilson(3, 6)
    assert found.f1 == approx(2 * 0.5 / 1.5)
    assert (found.f1_low, found.f1_high) == approx(tuple(2 * end / (1 + end) for end in (share.low, share.high)))
    clustered = single_label(list("aaaaabbbbb") * 2, list("aaabbbbbba") * 2, clusters=list(range(10)) * 2).labels[0]
    assert clustered.f1_high - clustered.f1_low > 0.9 * (found.f1_high - found.f1_low)


def test_few_samples_of_a_label_leave_the_macro_mean_without_an_interval_and_say_so():
    few = single_label(list("abab"), list("abaa")).macro_f1
    assert few.value is not None and few.low is few.high is None
    assert "4 samples of 2 labels are too few" in few.reason and "10 a label" in few.reason
    sure = single_label(list("ab") * 10, list("ab") * 10)
    assert (sure.macro_f1.value, sure.macro_f1.high) == (1.0, 1.0) and 0.5 < sure.macro_f1.low < 0.95
    assert sure.micro_f1.low == approx(0.832, abs=0.01)  # Clopper and Pearson's, for 20 of 20
    lone = single_label(list("ab") * 10, list("ab") * 10, clusters=["x"] * 20)
    assert lone.macro_f1.low is lone.micro_f1.low is None and "one cluster" in lone.macro_f1.reason


labelled = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["a", "b", "c", None])), min_size=1, max_size=60)


@pytest.mark.slow
@settings(max_examples=50, deadline=None)
@given(labelled)
def test_intervals_of_f1_lie_between_0_and_1(rows):
    expected, answers = map(list, zip(*rows))
    found = single_label(expected, answers)
    for one in (found.macro_f1, found.micro_f1):
        if one.low is not None:
            assert 0 <= one.low <= one.value <= one.high <= 1
    for label in found.labels:
        assert 0 <= label.f1_low <= label.f1 <= label.f1_high <= 1


def test_an_empty_set_is_an_answer_and_none_is_not():
    found = multi_label([["a"], [], ["a", "b"]], [["a"], [], None])
    assert found.abstentions == 1
    assert (found.labels[0].recall, found.labels[1].recall, found.micro_f1.value) == (0.5, 0.0, 0.5)


def test_the_same_samples_twice_in_clusters_are_no_more_certain_than_once():
    expected, answers = list("abab" * 10), list("abba" * 10)
    once = single_label(expected, answers)
    twice = single_label(expected * 2, answers * 2, clusters=list(range(40)) * 2)
    assert twice.macro_f1.stderr == approx(once.macro_f1.stderr, rel=0.05)
    assert single_label(expected * 2, answers * 2).macro_f1.stderr < 0.8 * once.macro_f1.stderr


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: single_label([], []), "0 expected labels"),
        (lambda: single_label(["a"], ["a", "b"]), "1 expected labels and 2"),
        (lambda: single_label(["a"], ["b"], labels=["a"]), "'b' is none of the labels"),
        (lambda: multi_label([[]], [[]]), "no label is expected"),
    ],
)
def test_a_callers_bug_is_a_value_error(call, words):
    with pytest.raises(ValueError, match=words):
        call()


@pytest.mark.slow
def test_the_interval_of_macro_f1_covers_the_truth_where_one_label_is_rare():
    rng, held = np.random.default_rng(2), 0
    share = np.array([[0.855, 0.045], [0.015, 0.085]])  # 90 % and 10 %
    truth = np.mean([2 * 0.855 / (0.9 + 0.87), 2 * 0.085 / (0.1 + 0.13)])
    for seed in range(200):
        cells = rng.choice(4, size=60, p=share.ravel())
        found = single_label(["ab"[c // 2] for c in cells], ["ab"[c % 2] for c in cells], ["a", "b"], seed=seed)
        held += found.macro_f1.low <= truth <= found.macro_f1.high
    assert held / 200 >= 0.92
