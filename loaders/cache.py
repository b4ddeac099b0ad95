"""The decoded cache: every image of a dataset, resized, in one memory-mapped file that is read without decoding.

The file is a plain `.npy` array, uint8, (images, size, size), in the order of `metadata.parquet`: `numpy.load(path,
mmap_mode="r")` reads it too. Its name starts with the digest of the manifest, so caches of different datasets can't be
confused.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from ..builder import schema
from ..builder.dataset.describe import size as size_text
from ..builder.dataset.manifest import Manifest
from ..builder.errors import CheckFailedError, UsageError
from ..builder.progress import progress
from ..builder.storage import TEMPORARY, cache_folder, write_atomic
from . import order
from .batches import Batches, ReadPixels
from .index import Index, read_index
from .order import Ids
from .stream import ShardReader, decode_workers

IMAGES_PER_BLOCK = 256
BLOCKS_PER_CHECKPOINT = 64  # the progress file is written after this many blocks and at the end of a split


def cache_path(digest: str, size: int, folder: str | PathLike[str] | None = None) -> Path:
    """Return the path of the decoded cache of a dataset.

    Parameters
    ----------
    digest : str
        Digest of the dataset's manifest.
    size : int
        Side of the images in pixels.
    folder : path, optional
        By default `$XDG_CACHE_HOME/cytoimagenet/decoded`, or `~/.cache/cytoimagenet/decoded`.

    Examples
    --------
    >>> cache_path("0123456789abcdef" * 4, 64, "/scratch").as_posix()
    '/scratch/0123456789abcdef-64.npy'
    """
    if folder is None:
        folder = cache_folder() / "decoded"
    return Path(folder) / f"{digest[:16]}-{size}.npy"


def build_cache(
    data_dir: str | PathLike[str],
    *,
    size: int = 224,
    folder: str | PathLike[str] | None = None,
    workers: int | None = None,
) -> Path:
    """Decode all images of a dataset into one file. An interrupted call is resumed by the next one.

    Parameters
    ----------
    data_dir : str or path
        A dataset folder with tar shards, local or a URL.
    size : int
        Side of the images in pixels. At 224 an image takes 50 kB, the 890,737 published images 44.7 GB.
    folder : path, optional
        Folder of the cache; see `cache_path`.
    workers : int, optional
        Number of workers that decode; see `stream`. The file does not depend on it.

    Returns
    -------
    Path
        The finished file. An existing one is not changed.

    Raises
    ------
    UsageError
        If the folder is not a dataset, or the disk is too small.
    """
    manifest = Manifest.load(data_dir)
    path = cache_path(manifest.digest, size, folder)
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    # in training on several GPUs one process decodes and the others wait
    lock = path.with_name(f"{TEMPORARY}{path.name}.lock")
    with FileLock(lock):
        if not path.exists():
            _decode(data_dir, manifest, path, size, workers)
    lock.unlink(missing_ok=True)
    return path


def _decode(data_dir: str | PathLike[str], manifest: Manifest, path: Path, size: int, workers: int | None) -> None:
    """Write the cache to a temporary file next to `path`, with a progress file, and rename it when it is complete."""
    splits = [read_index(data_dir, split) for split in schema.SPLITS if manifest.rows(split)]
    shape = (splits[0].total, size, size)
    unfinished = path.with_name(f"{TEMPORARY}{path.name}")
    progress_file = unfinished.with_suffix(".json")
    done = _resume_or_allocate(unfinished, progress_file, shape)
    pixels = open_memmap(unfinished, mode="r+")
    with progress("decode", shape[0]) as bar:
        bar.advance(sum(done.values()))
        for index in splits:
            for start, block in _blocks(index, size, done.get(index.split, 0), workers):
                pixels[index.row[start : start + len(block)]] = block
                bar.advance(len(block))
                done[index.split] = start + len(block)
                images_per_checkpoint = BLOCKS_PER_CHECKPOINT * IMAGES_PER_BLOCK
                if done[index.split] % images_per_checkpoint == 0 or done[index.split] == len(index):
                    pixels.flush()
                    write_atomic(progress_file, json.dumps(done).encode())
    del pixels
    with open(unfinished, "rb") as file:
        os.fsync(file.fileno())
    os.replace(unfinished, path)
    progress_file.unlink(missing_ok=True)


def _resume_or_allocate(file: Path, progress_file: Path, shape: tuple[int, int, int]) -> dict[str, int]:
    """Return the number of decoded images of each split; if there are no usable files, allocate the disk space."""
    done = _read_progress(progress_file)
    if done is not None and _shape_of(file) == shape:
        return done
    open_memmap(file, mode="w+", dtype=np.uint8, shape=shape).flush()
    with open(file, "r+b") as allocated:
        try:
            os.posix_fallocate(allocated.fileno(), 0, os.fstat(allocated.fileno()).st_size)
        except OSError as error:
            file.unlink()
            raise UsageError(
                f"The cache needs {size_text(int(np.prod(shape)))}: {error.strerror}",
                where=str(file.parent),
                next="Choose a folder on a larger disk with --out, or a smaller --size",
            ) from error
    write_atomic(progress_file, b"{}")
    return {}


def _shape_of(file: Path) -> tuple[int, ...] | None:
    """Return the shape of the array in a file; None if there is none, or it is damaged."""
    try:
        return tuple(np.load(file, mmap_mode="r", allow_pickle=False).shape)
    except Exception:  # numpy raises errors of every kind for a damaged header
        return None


def _read_progress(progress_file: Path) -> dict[str, int] | None:
    """Return the number of decoded images of each split; None if the file is absent or damaged, by a crash."""
    try:
        done = json.loads(progress_file.read_bytes())
    except (FileNotFoundError, ValueError, RecursionError):
        return None
    if not isinstance(done, dict) or any(type(count) is not int or count < 0 for count in done.values()):
        return None
    return done


def _blocks(index: Index, size: int, start: int, workers: int | None) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Decode the images from number `start` on; yield blocks, each with the number of its first image."""
    shards = len(index.shards)
    # `workers` is given once for all splits, and the smallest split may have a single shard
    workers = decode_workers(None if workers is None else min(workers, max(1, shards)), shards, 1)
    batches = Batches(ShardReader(index, size), batch_size=IMAGES_PER_BLOCK, training=False, workers=workers)
    if start % IMAGES_PER_BLOCK and start != len(index):
        raise CheckFailedError(
            "The progress file of the unfinished cache is damaged",
            next="Remove the unfinished cache and run the same command again",
        )
    batches.skip(0, -(-start // IMAGES_PER_BLOCK))
    for batch in batches:
        block = batch["images"].numpy()[:, 0]
        if len(block):
            yield start, block
            start += len(block)


class CacheReader:
    """Reads the decoded cache.

    Parameters
    ----------
    index : Index
    path : path
        The file that `build_cache` returned.
    balance : bool
        Sample the images of an epoch with replacement, every class equally often.

    Raises
    ------
    CheckFailedError
        If the file is not the decoded cache of this dataset.
    """

    in_processes = False  # there is nothing to decode: passing a batch on takes longer than reading it

    def __init__(self, index: Index, path: str | PathLike[str], *, balance: bool = False) -> None:
        self.index, self.path, self.balance = index, Path(path), balance
        remedy = f"Remove it and run: cytoimagenet cache {index.root}"
        if not self.path.name.startswith(index.digest[:16]):
            raise CheckFailedError("This is the decoded cache of another dataset", where=str(path), next=remedy)
        try:
            self.pixels = np.load(self.path, mmap_mode="r", allow_pickle=False)
        except Exception as error:  # numpy raises errors of every kind for a damaged header
            if isinstance(error, FileNotFoundError):
                raise
            raise CheckFailedError(f"Not a decoded cache: {error}", where=str(path), next=remedy) from error
        if self.pixels.dtype != np.uint8 or self.pixels.ndim != 3 or len(self.pixels) != index.total:
            raise CheckFailedError(
                f"The decoded cache has the shape {self.pixels.shape}; {index.total:,} images were expected",
                where=str(path),
                next=remedy,
            )
        self.size = int(self.pixels.shape[1])

    def order(self, seed: int, epoch: int) -> Ids:
        """Return the order of an epoch: all images shuffled, or sampled by class."""
        return order.random_access(self.index, seed, epoch, balance=self.balance)

    @contextmanager
    def open(self, ids: Ids) -> Iterator[ReadPixels]:
        """Return the function that reads images; `ids` is not used."""
        yield lambda batch: self.pixels[self.index.row[batch]]

    def __getstate__(self) -> dict[str, Any]:
        # pickling a memory map would copy all pixels: a spawned worker opens the file again
        return {**self.__dict__, "pixels": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.pixels = np.load(self.path, mmap_mode="r", allow_pickle=False)
