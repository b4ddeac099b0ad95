"""The batches of an epoch, read and decoded ahead by threads or processes.

A few threads are as fast as processes, because OpenCV and file reading release Python's global interpreter lock, and
nothing has to be copied between processes. More than `MOST_THREADS` would wait for the lock, so that processes decode
then, see `worker_processes`. The batches and their order are the same for any number of either.
"""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from copy import copy
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from . import order
from .index import Index
from .order import Ids, Part
from .worker_processes import checked, deaths_reported, fits_shared_memory, process_loader

ReadPixels = Callable[[Ids], NDArray[np.uint8]]
"""Image numbers -> pixels, shape (N, size, size). Called from several threads."""

MOST_THREADS = 4
"""Largest number of threads that decode. On 16 cores, four decoded 5,000 images/s, eight 6,000 and fourteen 4,300; the
same numbers of processes 5,900, 8,600 and 16,300."""
BATCHES_AHEAD_PER_THREAD = 2


class ImageReader(Protocol):
    """Reads the pixels of indexed images: shards in order, single images, or the decoded cache."""

    index: Index
    size: int  # side of the images in pixels

    @property
    def in_processes(self) -> bool:
        """Whether worker processes can decode."""
        ...

    def order(self, seed: int, epoch: int) -> Ids:
        """Return the order of a training epoch."""
        ...

    def open(self, ids: Ids) -> AbstractContextManager[ReadPixels]:
        """Prepare to read these images in about this order."""
        ...


