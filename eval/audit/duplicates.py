"""Near duplicates: images that show the same, whatever their orientation, size, contrast, compression and shift.

Candidates are the images with the nearest spectra; each candidate pair is then aligned and compared in its details.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from ..scores.neighbours import nearest
from .pixels import COARSE_FREQUENCIES, FREQUENCIES, Pixels
from .registration import PAIRS_AT_ONCE, similarity

CANDIDATES = 5  # images with the nearest spectra that each image is compared with
CERTAIN = 0.97  # correlation of details from which on two images are near duplicates
LEAST = 0.86  # below it they never are; between the two it depends on what else looks like them
MUCH_CLOSER = 0.2  # a near duplicate differs at most this much as the third most similar image does
RANK_OF_OTHERS = 2  # 0 is the most similar image: two copies of an image do not hide each other


@dataclass(frozen=True)
class Duplicates:
    """Pairs of near duplicates, and the groups that they form.

    Attributes
    ----------
    pairs : array, shape (pairs, 2), int64
        Indices of the images.
    similarity : array, shape (pairs,), float32
        Correlation of their details after alignment.
    group : array, shape (images,), int64
        Number of the group of each image (0, 1, ...), in the order of their first images; -1 for none.
    """

    pairs: NDArray[np.int64]
    similarity: NDArray[np.float32]
    group: NDArray[np.int64]


def find_duplicates(pixels: Pixels, *, workers: int = 1) -> Duplicates:
    """Find the near duplicates among images.

    Parameters
    ----------
    pixels : Pixels
        Measurements of the images.
    workers : int
        Number of threads.
    """
    spectra = comparable(pixels.spectrum)
    found, _ = nearest(spectra, spectra, min(CANDIDATES, max(1, len(spectra) - 1)), "cosine", itself=True)
    first = np.repeat(np.arange(len(found)), found.shape[1])
    pairs = np.stack([first, found.ravel()], axis=1)
    pairs = np.unique(np.sort(pairs[pairs[:, 1] >= 0], axis=1), axis=0)
    pairs, value = confirm(pixels.copies, pairs, workers=workers)
    return Duplicates(pairs, value, groups_of(pairs, len(pixels)))


def comparable(spectra: NDArray[np.float32], like: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
    """Return spectra as vectors whose cosine compares them: what all images have in common is removed.

    Parameters
    ----------
    spectra : array, shape (images, features), float32
    like : array, optional
        Spectra whose mean is removed; by default their own.
    """
    sizes = [(highest + 1) * (highest + 2) // 2 - 1 for highest in (FREQUENCIES, FREQUENCIES, COARSE_FREQUENCIES)]
    spectra = spectra - (spectra if like is None else like).mean(axis=0)
    start = 0
    for size in sizes:
        part = spectra[:, start : start + size]
        part /= np.maximum(np.linalg.norm(part, axis=1, keepdims=True), 1e-6)
        start += size
    return spectra


def confirm(
    copies: NDArray[np.uint8], pairs: NDArray[np.int64], *, workers: int = 1
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the pairs whose details agree after alignment, and how well."""
    parts = np.array_split(pairs, max(1, -(-len(pairs) // PAIRS_AT_ONCE)))
    with ThreadPoolExecutor(workers) as pool:
        values = np.concatenate(list(pool.map(lambda part: similarity(copies, part), parts)))
    value = values.min(axis=1)
    others = _others(pairs, value, len(copies))
    reference = np.maximum(others[pairs[:, 0]], others[pairs[:, 1]])
    same = (value >= CERTAIN) | ((value >= LEAST) & (1 - value <= MUCH_CLOSER * (1 - reference)))
    return pairs[same], value[same]


def _others(pairs: NDArray[np.int64], value: NDArray[np.float32], images: int) -> NDArray[np.float32]:
    """Return how similar the third most similar image is, for each image: simple shapes have many alike."""
    image, similar = np.concatenate([pairs[:, 0], pairs[:, 1]]), np.concatenate([value, value])
    order = np.lexsort((-similar, image))
    image, similar = image[order], similar[order]
    start, stop = (np.searchsorted(image, np.arange(images), side) for side in ("left", "right"))
    place = start + RANK_OF_OTHERS
    return np.where(place < stop, similar[np.minimum(place, max(len(similar) - 1, 0))], 0).astype(np.float32)


def groups_of(pairs: NDArray[np.int64], images: int) -> NDArray[np.int64]:
    """Number the groups of images that are linked by pairs, in the order of their first images; -1 for no group.

    Examples
    --------
    >>> groups_of(np.array([[3, 4], [1, 4]]), 6).tolist()
    [-1, 0, -1, 0, 0, -1]
    """
    component = connected(pairs, images)
    sizes = np.bincount(component, minlength=images)
    group = np.full(images, -1, np.int64)
    linked = np.flatnonzero(sizes[component] > 1)
    _, first, number = np.unique(component[linked], return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    group[linked] = rank[number]
    return group


def connected(pairs: NDArray[np.int64], images: int) -> NDArray[np.int64]:
    """Return the connected component of each image: images have the same number if pairs link them."""
    links = scipy.sparse.coo_array((np.ones(len(pairs), bool), (pairs[:, 0], pairs[:, 1])), shape=(images, images))
    return scipy.sparse.csgraph.connected_components(links, directed=False)[1].astype(np.int64)
