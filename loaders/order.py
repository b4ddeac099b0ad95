"""The order in which images are read, determined by seed and epoch, and its division into batches.

The order is the same in every process and for any number of workers. It is cut into batches, and each process gets a
contiguous part of them. In training all processes get the same number of full batches; the remaining images, less than
one batch per process, are left out of that epoch. In evaluation no image is left out.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..builder.errors import UsageError
from .index import Index
from .weights import sample_weights

Ids = NDArray[np.int64]
"""Image numbers: indices (0, 1, ...) into the arrays of an Index."""


def _generator(seed: int, epoch: int) -> np.random.Generator:
    """Return the random generator of an epoch."""
    # the constant separates this use of the seed from others
    return np.random.default_rng([seed, epoch, 0x6379746F])


def random_access(index: Index, seed: int, epoch: int, *, balance: bool = False) -> Ids:
    """Return the order of an epoch for readers with random access.

    Parameters
    ----------
    index : Index
    seed, epoch : int
    balance : bool
        False: all images, shuffled. True: the same number of images, sampled with replacement, every class equally
        often.
    """
    if balance:
        return _sampled(sample_weights(index), seed, epoch)
    return _generator(seed, epoch).permutation(len(index))


def by_window(window: Ids, seed: int, epoch: int) -> Ids:
    """Return the order of an epoch in which the images of each window stay together, so that it is read only once.

    Windows are shuffled, and the images within each window. The shards contain the images in a random order, so each
    window is a sample of all classes.

    Parameters
    ----------
    window : array, shape (images,)
        The window of each image: the part of a shard that is read at once.

    Examples
    --------
    >>> by_window(np.array([0, 0, 0, 1, 1, 1]), seed=0, epoch=0).tolist()
    [2, 1, 0, 3, 5, 4]
    """
    rng = _generator(seed, epoch)
    rank = np.empty(int(window.max()) + 1 if len(window) else 0, np.int64)
    rank[rng.permutation(len(rank))] = np.arange(len(rank))
    within = rng.random(len(window))
    return np.lexsort((within, rank[window]))


def _sampled(weights: NDArray[np.float32], seed: int, epoch: int) -> Ids:
    """Sample as many images as there are weights, with replacement and with probabilities proportional to them."""
    chance = weights.astype(np.float64)
    return _generator(seed, epoch).choice(len(weights), len(weights), p=chance / chance.sum())


def batches(order: Ids, batch_size: int, *, rank: int = 0, world: int = 1, training: bool = True) -> list[Ids]:
    """Return the batches of one process.

    Parameters
    ----------
    order : array, shape (images,)
        The order of the epoch, the same in all processes.
    batch_size : int
        Images per batch and process.
    rank, world : int
        Index of this process (0, 1, ...) and number of processes.
    training : bool
        True: the same number of full batches for each process; if there are too few images for one full batch each,
        one smaller batch each. False: every image exactly once over all processes; the last batch may be smaller.

    Raises
    ------
    UsageError
        If there are fewer images to train on than processes.

    Examples
    --------
    >>> [[batch.tolist() for batch in batches(np.arange(7), 2, rank=rank, world=2)] for rank in (0, 1)]
    [[[0, 1]], [[2, 3]]]
    >>> [[batch.tolist() for batch in batches(np.arange(7), 2, rank=rank, world=2, training=False)] for rank in (0, 1)]
    [[[0, 1], [2, 3]], [[4, 5], [6]]]
    """
    if training:
        each = len(order) // (batch_size * world)
        if each:
            mine = order[rank * each * batch_size : (rank + 1) * each * batch_size]
            return list(mine.reshape(each, batch_size))
        if len(order) < world:
            raise UsageError(
                f"{len(order)} images can't be divided among {world} processes", next="Start fewer processes"
            )
        short = len(order) // world
        return [order[rank * short : (rank + 1) * short]]
    every = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    low, high = (len(every) * r // world for r in (rank, rank + 1))
    return every[low:high]


def count(images: int, batch_size: int, *, rank: int = 0, world: int = 1, training: bool = True) -> int:
    """Return the number of batches that `batches` returns for this number of images.

    Examples
    --------
    >>> count(7, 2, world=2), count(7, 2, rank=1, world=2, training=False)
    (1, 2)
    """
    if training:
        return max(1, images // (batch_size * world))
    every = -(-images // batch_size)
    return every * (rank + 1) // world - every * rank // world
