"""Apply a function to every image of a dataset folder, in order, with images read and decoded ahead in threads."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ..builder.dataset.manifest import Manifest
from ..builder.dataset.names import METADATA
from ..builder.dataset.ranges import reader_of
from ..builder.formats.grey_png import decode_png
from ..builder.storage import filesystem, join

T = TypeVar("T")

IMAGES_PER_BATCH = 64
BATCHES_AHEAD_PER_WORKER = 2


def read_places(manifest: Manifest, columns: tuple[str, ...] = ()) -> pa.Table:
    """Return where the images are, in the order of `metadata.parquet`, as Arrow: some 100 bytes per image.

    Parameters
    ----------
    manifest : Manifest
        Of the dataset folder.
    columns : tuple of str
        Further columns than key, shard, offset and size.
    """
    fs, inner = filesystem(join(manifest.root, METADATA))
    with fs.open(inner, "rb") as file:
        return pq.read_table(file, columns=["key", "shard", "offset", "size", *columns])


def map_images(
    root: str,
    places: pa.Table,
    function: Callable[[list[NDArray[np.uint8]]], T],
    *,
    workers: int,
    batch: int = IMAGES_PER_BATCH,
) -> Iterator[T]:
    """Yield the results of a function for each batch of images.

    Parameters
    ----------
    root : str
        The dataset folder, local or a URL.
    places : Table
        Rows of `read_places`.
    function : callable
        Receives the images of a batch, each uint8 of shape (height, width). It is called in threads.
    workers : int
        Number of threads.
    batch : int
        Images per batch; the last batch may be smaller.

    Raises
    ------
    UnreadableImageError
        If there is no PNG at the place that a row names.
    """
    fetch = reader_of(root)

    def work(start: int) -> T:
        part = places.slice(start, batch)
        keys, shards, offsets, sizes = (part[name].to_pylist() for name in ("key", "shard", "offset", "size"))
        pngs = fetch(shards, offsets, sizes)
        return function([decode_png(png, f"{root}/{s}, {key}") for png, s, key in zip(pngs, shards, keys, strict=True)])

    waiting: deque[Future[T]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="cytoimagenet-images") as pool:
        for start in range(0, len(places), batch):
            waiting.append(pool.submit(work, start))
            if len(waiting) > BATCHES_AHEAD_PER_WORKER * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
