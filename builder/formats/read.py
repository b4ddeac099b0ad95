"""Image files to arrays at native depth, within a pixel bound read from the header.

A file is known by its first bytes, never by its name: JPEG files called `.png` are common, and a Cellomics `.DIB` looks
like a bitmap to most libraries, which read it wrongly without an error. Nothing is decompressed before the size its
header states has been compared with the bound, and every failure is an `UnreadableImageError` that says why.

Pixels come as they are stored: the orientation tags of photographs are ignored, as microscopy software does.
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

from ..errors import MissingImageError, UnreadableImageError
from ..storage import filesystem
from . import deltavision, dib, tiff
from . import png_jpeg_bmp as raster
from .limits import MAX_PIXELS, Limits

_HEAD = 128  # bytes that tell every format apart

Reader = Callable[[IO[bytes], int | None, Limits], NDArray[Any]]


def read_channel(path: str | PathLike[str], *, page: int | None = None, max_pixels: int = MAX_PIXELS) -> NDArray[Any]:
    """Read one plane of an image file.

    Parameters
    ----------
    path : str or path
        Local, or a URL `storage.filesystem` opens. TIFF of all kinds (also `.flex`, `.stk`, OME), PNG, JPEG, BMP,
        Cellomics `.DIB`, DeltaVision `.dv`; told apart by content.
    page : int, optional
        Which plane of a stack, from 0, in the order of the file. A stack without it is an error that names its axes:
        which plane is right is known to the source's rule, never to the reader.
    max_pixels : int
        The most pixels a plane may have.

    Returns
    -------
    array, shape (height, width)
        In the file's own type and range: 12 bits in 16 stay 0 to 4095, 4 bits are 0 to 15, 1 bit is 0 or 1 (uint8).
        Colour becomes the float32 mean of red, green and blue, unrounded; alpha is dropped. A palette of greys gives
        its greys as uint8, a coloured one the mean of its colours. White-is-zero is inverted, so that more is brighter.

    Raises
    ------
    MissingImageError
        If there is no such file.
    TooLargeError
        If the plane has more than `max_pixels`; nothing was decompressed.
    UnreadableImageError
        For every other reason: not an image, corrupt, truncated, a stack, print colours, no such page.
    """
    where = os.fspath(path)
    with _opened(where) as file:
        return read_file(file, where, page=page, max_pixels=max_pixels)


def read_file(file: IO[bytes], where: str, *, page: int | None = None, max_pixels: int = MAX_PIXELS) -> NDArray[Any]:
    """Read one plane of an open file, which can be sought in; `where` names it in errors. Else as `read_channel`."""
    limits = Limits(where, max_pixels)
    head = file.read(_HEAD)
    file.seek(0)
    reader = _reader(head, where)
    try:
        plane = reader(file, page, limits)
    except UnreadableImageError:
        raise
    except MemoryError as error:
        raise UnreadableImageError(where, "not enough memory to decode it") from error
    except Exception as error:
        # a decoder that meets a hostile file may raise anything; whatever it is costs one row, not the run
        said = re.sub(
            r" ?<_io\.[^>]*>", "", f"{type(error).__name__}: {error}"
        )  # Pillow names the file's place in memory
        said = " ".join(said.split())[:200]
        raise UnreadableImageError(where, said) from error
    if plane.ndim != 2 or plane.dtype.kind not in "uif":
        raise UnreadableImageError(where, f"not a plane of numbers: {plane.dtype} of shape {plane.shape}")
    return np.require(plane, plane.dtype.newbyteorder("="), ["C", "W"])


@contextmanager
def _opened(where: str) -> Iterator[IO[bytes]]:
    fs, inner = filesystem(where)
    try:
        if isinstance(fs, LocalFileSystem):
            mode = os.stat(inner).st_mode
            if not stat.S_ISREG(mode):  # opening a pipe or a device would wait for ever
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
    """Choose by content."""
    if head[:4] in tiff.SIGNATURES:
        return tiff.read
    if head[:8] == b"\x89PNG\r\n\x1a\n":
        return raster.read_png
    if head[:3] == b"\xff\xd8\xff":
        return raster.read_jpeg
    if head[:2] == b"BM":
        return raster.read_bmp
    if dib.is_dib(head):
        return dib.read
    if deltavision.is_deltavision(head):
        return deltavision.read
    raise UnreadableImageError(where, f"not an image format this project reads ({_guess(head)})")


def _guess(head: bytes) -> str:
    """Name what the file may be, for the reason."""
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
