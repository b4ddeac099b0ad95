"""Single images by where their bytes lie: no archive is unpacked, no shard read through."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from os import PathLike
from typing import IO

import numpy as np

from ..errors import CheckFailedError
from ..storage import filesystem, is_local, join

Fetch = Callable[[list[str], list[int], list[int]], list[bytes]]
"""Files below a folder, offsets, sizes -> bytes."""


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
