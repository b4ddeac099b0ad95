"""Keep an image, or leave it out with one of the reasons of `schema.REASONS`.

Every figure is read off the histogram of the 8-bit image, in one pass over its pixels.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

BLANK_MEAN = 1  # grey levels of 0 to 255, all three published with the crops
SATURATED_MEAN = 254
DIM_PERCENTILE = 75
LOW, HIGH = 0.1, 99.9  # percentiles that normalisation stretches to 0 and 1


class Verdict(NamedTuple):
    """Why an image is left out."""

    reason: str
    detail: str = ""


class Levels:
    """How often each of the 256 grey levels occurs, and what follows from it.

    Parameters
    ----------
    image : uint8 array
    """

    def __init__(self, image: NDArray[np.uint8]) -> None:
        self.counts = np.bincount(image.ravel(), minlength=256)
        self.pixels = int(image.size)

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
        """Return the percentile with linear interpolation, as `numpy.percentile` does."""
        place = (self.pixels - 1) * q / 100
        below = int(place)
        ends = np.cumsum(self.counts)
        low, high = np.searchsorted(ends, [below + 1, min(below + 2, self.pixels)])
        return float(low + (high - low) * (place - below))


def judge(image: NDArray[np.uint8]) -> Verdict | None:
    """Say why a finished 8-bit image is left out; None if it is kept."""
    if image.size == 0:
        return Verdict("empty", "no pixel")
    levels = Levels(image)
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


def judge_crop(image: NDArray[np.uint8]) -> Verdict | None:
    """Say why a crop is left out before it is stretched: stretching would make noise of a blank one look like cells.

    Parameters
    ----------
    image : uint8 array
        The crop at the brightness it has in its source image.
    """
    levels = Levels(image)
    if levels.mean <= BLANK_MEAN:
        if levels.counts[0] == levels.pixels:
            return Verdict("empty", "every pixel is 0")
        return Verdict("dim", f"mean {levels.mean:.2f}")
    if levels.mean >= SATURATED_MEAN:
        return Verdict("saturated", f"mean {levels.mean:.1f}")
    if levels.percentile(DIM_PERCENTILE) == 0:
        return Verdict("dim", "75th percentile 0")
    return None
