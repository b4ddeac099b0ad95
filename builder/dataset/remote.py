"""Byte ranges of files: all bytes that were requested, or an error.

A remote storage may fail for a moment. Each range is therefore requested up to `TRIES` times, with growing pauses,
until all its bytes have arrived. Errors that a retry can't mend (no such file, no permission) are raised at once.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence

import fsspec
from fsspec.implementations.local import LocalFileSystem

from ..errors import CytoImageNetError
from ..storage import filesystem

MAX_BYTES_PER_REQUEST = 8 << 20  # a failed request costs little, and its answer comes soon
TRIES = 6
FIRST_PAUSE_SECONDS = 0.5  # doubled after each failure, with jitter so that many readers do not return together


class FetchError(CytoImageNetError):
    """Bytes of a file could not be read, even after several tries."""


def read_range(path: str, start: int, stop: int) -> bytes:
    """Read bytes [start, stop) of a file.

    Parameters
    ----------
    path : str
        A local path or a URL.
    start, stop : int
        First byte, and the byte after the last one.

    Raises
    ------
    FetchError
        If a part failed each time, or the file is too short.
    FileNotFoundError, PermissionError
        If the storage reports it; no second try is made.
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
    return _read_in_parts(fs, inner, start, stop, path)


def read_remote_ranges(
    fs: fsspec.AbstractFileSystem, paths: Sequence[str], starts: Sequence[int], stops: Sequence[int]
) -> list[bytes]:
    """Read many byte ranges of remote files together, then request each one that failed again.

    Parameters
    ----------
    fs : AbstractFileSystem
        The storage; one that can handles all requests at the same time.
    paths : sequence of str
        A file of that storage for each range; files may repeat.
    starts, stops : sequence of int
        First byte of each range, and the byte after its last one.

    Raises
    ------
    FetchError, FileNotFoundError, PermissionError
        As `read_range`.
    """
    answers = fs.cat_ranges(list(paths), list(starts), list(stops), on_error="return")
    return [
        data
        if isinstance(data, bytes) and len(data) == stop - start
        else _read_in_parts(fs, path, start, stop, str(fs.unstrip_protocol(path)))
        for data, path, start, stop in zip(answers, paths, starts, stops, strict=True)
    ]


def _read_in_parts(fs: fsspec.AbstractFileSystem, inner: str, start: int, stop: int, path: str) -> bytes:
    """Read a range in requests of at most `MAX_BYTES_PER_REQUEST`; `path` names the file in errors."""
    step = MAX_BYTES_PER_REQUEST
    parts = [_read_part(fs, inner, low, min(low + step, stop), path) for low in range(start, stop, step)]
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _read_part(fs: fsspec.AbstractFileSystem, inner: str, start: int, stop: int, path: str) -> bytes:
    for attempt in range(TRIES):
        try:
            data: bytes = fs.cat_file(inner, start=start, end=stop)
            if len(data) == stop - start:
                return data
            problem = f"{len(data):,} bytes came instead of {stop - start:,}"
        except (FileNotFoundError, PermissionError):
            raise
        except Exception as error:  # each storage has its own errors; the last one is reported
            problem = f"{type(error).__name__}: {error}"
        if attempt + 1 < TRIES:
            _pause(FIRST_PAUSE_SECONDS * 2**attempt * random.uniform(0.5, 1))
    raise FetchError(
        f"Bytes {start:,} to {stop:,} could not be read in {TRIES} tries; the last one: {problem}",
        where=path,
        next="Run the same command again when the storage answers; finished work is kept",
    )


def _pause(seconds: float) -> None:
    time.sleep(seconds)
