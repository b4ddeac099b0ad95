"""HDF5 files of the evaluation sets: checked when opened, read one row at a time."""

from __future__ import annotations

import os
from functools import lru_cache
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ...builder.errors import MetadataError, UnreadableImageError
from ...builder.extras import naming_the_extra
from ...builder.formats.hdf5 import own_dataset
from ...builder.formats.limits import Limits

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CACHE_BYTES = 32 << 20  # of decompressed chunks: rows are read one by one, a chunk contains many
DATA = "data"  # the data set of the cells in COOS-7
CELL_SHAPE = (2, 64, 64)  # channels and pixels, in COOS-7 and in the DeepLoc files, which store a cell as one flat row


class Cell(NamedTuple):
    """A cell: the file, the data set in it, and the row."""

    file: str
    key: str
    row: int


def open_file(path: str | PathLike[str]) -> Any:
    """Open an HDF5 file for reading.

    Raises
    ------
    MetadataError
        If the file is missing, cut off or not HDF5.
    MissingPackageError
        If h5py is not installed.
    """
    if not Path(path).is_file():
        raise MetadataError("This file does not exist", where=path)
    try:
        about = os.stat(path)
        return _handle(str(path), os.getpid(), about.st_ino, about.st_mtime_ns)
    except OSError as error:
        raise MetadataError(f"Not a whole HDF5 file ({error}); download it again", where=path) from error


@lru_cache(maxsize=32)
def _handle(path: str, process: int, inode: int, changed: int) -> Any:
    # one handle per process (HDF5 does not survive a fork) and state of the file
    with naming_the_extra():
        import h5py
    return h5py.File(path, "r", rdcc_nbytes=CACHE_BYTES)


def dataset(file: Any, key: str) -> Any:
    """Return a data set of numbers.

    Raises
    ------
    MetadataError
        If the file has no data set of this name, it is stored in another file, or it does not contain numbers.
    """
    try:
        found = own_dataset(file, key, Limits(file.filename))
        names = "" if found is not None else ", ".join(sorted(file)) or "none"
    except UnreadableImageError as error:
        raise MetadataError(f"{error.reason}; download the file again", where=file.filename) from error
    except (RuntimeError, OSError) as error:
        raise MetadataError(f"Damaged ({error}); download the file again", where=file.filename) from error
    if found is None:
        raise MetadataError(f"There is no data set {key!r}; the file has {names}", where=file.filename)
    if found.dtype.kind not in "fiub":
        raise MetadataError(f"{key!r} contains {found.dtype}, not numbers", where=file.filename)
    return found


def column(file: Any, key: str, rows: int) -> NDArray[np.generic]:
    """Read a data set of one number per row.

    Raises
    ------
    MetadataError
        If it does not have `rows` numbers.
    """
    found = dataset(file, key)
    if found.size != rows:
        raise MetadataError(f"{key!r} has the shape {found.shape}, {rows:,} rows are expected", where=file.filename)
    return read(file, key, slice(None)).reshape(-1)


def read(file: Any, key: str, rows: Any) -> NDArray[np.generic]:
    """Read rows of a data set.

    Raises
    ------
    MetadataError
        If the file is damaged there.
    """
    try:
        values: NDArray[np.generic] = file[key][rows]  # a data set that `dataset` has checked
    except (OSError, RuntimeError, ValueError) as error:
        raise MetadataError(f"{key!r} can't be read ({error}); download the file again", where=file.filename) from error
    return values


def read_cell(cell: Cell) -> NDArray[np.generic]:
    """Read a cell: array (2, 64, 64) in the data type of the file."""
    return read(open_file(cell.file), cell.key, cell.row).reshape(CELL_SHAPE)
