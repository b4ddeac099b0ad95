"""Byte ranges of files, local or remote, in full or not at all.

A network fails in passing: each range is asked for again, with growing pauses, until it is whole. What a server says
for good (no such file, not allowed) is said on at once.
"""

from __future__ import annotations

import random
import time

import fsspec
from fsspec.implementations.local import LocalFileSystem

from ..errors import CytoImageNetError
from ..storage import filesystem

RANGE = 8 << 20  # bytes asked for at once: a failure costs little, and a server's pause is seldom noticed
TRIES = 6
FIRST_PAUSE = 0.5  # seconds; doubled after each failure, with jitter so that many readers do not return together


class FetchError(CytoImageNetError):
    """Bytes of a remote file could not be had, though asked for several times."""


def read_range(path: str, start: int, stop: int) -> bytes:
    """Read bytes [start, stop) of a file.

    Parameters
    ----------
    path : str
        A local path or a URL.
    start, stop : int

    Raises
    ------
    FetchError
        If a part failed each time, or the file is too short.
    FileNotFoundError, PermissionError
        As the storage says.
    """
    fs, inner = filesystem(path)
    if isinstance(fs, LocalFileSystem):
        with open(inner, "rb", buffering=0) as file:
            file.seek(start)
            data = file.read(stop - start)
        if len(data) != stop - start:
            raise FetchError(
                f"The file ends at byte {start + len(data):,}; byte {stop:,} was expected",
                where=path,
                next="Run `cytoimagenet verify` on the dataset folder",
            )
        return data
    parts = [_part(fs, inner, low, min(low + RANGE, stop), path) for low in range(start, stop, RANGE)]
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _part(fs: fsspec.AbstractFileSystem, inner: str, start: int, stop: int, path: str) -> bytes:
    for attempt in range(TRIES):
        try:
            data = fs.cat_file(inner, start=start, end=stop)
            if len(data) == stop - start:
                return data
            problem = f"{len(data):,} bytes came instead of {stop - start:,}"
        except (FileNotFoundError, PermissionError):
            raise
        except Exception as error:  # each storage has errors of its own; the last one is told
            problem = f"{type(error).__name__}: {error}"
        if attempt + 1 < TRIES:
            _pause(FIRST_PAUSE * 2**attempt * random.uniform(0.5, 1))
    raise FetchError(
        f"Bytes {start:,} to {stop:,} could not be read in {TRIES} tries; the last one: {problem}",
        where=path,
        next="Run the same command again once the storage answers; it goes on where it stopped",
    )


def _pause(seconds: float) -> None:
    time.sleep(seconds)
