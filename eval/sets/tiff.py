"""TIFF files of one grey plane, on disk or inside a zip."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING

from ...builder.errors import UnreadableImageError
from ...builder.formats.limits import Limits
from ...builder.formats.read import read_channel, read_file
from ...builder.formats.tiff import opened
from ...builder.formats.zips import open_member, open_zip

if TYPE_CHECKING:
    import zipfile

    import numpy as np
    from numpy.typing import NDArray
    from tifffile import TiffFile

INSIDE = "::"  # between the path of a zip and the name of its member


def read_plane(locator: str) -> NDArray[np.generic]:
    """Decode a TIFF of one grey plane.

    Parameters
    ----------
    locator : str
        A path, or `zip::member`.

    Returns
    -------
    array, shape (height, width)
        In the data type of the file.

    Raises
    ------
    UnreadableImageError
        If the file is missing, cut off, or not one grey plane; `TooLargeError` before anything large is decompressed.
    """
    plane = read_file(open_locator(locator), locator) if INSIDE in locator else read_channel(locator)
    if plane.dtype.kind == "f":  # the reader also returns the mean of a colour image as floats
        shape_of(locator)
    return plane


def shape_of(locator: str) -> tuple[int, int]:
    """Return height and width from the header, after checking that the file contains all bytes of the pixels."""
    try:
        with open_locator(locator) as file, opened(file, Limits(locator)) as tiff:
            return _check(tiff, locator)
    except UnreadableImageError:
        raise
    except Exception as error:  # tifffile raises errors of every kind for damaged files
        raise UnreadableImageError(locator, f"{type(error).__name__}: {error}") from error


def zip_members(path: str) -> list[zipfile.ZipInfo]:
    """List the files inside a zip.

    Raises
    ------
    UnreadableImageError
        If the file is cut off or not a zip.
    """
    return [member for member in open_zip(path).infolist() if not member.is_dir()]


def open_locator(locator: str) -> IO[bytes]:
    """Open a file, or a member of a zip, for reading."""
    path, _, member = locator.partition(INSIDE)
    return open_member(open_zip(path), member, locator) if member else open(path, "rb")


def _check(tiff: TiffFile, locator: str) -> tuple[int, int]:
    page = tiff.pages.first
    if page.ndim != 2:
        raise UnreadableImageError(locator, f"one grey plane expected, found axes {page.axes} of shape {page.shape}")
    height, width = page.shape
    Limits(locator).check(width, height)
    end = max((o + n for o, n in zip(page.dataoffsets, page.databytecounts, strict=True)), default=0)
    size = tiff.filehandle.size
    if end == 0 or end > size:
        raise UnreadableImageError(locator, f"cut off: {size:,} of at least {end:,} bytes are there")
    return height, width