class Batches(IterableDataset[dict[str, Any]]):
    """The batches of one split for one process. Has a length, a seed, and can resume within an epoch.

    Parameters
    ----------
    reader : ImageReader
    batch_size : int
        Images per batch and process.
    training : bool
        True: shuffled, full batches only, the same number of batches for each process. False: in the order of the
        dataset, every image exactly once.
    workers : int
        Number of threads that decode; 0 decodes in the calling thread. More than `MOST_THREADS` are processes.
    seed, epoch : int
        Determine the order.
    rank, world : int
        Index of this process (0, 1, ...) and number of processes.
    accumulation : int
        Number of batches per step in training; an epoch has full steps only.

    Yields
    ------
    dict
        `images`: uint8 (N, 1, size, size); `labels`: int64 (N,). If the index has them, also `alternatives`: int32
        (N, most alternatives of an image), indices of the other right labels, then -1.
    """

    def __init__(
        self,
        reader: ImageReader,
        *,
        batch_size: int = 64,
        training: bool = True,
        workers: int = 0,
        seed: int = 0,
        epoch: int = 0,
        rank: int = 0,
        world: int = 1,
        accumulation: int = 1,
    ) -> None:
        self.reader, self.batch_size, self.training, self.workers = reader, batch_size, training, workers
        self.seed, self.rank, self.world, self.accumulation = seed, rank, world, accumulation
        self._done: tuple[int, tuple[Part, ...]] = (-1, ())  # an epoch, and the parts of it that were trained on
        # [epoch, epoch to skip in, batches to skip], in shared memory: the persistent workers of a DataLoader are
        # copies made earlier and would not see a change of plain attributes
        self._position = torch.tensor([epoch, -1, 0]).share_memory_()
        self._processes: DataLoader[dict[str, Any]] | None = None  # between two passes
        self._pinned = False

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_processes": None}  # a copy starts its own

    def __repr__(self) -> str:
        process = f", process {self.rank} of {self.world}" if self.world > 1 else ""
        batches = f"{len(self):,} batch{'es' * (len(self) != 1)} of {self.batch_size}"
        return f"Batches({self.reader.index.describe()}, {self.reader.size} px, {batches}{process})"

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes; `labels` are indices into them."""
        return self.reader.index.class_names

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch of the next pass, and with it the order."""
        self._position[0] = int(epoch)

    def skip(self, epoch: int, batches: int) -> None:
        """Yield empty batches for the first `batches` of an epoch, without reading: they were trained on already."""
        self._position[1:] = torch.tensor([epoch, batches])

    def resume(self, epoch: int, parts: Sequence[Part]) -> None:
        """Leave out parts of an epoch, also those trained on by another number of processes.

        In that epoch this process yields empty batches in their place, then its share of the images that are left. Call
        this before the first pass.
        """
        self._done = (epoch, tuple(parts))
        self._processes = None  # those that are running have a copy from before

    def __len__(self) -> int:
        images = len(self.reader.index)
        return order.count(
            images,
            self.batch_size,
            rank=self.rank,
            world=self.world,
            training=self.training,
            accumulation=self.accumulation,
        )

    def plan(self, epoch: int) -> list[Ids]:
        """Return the image numbers of each batch of an epoch; those of a batch that is left out are empty."""
        ids = self.reader.order(self.seed, epoch) if self.training else np.arange(len(self.reader.index))
        resumed, parts = self._done
        if epoch == resumed:
            ids = order.left(ids, parts)
        process = {"rank": self.rank, "world": self.world}
        plan = order.batches(ids, self.batch_size, **process, training=self.training, accumulation=self.accumulation)
        return [np.empty(0, np.int64)] * (len(self) - len(plan)) + plan

    def pinned(self) -> Batches:
        """Return these batches in pinned memory, to which the threads that read them copy the images.

        Both have the same epoch: `set_epoch` and `skip` of one also apply to the other.
        """
        pinned = copy(self)
        pinned._pinned = True
        return pinned

    def processes(self, *, most_threads: int = MOST_THREADS) -> int:
        """Return the number of worker processes that decode; 0 if threads decode.

        Parameters
        ----------
        most_threads : int
            Use threads up to this number of workers.
        """
        workers = min(self.workers, len(self))
        if workers <= most_threads or not self.reader.in_processes or get_worker_info() is not None:
            return 0
        size = self.reader.size
        if fits_shared_memory(workers, self.batch_size * size * size):
            return workers
        warnings.warn(
            f"{MOST_THREADS} threads decode instead of {workers} processes: the shared memory (/dev/shm) is too small. "
            "Docker needs --ipc=host or a larger --shm-size",
            stacklevel=2,
        )
        return 0

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        processes = self.processes()
        yield from self._by_processes(processes) if processes else self._by_threads()

    def _by_processes(self, processes: int) -> Iterator[dict[str, torch.Tensor]]:
        # a second pass that starts before the first one ends gets its own processes
        loader, self._processes = self._processes or process_loader(copy(self), processes), None
        with deaths_reported():
            try:
                yield from map(checked, loader)
            except GeneratorExit:  # the pass was left early: the next one uses the same processes
                self._processes = loader
                raise
        self._processes = loader

    def _by_threads(self) -> Iterator[dict[str, torch.Tensor]]:
        epoch, skip_epoch, skipped = self._position.tolist()
        plan, threads = self.plan(epoch), min(self.workers, MOST_THREADS)
        if skip_epoch == epoch:
            plan[:skipped] = [np.empty(0, np.int64)] * min(skipped, len(plan))
        worker = get_worker_info()
        if worker is not None:  # a worker process of the user's DataLoader, which asks its workers in turn
            plan, threads = plan[worker.id :: worker.num_workers], 0
        remaining = [ids for ids in plan if len(ids)]  # the empty batches come first
        for _ in range(len(plan) - len(remaining)):
            yield {"images": torch.empty(0, 1, 0, 0, dtype=torch.uint8), **self._answers(np.empty(0, np.int64))}
        with self.reader.open(np.concatenate(remaining) if remaining else np.empty(0, np.int64)) as read:

            def images(ids: Ids) -> torch.Tensor:
                pixels = torch.from_numpy(read(ids)[:, None])
                return pixels.pin_memory() if self._pinned else pixels

            for ids, found in zip(remaining, _read_ahead(images, remaining, threads), strict=True):
                yield {"images": found, **self._answers(ids)}

    def _answers(self, ids: Ids) -> dict[str, torch.Tensor]:
        """Return the labels of images, and their alternatives if the index has them."""
        index = self.reader.index
        answers = {"labels": torch.from_numpy(index.label[ids])}
        if index.alternatives is not None:
            answers["alternatives"] = torch.from_numpy(index.alternatives[ids])
        return answers


def _read_ahead(read: Callable[[Ids], torch.Tensor], plan: list[Ids], threads: int) -> Iterator[torch.Tensor]:
    """Yield the images of the batches in order, with some batches read ahead by threads."""
    if not threads:
        yield from map(read, plan)
        return
    waiting: deque[Future[torch.Tensor]] = deque()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="cytoimagenet-decode")
    try:
        for ids in plan:
            waiting.append(pool.submit(read, ids))
            if len(waiting) > BATCHES_AHEAD_PER_THREAD * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
