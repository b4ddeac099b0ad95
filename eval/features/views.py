"""The four views of an image that a network may be shown: {concat, merge} x {norm, raw}."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...builder.errors import ConstantImageError, NotFiniteImageError, UsageError
from ...builder.images.normalise import normalise

if TYPE_CHECKING:
    from ..sets.samples import Samples

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


def views(planes: NDArray[Any], methods: Sequence[str], full_scale: float) -> tuple[NDArray[np.float32], int]:
    """Return all views of one sample.

    Parameters
    ----------
    planes : array, shape (channels, height, width), any integer or float type
        As decoded.
    methods : sequence of str
        From `METHODS`.
    full_scale : float
        The value that becomes 1 in `raw` views; see `scale_of`.

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
    if planes.dtype.kind == "f" and not np.isfinite(planes).all():
        raise NotFiniteImageError("A pixel is infinite or not a number")
    stretched = raw = None
    constant = 0
    if any(method.endswith("norm") for method in methods):
        stretched = np.empty(planes.shape, np.float32)
        for number, plane in enumerate(planes):
            try:
                stretched[number] = normalise(plane)
            except ConstantImageError:
                stretched[number] = 0
                constant += 1
    if any(method.endswith("raw") for method in methods):
        raw = np.clip(planes.astype(np.float32) / np.float32(full_scale), 0, 1)
    shown = []
    for method in methods:
        image = stretched if method.endswith("norm") else raw
        assert image is not None
        shown.append(image if method.startswith("concat") else image.mean(axis=0, keepdims=True))
    return np.concatenate(shown), constant


def scale_of(samples: Samples, reference: Sequence[int] | None = None) -> float:
    """Return the full scale, by which the pixels of `raw` views are divided.

    For integers of up to 16 bits it is the largest value of their type. For floats and wider integers, whose range no
    camera uses, it is the largest value of the reference samples, which are read for this.

    Parameters
    ----------
    samples : Samples
    reference : sequence of int, optional
        Positions of the reference samples; by default those of the split `train` if there is one (COOS-7), else all.
    """
    kind = samples.load(0).dtype
    if kind.kind in "ui" and kind.itemsize <= 2:
        return float(2 ** (8 * kind.itemsize - (kind.kind == "i")) - 1)
    rows: Sequence[int] = range(len(samples)) if reference is None else reference
    if reference is None and "split" in samples.table:
        train = np.flatnonzero(samples.table["split"].to_numpy() == "train").tolist()
        rows = train or rows
    largest = max((float(np.max(samples.load(i))) for i in rows), default=0.0)
    return largest if largest > 0 else 1.0
