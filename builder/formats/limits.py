"""Shared by all readers of image files: the limit on pixels, and the conversion of colours to one plane of grey."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import TooLargeError, UnreadableImageError

MAX_PIXELS = 2**26
"""Default limit on the pixels of one plane: 8,192 x 8,192. No field of view of the 40 sources has more."""


@dataclass(frozen=True)
class Limits:
    """The file that is being read, named in errors, and the number of pixels that one plane may have."""

    where: str
    max_pixels: int = MAX_PIXELS

    def check(self, width: int, height: int) -> None:
        """Raise an error for a plane that is too large or empty, before its pixels are read.

        Parameters
        ----------
        width, height : int
            In pixels, from the file's header.
        """
        if width < 1 or height < 1:
            raise UnreadableImageError(self.where, f"the header says {width} x {height} pixels")
        if width * height > self.max_pixels:
            raise TooLargeError(self.where, f"{width} x {height} pixels, at most {self.max_pixels:,} allowed")

    def choose(self, page: int | None, axes: str, shape: tuple[int, ...]) -> int:
        """Return the number of the plane to read, from 0.

        Parameters
        ----------
        page : int, optional
            The requested plane. A file with several planes needs it.
        axes : str
            One letter for each axis of the stack besides height and width.
        shape : tuple of int
            Lengths of these axes.
        """
        planes = math.prod(shape)
        if page is None and planes == 1:
            return 0
        if page is None:
            named = ", ".join(f"{name} {length}" for name, length in zip(axes, shape, strict=False) if length > 1)
            advice = "choose one with page=0, or #page=0 in a table"
            raise UnreadableImageError(self.where, f"a stack of {planes} planes (axes {named}); {advice}")
        if not 0 <= page < planes:
            raise UnreadableImageError(self.where, f"there is no page {page}: it has {planes}, counted from 0")
        return page

    def refuse(self, reason: str) -> UnreadableImageError:
        """Return the error for this file with a reason."""
        return UnreadableImageError(self.where, reason)


def read_plain(
    file: IO[bytes], start: int, shape: tuple[int, int], dtype: np.dtype[Any], limits: Limits
) -> NDArray[Any]:
    """Read a plane whose samples are stored uncompressed from byte `start`."""
    size = shape[0] * shape[1] * dtype.itemsize
    end = file.seek(0, os.SEEK_END)
    if end < start + size:
        raise limits.refuse(f"truncated: {end:,} bytes, its pixels end at {start + size:,}")
    file.seek(start)
    return np.frombuffer(file.read(size), dtype).reshape(shape)


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
