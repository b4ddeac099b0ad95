"""Two percentiles of a float image: those of `numpy.percentile`, five times as fast.

Both percentiles are in the tails of the values. A sample of the pixels shows roughly where the tails begin; then only
the tails are sorted.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

SAMPLE = 4096  # pixels
MIN_PIXELS_TO_SAMPLE = 8 * SAMPLE  # in smaller images the sample costs more than it saves


def tail_percentiles(values: NDArray[np.floating[Any]], low: float, high: float) -> tuple[float, float]:
    """Return `numpy.percentile(values, (low, high))`, linearly interpolated, bit-identical.

    Parameters
    ----------
    values : float array
        Finite; any shape with at least one element.
    low, high : float
        Percentiles in [0, 100], low <= high.
    """
    flat = values.ravel()
    if flat.size >= MIN_PIXELS_TO_SAMPLE:
        sample = np.sort(flat[:: flat.size // SAMPLE])
        start = _interpolated(flat, sample, low / 100, below=True)
        end = _interpolated(flat, sample, high / 100, below=False)
        if start is not None and end is not None:
            return start, end
    start, end = np.percentile(flat, (low, high))
    return float(start), float(end)


def _interpolated(flat: NDArray[Any], sample: NDArray[Any], share: float, *, below: bool) -> float | None:
    """Return a percentile from the values of one tail; None if the sample gave a tail that is too short."""
    position = share * (flat.size - 1)
    rank = int(np.floor(position))
    after = min(rank + 1, flat.size - 1)
    beyond = share if below else 1 - share
    place = min(int(2 * beyond * len(sample)) + 8, len(sample) - 1)  # far enough that the tail is seldom too short
    if below:
        tail, before = flat[flat <= sample[place]], 0
    else:
        tail = flat[flat >= sample[-1 - place]]
        before = flat.size - tail.size
    if rank < before or after - before >= tail.size:
        return None
    tail.partition((rank - before, after - before))
    left, right = tail[rank - before], tail[after - before]
    # as numpy computes it: the difference in the precision of the values, all else in double precision
    step, part = np.float64(right - left), position - rank
    return float(right - step * (1 - part)) if part >= 0.5 else float(left + step * part)
