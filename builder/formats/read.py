"""Read one plane of an image file as an array in its own bit depth, within a limit on its pixels.

The format is recognised by the first bytes of the file, never by its name: JPEG files named `.png` are common, and most
libraries read a Cellomics `.DIB` as a bitmap, wrongly and without an error. Nothing is decompressed before the size in
the header has been compared with the limit. Every failure is an `UnreadableImageError` with a reason.

Pixels are returned as stored: the orientation tags of photographs are ignored, as in other microscopy software.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from os import PathLike
from typing import IO, Any

import numpy as np
from fsspec.implementations.local import LocalFileSystem
from numpy.typing import NDArray

from ..errors import MissingImageError, NotEnoughMemoryError, UnreadableImageError
from ..storage import filesystem
from . import deltavision, dib, png_jpeg_bmp, tiff
from .grey_png import SIGNATURE as PNG_SIGNATURE
from .limits import MAX_PIXELS, TIFF_SIGNATURES, Limits

_HEAD_BYTES = 128  # enough to recognise every format
_MAX_REASON_LENGTH = 200  # characters

Reader = Callable[[IO[bytes], int | None, Limits], NDArray[Any]]


def read_channel(path: str | PathLike[str], *, page: int | None = None, max_pixels: int = MAX_PIXELS) -> NDArray[Any]:
    """Read one plane of an image file.

    Parameters
    ----------
    path : str or path
        Local, or a URL that `storage.filesystem` opens. TIFF of all kinds (also `.flex`, `.stk`, OME), PNG, JPEG, BMP,
        Cellomics `.DIB` or DeltaVision `.dv`, recognised by content.
    page : int, optional
        Plane of a stack, from 0, in the order of the file. A stack without it is an error that names its axes: the
        record of the source must name the plane, the reader does not guess it.
    max_pixels : int
        Limit on the pixels of a plane.

    Returns
    -------
    array, shape (height, width)
        In the file's type and range: 12 bits in 16 stay 0 to 4095, 4 bits are 0 to 15, 1 bit is 0 or 1 (uint8).
        Colours become the float32 mean of red, green and blue, not rounded; alpha is ignored. A palette of greys gives
        its greys as uint8, a coloured palette the mean of its colours. Images where white is zero are inverted, so
        that larger values are brighter.

    Raises
    ------
    MissingImageError
        If there is no such file.
    TooLargeError
        If the plane has more than `max_pixels`; nothing was decompressed.
    NotEnoughMemoryError
        If the memory does not suffice to decode it.
    UnreadableImageError
        For every other reason: not an image, corrupt, truncated, a stack, print colours, no such page.

    Examples
    --------
    >>> read_channel("r01c01f01p01-ch1sk1fk1fl1.tiff").shape  # doctest: +SKIP
    (1080, 1080)
    """
    where = os.fspath(path)
    with _opened(where) as file:
        return read_file(file, where, page=page, max_pixels=max_pixels)


def read_file(file: IO[bytes], where: str, *, page: int | None = None, max_pixels: int = MAX_PIXELS) -> NDArray[Any]:
    """Read one plane of an open, seekable file as `read_channel` does; `where` names the file in errors."""
    limits = Limits(where, max_pixels)
    head = file.read(_HEAD_BYTES)
    file.seek(0)
    reader = _reader(head, where)
    try:
        plane = reader(file, page, limits)
    except UnreadableImageError:
        raise
    except MemoryError as error:
        raise NotEnoughMemoryError(where, "not enough memory to decode it") from error
    except Exception as error:
        # a decoder may raise any error for a hostile file; it must cost one row, not the run
        reason = f"{type(error).__name__}: {error}"
        reason = re.sub(r" ?<_io\.[^>]*>", "", reason)  # Pillow names the file object with its address in memory
        raise UnreadableImageError(where, " ".join(reason.split())[:_MAX_REASON_LENGTH]) from error
    if plane.ndim != 2 or plane.dtype.kind not in "uif":
        raise UnreadableImageError(where, f"not a plane of numbers: {plane.dtype} of shape {plane.shape}")
    return np.require(plane, plane.dtype.newbyteorder("="), ["C", "W"])


@contextmanager
def _opened(where: str) -> Iterator[IO[bytes]]:
    fs, inner = filesystem(where)
    try:
        if isinstance(fs, LocalFileSystem):
            mode = os.stat(inner).st_mode
            if not stat.S_ISREG(mode):  # opening a pipe or a device could wait without end
                raise UnreadableImageError(where, "a folder" if stat.S_ISDIR(mode) else "not a regular file")
            file = open(inner, "rb")  # noqa: SIM115 - closed below
        else:
            file = fs.open(inner, "rb")
    except FileNotFoundError as error:
        raise MissingImageError(where, "no such file") from error
    except OSError as error:
        raise UnreadableImageError(where, error.strerror or str(error)) from error
    with file:
        yield file


def _reader(head: bytes, where: str) -> Reader:
    """Return the reader of a format, recognised by the first bytes of the file."""
    if head[:4] in TIFF_SIGNATURES:
        return tiff.read
    if head[:8] == PNG_SIGNATURE:
        return png_jpeg_bmp.read_png
    if head[:3] == b"\xff\xd8\xff":
        return png_jpeg_bmp.read_jpeg
    if head[:2] == b"BM":
        return png_jpeg_bmp.read_bmp
    if dib.is_dib(head):
        return dib.read
    if deltavision.is_deltavision(head):
        return deltavision.read
    raise UnreadableImageError(where, f"not an image format this project reads ({_guess(head)})")


def _guess(head: bytes) -> str:
    """Return the likely format of a file that is not read, for the reason."""
    if not head:
        return "the file is empty"
    known = {
        b"GIF8": "GIF",
        b"PK\x03\x04": "a zip archive",
        b"\x1f\x8b": "gzip",
        b"\xda\xce\xbe\x0a": "Nikon ND2",
        b"ZISRAWFILE": "Zeiss CZI",
        b"p\x00\x00\x00": "Leica LIF",
        b"\x89HDF": "HDF5",
        b"RIFF": "RIFF (WebP or AVI)",
        b"<": "XML or HTML",
        b"%PDF": "PDF",
        b"\x10\x00\x00\x00": "Cellomics C01",
    }
    unknown = f"it starts with {head[:8].hex(' ')}"
    return next((name for start, name in known.items() if head.startswith(start)), unknown)
