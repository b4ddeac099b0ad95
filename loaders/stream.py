"""Streaming: read shards in large pieces, local or remote, in an order determined by seed and epoch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise
from os import PathLike
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from ..builder.dataset.remote import read_range
from ..builder.errors import UsageError
from ..builder.storage import join
from .batches import Batches, ReadPixels
from .index import Index, database_argument, read_index
from .order import Ids, by_window
from .processes import rank_and_world
from .transforms import decode_images

WINDOW_BYTES = 64 << 20  # bytes of a shard in memory at once, about 1,100 images; images are shuffled within it
MAX_READ_RATIO = 4  # read a window image by image if reading it at once would fetch over 4 times the bytes needed
DEFAULT_WORKERS = 2


def stream(
    data_dir: str | PathLike[str],
    split: str = "train",
    *,
    batch_size: int = 64,
    size: int = 224,
    workers: int | None = None,
    seed: int = 0,
    epoch: int = 0,
    category: str | None = None,
    labels: str | Collection[str] | None = None,
    database: str | None = None,
    quality: str = "all",
    source: str | None = None,
    training: bool | None = None,
    rank: int | None = None,
    world: int | None = None,
) -> Batches:
    """Return the batches of a split, read from its tar shards.

    Parameters
    ----------
    data_dir : str or path
        A dataset folder, local or a URL (`s3://`, `gs://`, `hf://`, `https://`, ...).
    split : {"train", "validation"}
    batch_size : int
        Images per batch and process.
    size : int
        Side of the images in pixels; every image is resized to a square.
    workers : int, optional
        Number of threads that decode ahead; 0 decodes in the calling thread. By default 2, or 1 if a process has a
        single shard.
    seed, epoch : int
        Determine the order; `set_epoch` changes the epoch.
    category : str, optional
        Keep only classes of this category, e.g. `compound`.
    labels : collection of str, or "toy20" or "toy50", optional
        Keep only these classes, or the classes of one of the authors' two small subsets.
    database : str, optional
        Keep only images of this database (publisher), e.g. `Recursion`.
    quality : {"all", "clean"}
        `clean` leaves out the images that `cytoimagenet audit` flagged.
    source : str, optional
        Former name of `database`; gives a DeprecationWarning.
    training : bool, optional
        True, the default for `train`: shuffled, full batches only, the same number of batches for each process; less
        than one batch per process is left out. False, the default for `validation`: in the order of the dataset, every
        image exactly once over all processes.
    rank, world : int, optional
        Index of this process and number of processes. By default read from torch.distributed or the launcher.

    Returns
    -------
    Batches
        Iterable with a length; yields {"images": uint8 (N, 1, size, size), "labels": int64 (N,)}.

    Raises
    ------
    UsageError
        If the folder is not a dataset, a name is unknown, no image is left, or there are more workers than shards.

    Examples
    --------
    >>> for batch in stream("cytoimagenet", batch_size=256):                                  # doctest: +SKIP
    ...     images = batch["images"].to("cuda", non_blocking=True).float() / 255
    """
    database = database_argument(database, source)
    index = read_index(data_dir, split, category=category, labels=labels, database=database, quality=quality)
    this_rank, this_world = rank_and_world()
    rank, world = this_rank if rank is None else rank, this_world if world is None else world
    return Batches(
        ShardReader(index, size),
        batch_size=batch_size,
        training=split == "train" if training is None else training,
        workers=decode_threads(workers, len(index.shards), world),
        seed=seed,
        epoch=epoch,
        rank=rank,
        world=world,
    )


def decode_threads(workers: int | None, shards: int, world: int) -> int:
    """Return the number of threads that decode: the given number, or by default 2 if a process has 2 shards.

    Parameters
    ----------
    workers : int, optional
        Requested number of threads.
    shards : int
        Number of shards of the split.
    world : int
        Number of processes.

    Raises
    ------
    UsageError
        If more threads are requested than there are shards for.

    Examples
    --------
    >>> decode_threads(None, shards=8, world=1), decode_threads(None, shards=8, world=8), decode_threads(0, 8, 1)
    (2, 1, 0)
    """
    if workers is None:
        return max(1, min(DEFAULT_WORKERS, shards // world))
    if workers < 0 or (workers > 1 and workers * world > shards):
        raise UsageError(
            f"{workers} workers x {world} processes = {workers * world} streams, but the split has {shards} shards",
            next=f"Use at most {max(1, shards // world)} workers, or leave the number out",
        )
    return workers


class ShardReader:
    """Reads windows of shards: each is fetched once, ahead of use, and freed when its last image is decoded.

    Parameters
    ----------
    index : Index
    size : int
        Side of the images in pixels.
    window : int
        Size of a window in bytes.
    """

    def __init__(self, index: Index, size: int, window: int = WINDOW_BYTES) -> None:
        self.index, self.size = index, size
        window_in_shard = index.offset // window
        per_shard = int(window_in_shard.max()) + 1
        # the window of each image, numbered over all shards
        self.window: NDArray[np.int64] = np.unique(index.shard * per_shard + window_in_shard, return_inverse=True)[1]

    def order(self, seed: int, epoch: int) -> Ids:
        """Return an epoch's order: windows shuffled, and the images within each."""
        return by_window(self.window, seed, epoch)

    @contextmanager
    def open(self, ids: Ids) -> Iterator[ReadPixels]:
        """Prepare to read these images in about this order."""
        windows = _Windows(self.index, self.window, ids)
        try:
            yield lambda batch: self._read(windows, batch)
        finally:
            windows.close()

    def _read(self, windows: _Windows, batch: Ids) -> NDArray[np.uint8]:
        pixels = decode_images(self.index, batch, windows.png, self.size)
        windows.done(batch)
        return pixels


