"""The probe equals a plain logistic regression and never uses the labels that it predicts."""

from __future__ import annotations

import numpy as np
from cytoimagenet.eval.scores.accuracy import UNCLASSIFIED
from cytoimagenet.eval.scores.probe import across, fit, leave_group_out, stratified
from sklearn.linear_model import LogisticRegression


def test_the_probe_in_the_space_of_the_samples_gives_the_same_predictions(rng):
    labels = np.repeat([0, 1, 2], 10)
    features = rng.normal(size=(30, 80)) + labels[:, None] * rng.normal(size=80)
    asked = rng.normal(size=(200, 80)) + rng.integers(0, 3, 200)[:, None] * rng.normal(size=80)
    mean, deviation = features.mean(axis=0), features.std(axis=0)
    plain = LogisticRegression(max_iter=5000, tol=1e-8).fit((features - mean) / deviation, labels)
    agree = fit(features, labels)(asked) == plain.predict((asked - mean) / deviation)
    assert agree.mean() > 0.98  # the solver stops a little earlier or later


def test_the_probe_is_never_fitted_on_what_it_predicts(rng):
    labels = np.tile([0, 1], 30)
    features = rng.normal(size=(60, 200))  # separable by chance, but it says nothing about other samples
    assert np.mean(across(features, labels, stratified(labels)) == labels) < 0.75
    groups = np.repeat(np.arange(12), 5)
    for train, test in leave_group_out(groups):
        assert not set(groups[train]) & set(groups[test])
    assert across(features, labels, []).tolist() == [UNCLASSIFIED] * 60


def test_every_sample_is_in_one_fold_and_small_classes_reduce_their_number():
    labels = np.array([0] * 20 + [1] * 3)
    folds = list(stratified(labels))
    assert len(folds) == 3
    assert sorted(np.concatenate([test for _, test in folds]).tolist()) == list(range(23))
    assert all(set(labels[test]) == {0, 1} for _, test in folds)
    assert list(stratified(np.array([0, 0, 1]))) == []


def test_a_single_class_is_always_predicted():
    assert fit(np.eye(3), np.array([4, 4, 4]))(np.eye(3)).tolist() == [4, 4, 4]
