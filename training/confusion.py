"""Counts of a network's answers by class, collected on the device without waiting for it."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

TOP_K = 7  # preprint, 3.2: an answer counts as top-7 if the label is one of the seven most probable classes


class Confusion:
    """Counts of the network's answers for each class.

    Parameters
    ----------
    pairs : array, shape (classes, classes), int64
        Number of images by label (row) and answer (column).
    in_top_k : array, shape (classes,), int64
        Number of images of each class whose label is one of the seven most probable classes.
    loss : float
        Sum of the cross-entropy over the images.
    any_label : array, shape (classes,), int64, optional
        Number of images of each class whose answer is the label or one of the image's other right labels. Without it
        images have no other right labels.

    Examples
    --------
    >>> Confusion(np.array([[3, 1], [2, 4]]), np.array([4, 6]), 5.0, np.array([4, 5])).metrics()
    {'loss': 0.5, 'accuracy': 0.7, 'accuracy_any_label': 0.9}
    """

    def __init__(
        self,
        pairs: NDArray[np.int64],
        in_top_k: NDArray[np.int64],
        loss: float,
        any_label: NDArray[np.int64] | None = None,
    ) -> None:
        self.pairs, self.in_top_k, self.loss = pairs, in_top_k, loss
        self.any_label: NDArray[np.int64] = np.diag(pairs) if any_label is None else any_label

    def metrics(self) -> dict[str, float]:
        """Return the means over the images.

        `loss`; `accuracy`; `accuracy_any_label`, where the answer may also be another right label of the image; and,
        with more than seven classes, `top7`.
        """
        images = max(int(self.pairs.sum()), 1)
        found = {
            "loss": self.loss / images,
            "accuracy": float(np.trace(self.pairs)) / images,
            "accuracy_any_label": float(self.any_label.sum()) / images,
        }
        if len(self.pairs) > TOP_K:  # else every answer is among the seven most probable ones
            found["top7"] = float(self.in_top_k.sum()) / images
        return found


class ConfusionCounter:
    """Adds up the answers of batches on the device; only `total` waits for it.

    Parameters
    ----------
    classes : int
        Number of classes.
    device : device

    Examples
    --------
    >>> counter = ConfusionCounter(2, torch.device("cpu"))
    >>> counter.add(torch.tensor([[5.0, 0.0], [4.0, 1.0]]), torch.tensor([0, 1]))
    >>> counter.total().pairs.tolist()
    [[1, 0], [1, 0]]
    """

    def __init__(self, classes: int, device: torch.device) -> None:
        self.classes = classes
        self.pairs = torch.zeros(classes * classes, dtype=torch.int64, device=device)
        # per class, images whose label is among the most probable classes, and whose answer is any of their labels; one
        # tensor, so that it is read from the device at once
        self.right = torch.zeros(2, classes, dtype=torch.int64, device=device)
        self.loss = torch.zeros((), dtype=torch.float64, device=device)

    def add(self, logits: torch.Tensor, labels: torch.Tensor, alternatives: torch.Tensor | None = None) -> None:
        """Count a batch.

        Parameters
        ----------
        logits : tensor, shape (N, classes), float
        labels : tensor, shape (N,), int64
        alternatives : tensor, shape (N, most alternatives of an image), int, optional
            Other right labels of each image, then -1.
        """
        # bincount and masks as indices would read their sizes from the device; index_add_ does not
        self.loss += functional.cross_entropy(logits, labels, reduction="sum")
        answers = logits.argmax(1)
        self.pairs.index_add_(0, labels * self.classes + answers, torch.ones_like(labels))
        any_label = answers == labels
        if alternatives is not None:
            any_label = any_label | (answers[:, None] == alternatives).any(1)
        top = logits.topk(min(TOP_K, self.classes), dim=1).indices
        in_top_k = (top == labels[:, None]).any(1)
        self.right.index_add_(1, labels, torch.stack([in_top_k, any_label]).to(torch.int64))

    def total(self) -> Confusion:
        """Return the counts over all processes."""
        if torch.distributed.is_initialized():
            for total in (self.pairs, self.right, self.loss):
                torch.distributed.all_reduce(total)
        pairs = self.pairs.view(self.classes, self.classes)
        in_top_k, any_label = self.right.cpu().numpy()
        return Confusion(pairs.cpu().numpy(), in_top_k, float(self.loss), any_label)
