"""A network that sees brightness and nothing else: a control that any real one must beat."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from .backbones import Backbone, backbone

if TYPE_CHECKING:
    from torch import Tensor

NAME = "mean-intensity"


class MeanIntensity(torch.nn.Module):
    """Maps images (N, 3, H, W) to their mean (N, 1)."""

    def forward(self, images: Tensor) -> Tensor:
        """Return the mean of all pixels."""
        return images.mean(dim=(1, 2, 3)).unsqueeze(1)


def mean_intensity() -> Backbone:
    """Return the control as a network among the others: its features come out of the same decode."""
    return backbone(MeanIntensity(), NAME)
