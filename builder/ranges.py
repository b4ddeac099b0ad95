"""Single images by where their bytes lie: no archive is unpacked, no shard read through."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from os import PathLike
from typing import IO

import numpy as np
import pandas as pd
from PIL import Image

from .errors import CheckFailedError, UsageError
from .storage import filesystem, is_local, join

Fetch = Callable[[list[str], list[int], list[int]], list[bytes]]
"""Files below a folder, offsets, sizes -> bytes."""
AT_ONCE = 256  # images fetched in one go


def read_images(rows: pd.DataFrame, data_dir: str | PathLike[str] | None = None) -> list[Image.Image]:
    """Read the images of some rows of `metadata.parquet`, and no other bytes.

    Parameters
    ----------
    rows : DataFrame
        Any rows of `metadata.parquet`, in any order; needs the columns shard, offset, size.
    data_dir : str or path, optional
        The dataset folder, local or a URL. Without it, the one `load_dataset` would take.

    Returns
    -------
    list of PIL.Image.Image
        8-bit greyscale, in the order of the rows.

    Raises
    ------
    UsageError
        If a column is absent.
    CheckFailedError
        If there is no PNG at the place a row names: the rows are of another dataset, or a shard is damaged.

    Examples
    --------
    >>> rows = pd.read_parquet("cytoimagenet/metadata.parquet")          # doctest: +SKIP
    >>> read_images(rows[rows.label == "actin"].head(9), "cytoimagenet")  # doctest: +SKIP
    """
    from .locate import find

    absent = {"shard", "offset", "size"} - set(rows.columns)
    if absent:
        raise UsageError(
            f"These rows have no column {', '.join(sorted(absent))}", next="Take rows of metadata.parquet as they are"
        )
    root = find(data_dir)
    fetch = reader_of(root)
    shards, offsets, sizes = (rows[name].tolist() for name in ("shard", "offset", "size"))
    order = sorted(range(len(rows)), key=lambda i: (shards[i], offsets[i]))
    images: dict[int, Image.Image] = {}
    for start in range(0, len(order), AT_ONCE):
        some = order[start : start + AT_ONCE]
        contents = fetch([shards[i] for i in some], [offsets[i] for i in some], [sizes[i] for i in some])
        for i, content in zip(some, contents, strict=True):
            images[i] = decode(content, f"{shards[i]}, {sizes[i]} bytes from {offsets[i]}")
    return [images[i] for i in range(len(rows))]


def decode(png: bytes, where: str) -> Image.Image:
    """Return a PNG as a PIL image, its pixels read; nothing but PNG is accepted."""
    try:
        image = Image.open(io.BytesIO(png), formats=["PNG"])
        image.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise CheckFailedError(
            f"No readable PNG at the place the row names: {error}",
            where=where,
            next="Do the rows come from this dataset? `cytoimagenet verify DIR` tells if a shard is damaged",
        ) from error
    return image


def in_order(path: str) -> AbstractContextManager[IO[bytes]]:
    """Open a file, local or remote, to be read from its beginning to its end."""
    fs, inner = filesystem(path)
    # one request for all, which any web server can answer, instead of one for each block
    streamed = {"block_size": 0} if {"http", "https", "hf"} & set(np.atleast_1d(fs.protocol)) else {}
    return fs.open(inner, "rb", **streamed)


def reader_of(folder: str | PathLike[str]) -> Fetch:
    """Return how to read byte ranges of the files of a folder, local or remote."""
    fs, inner = filesystem(folder)
    local = is_local(folder)

    def fetch(stores: list[str], offsets: list[int], sizes: list[int]) -> list[bytes]:
        for store in stores:
            if store.startswith(("/", "\\")) or ".." in store.split("/") or "://" in store:
                raise CheckFailedError(f"A row points outside its folder: {store!r}", where=str(folder))
        paths = [join(inner, store) for store in stores]
        if not local:
            ends = [offset + size for offset, size in zip(offsets, sizes, strict=True)]
            return list(fs.cat_ranges(paths, list(offsets), ends, on_error="raise"))
        with ExitStack() as opened:
            files = {path: opened.enter_context(open(path, "rb", buffering=0)).fileno() for path in set(paths)}
            ranges = [(files[path], offset, size) for path, offset, size in zip(paths, offsets, sizes, strict=True)]
            for handle, offset, size in ranges:
                announce(handle, offset, size)
            return [os.pread(handle, size, offset) for handle, offset, size in ranges]

    return fetch


def announce(handle: int, offset: int, size: int) -> None:
    """Let the system fetch a part of an open file while others are being worked on: a disk likes many requests."""
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(handle, offset, size, os.POSIX_FADV_WILLNEED)
