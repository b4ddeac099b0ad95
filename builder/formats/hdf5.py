"""HDF5 files of unknown origin: only what is stored in the file itself is read, and not more than it can contain.

HDF5 can refer to other files, as raw bytes or as further HDF5 files. A file that someone else wrote must not decide
which of our files are read.
"""

from __future__ import annotations

from typing import Any

from .limits import Limits

MAX_ROWS = 2**24  # of a data set
MAX_CHUNK_BYTES = 2**28  # decompressed at once, for any row of it


def own_dataset(group: Any, key: str, limits: Limits) -> Any | None:
    """Return a data set that is stored in this file; None if there is none of this name.

    Parameters
    ----------
    group : h5py.Group
        The file, or a group in it.
    key : str
        Name of the data set, without `/`.
    limits : Limits
        Names the file in errors.

    Raises
    ------
    UnreadableImageError
        If it refers to another file, claims more rows than the limit, or the file is damaged there.
    """
    import h5py

    try:
        link = group.get(key, getlink=True)
        if link is None:
            return None
        if not isinstance(link, h5py.HardLink):
            raise limits.refuse(f"{key!r} is a reference to another place or file")
        found = group[key]
        if not isinstance(found, h5py.Dataset):
            return None
        if found.external or found.is_virtual:
            raise limits.refuse(f"{key!r} is stored in another file")
        chunk_bytes = found.dtype.itemsize
        for length in found.chunks or ():
            chunk_bytes *= length
    except (RuntimeError, OSError, KeyError, ValueError, TypeError) as error:  # of a damaged file
        raise limits.refuse(f"{key!r} can't be read ({error})") from error
    if found.ndim and len(found) > MAX_ROWS:
        raise limits.refuse(f"{key!r} has {len(found):,} rows, at most {MAX_ROWS:,} allowed")
    if chunk_bytes > MAX_CHUNK_BYTES:
        raise limits.refuse(f"{key!r} has chunks of {chunk_bytes:,} bytes, at most {MAX_CHUNK_BYTES:,} allowed")
    return found
