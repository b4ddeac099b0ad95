"""In which order images are read: a function of (seed, epoch), the same on every rank and for any number of workers.

An epoch's order is cut into batches, and the batches are dealt to the ranks in equal runs. In training what does not
fill a batch on every rank is left out of that epoch: fewer than one batch a rank. In evaluation nothing is left out.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..builder.errors import UsageError

Ids = NDArray[np.int64]
"""Numbers of images in an Index."""


def generator(seed: int, epoch: int) -> np.random.Generator:
    """Return the random generator of an epoch."""
    return np.random.default_rng([seed, epoch, 0x6379746F])  # a word of our own, apart from other uses of the seed


def anywhere(n: int, seed: int, epoch: int) -> Ids:
    """Shuffle `n` images over all shards: for random access."""
    return generator(seed, epoch).permutation(n)


def by_window(window: Ids, seed: int, epoch: int) -> Ids:
    """Shuffle images so that those of one window of a shard stay together: for reading shards in whole pieces.

    The shards hold a global shuffle, so that each window is a sample of all classes.

    Parameters
    ----------
    window : array, shape (images,)
        The window each image lies in.
    """
    rng = generator(seed, epoch)
    rank = np.empty(int(window.max()) + 1 if len(window) else 0, np.int64)
    rank[rng.permutation(len(rank))] = np.arange(len(rank))
    within = rng.random(len(window))
    return np.lexsort((within, rank[window]))


def balanced(weights: NDArray[np.float32], seed: int, epoch: int) -> Ids:
    """Draw as many images as there are, with replacement, each by its weight: every class equally often."""
    chance = weights.astype(np.float64)
    return generator(seed, epoch).choice(len(weights), len(weights), p=chance / chance.sum())


def batches(order: Ids, batch_size: int, *, rank: int = 0, world: int = 1, training: bool = True) -> list[Ids]:
    """Return the batches of one rank.

    Parameters
    ----------
    order : array, shape (images,)
        The epoch's order, equal on all ranks.
    batch_size : int
        Of each rank.
    rank, world : int
        Which of how many processes this is.
    training : bool
        True: equally many full batches on each rank; a split smaller than that gives each rank one short batch.
        False: every image exactly once over all ranks, the last batch short.

    Raises
    ------
    UsageError
        If a split has fewer images than there are ranks to train.
    """
    if training:
        each = len(order) // (batch_size * world)
        if each:
            mine = order[rank * each * batch_size : (rank + 1) * each * batch_size]
            return list(mine.reshape(each, batch_size))
        if len(order) < world:
            raise UsageError(f"{len(order)} images can't be shared by {world} processes", next="Train on fewer")
        short = len(order) // world
        return [order[rank * short : (rank + 1) * short]]
    whole = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    low, high = (len(whole) * r // world for r in (rank, rank + 1))
    return whole[low:high]


def count(images: int, batch_size: int, *, rank: int = 0, world: int = 1, training: bool = True) -> int:
    """Return how many batches `batches` gives, without an order."""
    if training:
        return max(1, images // (batch_size * world))
    whole = -(-images // batch_size)
    return whole * (rank + 1) // world - whole * rank // world
