"""Every fast score against a slow, obvious one."""

from __future__ import annotations

from fractions import Fraction
from itertools import product
from math import comb, sqrt

import numpy as np
import pytest
from cytoimagenet.eval.scores import controls, mean_ap
from cytoimagenet.eval.scores.accuracy import UNCLASSIFIED, accuracy
from cytoimagenet.eval.scores.intervals import grouped_bootstrap, wald, wilson
from cytoimagenet.eval.scores.paired import grouped_permutation, mcnemar
from cytoimagenet.eval.scores.probe import across, fit, leave_group_out, stratified
from cytoimagenet.eval.scores.votes import vote
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score, precision_score, recall_score


@given(n=st.integers(1, 500), share=st.floats(0, 1))
def test_wilson_ends_where_the_data_is_just_not_surprising(n, share):
    correct = round(share * n)
    for end in wilson(correct, n):
        assert 0 <= end <= 1
        # by definition the observed share lies z standard errors from the end, taken at the end
        distance, error = abs(correct / n - end), sqrt(end * (1 - end) / n)
        assert distance == pytest.approx(1.959963985 * error, abs=1e-7)
    assert wilson(correct, n)[0] <= correct / n <= wilson(correct, n)[1]


def test_wilson_refuses_what_is_no_proportion():
    for correct, n in ((0, 0), (3, 2), (-1, 5)):
        with pytest.raises(ValueError, match="no proportion"):
            wilson(correct, n)


def test_the_published_intervals_are_walds():
    assert 100 * wald(89, 103) == pytest.approx(6.62, abs=0.005)
    assert 100 * wald(86, 103) == pytest.approx(7.17, abs=0.005)


@given(seed=st.integers(0, 10_000), n=st.integers(1, 60), classes=st.integers(1, 6))
def test_accuracy_agrees_with_scikit_learn(seed, n, classes):
    rng = np.random.default_rng(seed)
    true, predicted = rng.integers(0, classes, n), rng.integers(-1, classes, n)
    figures = accuracy(true, predicted, [f"c{i}" for i in range(classes)])
    present = np.unique(true)
    assert figures["value"] == pytest.approx(accuracy_score(true, predicted))
    assert figures["correct"] == (true == predicted).sum()
    assert figures["unclassified"] == (predicted == UNCLASSIFIED).sum()
    options = {"average": None, "labels": np.arange(classes), "zero_division": 0}
    recalls = recall_score(true, predicted, **options)
    assert figures["macro"] == pytest.approx(recalls[present].mean())
    f1 = f1_score(true, predicted, **options)
    seen = np.union1d(present, predicted[predicted >= 0])
    assert figures["f1"] == pytest.approx(f1[seen].mean())
    assert [c["f1"] for c in figures["by_class"]] == pytest.approx(f1)
    assert [c["precision"] for c in figures["by_class"]] == pytest.approx(precision_score(true, predicted, **options))
    counts = np.array(figures["confusion"]["counts"])
    assert counts.shape == (classes, classes + 1)
    for t, p in product(range(classes), range(-1, classes)):
        assert counts[t, p] == ((true == t) & (predicted == p)).sum()  # -1 is the last column


def slow_vote(neighbours, labels, ties):
    votes = [int(labels[j]) for j in neighbours if j >= 0]
    if not votes:
        return UNCLASSIFIED
    most = max(votes.count(label) for label in votes)
    tied = {label for label in votes if votes.count(label) == most}
    return min(tied) if ties == "published" else next(label for label in votes if label in tied)


@given(
    seed=st.integers(0, 10_000),
    n=st.integers(1, 20),
    k=st.integers(1, 11),
    classes=st.integers(1, 5),
    ties=st.sampled_from(["nearest", "published"]),
)
def test_votes_agree_with_counting_by_hand(seed, n, k, classes, ties):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, 15)
    index = rng.integers(0, 15, (n, k))
    for row in index:
        row[k - rng.integers(0, k + 1) :] = -1  # a pool smaller than k
    expected = [slow_vote(row, labels, ties) for row in index]
    assert vote(index, labels, classes, ties).tolist() == expected


def test_ties_are_common_at_eleven_neighbours():
    rng = np.random.default_rng(0)
    index, labels = rng.integers(0, 4000, (4000, 11)), rng.integers(0, 16, 4000)
    assert (vote(index, labels, 16) != vote(index, labels, 16, "published")).mean() > 0.2


