import numpy as np
import pytest
from pytest import approx
from sklearn.metrics import confusion_matrix, f1_score, precision_recall_fscore_support

from harness.stats import LabelScore, accuracy, multi_label, single_label
from harness.stats.bootstrap import bootstrap_sums
from harness.stats.classification import _macro_f1


def test_each_label_has_its_scores_and_an_abstention_its_own_column():
    found = single_label(["a", "a", "b", "b", "c"], ["a", "b", "b", None, "c"])
    assert found.labels == (
        LabelScore("a", precision=1.0, recall=0.5, f1=approx(2 / 3), support=2),
        LabelScore("b", precision=0.5, recall=0.5, f1=0.5, support=2),
        LabelScore("c", precision=1.0, recall=1.0, f1=1.0, support=1),
    )
    assert found.confusion == ((1, 1, 0, 0), (0, 1, 0, 1), (0, 0, 1, 0))
    assert found.abstentions == 1
    assert found.macro_f1.value == approx((2 / 3 + 0.5 + 1) / 3)
    assert found.micro_f1.value == approx(6 / 9)
    assert found.macro_f1.low < found.macro_f1.value < found.macro_f1.high == 1.0


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
    assert found.labels[1] == LabelScore("b", None, None, None, 0)
    assert found.macro_f1.value == found.labels[0].f1 == approx(2 / 3)
    never = single_label(["a", "a"], [None, None])
    assert (never.labels[0].precision, never.labels[0].recall, never.macro_f1.value) == (None, 0.0, 0.0)


def test_an_empty_set_is_an_answer_and_none_is_not():
    found = multi_label([["a"], [], ["a", "b"]], [["a"], [], None])
    assert found.abstentions == 1
    assert (found.labels[0].recall, found.labels[1].recall, found.micro_f1.value) == (0.5, 0.0, 0.5)


def test_the_same_samples_twice_in_clusters_are_no_more_certain_than_once():
    expected, answers = list("abab" * 10), list("abba" * 10)
    once = single_label(expected, answers)
    twice = single_label(expected * 2, answers * 2, clusters=list(range(40)) * 2)
    assert twice.macro_f1.stderr == approx(once.macro_f1.stderr)
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
def test_the_interval_of_macro_f1_covers_the_truth_nearly_as_often_as_it_says():
    rng = np.random.default_rng(2)
    # two labels, 70 % and 30 %, each answered right 4 times in 5
    share = np.array([[0.56, 0.14], [0.06, 0.24]])
    truth = np.mean([2 * 0.56 / (0.70 + 0.62), 2 * 0.24 / (0.30 + 0.38)])
    hits = np.array([[1, 0, 0, 0], [0, 0, 1, 1], [0, 0, 1, 1], [0, 1, 0, 0]], dtype=float)
    covered = 0
    for seed in range(1000):
        rows = hits[rng.choice(4, size=100, p=share.ravel())]
        found = bootstrap_sums(rows, _macro_f1, resamples=399, seed=seed)
        covered += found.low <= truth <= found.high
    assert covered / 1000 == approx(0.95, abs=0.025)
