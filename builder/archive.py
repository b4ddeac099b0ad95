"""The files of the published archive, a zip or a folder: what there is, and the bytes of any of it.

Nothing is unpacked to disk. The zip's own directory is turned into a few arrays, since a Python object for each of
890,737 entries would take more memory than the images' metadata.
"""

from __future__ import annotations

import os
import stat
import struct
import zipfile
import zlib
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from .errors import UnreadableImageError, UsageError

MAX_BYTES = 2**26  # of one file once decompressed: more than any 8-bit image of 8,192 x 8,192 pixels needs
STORED, DEFLATED = 0, 8
_LOCAL = struct.Struct("<4s5H3I2H")


@dataclass(frozen=True)
class Listing:
    """What lies in an archive, by name.

    Attributes
    ----------
    path : Path
        The zip file, or the folder.
    names : pyarrow.Array of str
        Paths below the archive's root, with `/`, sorted.
    sizes : int array
        Bytes of each file once decompressed.
    starts, packed, methods, checks : int arrays
        Zip only: where the entry's header begins, bytes it takes, how it is compressed, CRC-32 of its content.
    refused : dict of str to str
        Names that were not taken, and why.
    """

    path: Path
    names: pa.Array
    sizes: NDArray[np.int64]
    starts: NDArray[np.int64]
    packed: NDArray[np.int64]
    methods: NDArray[np.int64]
    checks: NDArray[np.int64]
    refused: dict[str, str]

    @property
    def is_zip(self) -> bool:
        """Whether the archive is a zip file."""
        return self.path.is_file()


def unsafe(name: str) -> str:
    """Say why a name may not be opened, or nothing.

    Examples
    --------
    >>> unsafe("../etc/passwd"), unsafe("cytoimagenet/actin/actin-01.png")
    ('leads out of the archive', '')
    """
    parts = name.replace("\\", "/").split("/")
    if name.startswith(("/", "\\")) or ".." in parts or (len(name) > 1 and name[1] == ":"):
        return "leads out of the archive"
    return "name holds a control character" if any(ord(c) < 32 for c in name) else ""


def list_archive(path: str | PathLike[str]) -> Listing:
    """List a zip or a folder.

    Raises
    ------
    UsageError
        If there is neither, or the zip's directory is damaged or cut off.
    """
    place = Path(path)
    if place.is_dir():
        return _list_folder(place)
    if not place.is_file():
        raise UsageError(
            "There is no such archive", where=place, next="Name the zip or folder, or fetch it with --download"
        )
    try:
        with zipfile.ZipFile(place) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, OSError, NotImplementedError) as error:
        raise UsageError(
            f"Not a whole zip file: {error}", where=place, next="Fetch it again: a broken download looks like this"
        ) from error
    refused: dict[str, str] = {}
    kept = []
    for entry in entries:
        if entry.is_dir():
            continue
        why = unsafe(entry.filename)
        if not why and stat.S_ISLNK(entry.external_attr >> 16):
            why = "a symbolic link"
        if not why and entry.flag_bits & 1:
            why = "encrypted"
        if not why and entry.compress_type not in (STORED, DEFLATED):
            why = f"compression method {entry.compress_type}"
        if not why and entry.file_size > MAX_BYTES and not entry.filename.endswith(".csv"):
            why = f"{entry.file_size:,} bytes once decompressed, at most {MAX_BYTES:,} allowed"
        if why:
            refused[entry.filename] = why
        else:
            kept.append(entry)
    kept.sort(key=lambda entry: entry.filename)
    return Listing(
        place,
        pa.array([entry.filename for entry in kept], pa.string()),
        *(
            np.array([getattr(entry, name) for entry in kept], dtype=np.int64)
            for name in ("file_size", "header_offset", "compress_size", "compress_type", "CRC")
        ),
        refused,
    )


def _list_folder(root: Path) -> Listing:
    found: list[tuple[str, int]] = []
    refused: dict[str, str] = {}
    for folder, folders, files in os.walk(root):
        for name in [*files, *(f for f in folders if os.path.islink(os.path.join(folder, f)))]:
            path = os.path.join(folder, name)
            relative = os.path.relpath(path, root).replace(os.sep, "/")
            about = os.lstat(path)
            if stat.S_ISREG(about.st_mode):
                found.append((relative, about.st_size))
            else:
                refused[relative] = "a symbolic link" if stat.S_ISLNK(about.st_mode) else "no regular file"
    found.sort()
    empty = np.zeros(len(found), dtype=np.int64)
    sizes = np.array([size for _, size in found], dtype=np.int64)
    return Listing(root, pa.array([name for name, _ in found], pa.string()), sizes, *[empty] * 4, refused)


class Archive:
    """An open archive: the bytes of any file of a listing. Threads may share it."""

    def __init__(self, listing: Listing) -> None:
        self.listing = listing
        self._handle = os.open(listing.path, os.O_RDONLY) if listing.is_zip else -1

    def close(self) -> None:
        """Let go of the file."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def read(self, number: int) -> bytes:
        """Return the content of file `number`, checked against the size and checksum the directory gives.

        Raises
        ------
        UnreadableImageError
            If it is not what the directory says.
        """
        listing = self.listing
        name, size = listing.names[number].as_py(), int(listing.sizes[number])
        where = f"{listing.path}/{name}"
        if not listing.is_zip:
            if size > MAX_BYTES:
                raise UnreadableImageError(where, f"{size:,} bytes, at most {MAX_BYTES:,} allowed")
            try:
                return (listing.path / name).read_bytes()
            except OSError as error:
                raise UnreadableImageError(where, str(error.strerror or error)) from error
        start = int(listing.starts[number])
        header = os.pread(self._handle, _LOCAL.size, start)
        if len(header) < _LOCAL.size or header[:4] != b"PK\x03\x04":
            raise UnreadableImageError(where, "no zip entry where the directory says")
        *_, name_length, extra_length = _LOCAL.unpack(header)
        begin = start + _LOCAL.size + name_length + extra_length
        packed = os.pread(self._handle, int(listing.packed[number]), begin)
        content = packed if listing.methods[number] == STORED else _inflate(packed, size, where)
        if len(content) != size or zlib.crc32(content) != int(listing.checks[number]):
            raise UnreadableImageError(where, "content and checksum differ")
        return content


def _inflate(packed: bytes, size: int, where: str) -> bytes:
    """Decompress at most one byte more than was announced: a bomb ends there."""
    engine = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        return engine.decompress(packed, size + 1)
    except zlib.error as error:
        raise UnreadableImageError(where, f"damaged zip entry ({error})") from error