def slow_average_precision(features, labels, groups, i):
    ranked = []
    for j in range(len(features)):
        if j == i or (labels[i] == labels[j] and groups[i] == groups[j]):
            continue
        similarity = features[i] @ features[j] / np.linalg.norm(features[i]) / np.linalg.norm(features[j])
        ranked.append((-similarity, labels[i] == labels[j]))
    ranked.sort()
    hits = [hit for _, hit in ranked]
    if not any(hits) or all(hits):
        return np.nan
    return np.mean([sum(hits[: r + 1]) / (r + 1) for r, hit in enumerate(hits) if hit])


@pytest.mark.parametrize("seed", range(5))
def test_mean_average_precision_agrees_with_ranking_by_hand(seed):
    rng = np.random.default_rng(seed)
    n = 25
    groups = rng.integers(0, 8, n)  # compounds
    labels = np.array([f"m{g % 3}" for g in groups])  # each has one mechanism
    features = rng.normal(size=(n, 6))
    found = mean_ap.average_precision(features, labels, groups)["average_precision"]
    expected = [slow_average_precision(features, labels, groups, i) for i in range(n)]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_mean_average_precision_without_pairs_is_no_number():
    features = np.eye(3)
    for labels in ("abc", "aaa"):
        found = mean_ap.average_precision(features, np.array(list(labels)), np.array([1, 2, 3]))
        assert found["average_precision"].isna().all()


def test_mean_average_precision_against_random_rankings(rng, tmp_path, monkeypatch):
    """The null is that of shuffled lists, whatever an earlier run left behind; a signal is seen, noise is not."""
    monkeypatch.setenv("HOME", str(tmp_path))
    n = 24
    groups = np.arange(n) // 2
    labels = np.array(list("abcd"))[groups % 4]
    features = rng.normal(size=(n, 8))
    features[labels == "a", 0] += 30
    scored = mean_ap.average_precision(features, labels, groups)
    p, by_label = mean_ap.against_chance(scored, draws=400)
    assert (p, by_label) == mean_ap.against_chance(scored, draws=400)
    assert by_label["a"]["p"] == pytest.approx(1 / 401) and p < 0.2
    noise = [by_label[label]["p"] for label in "bcd"]
    assert all(by_label[label]["q"] >= by_label[label]["p"] for label in "abcd")
    # a label's p by hand: 4 positives of 22 pairs in each row, one ranking for all rows
    observed = scored[scored["label"] == "b"]["average_precision"].mean()
    hits = rng.permuted(np.tile(np.arange(22) < 4, (4000, 1)), axis=1)
    precision = np.where(hits, hits.cumsum(1) / np.arange(1, 23), 0).sum(1) / 4
    assert noise[0] == pytest.approx(np.mean(precision > observed), abs=0.08)
    assert not list(tmp_path.rglob(".copairs"))


@given(both=st.integers(0, 30), first=st.integers(0, 20), second=st.integers(0, 20))
def test_mcnemar_is_a_coin_for_each_sample_that_differs(both, first, second):
    a = np.array([True] * (both + first) + [False] * second + [False] * 3)
    b = np.array([True] * both + [False] * first + [True] * second + [False] * 3)
    found = mcnemar(a, b)
    n = first + second
    weights = [comb(n, i) for i in range(n + 1)]
    expected = Fraction(sum(w for w in weights if w <= weights[first]), 2**n)
    assert found["p"] == pytest.approx(float(expected))
    assert (found["both"], found["only_first"], found["only_second"], found["neither"]) == (both, first, second, 3)


@given(seed=st.integers(0, 10_000), groups=st.integers(1, 6))
def test_grouped_permutation_tries_every_swap(seed, groups):
    rng = np.random.default_rng(seed)
    n = 20
    group, a, b = rng.integers(0, groups, n), rng.random(n) < 0.7, rng.random(n) < 0.5
    observed = abs(int(a.sum()) - int(b.sum()))
    as_large = 0
    swaps = list(product([False, True], repeat=groups))
    for swap in swaps:
        swapped = np.array(swap)[group]
        total = np.where(swapped, b, a).sum() - np.where(swapped, a, b).sum()
        as_large += abs(int(total)) >= observed
    assert grouped_permutation(a, b, group) == pytest.approx(as_large / len(swaps))


