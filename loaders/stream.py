"""Streaming: read shards in large pieces, local or remote, in an order determined by seed and epoch."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import get_worker_info

from ..builder.errors import UsageError
from ..builder.storage import cache_folder, is_local
from .batches import Batches, ReadPixels
from .cores import default_workers
from .index import Index, database_argument, read_index
from .local_copies import LocalCopies
from .mapstyle import RowReader
from .order import Ids, by_window
from .processes import rank_and_world
from .transforms import decode_images
from .windows import Windows, WindowsInCopies, WindowsInMemory, WindowsInPageCache

WINDOW_BYTES = 64 << 20  # bytes of a shard in memory at once, about 1,100 images; images are shuffled within it


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
    alternatives: bool = False,
    source: str | None = None,
    training: bool | None = None,
    rank: int | None = None,
    world: int | None = None,
    cache_bytes: int = 0,
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
        Number of workers that decode ahead; 0 decodes in the calling thread. Up to 4 are threads, more are processes
        if the dataset is on a local disk or `cache_bytes` is given; the batches are the same. By default two less than
        the cores that this process may use, at most 16, and at most one per shard.
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
    alternatives : bool
        Also return the other right labels of each image.
    source : str, optional
        Former name of `database`; gives a DeprecationWarning.
    training : bool, optional
        True, the default for `train`: shuffled, full batches only, the same number of batches for each process; less
        than one batch per process is left out. False, the default for `validation`: in the order of the dataset, every
        image exactly once over all processes.
    rank, world : int, optional
        Index of this process and number of processes. By default read from torch.distributed or the launcher.
    cache_bytes : int
        Of a remote dataset: keep up to this number of bytes of what was read in `~/.cache/cytoimagenet/shards`, so that
        the next epoch reads it from the disk; all processes of a machine share it. 0 keeps nothing.

    Returns
    -------
    Batches
        Iterable with a length; yields {"images": uint8 (N, 1, size, size), "labels": int64 (N,)}. With
        `alternatives=True` also "alternatives": int32 (N, most alternatives of an image), indices of classes, then -1.

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
    index = read_index(
        data_dir,
        split,
        category=category,
        labels=labels,
        database=database,
        quality=quality,
        alternatives=alternatives,
    )
    this_rank, this_world = rank_and_world()
    rank, world = this_rank if rank is None else rank, this_world if world is None else world
    return Batches(
        ShardReader(index, size, copies=local_copies(index, cache_bytes)),
        batch_size=batch_size,
        training=split == "train" if training is None else training,
        workers=decode_workers(workers, len(index.shards), world),
        seed=seed,
        epoch=epoch,
        rank=rank,
        world=world,
    )


def decode_workers(workers: int | None, shards: int, world: int) -> int:
    """Return the number of workers that decode: the given number, or by default one that fits the cores and shards.

    Parameters
    ----------
    workers : int, optional
        Requested number of workers.
    shards : int
        Number of shards of the split.
    world : int
        Number of processes that train.

    Raises
    ------
    UsageError
        If more workers are requested than there are shards for.

    Examples
    --------
    >>> decode_workers(None, shards=8, world=8), decode_workers(3, shards=8, world=2), decode_workers(0, 8, 1)
    (1, 3, 0)
    """
    if workers is None:
        return max(1, min(default_workers(), shards // world))
    if workers < 0 or (workers > 1 and workers * world > shards):
        raise UsageError(
            f"{workers} workers x {world} processes = {workers * world} streams, but the split has {shards} shards",
            next=f"Use at most {max(1, shards // world)} workers, or leave the number out",
        )
    return workers


def local_copies(index: Index, cache_bytes: int, folder: str | PathLike[str] | None = None) -> LocalCopies | None:
    """Return where copies of a remote dataset are kept; None for a local dataset, or without space for them.

    Parameters
    ----------
    index : Index
    cache_bytes : int
        Size of all copies together.
    folder : path, optional
        By default `shards` in the user's cache folder.
    """
    if not cache_bytes or is_local(index.root):
        return None
    return LocalCopies(Path(folder or cache_folder()) / "shards", cache_bytes)


class ShardReader:
    """Reads windows of shards, each of them once and ahead of use; see `windows`.

    Parameters
    ----------
    index : Index
    size : int
        Side of the images in pixels.
    window : int
        Size of a window in bytes.
    copies : LocalCopies, optional
        Where windows of a remote dataset are kept.
    """

    def __init__(
        self, index: Index, size: int, window: int = WINDOW_BYTES, *, copies: LocalCopies | None = None
    ) -> None:
        self.index, self.size, self.window_bytes, self.copies = index, size, window, copies
        window_in_shard = index.offset // window
        per_shard = int(window_in_shard.max()) + 1
        # the window of each image, numbered over all shards
        self.window: NDArray[np.int64] = np.unique(index.shard * per_shard + window_in_shard, return_inverse=True)[1]
        self._rows = RowReader(index, size) if is_local(index.root) else None

    @property
    def in_processes(self) -> bool:
        """Whether worker processes can decode. Without local copies each would fetch the same remote windows."""
        return self._rows is not None or self.copies is not None

    def order(self, seed: int, epoch: int) -> Ids:
        """Return an epoch's order: windows shuffled, and the images within each."""
        return by_window(self.window, seed, epoch)

    @contextmanager
    def open(self, ids: Ids) -> Iterator[ReadPixels]:
        """Prepare to read these images in about this order."""
        windows: Windows
        if self.copies is not None:
            windows = WindowsInCopies(self.index, self.window, ids, self.copies)
        elif self._rows is not None and get_worker_info() is not None:
            windows = WindowsInPageCache(self._rows, self.window, ids, self.window_bytes)
        else:
            windows = WindowsInMemory(self.index, self.window, ids)
        try:
            yield lambda batch: self._read(windows, batch)
        finally:
            windows.close()

    def _read(self, windows: Windows, batch: Ids) -> NDArray[np.uint8]:
        pixels = decode_images(self.index, batch, windows.png, self.size)
        windows.done(batch)
        return pixels
