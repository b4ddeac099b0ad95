"""Normalise channels to [0, 1] by their percentiles, merge them, and round the result to 8 bits once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import ConstantImageError, CytoImageNetError, NotFiniteImageError
from .percentiles import tail_percentiles

LOW, HIGH = 0.1, 99.9  # percentiles; preprint, 2.2: the procedure of DeepLoc (Kraus et al. 2017)
WHITE = 255
_MAX_LEVELS = 2**16  # widest range of integers that is counted in a histogram instead of sorted
_MAX_FLOAT32 = float(np.finfo(np.float32).max)
_ROWS_AT_ONCE = 32  # of a channel; 138 kB as float32 at 1,080 pixels per row, which stays in the cache
_MAX_COUNT_OPENCV = 2**24  # pixels; OpenCV counts in float32, which is exact up to here


def normalise(channel: NDArray[Any], low: float = LOW, high: float = HIGH) -> NDArray[np.float32]:
    """Scale one channel so that its `low` and `high` percentiles become 0 and 1; clip what is beyond.

    Parameters
    ----------
    channel : array, shape (height, width), bool or any integer or float type
        Pixel intensities of one stain.
    low, high : float
        Percentiles in [0, 100], interpolated linearly over all pixels.

    Returns
    -------
    array, shape (height, width), float32 in [0, 1]

    Raises
    ------
    ConstantImageError
        If both percentiles are equal, or there is no pixel.
    NotFiniteImageError
        If a pixel is not a number or infinite.

    Notes
    -----
    The procedure of DeepLoc (Kraus et al. 2017), which brightens dim fields. Integers that span up to 16 bits take
    one histogram and one look-up table instead of a sort; the result is exactly that of `numpy.percentile`, clipping,
    subtracting and dividing in double precision. Floats are computed in single precision.

    Examples
    --------
    >>> import numpy as np
    >>> normalise(np.arange(5, dtype=np.uint16).reshape(1, 5), low=25, high=75)
    array([[0. , 0. , 0.5, 1. , 1. ]], dtype=float32)
    """
    coded = _coded(channel, low, high)
    if coded is not None:
        return _look_up(*coded)
    # differences of wide integers overflow, also in some versions of `numpy.percentile`
    values = channel if channel.dtype.kind == "f" else channel.astype(np.float64)
    return _scaled(channel, *tail_percentiles(values, low, high))


def add_normalised(channel: NDArray[Any], total: NDArray[np.float32]) -> None:
    """Add `normalise(channel)` to `total`, in place, a few rows at a time so that they stay in the processor's cache.

    Parameters
    ----------
    channel : array, shape (height, width)
    total : array, shape (height, width), float32

    Raises
    ------
    ConstantImageError, NotFiniteImageError
        As `normalise`; `total` is then unchanged.
    """
    coded = _coded(channel, LOW, HIGH)
    if coded is None:
        np.add(total, normalise(channel), out=total)
        return
    codes, table = coded
    for row in range(0, len(codes), _ROWS_AT_ONCE):
        part = total[row : row + _ROWS_AT_ONCE]
        np.add(part, _look_up(codes[row : row + _ROWS_AT_ONCE], table), out=part)


def merge_float(channels: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
    """Normalise each channel and average them.

    Parameters
    ----------
    channels : sequence of arrays, each of shape (height, width)
        The fluorescence channels of one field, or one brightfield channel. Types may differ.

    Returns
    -------
    array, shape (height, width), float32 in [0, 1]

    Raises
    ------
    ConstantImageError, NotFiniteImageError
        If a channel can't be normalised; its position is in the message. A field with a failed stain is rejected
        rather than merged without it.
    CytoImageNetError
        If there is no channel, or the channels' shapes differ.
    """
    shapes = {channel.shape for channel in channels}
    if len(shapes) != 1:
        found = ", ".join(" x ".join(map(str, shape)) for shape in sorted(shapes)) or "none"
        raise CytoImageNetError(f"The channels of one field must have one shape, not {found}")
    total: NDArray[np.float32] | None = None
    for position, channel in enumerate(channels, 1):
        try:
            if total is None:
                total = normalise(channel)
            else:
                add_normalised(channel, total)
        except (ConstantImageError, NotFiniteImageError) as error:
            raise type(error)(f"Channel {position} of {len(channels)}: {error.what}") from error
    assert total is not None
    return np.divide(total, len(channels), out=total)


def to_grey8(image: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
    """Convert an image in [0, 1] to 8 bits, rounded to nearest: the only rounding of the procedure.

    Parameters
    ----------
    image : array, shape (height, width), float in [0, 1]

    Returns
    -------
    array, shape (height, width), uint8

    Examples
    --------
    >>> import numpy as np
    >>> to_grey8(np.array([[0, 0.5, 1]]))
    array([[  0, 128, 255]], dtype=uint8)
    """
    if image.dtype == np.float32 and image.size:
        return np.asarray(cv2.convertScaleAbs(image, alpha=WHITE), np.uint8)  # the line below in one pass
    return np.rint(image * np.float32(WHITE)).astype(np.uint8)


def merge_channels(channels: Sequence[NDArray[Any]]) -> NDArray[np.uint8]:
    """Merge the channels of a field into one 8-bit grey image: `to_grey8(merge_float(channels))`.

    Parameters
    ----------
    channels : sequence of arrays, each of shape (height, width)

    Returns
    -------
    array, shape (height, width), uint8
        The mean of the normalised channels, 0 to 255.

    Raises
    ------
    ConstantImageError, NotFiniteImageError, CytoImageNetError
        As `merge_float`.

    Examples
    --------
    >>> import numpy as np
    >>> dna, actin = np.array([[0, 10], [20, 30]]), np.array([[0, 900], [0, 900]])
    >>> merge_channels([dna, actin])
    array([[  0, 170],
           [ 85, 255]], dtype=uint8)
    """
    return to_grey8(merge_float(channels))


def _scaled(values: NDArray[Any], bottom: float, top: float) -> NDArray[np.float32]:
    """Clip to [bottom, top], subtract, divide: floats in single precision, all others in double, rounded once."""
    if not top > bottom:
        raise ConstantImageError("The 0.1th and 99.9th percentile are equal: nothing to stretch")
    narrow = values.dtype in (np.float16, np.float32) and top - bottom < _MAX_FLOAT32
    kind = np.float32 if narrow else np.float64
    work = np.clip(values, kind(bottom), kind(top), dtype=kind)
    work -= kind(bottom)
    work /= kind(top) - kind(bottom)
    return work.astype(np.float32, copy=False)


def _coded(channel: NDArray[Any], low: float, high: float) -> tuple[NDArray[Any], NDArray[np.float32]] | None:
    """Return (codes, the normalised value of every code); None for a valid channel whose values are not counted."""
    if channel.size == 0:
        raise ConstantImageError("An image without a pixel")
    if channel.dtype.kind not in "bui":
        if not np.isfinite(channel).all():
            raise NotFiniteImageError("A pixel is infinite or not a number")
        return None
    counted = _counted(channel)
    if counted is None:
        return None
    codes, start, counts = counted
    bottom, top = _percentile_of_counts(counts, start, low), _percentile_of_counts(counts, start, high)
    return codes, _scaled(np.arange(start, start + len(counts), dtype=np.float64), bottom, top)


def _counted(channel: NDArray[Any]) -> tuple[NDArray[Any], int, NDArray[np.int64]] | None:
    """Return (codes as uint8 or uint16, the value of code 0, pixels per code); None if the range is too wide."""
    start = 0
    if channel.dtype == np.bool_:
        channel = channel.view(np.uint8)
    elif channel.dtype not in (np.uint8, np.uint16):
        start = int(channel.min())
        if int(channel.max()) - start >= _MAX_LEVELS:
            return None
        # the difference fits 16 bits, so subtracting modulo 2**16 is exact for every integer type
        channel = channel.astype(np.uint16) - np.uint16(start % _MAX_LEVELS)
    codes = np.ascontiguousarray(channel, dtype=channel.dtype.newbyteorder("="))
    levels = 256 if codes.dtype == np.uint8 else _MAX_LEVELS
    if codes.size > _MAX_COUNT_OPENCV:
        return codes, start, np.bincount(codes.ravel(), minlength=levels)
    counts = cv2.calcHist([codes], [0], None, [levels], [0, levels])
    return codes, start, counts.ravel().astype(np.int64)


def _percentile_of_counts(counts: NDArray[np.int64], start: int, percent: float) -> float:
    """Return a percentile from pixels per value, with every rounding of `numpy.percentile` (method "linear").

    For integers, whose values can be counted; `percentiles.tail_percentiles` does the same for floats, by sorting.
    """
    below = np.cumsum(counts)
    position = percent / 100 * (int(below[-1]) - 1)
    rank = int(np.floor(position))
    left = start + int(np.searchsorted(below, rank, side="right"))
    right = start + int(np.searchsorted(below, min(rank + 1, int(below[-1]) - 1), side="right"))
    share, step = position - rank, right - left
    return right - step * (1 - share) if share >= 0.5 else left + step * share


def _look_up(codes: NDArray[Any], table: NDArray[np.float32]) -> NDArray[np.float32]:
    """Replace every code by its value."""
    return cv2.LUT(codes, table).astype(np.float32, copy=False).reshape(codes.shape)
