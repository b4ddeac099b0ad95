"""How files of a folder are read: byte ranges of many files, or one file from beginning to end."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from numbers import Integral
from os import PathLike
from typing import IO

import numpy as np

from ..errors import CheckFailedError
from ..storage import filesystem, is_local, join
from .remote import read_remote_ranges

MAX_IMAGE_BYTES = 2**28  # of one PNG; far larger than any crop
MAX_OFFSET = 2**62

Fetch = Callable[[list[str], list[int], list[int]], list[bytes]]
"""Files below a folder, offsets in bytes, sizes in bytes -> the bytes of each range."""


def in_order(path: str) -> AbstractContextManager[IO[bytes]]:
    """Open a file, local or remote, for reading from its beginning to its end."""
    fs, inner = filesystem(path)
    # one request for the complete file, which any web server can answer, instead of one for each block
    streamed = {"block_size": 0} if {"http", "https", "hf"} & set(np.atleast_1d(fs.protocol)) else {}
    opened: AbstractContextManager[IO[bytes]] = fs.open(inner, "rb", **streamed)
    return opened


def reader_of(folder: str | PathLike[str]) -> Fetch:
    """Return a function that reads byte ranges of the files of a folder, local or remote.

    A remote range that fails is requested again (see `remote`). A local range that reaches beyond the end of its file
    gives the bytes there are: the caller compares them with the row.
    """
    fs, inner = filesystem(folder)
    local = is_local(folder)

    def fetch(stores: list[str], offsets: list[int], sizes: list[int]) -> list[bytes]:
        for store in set(stores):
            _check_store(store, folder)
        for store, offset, size in zip(stores, offsets, sizes, strict=True):
            _check_range(store, offset, size, folder)
        paths = [join(inner, store) for store in stores]
        if not local:
            stops = [offset + size for offset, size in zip(offsets, sizes, strict=True)]
            return read_remote_ranges(fs, paths, offsets, stops)
        with ExitStack() as opened:
            try:
                files = {path: opened.enter_context(open(path, "rb", buffering=0)).fileno() for path in set(paths)}
            except IsADirectoryError as error:
                raise CheckFailedError("A row points to a folder", where=error.filename) from error
            ranges = [(files[path], offset, size) for path, offset, size in zip(paths, offsets, sizes, strict=True)]
            for handle, offset, size in ranges:
                announce(handle, offset, size)
            return [os.pread(handle, size, offset) for handle, offset, size in ranges]

    return fetch


def _check_store(store: object, folder: str | PathLike[str]) -> None:
    if not isinstance(store, str) or not store or "\0" in store:
        raise CheckFailedError(f"A row names no file: {store!r}", where=str(folder))
    if store.startswith(("/", "\\")) or ".." in store.split("/") or "://" in store:
        raise CheckFailedError(f"A row points outside its folder: {store!r}", where=str(folder))


def _check_range(store: str, offset: object, size: object, folder: str | PathLike[str]) -> None:
    """Raise an error unless these can be the place and the size of an image in some file."""
    if not isinstance(offset, Integral) or not isinstance(size, Integral):  # NaN, for a value that is absent
        raise CheckFailedError(f"A row has no place in {store}: offset {offset}, size {size}", where=str(folder))
    if not (0 <= int(offset) < MAX_OFFSET and 0 < int(size) <= MAX_IMAGE_BYTES):
        raise CheckFailedError(
            f"No image has {size:,} bytes from {offset:,} of {store}",
            where=str(folder),
            next=f"Run: cytoimagenet verify {folder}",
        )


def announce(handle: int, offset: int, size: int) -> None:
    """Let the operating system read part of an open file in advance: disks are faster with many requests in flight."""
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(handle, offset, size, os.POSIX_FADV_WILLNEED)
