"""Streaming: shards read in large pieces, local or remote, in an order that is a function of (seed, epoch)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from os import PathLike
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from ..builder.dataset.remote import read_range
from ..builder.errors import UsageError
from ..builder.storage import join
from .batches import Batches, Read
from .index import Index, read_index
from .order import Ids, by_window
from .processes import place
from .transforms import decode

WINDOW = 64 << 20  # bytes of a shard held at once, about 1,100 images: the reach of the shuffle within a shard
SPARSE = 4  # a window of which less than a quarter is wanted is read image by image
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
    source: str | None = None,
    training: bool | None = None,
    rank: int | None = None,
    world: int | None = None,
) -> Batches:
    """Stream batches of a split from its tar shards.

    Parameters
    ----------
    data_dir : str or path
        A dataset folder, local or a URL (`s3://`, `gs://`, `hf://`, `https://`, ...).
    split : {"train", "validation"}
    batch_size : int
        Of each process.
    size : int
        Side of the images in pixels; they are resized to it.
    workers : int, optional
        Threads that decode ahead; 0 for none. By default 2, or 1 where a process has a single shard.
    seed, epoch : int
        Decide the order; `set_epoch` changes the epoch.
    category, labels, source
        Keep a part of the classes or images, see `read_index`.
    training : bool, optional
        By default true for `train`: shuffled, full batches, equally many for each process, leaving out less than one
        batch a process. False: in order, every image exactly once over all processes.
    rank, world : int, optional
        By default as torch.distributed or the launcher says.

    Returns
    -------
    Batches
        Sized iterable of {"images": uint8 (N, 1, size, size), "labels": int64 (N,)}.

    Raises
    ------
    UsageError
        If the folder is no dataset, or there are more workers than shards for them.

    Examples
    --------
    >>> for batch in stream("cytoimagenet", batch_size=256):                                  # doctest: +SKIP
    ...     images = batch["images"].to("cuda", non_blocking=True).float() / 255
    """
    index = read_index(data_dir, split, category=category, labels=labels, source=source)
    here, of = place()
    rank, world = here if rank is None else rank, of if world is None else world
    return Batches(
        ShardSource(index, size),
        batch_size=batch_size,
        training=split == "train" if training is None else training,
        workers=threads(workers, len(index.shards), world),
        seed=seed,
        epoch=epoch,
        rank=rank,
        world=world,
    )


def threads(workers: int | None, shards: int, world: int) -> int:
    """Return how many threads decode: as asked, or 2 where there are shards for them.

    Raises
    ------
    UsageError
        If more were asked for than a process has shards.
    """
    if workers is None:
        return max(1, min(DEFAULT_WORKERS, shards // world))
    if workers < 0 or (workers > 1 and workers * world > shards):
        raise UsageError(
            f"{workers} workers x {world} processes = {workers * world} streams, but the split has {shards} shards",
            next=f"Use at most {max(1, shards // world)} workers, or leave the number out",
        )
    return workers


class ShardSource:
    """Reads windows of shards: each is fetched once, ahead of its use, and let go when its last image is decoded.

    Parameters
    ----------
    index : Index
    size : int
        Side of the images.
    window : int
        Bytes of a shard that are held at once.
    """

    def __init__(self, index: Index, size: int, window: int = WINDOW) -> None:
        self.index, self.size = index, size
        place_in = index.offset // window
        # shards are numbered on, so that a window's number says which shard it lies in
        per_shard = int(place_in.max()) + 1
        self.window: NDArray[np.int64] = np.unique(index.shard * per_shard + place_in, return_inverse=True)[1]

    def order(self, seed: int, epoch: int) -> Ids:
        """Return an epoch's order: windows shuffled, and the images within each."""
        return by_window(self.window, seed, epoch)

    @contextmanager
    def open(self, ids: Ids) -> Iterator[Read]:
        """Make ready to read these images."""
        windows = _Windows(self.index, self.window, ids)
        try:
            yield lambda batch: self._read(windows, batch)
        finally:
            windows.close()

    def _read(self, windows: _Windows, batch: Ids) -> NDArray[np.uint8]:
        pixels = decode(self.index, batch, windows.png, self.size)
        windows.done(batch)
        return pixels


class _Windows:
    """The windows being read, and how many of their images are still to come."""

    def __init__(self, index: Index, window: Ids, ids: Ids) -> None:
        self.index, self.window = index, window
        chosen = window[ids]
        _, first = np.unique(chosen, return_index=True)
        self.sequence = chosen[np.sort(first)].tolist()
        self.after = dict(zip(self.sequence, self.sequence[1:], strict=False))
        self.left = Counter(chosen.tolist())
        order = np.argsort(chosen, kind="stable")
        starts = np.searchsorted(chosen[order], np.arange(int(window.max()) + 2 if len(window) else 1))
        self.members = lambda number: ids[order[starts[number] : starts[number + 1]]]
        self.lock = Lock()
        self.fetched: dict[int, Future[dict[int, bytes | memoryview]]] = {}
        self.pool = ThreadPoolExecutor(2, thread_name_prefix="cytoimagenet-fetch")

    def png(self, image: int) -> bytes | memoryview:
        """Return an image's PNG, waiting for its window if need be."""
        number = int(self.window[image])
        with self.lock:
            for wanted in (number, self.after.get(number)):
                if wanted is not None and wanted not in self.fetched and self.left[wanted]:
                    self.fetched[wanted] = self.pool.submit(self._fetch, wanted)
            window = self.fetched[number]
        return window.result()[image]

    def done(self, batch: Ids) -> None:
        """Count images as decoded; let go of windows that are through."""
        with self.lock:
            for number, times in Counter(self.window[batch].tolist()).items():
                self.left[number] -= times
                if not self.left[number]:
                    self.fetched.pop(number, None)

    def close(self) -> None:
        """Stop fetching."""
        self.pool.shutdown(wait=True, cancel_futures=True)

    def _fetch(self, number: int) -> dict[int, bytes | memoryview]:
        images = np.unique(self.members(number))
        index = self.index
        path = join(index.root, index.shards[index.shard[images[0]]])
        starts, stops = index.offset[images], index.offset[images] + index.size[images]
        low, high = int(starts.min()), int(stops.max())
        if (high - low) > SPARSE * int(index.size[images].sum()):
            return {
                int(image): read_range(path, int(start), int(stop))
                for image, start, stop in zip(images, starts, stops, strict=True)
            }
        data = memoryview(read_range(path, low, high))
        return {
            int(image): data[start - low : stop - low] for image, start, stop in zip(images, starts, stops, strict=True)
        }
