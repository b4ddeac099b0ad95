"""Decode PNGs to small grey images on the CPU; scale, flip and rotate batches of them on the device of the network.

Images are copied to the device as one channel of bytes and are converted to three channels of floats there.
"""

from __future__ import annotations

from collections.abc import Callable
from os import PathLike
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from ..builder.formats.grey_png import decode_png
from .blur import gaussian_blur
from .index import Index
from .order import Ids


def to_pixels(
    png: bytes | memoryview, size: int, out: NDArray[np.uint8] | None = None, where: str | PathLike[str] = "PNG"
) -> NDArray[Any]:
    """Decode a grey PNG and resize it to a square.

    Interpolation is bilinear, as published (preprint, 3.1), unless the image shrinks to half its size or less. Bilinear
    interpolation uses only the four nearest pixels and would ignore the others, so the mean over areas is used then.

    Parameters
    ----------
    png : bytes
    size : int
        Side of the square in pixels.
    out : array, shape (size, size), uint8, optional
        Array to write the result to.
    where : str or path
        Place of the image, for the error message.

    Returns
    -------
    array, shape (size, size), uint8

    Raises
    ------
    UnreadableImageError
        If the bytes are not a PNG.

    Examples
    --------
    >>> import cv2
    >>> png = cv2.imencode(".png", np.full((40, 60), 7, np.uint8))[1].tobytes()
    >>> to_pixels(png, 2).tolist()
    [[7, 7], [7, 7]]
    """
    return to_square(decode_png(png, where), size, out)


def to_square(image: NDArray[np.uint8], size: int, out: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
    """Resize a decoded grey image to a square, as `to_pixels` does.

    Parameters
    ----------
    image : array, shape (height, width), uint8
    size : int
        Side of the square in pixels.
    out : array, shape (size, size), uint8, optional
        Array to write the result to.

    Returns
    -------
    array, shape (size, size), uint8
    """
    import cv2

    halved = min(image.shape) >= 2 * size
    return cv2.resize(image, (size, size), dst=out, interpolation=cv2.INTER_AREA if halved else cv2.INTER_LINEAR)  # type: ignore[return-value]


def decode_images(index: Index, images: Ids, png: Callable[[int], bytes | memoryview], size: int) -> NDArray[np.uint8]:
    """Decode the images with these numbers.

    Parameters
    ----------
    index : Index
        Describes the place of an image that can't be read.
    images : array, shape (N,), int64
    png : callable
        Image number -> its PNG bytes.
    size : int
        Side of the result in pixels.

    Returns
    -------
    array, shape (N, size, size), uint8
    """
    pixels = np.empty((len(images), size, size), np.uint8)
    for i, image in enumerate(images.tolist()):
        to_pixels(png(image), size, pixels[i], index.where(image))
    return pixels


def to_float(images: torch.Tensor) -> torch.Tensor:
    """Scale bytes to floats in [0, 1]."""
    return images / 255


def to_rgb(images: torch.Tensor, mean: torch.Tensor | None = None, std: torch.Tensor | None = None) -> torch.Tensor:
    """Copy grey images, shape (N, 1, H, W), float in [0, 1], to three channels; normalise by mean and std if given."""
    images = images.expand(-1, 3, -1, -1)
    return images if mean is None or std is None else (images - mean) / std


def rotate(
    images: torch.Tensor,
    degrees: torch.Tensor,
    *,
    mirror: torch.Tensor | None = None,
    zoom: torch.Tensor | None = None,
    shift: torch.Tensor | None = None,
) -> torch.Tensor:
    """Rotate each image about a point, with bilinear interpolation and reflected borders.

    Parameters
    ----------
    images : tensor, shape (N, C, H, W), float
    degrees : tensor, shape (N,)
        Counter-clockwise.
    mirror : tensor, shape (N,), bool, optional
        Images to flip left to right before the rotation. Together with any angle this gives every flip.
    zoom : tensor, shape (N,), optional
        Magnification; 1 keeps the scale.
    shift : tensor, shape (N, 2), optional
        The point about which an image is rotated, and which is in the centre of the result: x and y in half sides from
        the centre of the image, in [-1, 1]. By default the centre.

    Returns
    -------
    tensor, shape (N, C, H, W)
    """
    n, _, height, width = images.shape
    angle = torch.deg2rad(degrees.to(torch.float32))
    cos, sin = torch.cos(angle), torch.sin(angle)
    if zoom is not None:
        cos, sin = cos / zoom, sin / zoom
    # maps positions in the result to positions in the image, both in units of half a side; the ratio of the sides keeps
    # a rotation of a rectangle free of shear
    x_of_x, x_of_y, y_of_x, y_of_y = cos, sin * (-height / width), sin * (width / height), cos
    if mirror is not None:
        sign = 1 - 2 * mirror
        x_of_x, x_of_y = sign * x_of_x, sign * x_of_y
    x, y = [torch.zeros_like(cos)] * 2 if shift is None else shift.unbind(1)
    theta = torch.stack([x_of_x, x_of_y, x, y_of_x, y_of_y, y], dim=1).view(n, 2, 3)
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
    crop: float = 0.0,
    contrast: float = 0.0,
    blur: float = 0.0,
    noise: float = 0.0,
) -> torch.Tensor:
    """Apply a random rotation, flip, zoom, crop, contrast, blur and noise, in this order, to each image of a batch.

    Random numbers come from torch's generator of the device of the images.

    Parameters
    ----------
    images : tensor, shape (N, 1, H, W), float in [0, 1]
    rotation : float
        Angles in degrees are uniform in [0, rotation); 0 does not rotate.
    flips : bool
        Mirror each image with probability 1/2.
    zoom : float
        Magnifications are log-uniform between 1 / (1 + zoom) and 1 + zoom; 0 does not zoom.
    crop : float
        Crops have a share of the area that is uniform in [1 - crop, 1], and a random place; they are magnified to the
        size of the image. 0 shows complete images.
    contrast : float
        Intensities are raised to a power that is log-uniform between 1 / (1 + contrast) and 1 + contrast; 0 keeps them.
    blur : float
        Standard deviations of a Gaussian blur in pixels are uniform in [0, blur]; 0 does not blur.
    noise : float
        Standard deviations of Gaussian noise are uniform in [0, noise]; 0 adds none.

    Returns
    -------
    tensor, shape (N, 1, H, W), float in [0, 1]
    """
    n, device = len(images), images.device
    if rotation or flips or zoom or crop:
        degrees = torch.empty(n, device=device).uniform_(0, rotation)
        mirror = torch.rand(n, device=device) < 0.5 if flips else None
        scale = _log_uniform(n, zoom, device) if zoom else None
        shift = None
        if crop:
            side = (1 - crop * torch.rand(n, device=device)).sqrt()
            shift = (2 * torch.rand(n, 2, device=device) - 1) * (1 - side).unsqueeze(1)
            scale = 1 / side if scale is None else scale / side
        images = rotate(images, degrees, mirror=mirror, zoom=scale, shift=shift)
    if contrast:
        images = images.clamp(0, 1) ** _log_uniform(n, contrast, device).view(n, 1, 1, 1)
    if blur:
        images = gaussian_blur(images, blur * torch.rand(n, device=device), blur)
    if noise:
        deviation = noise * torch.rand(n, 1, 1, 1, device=device)
        images = (images + deviation * torch.randn_like(images)).clamp(0, 1)
    return images


