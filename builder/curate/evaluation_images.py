"""Digests of the images of the evaluation sets, so that none of them gets into the dataset.

An evaluation image is recognised by the pixels of its channels, normalised and converted to 8 bits as in the curation.
So it is found whatever its file format, bit depth or brightness, and also if it would have been merged with other
channels or cropped. Every image is read in a worker process under limits: none can stop a run.
"""

from __future__ import annotations

import itertools
import os
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
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
from ..images.isolated import Isolated, each_image
from ..images.normalise import normalise, to_grey8
from ..images.quality import Verdict
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


class _Part(NamedTuple):
    """Images that are read together: a file, a member of a zip, or some rows of a data set in an HDF5 file.

    Parameters
    ----------
    file : int
        Index of the file.
    path : str
        Of the file.
    name : str
        By which the images are reported.
    inside : int or (str, int), optional
        Index of the member of the zip; name of the data set, and its first row.
    """

    file: int
    path: str
    name: str
    inside: int | tuple[str, int] | None = None


class _Found(NamedTuple):
    """The digests and shapes of the channels of a part; why some of them, or the part, can't be compared."""

    digests: list[str]
    shapes: set[tuple[int, int]]
    skipped: str


def read_evaluation(folder: str | PathLike[str], *, workers: int | None = None) -> EvaluationImages:
    """Digest every channel of every evaluation image below a folder.

    Parameters
    ----------
    folder : str or path
        Local or a URL. It may contain image files of every supported format, each one channel; zips of them, as
        BBBC021 is published, which are read in place; and the HDF5 files of COOS-7 and DeepLoc.
    workers : int, optional
        Number of processes; by default one per core. 0: this process itself, without limits.

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
    _zip.cache_clear()  # a zip may have been replaced since the last call
    # storage in the memory of this process is seen by no other
    here = workers == 0 or str(folder).startswith("memory:")
    listed, parts = itertools.tee(_parts(str(folder), names, _listed if here else Isolated(_listed)))
    results = map(_digests, listed) if here else each_image(_digests, listed, workers=workers)
    files: dict[str, str] = {}
    shapes: set[tuple[int, int]] = set()
    skipped: dict[str, str] = {}
    with progress("Reading evaluation images", len(names), "files") as bar:
        for _, of_file in itertools.groupby(zip(parts, results, strict=True), key=lambda found: found[0].file):
            before = len(skipped)
            for part, found in of_file:
                if isinstance(found, Verdict):
                    skipped[part.name] = found.detail
                    continue
                for digest in found.digests:
                    files.setdefault(digest, part.name)
                shapes |= found.shapes
                if found.skipped:
                    skipped.setdefault(part.name, found.skipped)
            bar.advance(failed=len(skipped) > before)
    if not files:
        raise UsageError(
            "This folder contains no image of an evaluation set",
            where=str(folder),
            next="Name the folder of the BBBC021, COOS-7 or CYCLoPs images, or leave out --evaldata.",
        )
    return EvaluationImages(files, tuple(sorted(shapes)), skipped)


def _parts(
    folder: str, names: Iterable[str], listed: Callable[[str], list[tuple[str, Any]] | Verdict]
) -> Iterator[_Part]:
    """Yield the parts of all files: at least one of each file, which is read to find out why there are no others."""
    for file, name in enumerate(names):
        path = join(folder, name)
        inside = listed(path) if name.lower().endswith(TABLES + ZIPS) else []
        # a file that can't be listed ends the process again when it is read, and is skipped for this reason
        if isinstance(inside, Verdict) or not inside:
            yield _Part(file, path, name)
        else:
            for member, place in inside:
                yield _Part(file, path, f"{name}/{member}" if member else name, place)


def _listed(path: str) -> list[tuple[str, Any]]:
    """Return the name and place of each part of a zip or an HDF5 file; none if it can't be read."""
    try:
        if not path.lower().endswith(ZIPS):
            return [("", place) for place in _groups_of_cells(path)]
        return [
            (member.filename, index)
            for index, member in enumerate(_zip(path).infolist())
            if member.filename.lower().endswith(IMAGES + TABLES + ZIPS)
            and not member.filename.startswith("__MACOSX/")
            and not member.filename.rsplit("/", 1)[-1].startswith(".")
        ]
    except UnreadableImageError:
        return []


def _digests(part: _Part) -> _Found:
    """Read a part."""
    found = _Found([], set(), "")
    skipped = ""
    try:
        for plane in _planes(part):
            try:
                found.digests.append(pixel_digest(to_grey8(normalise(plane))))
                found.shapes.add(plane.shape)
            except (ConstantImageError, NotFiniteImageError) as error:
                skipped = error.what
    except UnreadableImageError as error:
        skipped = error.reason
    return found._replace(skipped=skipped)


def _planes(part: _Part) -> Iterable[NDArray[Any]]:
    path = part.path
    if isinstance(part.inside, tuple):
        return _cells(path, *part.inside)
    if path.lower().endswith(TABLES):
        _groups_of_cells(path)
        raise UnreadableImageError(path, "no data of 64x64 cells in it")
    if not path.lower().endswith(ZIPS):
        return [read_channel(path)]
    archive = _zip(path)
    if part.inside is None:  # no images in it
        return []
    member = archive.infolist()[part.inside]
    where = f"{path}/{member.filename}"
    if not member.filename.lower().endswith(IMAGES):
        raise UnreadableImageError(where, "inside a zip; unpack the outer zip to have it compared")
    return [read_file(open_member(archive, member, where), where)]


@lru_cache(maxsize=1)
def _zip(path: str) -> zipfile.ZipFile:
    """Open a zip, local or remote; the next calls for its other members get the same."""
    fs, inner = filesystem(path)
    try:
        return zipfile.ZipFile(fs.open(inner, "rb"))
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise UnreadableImageError(path, f"not a readable zip: {error}") from error


def _groups_of_cells(path: str) -> list[tuple[str, int]]:
    """Return name and first row of each group of cells: shape (n, 2, 64, 64), or (n, 8192) in DeepLoc's files."""
    places = []
    with _table(path) as table:
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
            places += [(key, start) for start in range(0, len(data), CELLS_AT_ONCE)]
    return places


def _cells(path: str, key: str, start: int) -> Iterator[NDArray[Any]]:
    """Yield every channel of a group of cells."""
    with _table(path) as table:
        yield from table[key][start : start + CELLS_AT_ONCE].reshape(-1, *CELL_SHAPE)


@contextmanager
def _table(path: str) -> Iterator[Any]:
    with naming_the_extra():
        import h5py
    fs, inner = filesystem(path)
    try:
        with fs.open(inner, "rb") as file, h5py.File(file, "r") as table:
            yield table
    except (OSError, RuntimeError, ValueError) as error:
        raise UnreadableImageError(path, f"not a readable HDF5 file: {error}") from error
