"""Accuracy, macro accuracy, F1 and confusion equal those of scikit-learn."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from cytoimagenet.eval.scores.accuracy import UNCLASSIFIED, accuracy
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score, precision_score, recall_score


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
