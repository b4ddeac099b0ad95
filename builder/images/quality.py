"""Quality filters: keep an image, or reject it with one of the reasons of `schema.REASONS`.

Every number comes from the histogram of the 8-bit image, which takes one pass over its pixels.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from .normalise import HIGH, LOW

# the published thresholds for crops, used for all images; grey levels are 0 to 255
BLANK_MEAN = 1  # grey level
SATURATED_MEAN = 254  # grey level
DIM_PERCENTILE = 75  # that is 0 in a dim image
MAX_COUNT_OPENCV = 2**24  # pixels; OpenCV counts in float32, which is exact up to here


class Verdict(NamedTuple):
    """Why an image is rejected."""

    reason: str
    detail: str = ""


class Levels:
    """The histogram of an 8-bit image, and what follows from it.

    Parameters
    ----------
    image : uint8 array, shape (height, width)
    """

    def __init__(self, image: NDArray[np.uint8]) -> None:
        self.pixels = int(image.size)
        if 0 < self.pixels < MAX_COUNT_OPENCV:
            counts = cv2.calcHist([np.ascontiguousarray(image)], [0], None, [256], [0, 256])
            self.counts = counts.ravel().astype(np.int64)
        else:
            self.counts = np.bincount(image.ravel(), minlength=256)
        self._ends = np.cumsum(self.counts)

    @property
    def used(self) -> int:
        """Number of grey levels that occur."""
        return int(np.count_nonzero(self.counts))

    @property
    def mean(self) -> float:
        """Mean grey level."""
        return float(self.counts @ np.arange(256) / self.pixels)

    @property
    def entropy(self) -> float:
        """Shannon entropy of the grey levels in bits, 0 to 8: low for an image that shows little."""
        share = self.counts[self.counts > 0] / self.pixels
        return float(-(share * np.log2(share)).sum())

    def percentile(self, q: float) -> float:
        """Return a percentile in grey levels, linearly interpolated.

        Not `normalise._percentile_of_counts`, which repeats every rounding of `numpy.percentile`: it multiplies by
        q / 100, where this method multiplies by q and then divides, which is exact for q = 99.9 and 1,001 pixels.
        Verdicts compare percentiles for equality, so merging the two could change which images a dataset contains.
        """
        place = (self.pixels - 1) * q / 100
        below = int(place)
        low, high = np.searchsorted(self._ends, [below + 1, min(below + 2, self.pixels)])
        return float(low + (high - low) * (place - below))


def judge(levels: Levels) -> Verdict | None:
    """Return why a finished 8-bit image is rejected; None if it is kept.

    Examples
    --------
    >>> judge(Levels(np.zeros((70, 70), np.uint8)))
    Verdict(reason='empty', detail='every pixel is 0')
    """
    if levels.pixels == 0:
        return Verdict("empty", "no pixel")
    if levels.counts[0] == levels.pixels:
        return Verdict("empty", "every pixel is 0")
    if levels.percentile(LOW) == levels.percentile(HIGH):
        return Verdict("constant", f"grey level {levels.percentile(LOW):g}")
    if levels.used == 2:
        first, second = np.flatnonzero(levels.counts)
        return Verdict("binary_mask", f"grey levels {first} and {second} only")
    if levels.percentile(DIM_PERCENTILE) == 0:
        return Verdict("dim", "75th percentile 0")
    if levels.mean >= SATURATED_MEAN:
        return Verdict("saturated", f"mean {levels.mean:.1f}")
    return None


def judge_crop(levels: Levels) -> Verdict | None:
    """Return why a crop is rejected before it is normalised; None if it is kept.

    Normalising a blank crop would make its noise look like cells.

    Parameters
    ----------
    levels : Levels
        Histogram of the crop, at the brightness that it has in its source image.
    """
    if levels.mean <= BLANK_MEAN:
        if levels.counts[0] == levels.pixels:
            return Verdict("empty", "every pixel is 0")
        return Verdict("dim", f"mean {levels.mean:.2f}")
    if levels.mean >= SATURATED_MEAN:
        return Verdict("saturated", f"mean {levels.mean:.1f}")
    if levels.percentile(DIM_PERCENTILE) == 0:
        return Verdict("dim", "75th percentile 0")
    return None
