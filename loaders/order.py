"""The order in which images are read, determined by seed and epoch, and its division into batches.

The order is the same in every process and for any number of workers and processes. It is cut into batches, and each
process gets a contiguous part of them. In training all processes get the same number of full batches; the remaining
images, fewer than are trained on in one step, are left out of that epoch. In evaluation no image is left out.

A run can be resumed in the middle of an epoch with another number of processes: the images that are left are those of
the order without the parts already trained on, and they are divided in the same manner.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

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


class Part(NamedTuple):
    """The part of an epoch that was trained on with one number of processes.

    Parameters
    ----------
    processes : int
        Number of processes.
    batch_size : int
        Images per batch and process.
    accumulation : int
        Batches of a process per step.
    batches : int
        Number of batches that each process was trained on; a multiple of `accumulation`.
    """

    processes: int
    batch_size: int
    accumulation: int
    batches: int

    @property
    def images_per_step(self) -> int:
        """Number of images per step of all processes together."""
        return self.processes * self.batch_size * self.accumulation


def left(order: Ids, parts: Iterable[Part]) -> Ids:
    """Return the images of an epoch that are left after the given parts of it, in their order.

    Examples
    --------
    >>> left(np.arange(9), [Part(processes=2, batch_size=2, accumulation=1, batches=1)]).tolist()
    [2, 3, 6, 7, 8]
    """
    for part in parts:
        each = part.batch_size * _batches_each(len(order), part.batch_size, part.processes, part.accumulation)
        divided = order[: each * part.processes].reshape(part.processes, each)
        order = np.concatenate([divided[:, part.batches * part.batch_size :].ravel(), order[divided.size :]])
    return order


def batches(
    order: Ids, batch_size: int, *, rank: int = 0, world: int = 1, training: bool = True, accumulation: int = 1
) -> list[Ids]:
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
        True: the same number of full batches for each process, enough for full steps; if there are too few images for
        one step, as many batches as there are, or one smaller batch each. False: every image exactly once over all
        processes; the last batch may be smaller.
    accumulation : int
        Number of batches of a process per step, in training.

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
        each = _batches_each(len(order), batch_size, world, accumulation)
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


def count(
    images: int, batch_size: int, *, rank: int = 0, world: int = 1, training: bool = True, accumulation: int = 1
) -> int:
    """Return the number of batches that `batches` returns for this number of images.

    Examples
    --------
    >>> count(7, 2, world=2), count(7, 2, rank=1, world=2, training=False)
    (1, 2)
    """
    if training:
        return max(1, _batches_each(images, batch_size, world, accumulation))
    every = -(-images // batch_size)
    return every * (rank + 1) // world - every * rank // world


def _batches_each(images: int, batch_size: int, world: int, accumulation: int) -> int:
    """Return the number of full batches of each process: those of full steps, or of a part of one if there is none."""
    each = images // (batch_size * world)
    return each // accumulation * accumulation or each
