"""A control that computes only the mean brightness of an image; any useful network must score better."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from .backbones import Backbone, backbone

if TYPE_CHECKING:
    from torch import Tensor

NAME = "mean-intensity"


class MeanIntensity(torch.nn.Module):
    """Map images (N, 3, H, W) to their mean (N, 1)."""

    def forward(self, images: Tensor) -> Tensor:
        """Return the mean of all pixels."""
        return images.mean(dim=(1, 2, 3)).unsqueeze(1)


def mean_intensity() -> Backbone:
    """Return the control as a backbone, so that its features are computed together with those of the networks."""
    return backbone(MeanIntensity(), NAME)
