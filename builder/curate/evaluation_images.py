"""The images of the evaluation sets, so that none of them gets into the dataset.

An evaluation image is known by the pixels of its channels after the very procedure that curation applies: stretched and
brought to 8 bits. So it is found whatever file format, bit depth or brightness it was kept in, and whether it would
have been merged with other channels or cropped.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator
from os import PathLike
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import ConstantImageError, NotFiniteImageError, UnreadableImageError, UsageError
from ..formats.read import read_channel, read_file
from ..formats.zips import open_member
from ..images.digest import pixel_digest
from ..images.normalise import normalise, to_grey8
from ..progress import progress
from ..storage import exists, filesystem, join

IMAGES = (".tif", ".tiff", ".png", ".bmp", ".jpg", ".jpeg", ".dib", ".flex", ".dv")
TABLES = (".hdf5", ".h5")
ZIPS = (".zip",)
CELL = (64, 64)  # of COOS-7 and of the DeepLoc files, which hold two channels of each cell


class EvaluationImages(NamedTuple):
    """What the evaluation sets look like.

    Parameters
    ----------
    files : dict
        Digest of a channel to a file that holds it.
    shapes : tuple of (height, width)
        That these channels have.
    skipped : dict
        File to the reason why it could not be compared.
    """

    files: dict[str, str]
    shapes: tuple[tuple[int, int], ...]
    skipped: dict[str, str]


NONE = EvaluationImages({}, (), {})


def read_evaluation(folder: str | PathLike[str]) -> EvaluationImages:
    """Digest every channel of every evaluation image below a folder.

    Parameters
    ----------
    folder : str or path
        Local or URL. Image files of every format that is read, each one channel; zips of them, as BBBC021 is published,
        which are read and not unpacked; COOS-7's and DeepLoc's HDF5 files.

    Raises
    ------
    UsageError
        If there is no such folder, or no image in it.
    """
    if not exists(folder):
        raise UsageError("No such folder of evaluation sets", where=str(folder))
    fs, inner = filesystem(folder)
    names = sorted(os.path.relpath(name, inner) for name in fs.find(inner))
    names = [name for name in names if name.lower().endswith(IMAGES + TABLES + ZIPS)]
    files: dict[str, str] = {}
    shapes: set[tuple[int, int]] = set()
    skipped: dict[str, str] = {}
    with progress("Reading evaluation images", len(names), "files") as bar:
        for name in names:
            before = len(skipped)
            for inside, planes in _images(join(folder, name), name):
                try:
                    for plane in planes:
                        try:
                            files.setdefault(pixel_digest(to_grey8(normalise(plane))), inside)
                            shapes.add(plane.shape)
                        except (ConstantImageError, NotFiniteImageError) as error:
                            skipped[inside] = error.what
                except UnreadableImageError as error:
                    skipped[inside] = error.reason
            bar.advance(failed=len(skipped) > before)
    if not files:
        raise UsageError(
            "No image of an evaluation set lies here",
            where=str(folder),
            next="Give the folder that holds BBBC021, COOS-7 or CYCLoPs images, or leave --evaldata out.",
        )
    return EvaluationImages(files, tuple(sorted(shapes)), skipped)


def _images(path: str, name: str) -> Iterator[tuple[str, Iterator[NDArray[Any]]]]:
    """Yield every image of a file, by the name it is told under, with its channels."""
    if path.lower().endswith(ZIPS):
        yield from _zipped(path, name)
    elif path.lower().endswith(TABLES):
        yield name, _cells(path)
    else:
        yield name, _channel(path)


def _channel(path: str) -> Iterator[NDArray[Any]]:
    yield read_channel(path)


def _zipped(path: str, name: str) -> Iterator[tuple[str, Iterator[NDArray[Any]]]]:
    """Yield the images in a zip, one in memory at a time."""
    fs, inner = filesystem(path)
    try:
        with fs.open(inner, "rb") as file, zipfile.ZipFile(file) as archive:
            for member in archive.infolist():
                hidden = member.filename.startswith("__MACOSX/") or member.filename.rsplit("/", 1)[-1].startswith(".")
                if member.filename.lower().endswith(IMAGES + TABLES + ZIPS) and not hidden:
                    yield f"{name}/{member.filename}", _member(archive, member, path)
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        yield name, _refused(path, f"not a readable zip: {error}")


def _member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, path: str) -> Iterator[NDArray[Any]]:
    where = f"{path}/{member.filename}"
    if not member.filename.lower().endswith(IMAGES):
        raise UnreadableImageError(where, "inside a zip; unpack the outer zip to have it compared")
    yield read_file(open_member(archive, member, where), where)


def _refused(path: str, reason: str) -> Iterator[NDArray[Any]]:
    raise UnreadableImageError(path, reason)
    yield  # as the others, it fails once it is asked for its first channel


def _cells(path: str) -> Iterator[NDArray[Any]]:
    """Yield every channel of every cell of an HDF5 file: `(n, 2, 64, 64)`, or `(n, 8192)` as DeepLoc keeps them."""
    try:
        import h5py
    except ImportError as error:
        raise UsageError("Reading HDF5 needs h5py", where=path, next="pip install h5py") from error
    fs, inner = filesystem(path)
    found = False
    try:
        with fs.open(inner, "rb") as file, h5py.File(file, "r") as table:
            for data in table.values():
                size = int(np.prod(getattr(data, "shape", ())[1:]))
                if getattr(data, "ndim", 0) not in (2, 3, 4) or size == 0 or size % (CELL[0] * CELL[1]):
                    continue
                found = True
                for start in range(0, len(data), 256):
                    yield from data[start : start + 256].reshape(-1, *CELL)
    except OSError as error:
        raise UnreadableImageError(path, f"not a readable HDF5 file: {error}") from error
    if not found:
        raise UnreadableImageError(path, "no data of 64x64 cells in it")
