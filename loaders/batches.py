"""Batches of an epoch, read and decoded ahead by threads.

Threads and not processes, since OpenCV and file reading let go of the interpreter: nothing is copied between
processes, nothing needs to be picklable, and the order of batches does not depend on how many threads there are.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import IterableDataset, get_worker_info

from . import order
from .index import Index
from .order import Ids

Read = Callable[[Ids], NDArray[np.uint8]]
"""Numbers of images -> their pixels, shape (N, size, size). Called by several threads."""

AHEAD = 2  # batches decoded ahead, for each thread


class Source(Protocol):
    """A way to the pixels: shards in order, files at random, or a decoded cache."""

    index: Index

    def order(self, seed: int, epoch: int) -> Ids:
        """Return the order of a training epoch."""
        ...

    def open(self, ids: Ids) -> AbstractContextManager[Read]:
        """Make ready to read these images in about this order."""
        ...


class Batches(IterableDataset):
    """The batches of one split for one rank: sized, seeded, resumable.

    Parameters
    ----------
    source : Source
    batch_size : int
    training : bool
        Shuffled, only full batches, equally many on each rank; or in order, every image exactly once.
    workers : int
        Threads; 0 decodes where the batch is asked for.
    seed, epoch : int
        Decide the order.
    rank, world : int
        Which of how many processes this is.

    Yields
    ------
    dict
        `images`: uint8 (N, 1, size, size); `labels`: int64 (N,).
    """

    def __init__(
        self,
        source: Source,
        *,
        batch_size: int = 64,
        training: bool = True,
        workers: int = 0,
        seed: int = 0,
        epoch: int = 0,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.source, self.batch_size, self.training, self.workers = source, batch_size, training, workers
        self.seed, self.rank, self.world = seed, rank, world
        # epoch, epoch to skip in, batches to skip: shared, since persistent workers of a DataLoader were copied before
        self._told = torch.tensor([epoch, -1, 0]).share_memory_()

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes that `labels` counts through."""
        return self.source.index.class_names

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of the next pass."""
        self._told[0] = int(epoch)

    def skip(self, epoch: int, batches: int) -> None:
        """Give empty batches for the first `batches` of an epoch: they were trained on before, and nothing is read."""
        self._told[1:] = torch.tensor([epoch, batches])

    def __len__(self) -> int:
        return order.count(
            len(self.source.index), self.batch_size, rank=self.rank, world=self.world, training=self.training
        )

    def plan(self, epoch: int) -> list[Ids]:
        """Return the images of each batch of an epoch."""
        ids = self.source.order(self.seed, epoch) if self.training else np.arange(len(self.source.index))
        return order.batches(ids, self.batch_size, rank=self.rank, world=self.world, training=self.training)

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        epoch, skip_in, skipped = self._told.tolist()
        skipped = skipped if skip_in == epoch else 0
        plan, threads = self.plan(epoch), self.workers
        helper = get_worker_info()
        if helper is not None:  # someone's own DataLoader with processes: it asks them in turn
            plan, skipped = plan[helper.id :: helper.num_workers], -(-(skipped - helper.id) // helper.num_workers)
            threads = 0
        skipped = max(0, min(skipped, len(plan)))
        labels = self.source.index.label
        for _ in range(skipped):
            yield {"images": torch.empty(0, 1, 0, 0, dtype=torch.uint8), "labels": torch.empty(0, dtype=torch.int64)}
        todo = plan[skipped:]
        with self.source.open(np.concatenate(todo) if todo else np.empty(0, np.int64)) as read:
            for ids, pixels in zip(todo, _ahead(read, todo, threads), strict=True):
                yield {"images": torch.from_numpy(pixels[:, None]), "labels": torch.from_numpy(labels[ids])}


def _ahead(read: Read, plan: list[Ids], threads: int) -> Iterator[NDArray[np.uint8]]:
    """Read the batches in order, some of them ahead."""
    if not threads:
        yield from map(read, plan)
        return
    waiting: deque[Future[NDArray[np.uint8]]] = deque()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="cytoimagenet-decode")
    try:
        for ids in plan:
            waiting.append(pool.submit(read, ids))
            if len(waiting) > AHEAD * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