def mixup(images: torch.Tensor, labels: torch.Tensor, classes: int, alpha: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Average each image with another image of the batch, and their labels likewise (mixup, Zhang et al. 2018).

    Parameters
    ----------
    images : tensor, shape (N, ...)
    labels : tensor, shape (N,), int
    classes : int
        Number of classes.
    alpha : float
        Both parameters of the Beta distribution from which the weight of the first image is sampled, once per batch.

    Returns
    -------
    images : tensor, shape (N, ...)
    labels : tensor, shape (N, classes), float
        Shares of the classes.
    """
    target = functional.one_hot(labels, classes).to(torch.float32)
    share = float(_sample_beta(alpha))  # on the host: a copy from there would wait for the device
    other = torch.randperm(len(images), device=images.device)
    return torch.lerp(images[other], images, share), torch.lerp(target[other], target, share)


def cutmix(images: torch.Tensor, labels: torch.Tensor, classes: int, alpha: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Paste a rectangle of another image into each image; weight the labels by area (CutMix, Yun et al. 2019).

    Parameters
    ----------
    images : tensor, shape (N, C, H, W)
    labels : tensor, shape (N,), int
    classes : int
        Number of classes.
    alpha : float
        Both parameters of the Beta distribution from which the kept share of the area is sampled, once per batch. The
        rectangle has the proportions of the image and a uniformly random centre; it is clipped at the borders.

    Returns
    -------
    images : tensor, shape (N, C, H, W)
    labels : tensor, shape (N, classes), float
        Shares of the classes: the areas of the two images after clipping.
    """
    height, width = images.shape[-2:]
    side = float((1 - _sample_beta(alpha)).sqrt())
    (top, bottom), (left, right) = (_random_interval(length, side) for length in (height, width))
    share = 1 - (bottom - top) * (right - left) / (height * width)
    other = torch.randperm(len(images), device=images.device)
    pasted = images.clone()
    pasted[..., top:bottom, left:right] = images[other, :, top:bottom, left:right]
    target = functional.one_hot(labels, classes).to(torch.float32)
    return pasted, torch.lerp(target[other], target, share)


def _sample_beta(alpha: float) -> torch.Tensor:
    """Sample one number from a Beta distribution with both parameters `alpha`, on the host."""
    # to validate the parameters takes longer than to sample
    return torch.distributions.Beta(alpha, alpha, validate_args=False).sample()


def _random_interval(length: int, share: float) -> tuple[int, int]:
    """Return start and stop of an interval of `share` x `length` with a random middle, clipped to [0, length]."""
    middle, half = float(torch.rand(())) * length, share * length / 2
    return max(0, round(middle - half)), min(length, round(middle + half))


def _log_uniform(n: int, extent: float, device: torch.device) -> torch.Tensor:
    """Sample `n` factors, log-uniform between 1 / (1 + extent) and 1 + extent."""
    limit = float(np.log1p(extent))
    return torch.empty(n, device=device).uniform_(-limit, limit).exp_()
