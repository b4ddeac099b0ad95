"""Wrong labels among classes that can be distinguished: the interval contains their share, and the flags find them."""

from __future__ import annotations

import numpy as np
import pytest
from cytoimagenet.eval.audit.label_evidence import LABEL_ONLY, measurements, summarise
from cytoimagenet.eval.audit.probabilities import NEIGHBOURS, train
from cytoimagenet.eval.audit.wrong_labels import FEWEST, FLAG_FROM, _flagged, find_wrong_labels
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


def trained(values, label, seed, compared=None):
    group = np.arange(len(label))
    near, similarity = nearest(values, values, NEIGHBOURS, "cosine", itself=True)
    return train(values, label, CLASSES, group, near, similarity, seed=seed, compared=compared)


def judged(values, label, source, seed):
    return find_wrong_labels(trained(values, label, seed), source, np.arange(len(label)), seed=seed)


@pytest.mark.parametrize(("share", "nearest_class"), [(0.05, False), (0.05, True), (0.2, True)])
def test_wrong_labels_are_counted_and_flagged(share, nearest_class):
    values, label, source, wrong = planted(share, nearest_class=nearest_class, seed=1)
    found = judged(values, label, source, seed=0)
    assert found.total.low <= wrong.mean() <= found.total.high
    hits = (found.flagged & wrong).sum()
    assert hits >= 0.7 * found.flagged.sum()
    assert hits >= 0.5 * wrong.sum()
    assert found.flagged.sum() <= round(found.total.share * IMAGES)
    probability = found.judgement.wrong
    assert 0 <= probability.min() <= probability.max() <= 1
    assert probability.mean() == pytest.approx(wrong.mean(), rel=0.4)
    assert probability[wrong].mean() > 10 * probability[~wrong].mean()
    for number in range(SOURCES):
        estimate = found.by_source[number]
        assert estimate.low <= wrong[source == number].mean() <= estimate.high


def test_right_labels_are_not_flagged():
    values, label, source, wrong = planted(0.0, nearest_class=True, seed=2)
    found = judged(values, label, source, seed=0)
    assert not wrong.any()
    assert found.total.low == 0
    assert found.flagged.mean() <= 0.01


def test_the_nearest_class_is_found_without_the_images_of_the_fold():
    values, label, _, _ = planted(0.0, nearest_class=True, seed=3)
    values[:, 20:] += 100 * label[:, None]  # not compared
    model = trained(values, label, 0, compared=20)
    for fold in range(len(model.rank)):
        means = np.stack([values[(model.fold != fold) & (label == c), :20].mean(axis=0) for c in range(CLASSES)])
        distance = np.linalg.norm(means[:, None] - means, axis=2)
        for one in range(CLASSES):
            others = sorted((c for c in range(CLASSES) if c != one), key=lambda c: distance[one, c])
            assert [model.rank[fold, one, c] for c in others] == list(range(CLASSES - 1))


def test_measurements_of_similar_classes_agree_with_sums_over_classes():
    values, label, _, _ = planted(0.1, nearest_class=True, seed=4)
    model = trained(values, label, 0)
    measured = measurements(model, summarise(model), {"given": label})["given"][:, LABEL_ONLY:]
    probability, votes = (np.concatenate(parts) for parts in list(zip(*model.blocks(), strict=True))[1:])
    for image in range(0, IMAGES, 50):
        rank = model.rank[model.fold[image]]
        mistaken = [c for c in range(CLASSES) if rank[c, label[image]] == 0]
        rival = max((c for c in range(CLASSES) if c != label[image]), key=lambda c: probability[image, c])
        there, back = rank[rival, label[image]], rank[label[image], rival]
        assert measured[image, :3] == pytest.approx([float(there == 0), float(back == 0), np.log1p(there)])
        sums = [sum(of[image, c] for c in mistaken) for of in (probability, votes)]
        assert measured[image, -2:] == pytest.approx(np.log(np.array(sums) + 1e-4), rel=1e-4)


def test_flags_are_the_most_probable_ones_and_not_very_few():
    probability = np.array([0.9, FLAG_FROM, 0.8, 0.2, *np.linspace(0.5, 0.6, FEWEST)])
    doubted = np.arange(len(probability)) != 2
    assert np.flatnonzero(_flagged(probability, doubted, 100)).tolist() == [0, 1, *range(4, 4 + FEWEST)]
    assert np.flatnonzero(_flagged(probability, doubted, FEWEST)).tolist() == [0, *range(5, 4 + FEWEST)]
    assert not _flagged(probability, doubted, FEWEST - 1).any()
