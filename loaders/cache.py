"""The decoded cache: every image of a dataset, resized, in one memory-mapped file. Made once, read without decoding.

The file is a plain `.npy` array, uint8, (images, size, size), in the order of `metadata.parquet`: `numpy.load(path,
mmap_mode="r")` reads it too. Its name holds the manifest's digest, so that it can't be taken for another dataset's.
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
from ..builder.dataset.manifest import Manifest
from ..builder.errors import CheckFailedError, UsageError
from ..builder.progress import progress
from ..builder.storage import TEMPORARY, cache_folder, write_atomic
from . import order
from .batches import Batches, Read
from .index import Index, read_index
from .order import Ids
from .stream import ShardSource, threads
from .weights import sample_weights

BLOCK = 1024  # images decoded between two notes on how far the cache is


def cache_path(digest: str, size: int, folder: str | PathLike[str] | None = None) -> Path:
    """Return where the cache of a dataset lies.

    Parameters
    ----------
    digest : str
        Of the dataset's manifest.
    size : int
        Side of the images.
    folder : path, optional
        By default `$XDG_CACHE_HOME/cytoimagenet/decoded`, or `~/.cache/...`.
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
    """Decode a dataset once; go on where a killed run stopped.

    Parameters
    ----------
    data_dir : str or path
        A dataset folder with tar shards, local or a URL.
    size : int
        Side of the images: 224 takes 50 kB an image, 44.7 GB for the 890,737 published ones.
    folder : path, optional
        Where to; see `cache_path`.
    workers : int, optional
        Threads that decode.

    Returns
    -------
    Path
        The finished file. One that is there already is left as it is.

    Raises
    ------
    UsageError
        If the disk is too small for it.
    """
    manifest = Manifest.load(data_dir)
    path = cache_path(manifest.digest, size, folder)
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    # one process decodes, the others of a training on several GPUs wait for it
    lock = path.with_name(f"{TEMPORARY}{path.name}.lock")
    with FileLock(lock):
        if not path.exists():
            _decode(data_dir, manifest, path, size, workers)
    lock.unlink(missing_ok=True)
    return path


def _decode(data_dir: str | PathLike[str], manifest: Manifest, path: Path, size: int, workers: int | None) -> None:
    """Write the cache beside its name, noting how far it is, and put it in its place once it is whole."""
    parts = [read_index(data_dir, split) for split in schema.SPLITS if manifest.rows(split)]
    shape = (parts[0].total, size, size)
    unfinished = path.with_name(f"{TEMPORARY}{path.name}")
    note = unfinished.with_suffix(".json")
    done = _started(unfinished, note, shape)
    pixels = open_memmap(unfinished, mode="r+")
    with progress("decode", shape[0]) as bar:
        bar.advance(sum(done.values()))
        for index in parts:
            for at, block in _blocks(index, size, done.get(index.split, 0), workers):
                pixels[index.row[at : at + len(block)]] = block
                bar.advance(len(block))
                done[index.split] = at + len(block)
                if done[index.split] % (16 * BLOCK) == 0 or done[index.split] == len(index):
                    pixels.flush()
                    write_atomic(note, json.dumps(done).encode())
    del pixels
    with open(unfinished, "rb") as file:
        os.fsync(file.fileno())
    os.replace(unfinished, path)
    note.unlink(missing_ok=True)


def _started(file: Path, note: Path, shape: tuple[int, int, int]) -> dict[str, int]:
    """Return how many images of each split are decoded; claim the disk space if none are."""
    if file.exists() and note.exists():
        return json.loads(note.read_bytes())
    open_memmap(file, mode="w+", dtype=np.uint8, shape=shape).flush()
    with open(file, "r+b") as made:
        try:
            os.posix_fallocate(made.fileno(), 0, os.fstat(made.fileno()).st_size)
        except OSError as error:
            file.unlink()
            raise UsageError(
                f"The cache needs {np.prod(shape) / 1e9:.1f} GB: {error.strerror}",
                where=str(file.parent),
                next="Name a larger disk with --out, or a smaller --size",
            ) from error
    write_atomic(note, b"{}")
    return {}


def _blocks(index: Index, size: int, start: int, workers: int | None) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    shards = len(index.shards)
    # one number stands for all splits, and the smallest may have a single shard
    workers = threads(None if workers is None else min(workers, max(1, shards)), shards, 1)
    batches = Batches(ShardSource(index, size), batch_size=BLOCK, training=False, workers=workers)
    if start % BLOCK and start != len(index):
        raise CheckFailedError("The note on the unfinished cache is not ours", next="Remove it and start again")
    batches.skip(0, -(-start // BLOCK))
    at = start
    for batch in batches:
        block = batch["images"].numpy()[:, 0]
        if len(block):
            yield at, block
            at += len(block)


class CacheSource:
    """Reads the decoded cache.

    Parameters
    ----------
    index : Index
    path : path
        What `build_cache` returned.
    balance : bool
        Draw every class equally often, with replacement.

    Raises
    ------
    CheckFailedError
        If the file is not the cache of this dataset.
    """

    def __init__(self, index: Index, path: str | PathLike[str], *, balance: bool = False) -> None:
        self.index, self.path, self.balance = index, Path(path), balance
        again = f"Remove it and run: cytoimagenet cache {index.root}"
        if not self.path.name.startswith(index.digest[:16]):
            raise CheckFailedError("This is the decoded cache of another dataset", where=str(path), next=again)
        try:
            self.pixels = np.load(self.path, mmap_mode="r", allow_pickle=False)
        except ValueError as error:
            raise CheckFailedError(f"Not a decoded cache: {error}", where=str(path), next=again) from error
        if self.pixels.dtype != np.uint8 or self.pixels.ndim != 3 or len(self.pixels) != index.total:
            raise CheckFailedError(
                f"The decoded cache has the shape {self.pixels.shape}; {index.total:,} images were expected",
                where=str(path),
                next=again,
            )

    def order(self, seed: int, epoch: int) -> Ids:
        """Return an epoch's order: all images shuffled, or drawn by class."""
        if self.balance:
            return order.balanced(sample_weights(self.index), seed, epoch)
        return order.anywhere(len(self.index), seed, epoch)

    @contextmanager
    def open(self, ids: Ids) -> Iterator[Read]:
        """Make ready to read; any images will do."""
        yield lambda batch: self.pixels[self.index.row[batch]]

    def __getstate__(self) -> dict[str, Any]:
        # a memory map would be written out pixel by pixel: a spawned worker opens the file anew
        return {**self.__dict__, "pixels": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.pixels = np.load(self.path, mmap_mode="r", allow_pickle=False)
