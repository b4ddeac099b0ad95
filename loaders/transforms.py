"""Pixels: PNG bytes to small grey images on the CPU, then scaling, flips and rotation in batch on the device.

Grey images travel as one channel of bytes; they become three channels of floats only where the network is.
"""

from __future__ import annotations

from collections.abc import Callable
from os import PathLike

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from ..builder.formats.grey_png import decode_png
from .index import Index
from .order import Ids


def to_pixels(
    png: bytes | memoryview, size: int, out: NDArray[np.uint8] | None = None, where: str | PathLike[str] = "PNG"
) -> NDArray:
    """Decode a grey PNG and resize it to a square.

    Bilinear, as published (preprint, 3.1), unless the image shrinks to half its size or less: bilinear reads only the
    four nearest pixels and would skip the others, so that the mean over areas is taken instead.

    Parameters
    ----------
    png : bytes
    size : int
        Side of the square.
    out : array, shape (size, size), uint8, optional
        Written to.
    where : str or path
        Named in the error.

    Returns
    -------
    array, shape (size, size), uint8

    Raises
    ------
    UnreadableImageError
        If these are not the bytes of a PNG.
    """
    import cv2

    image = decode_png(png, where)
    halved = min(image.shape) >= 2 * size
    return cv2.resize(image, (size, size), dst=out, interpolation=cv2.INTER_AREA if halved else cv2.INTER_LINEAR)


def decode(index: Index, images: Ids, png: Callable[[int], bytes | memoryview], size: int) -> NDArray[np.uint8]:
    """Decode the images with these numbers.

    Parameters
    ----------
    index : Index
        Names an image that can't be read.
    images : array, shape (N,), int64
    png : callable
        Number of an image -> its bytes.
    size : int

    Returns
    -------
    array, shape (N, size, size), uint8
    """
    pixels = np.empty((len(images), size, size), np.uint8)
    for place, image in enumerate(images.tolist()):
        to_pixels(png(image), size, pixels[place], index.where(image))
    return pixels


def to_float(images: torch.Tensor) -> torch.Tensor:
    """Scale bytes to floats in [0, 1]."""
    return images.to(torch.float32) / 255


def to_rgb(images: torch.Tensor, mean: torch.Tensor | None = None, std: torch.Tensor | None = None) -> torch.Tensor:
    """Copy grey images, shape (N, 1, H, W), float in [0, 1], to three channels, and normalise them if asked to."""
    images = images.expand(-1, 3, -1, -1)
    return images if mean is None or std is None else (images - mean) / std


def rotate(
    images: torch.Tensor,
    degrees: torch.Tensor,
    *,
    mirror: torch.Tensor | None = None,
    zoom: torch.Tensor | None = None,
) -> torch.Tensor:
    """Rotate each image about its centre, bilinear, with borders reflected.

    Parameters
    ----------
    images : tensor, shape (N, C, H, W), float
    degrees : tensor, shape (N,)
        Counter-clockwise.
    mirror : tensor, shape (N,), bool, optional
        Which images are flipped left to right first. With a free rotation this gives every flip.
    zoom : tensor, shape (N,), optional
        Magnification; 1 leaves the scale.

    Returns
    -------
    tensor, shape (N, C, H, W)
    """
    n, _, height, width = images.shape
    angle = torch.deg2rad(degrees.to(torch.float32))
    cos, sin = torch.cos(angle), torch.sin(angle)
    if zoom is not None:
        cos, sin = cos / zoom, sin / zoom
    sign = torch.ones_like(cos) if mirror is None else 1 - 2 * mirror.to(cos.dtype)
    theta = torch.zeros(n, 2, 3, device=images.device)
    # from places in the result to places in the image, both in halves of the side: a rotation must not skew a rectangle
    theta[:, 0, 0], theta[:, 0, 1] = sign * cos, -sign * sin * height / width
    theta[:, 1, 0], theta[:, 1, 1] = sin * width / height, cos
    grid = functional.affine_grid(theta, [n, images.shape[1], height, width], align_corners=False)
    # half-sample reflection: d c b a | a b c d | d c b a, as in the published pipeline
    return functional.grid_sample(
        images, grid.to(images.dtype), mode="bilinear", padding_mode="reflection", align_corners=False
    )


