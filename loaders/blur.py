"""Blur a batch of images on its device, each image by another amount."""

from __future__ import annotations

import math

import torch
from torch.nn import functional


def gaussian_blur(images: torch.Tensor, sigma: torch.Tensor, largest: float) -> torch.Tensor:
    """Blur each image by a Gaussian.

    Parameters
    ----------
    images : tensor, shape (N, 1, H, W), float
    sigma : tensor, shape (N,)
        Standard deviation in pixels, at most `largest`; an image with 0 is returned unchanged.
    largest : float
        Upper bound of `sigma`. It determines the side of the kernel: to find the largest sigma of the batch would wait
        for the device. Kernels end at 3 standard deviations, and at borders the image is reflected.

    Returns
    -------
    tensor, shape (N, 1, H, W)

    Examples
    --------
    >>> point = torch.zeros(1, 1, 5, 5)
    >>> point[0, 0, 2, 2] = 1
    >>> [round(value, 2) for value in gaussian_blur(point, torch.tensor([0.5]), 0.5)[0, 0, 2].tolist()]
    [0.0, 0.08, 0.62, 0.08, 0.0]
    """
    n, _, height, width = images.shape
    radius = min(math.ceil(3 * largest), height - 1, width - 1)
    distance = torch.arange(-radius, radius + 1, device=images.device, dtype=images.dtype)
    # far below a pixel the kernel is exactly 1 at its centre: exp(-0.5 / 1e-6) is 0
    kernel = torch.exp(-0.5 * (distance / sigma.to(images.dtype).clamp(min=1e-3).unsqueeze(1)) ** 2)
    kernel = kernel / kernel.sum(1, keepdim=True)
    # one group per image, so that each has its own kernel; rows and columns one after the other
    one = functional.pad(images.reshape(1, n, height, width), (radius,) * 4, mode="reflect")
    one = functional.conv2d(one, kernel.view(n, 1, -1, 1), groups=n)
    one = functional.conv2d(one, kernel.view(n, 1, 1, -1), groups=n)
    return one.reshape(n, 1, height, width)
