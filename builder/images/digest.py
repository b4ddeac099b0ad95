"""Equal images, told by their pixels."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray


def pixel_digest(image: NDArray) -> str:
    """Return the SHA-256 of an image's shape and pixels, in hexadecimal; the `sha256` of a row.

    Two images have the same digest when they show the same, whatever the files they come from.

    Examples
    --------
    >>> flat = np.zeros((2, 8), np.uint8)
    >>> pixel_digest(flat) == pixel_digest(flat.reshape(4, 4))
    False
    """
    seen = hashlib.sha256(np.array(image.shape, "<i8").tobytes())
    seen.update(np.ascontiguousarray(image).data)
    return seen.hexdigest()


def later_copies(digests: NDArray, order: NDArray) -> NDArray[np.int64]:
    """Find for every image the equal image that comes first.

    Parameters
    ----------
    digests : array, shape (images,)
        Digests of the images, of any sortable type.
    order : int array, shape (images,)
        Rank of each image; of equal images the one of the lowest rank is kept.

    Returns
    -------
    int array, shape (images,)
        Position of the first equal image; an image that is kept has its own.
    """
    _, group = np.unique(digests, return_inverse=True)
    by_rank = np.argsort(order, kind="stable")
    first = np.full(group.max(initial=-1) + 1, -1, dtype=np.int64)
    # written from the last to the first: the lowest rank stays
    first[group[by_rank[::-1]]] = by_rank[::-1]
    return first[group]
