"""Keep an image, or leave it out with one of the reasons of `schema.REASONS`.

Every figure is read off the histogram of the 8-bit image, in one pass over its pixels.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from .normalise import HIGH, LOW

BLANK_MEAN = 1  # grey levels of 0 to 255, all three published with the crops
SATURATED_MEAN = 254
DIM_PERCENTILE = 75
EXACT = 2**24  # OpenCV counts in single precision, exact up to here


class Verdict(NamedTuple):
    """Why an image is left out."""

    reason: str
    detail: str = ""


class Levels:
    """How often each of the 256 grey levels occurs, and what follows from it.

    Parameters
    ----------
    image : uint8 array, shape (height, width)
    """

    def __init__(self, image: NDArray[np.uint8]) -> None:
        self.pixels = int(image.size)
        if 0 < self.pixels < EXACT:
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
        """Shannon entropy of the grey levels in bits, 0 to 8: low where there is little to see."""
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
    """Say why a finished 8-bit image is left out; None if it is kept."""
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
    """Say why a crop is left out before it is stretched: stretching would make noise of a blank one look like cells.

    Parameters
    ----------
    levels : Levels
        Of the crop, at the brightness it has in its source image.
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
