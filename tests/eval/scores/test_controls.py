"""Shuffled labels score at chance, except where something leaks."""

from __future__ import annotations

import numpy as np
import pytest
from cytoimagenet.eval.scores import controls
from cytoimagenet.eval.scores.votes import vote


def test_shuffled_labels_score_at_chance_and_a_leak_is_detected(rng):
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
