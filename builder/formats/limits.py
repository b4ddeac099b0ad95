"""What every reader of image files shares: the bound, and the way from samples to one plane of grey."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import TooLargeError, UnreadableImageError

MAX_PIXELS = 2**26
"""The most pixels one plane may have, unless told otherwise: 8,192 x 8,192. No field of the 40 sources has more."""


@dataclass(frozen=True)
class Limits:
    """The file being read, for its errors, and what it may hold."""

    where: str
    max_pixels: int = MAX_PIXELS

    def check(self, width: int, height: int) -> None:
        """Refuse a plane that is too large or empty, by its header."""
        if width < 1 or height < 1:
            raise UnreadableImageError(self.where, f"the header says {width} x {height} pixels")
        if width * height > self.max_pixels:
            raise TooLargeError(self.where, f"{width} x {height} pixels, at most {self.max_pixels:,} allowed")

    def choose(self, page: int | None, axes: str, shape: tuple[int, ...]) -> int:
        """Return the plane to read, from 0, of a stack whose leading axes are `axes` with lengths `shape`."""
        planes = math.prod(shape)
        if page is None and planes == 1:
            return 0
        if page is None:
            said = ", ".join(f"{name} {length}" for name, length in zip(axes, shape, strict=False) if length > 1)
            raise UnreadableImageError(self.where, f"a stack of {planes} planes (axes {said}); say which with page=")
        if not 0 <= page < planes:
            raise UnreadableImageError(self.where, f"there is no page {page}: it has {planes}, counted from 0")
        return page

    def refuse(self, reason: str) -> UnreadableImageError:
        """Make the error that names this file."""
        return UnreadableImageError(self.where, reason)


def read_plain(
    file: IO[bytes], start: int, shape: tuple[int, int], dtype: np.dtype[Any], limits: Limits
) -> NDArray[Any]:
    """Read a plane that lies in a file as it is, from byte `start`."""
    size = shape[0] * shape[1] * dtype.itemsize
    end = file.seek(0, os.SEEK_END)
    if end < start + size:
        raise limits.refuse(f"truncated: {end:,} bytes, its pixels end at {start + size:,}")
    file.seek(start)
    return np.frombuffer(file.read(size), dtype).reshape(shape)


def mean_of_colours(samples: NDArray[Any]) -> NDArray[np.float32]:
    """Average red, green and blue, unrounded.

    Parameters
    ----------
    samples : array, shape (..., 3 or more)
        Red, green, blue along the last axis; what follows (alpha) is dropped.

    Returns
    -------
    array, shape (...), float32
        The exact sum over three, rounded once.
    """
    exact = samples.dtype.kind in "bui" and samples.dtype.itemsize <= 2  # three of these fit single precision
    total: NDArray[np.floating] = samples[..., 0].astype(np.float32 if exact else np.float64)
    total += samples[..., 1]
    total += samples[..., 2]
    total /= 3
    return total.astype(np.float32, copy=False)


def through_palette(codes: NDArray[np.integer[Any]], palette: NDArray[Any]) -> NDArray[Any]:
    """Replace palette codes by their grey.

    Parameters
    ----------
    codes : array, shape (height, width), unsigned integers
    palette : array, shape (entries, 3), uint8 or uint16
        Red, green, blue of each code; a code beyond the end is black.

    Returns
    -------
    array, shape (height, width)
        In the palette's own type if all its entries are grey, else the float32 mean of the colours.
    """
    grey = bool((palette == palette[:, :1]).all())
    table = palette[:, 0] if grey else mean_of_colours(palette)
    beyond = int(codes.max(initial=0)) + 1 - len(table)
    if beyond > 0:
        table = np.concatenate([table, np.zeros(beyond, table.dtype)])
    return table[codes]
