"""Square tiles of a large field, in addition to shrinking it: a network sees cells at their own scale."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def starts(length: int, tile: int) -> list[int]:
    """Return where tiles begin along one axis: they cover it and are evenly spaced, overlapping as little as possible.

    Examples
    --------
    >>> starts(224, 224), starts(500, 224)
    ([0], [0, 138, 276])
    """
    count = -(-length // tile)
    return [round(i * (length - tile) / (count - 1)) for i in range(count)] if count > 1 else [0]


def tiles_in(shape: tuple[int, int], tile: int) -> int:
    """Return the number of tiles of an image of that height and width in pixels.

    Examples
    --------
    >>> tiles_in((640, 640), 224), tiles_in((100, 120), 224)
    (9, 2)
    """
    enlarged = max(1.0, tile / min(shape))
    height, width = (round(length * enlarged) for length in shape)
    return len(starts(height, tile)) * len(starts(width, tile))


def tiles_of(shown: NDArray[np.float32], tile: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Cut the views of one image into tiles.

    Parameters
    ----------
    shown : array, shape (views, height, width)
        Both sides are at least `tile` pixels long.
    tile : int
        Side of a tile in pixels.

    Returns
    -------
    array, shape (tiles, views, tile, tile)
        From left to right, then from top to bottom.
    array, shape (tiles, 2)
        Left and upper edge of each tile in pixels.
    """
    corners = [(x, y) for y in starts(shown.shape[1], tile) for x in starts(shown.shape[2], tile)]
    cut = np.stack([shown[:, y : y + tile, x : x + tile] for x, y in corners])
    return cut, np.array(corners, np.int64)