def test_grouped_permutation_is_more_careful_than_mcnemar():
    group = np.repeat(np.arange(20), 50)
    better = np.isin(group, np.arange(12))  # in 12 groups the first is always right alone, in 8 the second
    assert mcnemar(better, ~better)["p"] < 1e-9
    assert grouped_permutation(better, ~better, group) == pytest.approx(0.5, abs=0.03)


def test_grouped_bootstrap_agrees_with_every_way_to_draw():
    correct, groups = np.array([1, 1, 0, 0, 1, 0, 1], bool), np.array(list("aabbbcc"))
    shares = []
    for drawn in product("abc", repeat=3):
        rows = np.concatenate([np.flatnonzero(groups == g) for g in drawn])
        shares.append(correct[rows].mean())
    low, high, n = grouped_bootstrap(correct, groups, draws=20_000)
    assert n == 3
    expected = np.quantile(shares, [0.025, 0.975], method="inverted_cdf")
    assert (low, high) == pytest.approx(expected)


def test_grouped_bootstrap_is_wider_when_groups_stand_together(rng):
    groups = np.repeat(np.arange(20), 50)
    together = np.repeat(rng.random(20) < 0.7, 50)
    low, high, _ = grouped_bootstrap(together, groups)
    plain_low, plain_high = wilson(int(together.sum()), len(together))
    assert high - low > 4 * (plain_high - plain_low)
    assert grouped_bootstrap(together, groups) == grouped_bootstrap(together, groups)


def test_the_probe_in_fewer_dimensions_is_the_probe(rng):
    labels = np.repeat([0, 1, 2], 10)
    features = rng.normal(size=(30, 80)) + labels[:, None] * rng.normal(size=80)
    asked = rng.normal(size=(200, 80)) + rng.integers(0, 3, 200)[:, None] * rng.normal(size=80)
    mean, deviation = features.mean(axis=0), features.std(axis=0)
    plain = LogisticRegression(max_iter=5000, tol=1e-8).fit((features - mean) / deviation, labels)
    agree = fit(features, labels)(asked) == plain.predict((asked - mean) / deviation)
    assert agree.mean() > 0.98  # the solver stops a little earlier or later


def test_the_probe_never_sees_what_it_is_asked(rng):
    labels = np.tile([0, 1], 30)
    features = rng.normal(size=(60, 200))  # separable by chance, but it says nothing about other samples
    assert np.mean(across(features, labels, stratified(labels)) == labels) < 0.75
    groups = np.repeat(np.arange(12), 5)
    for train, test in leave_group_out(groups):
        assert not set(groups[train]) & set(groups[test])
    assert across(features, labels, []).tolist() == [UNCLASSIFIED] * 60


def test_folds_hold_every_sample_once_and_shrink_with_the_smallest_class():
    labels = np.array([0] * 20 + [1] * 3)
    folds = list(stratified(labels))
    assert len(folds) == 3
    assert sorted(np.concatenate([test for _, test in folds]).tolist()) == list(range(23))
    assert all(set(labels[test]) == {0, 1} for _, test in folds)
    assert list(stratified(np.array([0, 0, 1]))) == []


def test_a_class_of_one_label_is_no_probe():
    assert fit(np.eye(3), np.array([4, 4, 4]))(np.eye(3)).tolist() == [4, 4, 4]


def test_shuffled_labels_fail_and_a_leak_is_seen(rng):
    labels = np.repeat(np.arange(4), 50)
    index = np.array([rng.permutation(np.flatnonzero(labels == label))[:11] for label in labels])
    honest = controls.shuffled(lambda shuffled: vote(index, shuffled, 4), labels, None, 1.0)
    assert honest["at_chance"]
    assert honest["interval"]["low"] <= honest["value"] <= honest["interval"]["high"]
    assert honest["p"] == pytest.approx(1 / 51)
    # each sample its own neighbour: shuffling can't make that fail
    leak = controls.shuffled(lambda shuffled: vote(np.arange(200)[:, None], shuffled, 4), labels, None, 1.0)
    assert not leak["at_chance"]
    assert leak["value"] == 1.0
