"""Windows of shards: the parts that are read at once, so that shards are read in large pieces.

The images of an epoch come window by window, shuffled within each. Threads of one process share windows in memory. The
worker processes of a loader share those of a local disk through the page cache of the operating system, and those of a
remote storage through local copies, if the user allows any.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import pairwise
from threading import Lock
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..builder.dataset.remote import read_range
from ..builder.storage import join
from .index import Index
from .local_copies import Copy, LocalCopies
from .mapstyle import RowReader
from .order import Ids

MAX_READ_RATIO = 4  # read a window image by image if reading it at once would fetch over 4 times the bytes needed


class Windows(Protocol):
    """Returns the PNGs of images that come window by window."""

    def png(self, image: int) -> bytes | memoryview:
        """Return the PNG of an image."""
        ...

    def done(self, batch: Ids) -> None:
        """Count the images of a batch as decoded."""
        ...

    def close(self) -> None:
        """Free what was opened."""
        ...


class WindowsInMemory:
    """The windows in memory, with the number of images of each that are not decoded yet.

    Each window is fetched once, ahead of use, and freed when its last image is decoded.

    Parameters
    ----------
    index : Index
    window : array, shape (images,), int64
        The window of each image.
    ids : array of int64
        The images to read, in about this order.
    """

    def __init__(self, index: Index, window: Ids, ids: Ids) -> None:
        self.index, self.window = index, window
        chosen = window[ids]
        self.next_window = _next_windows(chosen)
        self.images_left = Counter(chosen.tolist())
        order = np.argsort(chosen, kind="stable")
        starts = np.searchsorted(chosen[order], np.arange(int(window.max()) + 2 if len(window) else 1))
        self.images_of = lambda number: ids[order[starts[number] : starts[number + 1]]]
        self.lock = Lock()
        self.fetched: dict[int, Future[Mapping[int, bytes | memoryview]]] = {}
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

    def _fetch(self, number: int) -> Mapping[int, bytes | memoryview]:
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


class WindowsInCopies(WindowsInMemory):
    """The windows of remote shards in local files, with at most two of them open.

    Parameters
    ----------
    index, window, ids
        As for `WindowsInMemory`.
    copies : LocalCopies
    """

    def __init__(self, index: Index, window: Ids, ids: Ids, copies: LocalCopies) -> None:
        super().__init__(index, window, ids)
        self.copies = copies
        # a copy contains all images of its window, also if an interrupted epoch or another process needs only some
        everything = np.argsort(window, kind="stable")
        starts = np.searchsorted(window[everything], np.arange(int(window.max()) + 2 if len(window) else 1))
        self.images_of = lambda number: everything[starts[number] : starts[number + 1]]

    def _fetch(self, number: int) -> Mapping[int, bytes | memoryview]:
        images = self.images_of(number)
        index = self.index
        shard = index.shards[index.shard[images[0]]]
        offsets, sizes = index.offset[images], index.size[images]
        places = hashlib.sha256(np.stack([offsets, sizes]).tobytes()).hexdigest()

        def fetch() -> list[bytes | memoryview]:
            pngs = super(WindowsInCopies, self)._fetch(number)
            return [pngs[image] for image in images.tolist()]

        copy = self.copies.open(f"{index.digest} {shard} {places}", fetch)
        starts = np.cumsum(sizes) - sizes
        return _Copied(copy, dict(zip(images.tolist(), zip(starts.tolist(), sizes.tolist(), strict=True), strict=True)))


class _Copied(Mapping[int, bytes | memoryview]):
    """Image -> its PNG, read from a copy."""

    def __init__(self, copy: Copy, places: dict[int, tuple[int, int]]) -> None:
        self.copy, self.places = copy, places

    def __getitem__(self, image: int) -> bytes:
        return self.copy.read(*self.places[image])

    def __iter__(self) -> Iterator[int]:
        return iter(self.places)

    def __len__(self) -> int:
        return len(self.places)


class WindowsInPageCache:
    """The windows of local shards, read image by image; the operating system is asked to read each window ahead.

    Several processes that read batches of one window in turn do not read it several times from the disk, and none of
    them needs memory for it.

    Parameters
    ----------
    rows : RowReader
    window, ids
        As for `WindowsInMemory`.
    window_bytes : int
        Size of a window.
    """

    def __init__(self, rows: RowReader, window: Ids, ids: Ids, window_bytes: int) -> None:
        self.rows, self.window, self.window_bytes = rows, window, window_bytes
        self.next_window = _next_windows(window[ids])
        numbers, first = np.unique(window, return_index=True)
        self.first_image: dict[int, int] = dict(zip(numbers.tolist(), first.tolist(), strict=True))
        self.asked: set[int] = set()

    def png(self, image: int) -> bytes:
        """Return the PNG of an image."""
        number = int(self.window[image])
        for needed in (number, self.next_window.get(number)):
            if needed is not None and needed not in self.asked:
                self.asked.add(needed)
                self._read_ahead(self.first_image[needed])
        return self.rows.png(image)

    def _read_ahead(self, image: int) -> None:
        if not hasattr(os, "posix_fadvise"):  # macOS
            return
        index = self.rows.index
        start = int(index.offset[image]) // self.window_bytes * self.window_bytes
        file = self.rows.file(int(index.shard[image]))
        os.posix_fadvise(file, start, self.window_bytes, os.POSIX_FADV_WILLNEED)

    def done(self, batch: Ids) -> None:
        """Do nothing: the operating system frees the page cache."""

    def close(self) -> None:
        """Do nothing: the reader keeps its files open for the next epoch."""


def _next_windows(windows: NDArray[np.int64]) -> dict[int, int]:
    """Return for each window the one that is read after it."""
    _, first = np.unique(windows, return_index=True)
    return dict(pairwise(windows[np.sort(first)].tolist()))
