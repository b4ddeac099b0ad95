"""The loss of a batch: mixed labels and class weights together."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from cytoimagenet.builder.errors import UsageError
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


class Network(torch.nn.Module):
    """Answers every image with the same logits."""

    def __init__(self, *logits):
        super().__init__()
        self.logits = torch.nn.Parameter(torch.tensor(logits))

    def forward(self, pixel_values):
        return SimpleNamespace(logits=self.logits.expand(len(pixel_values), -1))


@pytest.mark.parametrize("mixup", [0.0, 0.2])
def test_a_share_of_the_target_is_the_answer_of_the_averaged_network(mixup):
    one = objective(None, average=0.9, distill=0.25, label_smoothing=0.0, mixup=mixup)
    one.teacher = Network(*np.log([0.5, 0.3, 0.2]).astype("f4").tolist())
    images, labels = torch.zeros(4, 1, 8, 8, dtype=torch.uint8), torch.tensor([2, 2, 2, 2])
    student = Network(*np.log([0.1, 0.2, 0.7]).astype("f4").tolist())
    loss, _ = one(student, images, labels)
    target = 0.75 * np.array([0, 0, 1]) + 0.25 * np.array([0.5, 0.3, 0.2])
    assert float(loss.detach()) == pytest.approx(-(target * np.log([0.1, 0.2, 0.7])).sum(), rel=1e-5)
    loss.backward()
    assert student.logits.grad is not None and one.teacher.logits.grad is None


def test_distillation_needs_an_average():
    with pytest.raises(UsageError, match="distill needs averaged weights"):
        settings("paper", distill=0.5)
    assert settings("modern", distill=0.5).distill == 0.5
