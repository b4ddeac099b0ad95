"""The loss of a batch: mixed labels and class weights together."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from cytoimagenet.training.objective import Objective
from cytoimagenet.training.recipes import settings
from torch.nn import functional

WEIGHTS = np.array([0.2, 1.0, 5.0], np.float32)


def objective(weights=WEIGHTS, **changes):
    chosen = settings("quick", **changes)
    return Objective(chosen, 3, ((0, 0, 0), (1, 1, 1)), torch.device("cpu"), class_weights=weights)


@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_labels_and_the_same_labels_as_shares_have_the_same_loss(weights):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(40, 3, generator=generator)
    labels = torch.randint(3, (40,), generator=generator)
    one = objective(weights, label_smoothing=0.0)
    of_shares = one.cross_entropy(logits, functional.one_hot(labels, 3).float())
    torch.testing.assert_close(of_shares, one.cross_entropy(logits, labels))


def test_of_mixed_labels_it_is_the_weighted_mean_over_the_images():
    logits = torch.tensor([[1.0, 0.0, -1.0], [0.5, 0.5, 2.0]])
    shares = torch.tensor([[0.7, 0.3, 0.0], [0.0, 0.4, 0.6]])
    log_p = functional.log_softmax(logits, dim=1).numpy()
    weighted = shares.numpy() * WEIGHTS
    expected = -(weighted * log_p).sum() / weighted.sum()
    assert float(objective(label_smoothing=0.0).cross_entropy(logits, shares)) == pytest.approx(expected, rel=1e-6)


def test_the_loss_of_equally_wrong_batches_does_not_depend_on_how_many_rare_images_they_contain():
    logits = torch.zeros(64, 3)
    one = objective(label_smoothing=0.0)
    for rare in (0, 1, 32, 64):
        labels = torch.tensor([2] * rare + [0] * (64 - rare))
        shares = 0.9 * functional.one_hot(labels, 3) + 0.1 * functional.one_hot(torch.roll(labels, 1), 3)
        assert float(one.cross_entropy(logits, shares)) == pytest.approx(np.log(3), rel=1e-5)
