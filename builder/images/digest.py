"""Digests of pixels, to find equal images."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray


def pixel_digest(image: NDArray[Any]) -> str:
    """Return the SHA-256 of an image's shape and pixels, in hexadecimal; the `sha256` of a row.

    Two images have the same digest if their shapes and pixels are equal, whatever files they come from.

    Examples
    --------
    >>> flat = np.zeros((2, 8), np.uint8)
    >>> pixel_digest(flat) == pixel_digest(flat.reshape(4, 4))
    False
    """
    digest = hashlib.sha256(np.array(image.shape, "<i8").tobytes())
    digest.update(np.ascontiguousarray(image).data)
    return digest.hexdigest()


def first_equal(digests: NDArray[Any], rank: NDArray[Any]) -> NDArray[np.int64]:
    """Find, for every image, the equal image of the lowest rank.

    Parameters
    ----------
    digests : array, shape (images,)
        Digests of the images, of any sortable type.
    rank : int array, shape (images,)
        Of equal images the one of the lowest rank is found.

    Returns
    -------
    int array, shape (images,)
        Position of the first equal image; that image itself has its own position.

    Examples
    --------
    >>> first_equal(np.array(["a", "b", "a"]), np.array([2, 1, 0]))
    array([2, 1, 2])
    """
    _, group = np.unique(digests, return_inverse=True)
    by_rank = np.argsort(rank, kind="stable")
    first = np.full(group.max(initial=-1) + 1, -1, dtype=np.int64)
    # assigned from the highest rank to the lowest, so that the lowest remains
    first[group[by_rank[::-1]]] = by_rank[::-1]
    return first[group]
