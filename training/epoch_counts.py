"""Loss and right answers over the training images of an epoch, added up on the device without waiting for it."""

from __future__ import annotations

import torch


class EpochCounts:
    """Sums over the images of the current epoch in this process.

    Parameters
    ----------
    device : device

    Examples
    --------
    >>> counts = EpochCounts(torch.device("cpu"))
    >>> counts.add(torch.tensor(0.5), torch.tensor([[5.0, 0.0], [4.0, 1.0]]), torch.tensor([0, 1]))
    >>> counts.metrics()
    {'train_loss': 0.5, 'train_accuracy': 0.5}
    """

    def __init__(self, device: torch.device) -> None:
        self._loss = torch.zeros((), dtype=torch.float64, device=device)
        self._right = torch.zeros((), dtype=torch.int64, device=device)
        self._images = 0  # the host knows the sizes of the batches

    @torch.no_grad()
    def add(self, loss: torch.Tensor, logits: torch.Tensor, labels: torch.Tensor) -> None:
        """Count a batch: its mean loss, logits, shape (N, classes), and labels, shape (N,), int64."""
        self._loss.add_(loss, alpha=len(labels))
        self._right += (logits.argmax(1) == labels).sum()
        self._images += len(labels)

    def total(self) -> torch.Tensor:
        """Return the summed loss, right answers and images over all processes: shape (3,), float64, on the device."""
        counts = torch.full((3,), self._images, dtype=torch.float64, device=self._loss.device)
        counts[0].copy_(self._loss)
        counts[1].copy_(self._right)
        if torch.distributed.is_initialized():
            torch.distributed.all_reduce(counts)
        return counts

    def metrics(self) -> dict[str, float]:
        """Return `train_loss` and `train_accuracy`, means over the images of all processes. Waits for the device."""
        loss, right, images = self.total().tolist()
        return {"train_loss": loss / max(images, 1), "train_accuracy": right / max(images, 1)}

    def restore(self, total: torch.Tensor) -> None:
        """Continue from the sums that `total` returned, on one of the processes."""
        loss, right, images = total.tolist()
        self._loss.fill_(loss)
        self._right.fill_(int(right))
        self._images = int(images)

    def reset(self) -> None:
        """Start a new epoch."""
        self._loss.zero_()
        self._right.zero_()
        self._images = 0
