"""From a batch of bytes to loss and logits: augmentation, network and loss, all on the device."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from ..loaders.transforms import augment, cutmix, mixup, to_float, to_rgb
from .recipes import Settings


class Objective:
    """What a run minimises.

    Parameters
    ----------
    settings : Settings
    classes : int
        Number of classes.
    normalisation : (mean, std)
        One value each for every channel of the network, 3 or 1, for pixels in [0, 1].
    device : device
    class_weights : array, shape (classes,), optional
        Weights of the classes in the loss.
    bf16 : bool
        Compute the network in bfloat16 where autocast does so; the weights stay in float32.

    Attributes
    ----------
    teacher : Module or None
        The averaged network, if its answers are a part of the targets (`distill`); in evaluation mode.
    """

    def __init__(
        self,
        settings: Settings,
        classes: int,
        normalisation: tuple[Sequence[float], Sequence[float]],
        device: torch.device,
        *,
        class_weights: NDArray[np.float32] | None = None,
        bf16: bool = False,
    ) -> None:
        self.settings, self.classes, self.device, self.bf16 = settings, classes, device, bf16
        self.normalisation = normalisation
        mean, std = normalisation
        self.is_identity = not any(mean) and all(value == 1 for value in std)
        self.mean, self.std = (torch.tensor(v, device=device).view(1, -1, 1, 1) for v in normalisation)
        self.class_weights = None if class_weights is None else torch.from_numpy(class_weights).to(device)
        self.teacher: nn.Module | None = None

    def __call__(
        self, model: nn.Module, images: torch.Tensor, labels: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Augment a batch, and return its mean loss and its logits.

        Parameters
        ----------
        model : Module
        images : tensor, shape (N, 1, H, W), uint8
        labels : tensor, shape (N,), int64

        Returns
        -------
        loss : tensor, shape ()
        logits : tensor, shape (N, classes), float
            Without gradient.
        """
        chosen = self.settings
        augmented = augment(
            to_float(images),
            rotation=chosen.rotation,
            flips=chosen.flips,
            zoom=chosen.zoom,
            crop=chosen.crop,
            contrast=chosen.contrast,
            blur=chosen.blur,
            noise=chosen.noise,
        )
        augmented, target = self.mix(augmented, labels)
        pixels = self.inputs(augmented)
        if self.teacher is not None:
            target = self.with_answers(self.teacher, target, pixels)
        with self.autocast():
            logits = model(pixel_values=pixels).logits
        logits = logits.float()
        return self.cross_entropy(logits, target), logits.detach()

    def cross_entropy(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Return the loss: the mean over the images, each weighted by its class if there are class weights.

        Parameters
        ----------
        logits : tensor, shape (N, classes), float32
        target : tensor, shape (N,), int64, or (N, classes), float32
            Labels, or the shares of the classes in mixed images.
        """
        smoothing = self.settings.label_smoothing
        if self.class_weights is None or target.ndim == 1:
            return functional.cross_entropy(logits, target, weight=self.class_weights, label_smoothing=smoothing)
        # of shares, PyTorch divides by the number of images; as for labels, it must be the sum of their weights, or the
        # loss of a batch would depend on how many rare classes it happens to contain
        total = functional.cross_entropy(
            logits, target, weight=self.class_weights, label_smoothing=smoothing, reduction="sum"
        )
        return total / (target * self.class_weights).sum()

    @torch.no_grad()
    def with_answers(self, teacher: nn.Module, target: torch.Tensor, pixels: torch.Tensor) -> torch.Tensor:
        """Replace a share of the targets by the answers of the averaged network to the same pixels.

        Tarvainen and Valpola 2017 (mean teacher), here as self-distillation on labelled images: weak labels are often
        wrong, and the averaged network is better than the network that is trained.

        Parameters
        ----------
        teacher : Module
        target : tensor, shape (N,), int64, or (N, classes), float32
        pixels : tensor, shape (N, C, H, W), float32
            Input of the network.

        Returns
        -------
        tensor, shape (N, classes), float32
            Shares of the classes.
        """
        with self.autocast():
            answers = teacher(pixel_values=pixels).logits
        shares = functional.one_hot(target, self.classes).float() if target.ndim == 1 else target
        return torch.lerp(shares, answers.float().softmax(1), self.settings.distill)

    def inputs(self, images: torch.Tensor) -> torch.Tensor:
        """Convert grey images, shape (N, 1, H, W), float in [0, 1], to the input of the network, shape (N, C, H, W)."""
        layout = torch.channels_last if self.settings.channels_last else torch.contiguous_format
        # subtracting 0 and dividing by 1 would change no value, but takes as long as a large layer of the network
        if self.mean.shape[1] == 3:
            images = to_rgb(images)
        if not self.is_identity:
            images = (images - self.mean) / self.std
        return images.contiguous(memory_format=layout)

    @contextmanager
    def autocast(self) -> Iterator[None]:
        """Compute in bfloat16 within this context, if the settings say so."""
        if not self.bf16:
            yield
            return
        with torch.autocast(self.device.type, torch.bfloat16):
            yield

    def mix(self, images: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Apply mixup or CutMix to a batch, or neither, as the settings choose."""
        mixup_alpha, cutmix_alpha = self.settings.mixup, self.settings.cutmix
        if mixup_alpha and cutmix_alpha:  # one of them at random, never both
            mixup_alpha, cutmix_alpha = (mixup_alpha, 0.0) if float(torch.rand(())) < 0.5 else (0.0, cutmix_alpha)
        if mixup_alpha:
            return mixup(images, labels, self.classes, mixup_alpha)
        if cutmix_alpha:
            return cutmix(images, labels, self.classes, cutmix_alpha)
        return images, labels