def augment(
    images: torch.Tensor,
    *,
    rotation: float = 360.0,
    flips: bool = False,
    zoom: float = 0.0,
    contrast: float = 0.0,
) -> torch.Tensor:
    """Draw a rotation, and what else is asked for, for each image of a batch, from torch's generator of its device.

    Parameters
    ----------
    images : tensor, shape (N, 1, H, W), float in [0, 1]
    rotation : float
        Angles are uniform in [0, rotation); 0 for none.
    flips : bool
        Mirror every other image.
    zoom : float
        Magnifications are log-uniform between 1 / (1 + zoom) and 1 + zoom.
    contrast : float
        Intensities are raised to a power log-uniform between 1 / (1 + contrast) and 1 + contrast.

    Returns
    -------
    tensor, shape (N, 1, H, W), float in [0, 1]
    """
    n, device = len(images), images.device
    if rotation or flips or zoom:
        degrees = torch.rand(n, device=device) * rotation
        mirror = torch.rand(n, device=device) < 0.5 if flips else None
        scale = _spread(n, zoom, device) if zoom else None
        images = rotate(images, degrees, mirror=mirror, zoom=scale)
    if contrast:
        images = images.clamp(0, 1) ** _spread(n, contrast, device).view(n, 1, 1, 1)
    return images


def mix(images: torch.Tensor, labels: torch.Tensor, classes: int, alpha: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Blend each image with another of the batch, and their labels alike (mixup, Zhang et al. 2018).

    Parameters
    ----------
    images : tensor, shape (N, ...)
    labels : tensor, shape (N,), int
    classes : int
    alpha : float
        Of the Beta distribution that the batch's share is drawn from.

    Returns
    -------
    images : tensor, shape (N, ...)
    labels : tensor, shape (N, classes), float
        Shares of the classes.
    """
    target = functional.one_hot(labels, classes).to(torch.float32)
    share = torch.distributions.Beta(alpha, alpha).sample().to(images.device)
    other = torch.randperm(len(images), device=images.device)
    return share * images + (1 - share) * images[other], share * target + (1 - share) * target[other]


def cut(images: torch.Tensor, labels: torch.Tensor, classes: int, alpha: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Paste a rectangle of another image into each, and share the labels by its area (CutMix, Yun et al. 2019).

    Parameters
    ----------
    images : tensor, shape (N, C, H, W)
    labels : tensor, shape (N,), int
    classes : int
    alpha : float
        Of the Beta distribution that the kept share of the area is drawn from; the rectangle has the image's
        proportions, a centre anywhere, and loses what lies outside.

    Returns
    -------
    images : tensor, shape (N, C, H, W)
    labels : tensor, shape (N, classes), float
        Shares of the classes: the area each of the two images really has.
    """
    height, width = images.shape[-2:]
    side = float((1 - torch.distributions.Beta(alpha, alpha).sample()).sqrt())
    (top, bottom), (left, right) = (_interval(length, side) for length in (height, width))
    share = 1 - (bottom - top) * (right - left) / (height * width)
    other = torch.randperm(len(images), device=images.device)
    pasted = images.clone()
    pasted[..., top:bottom, left:right] = images[other, :, top:bottom, left:right]
    target = functional.one_hot(labels, classes).to(torch.float32)
    return pasted, share * target + (1 - share) * target[other]


def _interval(length: int, share: float) -> tuple[int, int]:
    """Draw the ends of a stretch of `share` of a length, its middle anywhere, cut off at both ends."""
    middle, half = float(torch.rand(())) * length, share * length / 2
    return max(0, round(middle - half)), min(length, round(middle + half))


def _spread(n: int, extent: float, device: torch.device) -> torch.Tensor:
    return torch.exp((2 * torch.rand(n, device=device) - 1) * float(np.log1p(extent)))
