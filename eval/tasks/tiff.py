"""One-page TIFF files of the evaluation sets, on disk or inside a zip: checked by their header, then decoded."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterable
from functools import lru_cache
from io import BufferedReader, BytesIO
from typing import TYPE_CHECKING

from ...builder.errors import TooLargeError, UnreadableImageError
from ...builder.progress import track

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

INSIDE = "::"  # between the path of a zip and the name of its member
MAX_PIXELS = 64_000_000  # far above the 1024 x 1280 of BBBC021; nothing larger is decompressed
MAX_BYTES = 8 * MAX_PIXELS


def read_plane(locator: str) -> NDArray[np.generic]:
    """Decode a one-page grey TIFF.

    Parameters
    ----------
    locator : str
        A path, or `zip::member`.

    Returns
    -------
    array, shape (height, width), type of the file

    Raises
    ------
    UnreadableImageError
        If it is absent, cut off, no TIFF, or not one grey plane; `TooLargeError` before anything large is decompressed.
    """
    import tifffile

    try:
        with open_locator(locator) as file, tifffile.TiffFile(file) as tiff:
            _check(tiff, locator)
            return tiff.pages.first.asarray()
    except UnreadableImageError:
        raise
    except Exception as error:  # the decoders of damaged files raise errors of every kind
        raise UnreadableImageError(locator, f"{type(error).__name__}: {error}") from error


def shape_of(locator: str) -> tuple[int, int]:
    """Return height and width from the header alone, after checking that all of the pixels' bytes are there."""
    import tifffile

    try:
        with open_locator(locator) as file, tifffile.TiffFile(file) as tiff:
            return _check(tiff, locator)
    except UnreadableImageError:
        raise
    except Exception as error:
        raise UnreadableImageError(locator, f"{type(error).__name__}: {error}") from error


def common_shape(locators: Iterable[str], title: str) -> tuple[int, int]:
    """Check every file by its header and return the one shape they all have.

    Raises
    ------
    UnreadableImageError
        At the first file that is damaged or of another shape than the first.
    """
    shape: tuple[int, int] | None = None
    for locator in track(list(locators), title, unit="files"):
        found = shape_of(locator)
        if shape is not None and found != shape:
            raise UnreadableImageError(
                locator, f"it is {found[0]} x {found[1]} pixels, the others {shape[0]} x {shape[1]}"
            )
        shape = found
    assert shape is not None, "no files to check"
    return shape


def zip_members(path: str) -> list[zipfile.ZipInfo]:
    """List the files inside a zip.

    Raises
    ------
    UnreadableImageError
        If the zip is cut off or none.
    """
    try:
        return [member for member in _archive(path, *_state(path)).infolist() if not member.is_dir()]
    except (zipfile.BadZipFile, OSError) as error:
        raise UnreadableImageError(path, f"not a whole zip file ({error}); download it again") from error


def _check(tiff, locator: str) -> tuple[int, int]:
    page = tiff.pages.first
    if page.ndim != 2:
        raise UnreadableImageError(locator, f"one grey plane expected, found axes {page.axes} of shape {page.shape}")
    if page.size > MAX_PIXELS:
        raise TooLargeError(locator, f"{page.size:,} pixels are more than the {MAX_PIXELS:,} that are decoded")
    end = max((o + n for o, n in zip(page.dataoffsets, page.databytecounts, strict=True)), default=0)
    if end == 0 or end > tiff.filehandle.size:
        raise UnreadableImageError(locator, f"cut off: {tiff.filehandle.size:,} of at least {end:,} bytes are there")
    return page.shape


def open_locator(locator: str) -> BufferedReader | BytesIO:
    """Open a file, or a member of a zip, for reading."""
    path, _, member = locator.partition(INSIDE)
    if not member:
        return open(path, "rb")
    archive = _archive(path, *_state(path))
    size = archive.getinfo(member).file_size
    if size > MAX_BYTES:
        raise TooLargeError(locator, f"{size:,} bytes are more than an image of this set can have")
    return BytesIO(archive.read(member))


@lru_cache(maxsize=64)
def _archive(path: str, process: int, inode: int, changed: int) -> zipfile.ZipFile:
    # one handle a process (a forked worker must not share the parent's place in the file) and a state of the file
    return zipfile.ZipFile(path)


def _state(path: str) -> tuple[int, int, int]:
    about = os.stat(path)
    return os.getpid(), about.st_ino, about.st_mtime_ns
