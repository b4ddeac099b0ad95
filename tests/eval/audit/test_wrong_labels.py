"""Wrong labels among classes that can be distinguished: the interval contains their share, and the flags find them."""

from __future__ import annotations

import numpy as np
import pytest
from cytoimagenet.eval.audit.probabilities import NEIGHBOURS, train
from cytoimagenet.eval.audit.wrong_labels import find_wrong_labels
from cytoimagenet.eval.scores.neighbours import nearest

CLASSES, IMAGES, SOURCES = 6, 1200, 3


def planted(share, *, nearest_class, seed):
    """Return features, given labels, sources, and which labels are wrong; classes 2k and 2k + 1 are near each other."""
    rng = np.random.default_rng(seed)
    centres = np.repeat(rng.normal(0, 1.2, (CLASSES // 2, 30)), 2, axis=0) + rng.normal(0, 0.8, (CLASSES, 30))
    true = rng.integers(0, CLASSES, IMAGES)
    values = (centres[true] + rng.normal(0, 1, (IMAGES, 30))).astype(np.float32)
    source = true // 2
    wrong = rng.random(IMAGES) < share
    other = true ^ 1 if nearest_class else (true + rng.integers(1, CLASSES, IMAGES)) % CLASSES
    return values, np.where(wrong, other, true), source, wrong


def judged(values, label, source, seed):
    group = np.arange(len(label))
    near, similarity = nearest(values, values, NEIGHBOURS, "cosine", itself=True)
    model = train(values, label, CLASSES, group, near, similarity, seed=seed)
    return find_wrong_labels(model, source, group, seed=seed)


@pytest.mark.parametrize(("share", "nearest_class"), [(0.05, False), (0.05, True), (0.2, True)])
def test_wrong_labels_are_counted_and_flagged(share, nearest_class):
    values, label, source, wrong = planted(share, nearest_class=nearest_class, seed=1)
    found = judged(values, label, source, seed=0)
    assert found.total.low <= wrong.mean() <= found.total.high
    hits = (found.flagged & wrong).sum()
    assert hits >= 0.7 * found.flagged.sum()
    assert hits >= 0.5 * wrong.sum()
    assert found.flagged.sum() <= round(found.total.share * IMAGES)
    for number in range(SOURCES):
        estimate = found.by_source[number]
        assert estimate.low <= wrong[source == number].mean() <= estimate.high


def test_right_labels_are_not_flagged():
    values, label, source, wrong = planted(0.0, nearest_class=True, seed=2)
    found = judged(values, label, source, seed=0)
    assert not wrong.any()
    assert found.total.low == 0
    assert found.flagged.mean() <= 0.01