class _Windows:
    """The windows in memory, with the number of images of each that are not decoded yet."""

    def __init__(self, index: Index, window: Ids, ids: Ids) -> None:
        self.index, self.window = index, window
        chosen = window[ids]
        _, first = np.unique(chosen, return_index=True)
        sequence = chosen[np.sort(first)].tolist()
        self.next_window = dict(pairwise(sequence))
        self.images_left = Counter(chosen.tolist())
        order = np.argsort(chosen, kind="stable")
        starts = np.searchsorted(chosen[order], np.arange(int(window.max()) + 2 if len(window) else 1))
        self.images_of = lambda number: ids[order[starts[number] : starts[number + 1]]]
        self.lock = Lock()
        self.fetched: dict[int, Future[dict[int, bytes | memoryview]]] = {}
        self.pool = ThreadPoolExecutor(2, thread_name_prefix="cytoimagenet-fetch")

    def png(self, image: int) -> bytes | memoryview:
        """Return the PNG of an image; wait for its window if it is not fetched yet."""
        number = int(self.window[image])
        with self.lock:
            for needed in (number, self.next_window.get(number)):
                if needed is not None and needed not in self.fetched and self.images_left[needed]:
                    self.fetched[needed] = self.pool.submit(self._fetch, needed)
            window = self.fetched[number]
        return window.result()[image]

    def done(self, batch: Ids) -> None:
        """Count the images of a batch as decoded; free windows of which no image is left."""
        with self.lock:
            for number, times in Counter(self.window[batch].tolist()).items():
                self.images_left[number] -= times
                if not self.images_left[number]:
                    self.fetched.pop(number, None)

    def close(self) -> None:
        """Stop fetching."""
        self.pool.shutdown(wait=True, cancel_futures=True)

    def _fetch(self, number: int) -> dict[int, bytes | memoryview]:
        images = np.unique(self.images_of(number))
        index = self.index
        path = join(index.root, index.shards[index.shard[images[0]]])
        starts, stops = index.offset[images], index.offset[images] + index.size[images]
        low, high = int(starts.min()), int(stops.max())
        if (high - low) > MAX_READ_RATIO * int(index.size[images].sum()):
            return {
                int(image): read_range(path, int(start), int(stop))
                for image, start, stop in zip(images, starts, stops, strict=True)
            }
        data = memoryview(read_range(path, low, high))
        return {
            int(image): data[start - low : stop - low] for image, start, stop in zip(images, starts, stops, strict=True)
        }
