"""Pixels: stretch a channel to [0, 1], merge channels, bring them to 8 bits once."""

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
_LEVELS = 2**16  # the widest range of integers that is counted instead of sorted
_WIDEST = float(np.finfo(np.float32).max)
_ROWS = 32  # of a channel at a time; of 1,080 pixels as float32 they take 138 kB
_EXACT = 2**24  # OpenCV counts in float32, which is exact up to here


def normalise(channel: NDArray[Any], low: float = LOW, high: float = HIGH) -> NDArray[np.float32]:
    """Stretch one channel so that its `low` and `high` percentiles become 0 and 1.

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
        If both percentiles are equal, or there is no pixel: there is nothing to stretch.
    NotFiniteImageError
        If a pixel is not a number or infinite.

    Notes
    -----
    The procedure of DeepLoc (Kraus et al. 2017), which brightens dim fields. Integers that span up to 16 bits take
    one histogram and one look-up table instead of a sort; the result equals clipping, subtracting and dividing by
    `numpy.percentile` in double precision exactly. Floats are stretched in single precision.

    Examples
    --------
    >>> import numpy as np
    >>> normalise(np.arange(5, dtype=np.uint16).reshape(1, 5), low=25, high=75)
    array([[0. , 0. , 0.5, 1. , 1. ]], dtype=float32)
    """
    coded = _coded(channel, low, high)
    if coded is not None:
        return _look_up(*coded)
    return _stretch(channel, *tail_percentiles(channel, low, high))


def add_normalised(channel: NDArray[Any], total: NDArray[np.float32]) -> None:
    """Add `normalise(channel)` to `total`, in place and a few rows at a time, so that they stay in the cache.

    Parameters
    ----------
    channel : array, shape (height, width)
    total : array, shape (height, width), float32

    Raises
    ------
    ConstantImageError, NotFiniteImageError
        As `normalise`; `total` is left as it was.
    """
    coded = _coded(channel, LOW, HIGH)
    if coded is None:
        np.add(total, normalise(channel), out=total)
        return
    codes, table = coded
    for row in range(0, len(codes), _ROWS):
        part = total[row : row + _ROWS]
        np.add(part, _look_up(codes[row : row + _ROWS], table), out=part)


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
        If a channel can't be normalised; its position is in the message. A field with a dead stain is left out
        rather than merged without it.
    CytoImageNetError
        If there is no channel, or the channels' shapes differ.
    """
    shapes = {channel.shape for channel in channels}
    if len(shapes) != 1:
        said = ", ".join(" x ".join(map(str, shape)) for shape in sorted(shapes)) or "none"
        raise CytoImageNetError(f"The channels of one field must have one shape, not {said}")
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
    """Bring an image in [0, 1] to 8 bits, rounded to nearest: the one rounding of the whole chain.

    Parameters
    ----------
    image : array, shape (height, width), float in [0, 1]

    Returns
    -------
    array, shape (height, width), uint8
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
    """
    return to_grey8(merge_float(channels))


def _stretch(values: NDArray[Any], bottom: float, top: float) -> NDArray[np.float32]:
    """Clip to [bottom, top], subtract, divide: floats in single precision, all others in double, rounded once."""
    if not top > bottom:
        raise ConstantImageError("The 0.1th and 99.9th percentile are equal: nothing to stretch")
    narrow = values.dtype in (np.float16, np.float32) and top - bottom < _WIDEST
    kind = np.float32 if narrow else np.float64
    work = np.clip(values, kind(bottom), kind(top), dtype=kind)
    work -= kind(bottom)
    work /= kind(top) - kind(bottom)
    return work.astype(np.float32, copy=False)


def _coded(channel: NDArray[Any], low: float, high: float) -> tuple[NDArray[Any], NDArray[np.float32]] | None:
    """Return (codes, the stretched value of every code); None for a sound channel whose values are not counted."""
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
    return codes, _stretch(np.arange(start, start + len(counts), dtype=np.float64), bottom, top)


def _counted(channel: NDArray[Any]) -> tuple[NDArray[Any], int, NDArray[np.int64]] | None:
    """Return (codes as uint8 or uint16, the value code 0 stands for, pixels per code); None if too wide to count."""
    start = 0
    if channel.dtype == np.bool_:
        channel = channel.view(np.uint8)
    elif channel.dtype not in (np.uint8, np.uint16):
        start = int(channel.min())
        if int(channel.max()) - start >= _LEVELS:
            return None
        # the difference fits 16 bits, so subtracting modulo 2**16 is exact for every integer type
        channel = channel.astype(np.uint16) - np.uint16(start % _LEVELS)
    codes = np.ascontiguousarray(channel, dtype=channel.dtype.newbyteorder("="))
    levels = 256 if codes.dtype == np.uint8 else _LEVELS
    if codes.size > _EXACT:
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
