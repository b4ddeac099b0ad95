"""Digests of the images of the evaluation sets, so that none of them gets into the dataset.

An evaluation image is recognised by the pixels of its channels, normalised and converted to 8 bits as in the curation.
So it is found whatever its file format, bit depth or brightness, and also if it would have been merged with other
channels or cropped.
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
from ..extras import naming_the_extra
from ..formats.hdf5 import own_dataset
from ..formats.limits import Limits
from ..formats.read import read_channel, read_file
from ..formats.zips import open_member
from ..images.digest import pixel_digest
from ..images.normalise import normalise, to_grey8
from ..progress import progress
from ..storage import exists, filesystem, join

IMAGES = (".tif", ".tiff", ".png", ".bmp", ".jpg", ".jpeg", ".dib", ".flex", ".dv")
TABLES = (".hdf5", ".h5")
ZIPS = (".zip",)
CELL_SHAPE = (64, 64)  # pixels, in COOS-7 and in the DeepLoc files, which contain two channels of each cell
CELLS_AT_ONCE = 256


class EvaluationImages(NamedTuple):
    """The channels of all evaluation images.

    Parameters
    ----------
    files : dict
        Digest of each channel to a file that contains it.
    shapes : tuple of (height, width)
        The shapes of these channels in pixels.
    skipped : dict
        File to the reason why it could not be compared.
    """

    files: dict[str, str]
    shapes: tuple[tuple[int, int], ...]
    skipped: dict[str, str]


NO_EVALUATION_IMAGES = EvaluationImages({}, (), {})


def read_evaluation(folder: str | PathLike[str]) -> EvaluationImages:
    """Digest every channel of every evaluation image below a folder.

    Parameters
    ----------
    folder : str or path
        Local or a URL. It may contain image files of every supported format, each one channel; zips of them, as
        BBBC021 is published, which are read in place; and the HDF5 files of COOS-7 and DeepLoc.

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
            "This folder contains no image of an evaluation set",
            where=str(folder),
            next="Name the folder of the BBBC021, COOS-7 or CYCLoPs images, or leave out --evaldata.",
        )
    return EvaluationImages(files, tuple(sorted(shapes)), skipped)


def _images(path: str, name: str) -> Iterator[tuple[str, Iterator[NDArray[Any]]]]:
    """Yield every image of a file: the name to report it by, and its channels."""
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
    yield  # makes this a generator: like the others, it fails when its first channel is requested


def _cells(path: str) -> Iterator[NDArray[Any]]:
    """Yield every channel of every cell of an HDF5 file: shape (n, 2, 64, 64), or (n, 8192) in DeepLoc's."""
    with naming_the_extra():
        import h5py
    fs, inner = filesystem(path)
    found = False
    try:
        with fs.open(inner, "rb") as file, h5py.File(file, "r") as table:
            for key in table:
                data = own_dataset(table, key, Limits(path))
                size = int(np.prod(getattr(data, "shape", ())[1:]))
                if (
                    data is None
                    or getattr(data, "ndim", 0) not in (2, 3, 4)
                    or size == 0
                    or size % (CELL_SHAPE[0] * CELL_SHAPE[1])
                ):
                    continue
                found = True
                for start in range(0, len(data), CELLS_AT_ONCE):
                    yield from data[start : start + CELLS_AT_ONCE].reshape(-1, *CELL_SHAPE)
    except (OSError, RuntimeError, ValueError) as error:
        raise UnreadableImageError(path, f"not a readable HDF5 file: {error}") from error
    if not found:
        raise UnreadableImageError(path, "no data of 64x64 cells in it")
