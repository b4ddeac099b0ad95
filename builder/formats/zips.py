"""Files inside zip archives, decompressed in memory up to a bound.

The published archive of 890,737 images is read by `archive.files` instead: `zipfile` creates a Python object per entry,
which would take more memory than the metadata of the images.
"""

from __future__ import annotations

import os
import zipfile
from functools import lru_cache
from io import BytesIO

from ..errors import TooLargeError, UnreadableImageError
from .limits import MAX_PIXELS

MAX_MEMBER_BYTES = 8 * MAX_PIXELS
"""The largest member that is decompressed: the largest plane that is read, at 8 bytes per pixel."""


def open_zip(path: str) -> zipfile.ZipFile:
    """Open a local zip file for reading.

    The handle is shared by all calls in a process until the file changes.

    Raises
    ------
    UnreadableImageError
        If the file is missing, cut off or not a zip.
    """
    try:
        about = os.stat(path)
        return _handle(path, os.getpid(), about.st_ino, about.st_mtime_ns)
    except Exception as error:  # zipfile raises errors of every kind for a damaged directory
        raise UnreadableImageError(path, f"not a whole zip file ({error}); download it again") from error


def open_member(archive: zipfile.ZipFile, member: str | zipfile.ZipInfo, where: str) -> BytesIO:
    """Decompress one member of a zip into memory.

    Parameters
    ----------
    archive : ZipFile
        Open for reading.
    member : str or ZipInfo
        The member, or its name.
    where : str
        Names the member in errors.

    Raises
    ------
    TooLargeError
        If the archive's directory states more than `MAX_MEMBER_BYTES`; nothing is decompressed then.
    UnreadableImageError
        If there is no such member, it is encrypted, or its content is damaged.
    """
    try:
        entry = archive.getinfo(member) if isinstance(member, str) else member
    except KeyError as error:
        raise UnreadableImageError(where, "there is no such file in the zip") from error
    if entry.file_size > MAX_MEMBER_BYTES:
        raise TooLargeError(where, f"unpacks to more than {MAX_MEMBER_BYTES:,} bytes")
    try:
        with archive.open(entry) as packed:
            # never more than the directory states, whatever the compressed stream contains
            return BytesIO(packed.read(MAX_MEMBER_BYTES))
    except Exception as error:  # damaged, encrypted or unusually compressed: zipfile raises errors of every kind
        raise UnreadableImageError(where, f"can't be unpacked: {error}") from error


@lru_cache(maxsize=64)
def _handle(path: str, process: int, inode: int, changed: int) -> zipfile.ZipFile:
    # one handle per process (a forked worker must not share its parent's position in the file) and state of the file
    return zipfile.ZipFile(path)
