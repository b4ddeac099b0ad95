"""The shape that all TIFFs of a set have."""

from __future__ import annotations

from collections.abc import Iterable

from ...builder.errors import UnreadableImageError
from ...builder.progress import progress
from .stored import in_worker
from .tiff import shape_of

FILES_AT_ONCE = 64  # headers read by one call of a worker process


def common_shape(locators: Iterable[str], title: str) -> tuple[int, int]:
    """Check the header of every file and return the shape that all of them have.

    Raises
    ------
    UnreadableImageError
        At the first file that is damaged or differs in shape from the first.
    """
    every = list(locators)
    shape: tuple[int, int] | None = None
    with progress(title, len(every), "files") as bar:
        for start in range(0, len(every), FILES_AT_ONCE):
            some = every[start : start + FILES_AT_ONCE]
            for locator, found in zip(some, in_worker(shape_of, some), strict=True):
                if shape is not None and found != shape:
                    raise UnreadableImageError(
                        locator, f"it is {found[0]} x {found[1]} pixels, the others {shape[0]} x {shape[1]}"
                    )
                shape = found
            bar.advance(len(some))
    assert shape is not None, "no files to check"
    return shape
