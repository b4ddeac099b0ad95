"""The four views of an image that a network may be shown: {concat, merge} x {norm, raw}."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...builder.errors import ConstantImageError, NotFiniteImageError, UsageError
from ...builder.images.normalise import normalise

METHODS = ("concat-norm", "concat-raw", "merge-norm", "merge-raw")  # preprint, 4.1
"""`concat`: one view per channel, whose features are concatenated. `merge`: one view, the mean of the channels.
`norm`: each channel is stretched between its 0.1 and 99.9 percentile. `raw`: pixels as measured, divided by the full
scale of the data."""


def check_methods(methods: Sequence[str]) -> tuple[str, ...]:
    """Return the methods as a tuple without repeats.

    Raises
    ------
    UsageError
        If a method is unknown, or there is none.
    """
    unknown = [method for method in methods if method not in METHODS]
    if unknown or not methods:
        raise UsageError(
            f"There is no preprocessing {', '.join(unknown)}".rstrip(), next=f"Use any of {', '.join(METHODS)}"
        )
    return tuple(dict.fromkeys(methods))


def views_of(method: str, channels: int) -> int:
    """Return the number of views of one sample.

    Examples
    --------
    >>> views_of("concat-norm", 3), views_of("merge-norm", 3)
    (3, 1)
    """
    return channels if method.startswith("concat") else 1


def views(planes: Sequence[NDArray[Any]], methods: Sequence[str], full_scale: float) -> tuple[NDArray[np.float32], int]:
    """Return all views of one sample.

    Parameters
    ----------
    planes : sequence of arrays, each of shape (height, width), any integer or float type
        One per channel, as decoded.
    methods : sequence of str
        From `METHODS`.
    full_scale : float
        The value that becomes 1 in `raw` views; see `Samples.full_scale`.

    Returns
    -------
    array, shape (views, height, width), float32 in [0, 1]
        The views of each method, in order.
    constant : int
        Number of channels with one value only. They have no contrast to stretch and become 0 in `norm` views.

    Raises
    ------
    NotFiniteImageError
        If a pixel is infinite or not a number.
    """
    if any(plane.dtype.kind == "f" and not np.isfinite(plane).all() for plane in planes):
        raise NotFiniteImageError("A pixel is infinite or not a number")
    stretched = raw = None
    constant = 0
    if any(method.endswith("norm") for method in methods):
        stretched = np.empty((len(planes), *planes[0].shape), np.float32)
        for number, plane in enumerate(planes):
            try:
                stretched[number] = normalise(plane)
            except ConstantImageError:
                stretched[number] = 0
                constant += 1
    if any(method.endswith("raw") for method in methods):
        raw = np.stack([np.clip(plane.astype(np.float32) / np.float32(full_scale), 0, 1) for plane in planes])
    shown = []
    for method in methods:
        image = stretched if method.endswith("norm") else raw
        assert image is not None
        shown.append(image if method.startswith("concat") else image.mean(axis=0, keepdims=True))
    return np.concatenate(shown), constant
