"""The images of the evaluation sets, so that none of them gets into the dataset.

An evaluation image is known by the pixels of its channels after the very procedure that curation applies: stretched and
brought to 8 bits. So it is found whatever file format, bit depth or brightness it was kept in, and whether it would
have been merged with other channels or cropped.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from os import PathLike
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .duplicates import pixel_digest
from .errors import ConstantImageError, NotFiniteImageError, UnreadableImageError, UsageError
from .pixels import normalise, to_grey8
from .progress import progress
from .readers import read_channel
from .storage import exists, filesystem, join

IMAGES = (".tif", ".tiff", ".png", ".bmp", ".jpg", ".jpeg", ".dib", ".flex", ".dv")
TABLES = (".hdf5", ".h5")
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
        Local or URL. Image files of every format that is read, each one channel; COOS-7's and DeepLoc's HDF5 files.

    Raises
    ------
    UsageError
        If there is no such folder, or no image in it.
    """
    if not exists(folder):
        raise UsageError("No such folder of evaluation sets", where=str(folder))
    fs, inner = filesystem(folder)
    names = sorted(os.path.relpath(name, inner) for name in fs.find(inner))
    names = [name for name in names if name.lower().endswith(IMAGES + TABLES)]
    files: dict[str, str] = {}
    shapes: set[tuple[int, int]] = set()
    skipped: dict[str, str] = {}
    with progress("Reading evaluation images", len(names), "files") as bar:
        for name in names:
            try:
                for plane in _planes(join(folder, name)):
                    try:
                        files.setdefault(pixel_digest(to_grey8(normalise(plane))), name)
                        shapes.add(plane.shape)
                    except (ConstantImageError, NotFiniteImageError) as error:
                        skipped[name] = error.what
            except UnreadableImageError as error:
                skipped[name] = error.reason
            bar.advance(failed=name in skipped)
    if not files:
        raise UsageError(
            "No image of an evaluation set lies here",
            where=str(folder),
            next="Give the folder that holds BBBC021, COOS-7 or CYCLoPs images, or leave --evaldata out.",
        )
    return EvaluationImages(files, tuple(sorted(shapes)), skipped)


def _planes(path: str) -> Iterator[NDArray[Any]]:
    if path.lower().endswith(TABLES):
        yield from _cells(path)
        return
    yield read_channel(path)


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
