"""Random access: read any image of a local dataset folder at its offset in the shard."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from os import PathLike
from threading import Lock
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from ..builder.errors import UnreadableImageError, UsageError
from ..builder.storage import filesystem, is_local, join
from . import order
from .batches import ReadPixels
from .index import Index, database_argument, read_index
from .order import Ids
from .transforms import decode_images


class RowReader:
    """Reads single images at their offsets, in any order.

    Parameters
    ----------
    index : Index
        Index of a local dataset folder.
    size : int
        Side of the images in pixels.
    balance : bool
        Sample the images of an epoch with replacement, every class equally often.

    Raises
    ------
    UsageError
        If the folder is not on a local disk.
    """

    in_processes = True

    def __init__(self, index: Index, size: int, *, balance: bool = False) -> None:
        if not is_local(index.root):
            raise UsageError(
                "Random access needs the dataset on a local disk",
                where=index.root,
                next="Download it with `cytoimagenet pull`, or use cytoimagenet.stream",
            )
        self.index, self.size, self.balance = index, size, balance
        self._files: dict[int, int] = {}
        self._lock = Lock()

    def order(self, seed: int, epoch: int) -> Ids:
        """Return the order of an epoch: all images shuffled, or sampled by class."""
        return order.random_access(self.index, seed, epoch, balance=self.balance)

    @contextmanager
    def open(self, ids: Ids) -> Iterator[ReadPixels]:
        """Return the function that reads images; `ids` is not used."""
        yield self.read

    def read(self, ids: Ids) -> NDArray[np.uint8]:
        """Return the pixels, shape (N, size, size), uint8, of the images with these numbers."""
        return decode_images(self.index, ids, self.png, self.size)

    def png(self, image: int) -> bytes:
        """Return the PNG of an image."""
        size = int(self.index.size[image])
        png = os.pread(self.file(int(self.index.shard[image])), size, int(self.index.offset[image]))
        if len(png) != size:
            raise UnreadableImageError(self.index.where(image), "the shard ends before this image does")
        return png

    def file(self, shard: int) -> int:
        """Return the file descriptor of a shard, which stays open."""
        with self._lock:
            if shard not in self._files:
                path = filesystem(join(self.index.root, self.index.shards[shard]))[1]
                self._files[shard] = os.open(path, os.O_RDONLY)
            return self._files[shard]

    def __getstate__(self) -> dict[str, Any]:
        # file descriptors are only valid in their process: a spawned worker opens its own
        return {**self.__dict__, "_files": {}, "_lock": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = Lock()

    def __del__(self, close: Callable[[int], None] = os.close) -> None:
        # at the exit of the interpreter the module `os` may be gone: the default value keeps its function
        for file in getattr(self, "_files", {}).values():
            close(file)


class MapDataset(Dataset[dict[str, Any]]):
    """The images of a split as a torch dataset with random access, for your own DataLoader.

    Parameters
    ----------
    data_dir : str or path
        A local dataset folder.
    split : {"train", "validation"}
    size : int
        Side of the images in pixels.
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

    Raises
    ------
    UsageError
        If the folder is not a dataset on a local disk, a name is unknown, or no image is left.

    Examples
    --------
    >>> dataset = MapDataset("cytoimagenet", "validation")                                    # doctest: +SKIP
    >>> dataset[0]["images"].shape, dataset.class_names[dataset[0]["labels"]]                 # doctest: +SKIP
    (torch.Size([1, 224, 224]), 'actin')
    """

    def __init__(
        self,
        data_dir: str | PathLike[str],
        split: str = "train",
        *,
        size: int = 224,
        category: str | None = None,
        labels: str | Collection[str] | None = None,
        database: str | None = None,
        quality: str = "all",
        alternatives: bool = False,
        source: str | None = None,
    ) -> None:
        database = database_argument(database, source)
        self.index = read_index(
            data_dir,
            split,
            category=category,
            labels=labels,
            database=database,
            quality=quality,
            alternatives=alternatives,
        )
        self.reader = RowReader(self.index, size)

    def __repr__(self) -> str:
        return f"MapDataset({self.index.describe()}, {self.reader.size} px)"

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes; `labels` are indices into them."""
        return self.index.class_names

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, image: int) -> dict[str, Any]:
        """Return {"images": uint8 (1, size, size), "labels": int} of one image.

        With `alternatives=True` also "alternatives": int32 (most alternatives of an image,), indices of classes, then
        -1.
        """
        return self.__getitems__([image])[0]

    def __getitems__(self, images: list[int]) -> list[dict[str, Any]]:
        """Return several images at once; a DataLoader calls this once per batch."""
        ids = np.asarray(images, np.int64)
        if len(ids) and not (-len(self) <= ids.min() and ids.max() < len(self)):
            raise IndexError(f"image {ids.max()} of {len(self)}")
        ids %= len(self)
        pixels = torch.from_numpy(self.reader.read(ids)[:, None])
        samples: list[dict[str, Any]] = [
            {"images": pixel, "labels": int(self.index.label[image])} for pixel, image in zip(pixels, ids, strict=True)
        ]
        if self.index.alternatives is not None:
            for sample, others in zip(samples, torch.from_numpy(self.index.alternatives[ids]), strict=True):
                sample["alternatives"] = others
        return samples
