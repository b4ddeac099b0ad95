"""Colours to one plane of grey: the mean of red, green and blue, and palettes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def mean_of_colours(samples: NDArray[Any]) -> NDArray[np.float32]:
    """Return the mean of red, green and blue, not rounded to integers.

    Parameters
    ----------
    samples : array, shape (..., 3 or more)
        Red, green, blue along the last axis; further samples (alpha) are ignored.

    Returns
    -------
    array, shape (...), float32
        The exact sum divided by three, rounded once to single precision.

    Examples
    --------
    >>> mean_of_colours(np.array([[[0, 3, 6, 255]]], np.uint8)).tolist()
    [[3.0]]
    """
    exact = (
        samples.dtype.kind in "bui" and samples.dtype.itemsize <= 2
    )  # single precision has the exact sum of three such numbers
    total: NDArray[np.floating] = samples[..., 0].astype(np.float32 if exact else np.float64)
    total += samples[..., 1]
    total += samples[..., 2]
    total /= 3
    return total.astype(np.float32, copy=False)


def through_palette(codes: NDArray[np.integer[Any]], palette: NDArray[Any]) -> NDArray[Any]:
    """Replace palette codes by grey values.

    Parameters
    ----------
    codes : array, shape (height, width), unsigned integers
    palette : array, shape (entries, 3), uint8 or uint16
        Red, green, blue of each code; a code beyond the end is black.

    Returns
    -------
    array, shape (height, width)
        In the palette's type if all its entries are grey, otherwise the float32 mean of the colours.

    Examples
    --------
    >>> through_palette(np.array([[0, 1, 2]], np.uint8), np.array([[7, 7, 7], [9, 9, 9]], np.uint8)).tolist()
    [[7, 9, 0]]
    """
    grey = bool((palette == palette[:, :1]).all())
    table: NDArray[Any] = palette[:, 0] if grey else mean_of_colours(palette)
    beyond = int(codes.max(initial=0)) + 1 - len(table)
    if beyond > 0:
        table = np.concatenate([table, np.zeros(beyond, table.dtype)])
    pixels: NDArray[Any] = table[codes]
    return pixels
