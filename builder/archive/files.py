"""The files of the published archive, a zip or a folder: list them, and read the bytes of any of them.

Nothing is unpacked to disk. The zip's directory is stored in a few arrays, since one Python object for each of its
890,737 entries would take more memory than the images' metadata.
"""

from __future__ import annotations

import io
import os
import re
import stat
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ..dataset.ranges import announce
from ..errors import UnreadableImageError, UsageError
from ..formats.checksums import crc32
from ..formats.limits import MAX_PIXELS
from .zip_directory import Columns, DamagedZipError, Entry, entries_of

MAX_FILE_BYTES = MAX_PIXELS  # of one decompressed file: its images have one byte per pixel
STORED, DEFLATED = 0, 8  # compression methods of zip
_BYTES_PER_PIECE = 2**18  # of a stream
_LOCAL_HEADER = struct.Struct("<4s5H3I2H")
_HEADER_BYTES = 256  # usually enough for the header of an entry with its name and extra field
# the reasons below are recorded in rejected.parquet, which the dataset's digest covers: their wording must not change
_CONTROL = re.compile(r"[\x00-\x1f]")


@dataclass(frozen=True)
class Listing:
    """The files of an archive, sorted by name.

    Attributes
    ----------
    path : Path
        The zip file, or the folder.
    names : pyarrow.Array of str
        Paths below the archive's root, with `/`, sorted.
    sizes : int array
        Decompressed size of each file in bytes.
    starts, packed, methods, checks : int arrays
        Zip only: offset of the entry's header, compressed size in bytes, compression method, CRC-32 of the content.
    refused : dict of str to str
        Names of files that are not listed, with the reason.
    """

    path: Path
    names: pa.Array
    sizes: NDArray[np.int64]
    starts: NDArray[np.int64]
    packed: NDArray[np.int64]
    methods: NDArray[np.int64]
    checks: NDArray[np.int64]
    refused: dict[str, str]

    @cached_property
    def is_zip(self) -> bool:
        """Whether the archive is a zip file."""
        return self.path.is_file()


def unsafe(name: str) -> str:
    """Return why a file of this name must not be opened; empty if it may be.

    Examples
    --------
    >>> unsafe("../etc/passwd"), unsafe("cytoimagenet/actin/actin-01.png")
    ('leads out of the archive', '')
    """
    parts = name.replace("\\", "/").split("/")
    if name.startswith(("/", "\\")) or ".." in parts or (len(name) > 1 and name[1] == ":"):
        return "leads out of the archive"
    return "name holds a control character" if _CONTROL.search(name) else ""


def list_archive(path: str | PathLike[str]) -> Listing:
    """List the files of a zip or of a folder.

    Raises
    ------
    UsageError
        If there is neither, or the zip's directory is damaged or incomplete.
    """
    place = Path(path)
    if place.is_dir():
        return _list_folder(place)
    if not place.is_file():
        raise UsageError(
            "There is no such archive", where=place, next="Name the zip or folder, or download it with --download"
        )
    try:
        return _list_zip(place)
    except PermissionError:
        raise
    except (DamagedZipError, OSError) as error:
        raise UsageError(
            f"Not a complete zip file: {error}",
            where=place,
            next="The download is incomplete: download it again",
        ) from error


def _list_zip(place: Path) -> Listing:
    refused: dict[str, str] = {}
    columns, archive_bytes = Columns(), place.stat().st_size
    for number, entry in enumerate(entries_of(place)):
        if entry.name.endswith("/"):
            continue
        reason = _refusal(entry, archive_bytes)
        if reason:
            refused[entry.name or f"entry {number}"] = reason
        else:
            columns.add(entry)
    ends = np.array(columns.ends, dtype=np.int64)
    size = len(ends) - 1
    names = pa.LargeStringArray.from_buffers(size, pa.py_buffer(ends), pa.py_buffer(columns.names))
    order = np.asarray(pc.array_sort_indices(names))
    numbers = (columns.sizes, columns.starts, columns.packed, columns.methods, columns.checks)
    sizes, starts, packed, methods, checks = (np.array(column, dtype=np.int64)[order] for column in numbers)
    sorted_names = names.take(pa.array(order)).cast(pa.string())
    return Listing(place, sorted_names, sizes, starts, packed, methods, checks, refused)


def _refusal(entry: Entry, archive_bytes: int) -> str:
    """Return why an entry of a zip of `archive_bytes` bytes is not listed; empty if it is."""
    if not entry.name:
        return "its name is no text"
    if reason := unsafe(entry.name):
        return reason
    if stat.S_ISLNK(entry.mode):
        return "a symbolic link"
    if entry.flags & 1:
        return "encrypted"
    if entry.method not in (STORED, DEFLATED):
        return f"compression method {entry.method}"
    if entry.start + entry.packed > archive_bytes:
        return "reaches beyond the end of the archive"
    if entry.size > MAX_FILE_BYTES and not entry.name.endswith(".csv"):
        return f"{entry.size:,} bytes once decompressed, at most {MAX_FILE_BYTES:,} allowed"
    return ""


def _list_folder(root: Path) -> Listing:
    found: list[tuple[str, int]] = []
    refused: dict[str, str] = {}
    for folder, folders, files in os.walk(root):
        for name in [*files, *(f for f in folders if os.path.islink(os.path.join(folder, f)))]:
            path = os.path.join(folder, name)
            relative = os.path.relpath(path, root).replace(os.sep, "/")
            about = os.lstat(path)
            text = os.fsencode(relative).decode(errors="backslashreplace")
            if text != relative:
                refused[text] = "its name is no text"
            elif stat.S_ISREG(about.st_mode):
                found.append((relative, about.st_size))
            else:
                refused[relative] = "a symbolic link" if stat.S_ISLNK(about.st_mode) else "no regular file"
    found.sort()
    empty = np.zeros(len(found), dtype=np.int64)
    sizes = np.array([size for _, size in found], dtype=np.int64)
    names = pa.array([name for name, _ in found], pa.string())
    return Listing(root, names, sizes, empty, empty, empty, empty, refused)


class Archive:
    """An open archive, from which the files of a listing are read. Threads may share it."""

    def __init__(self, listing: Listing) -> None:
        self.listing = listing
        self._handle = os.open(listing.path, os.O_RDONLY) if listing.is_zip else -1

    def close(self) -> None:
        """Close the file."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def announce(self, numbers: Sequence[int]) -> None:
        """Let the operating system read these files of a zip in advance, all at the same time."""
        if self.listing.is_zip:
            starts, packed = self.listing.starts, self.listing.packed
            for number in numbers:
                announce(self._handle, int(starts[number]), int(packed[number]) + _HEADER_BYTES)

    def read(self, number: int) -> bytes:
        """Return the content of file `number`, after checking it against the size and checksum in the directory.

        Raises
        ------
        UnreadableImageError
            If size or checksum differ, or the file can't be read.
        """
        listing = self.listing
        size, packed = int(listing.sizes[number]), int(listing.packed[number])
        if max(size, packed) > MAX_FILE_BYTES:
            raise UnreadableImageError(self._name(number), f"{size:,} bytes, at most {MAX_FILE_BYTES:,} allowed")
        if not listing.is_zip:
            try:
                with open(self._name(number), "rb", buffering=0) as file:
                    return file.read(size + 1)
            except OSError as error:
                raise UnreadableImageError(self._name(number), str(error.strerror or error)) from error
        start = int(listing.starts[number])
        data = os.pread(self._handle, _HEADER_BYTES + packed, start)  # usually header and complete content
        begin = self._begin(number, start, data)
        content = data[begin - start : begin - start + packed]
        if len(content) < packed:
            content = os.pread(self._handle, packed, begin)
        if listing.methods[number] != STORED:
            content = _inflate(content, size, self._name(number))
        if len(content) != size or crc32(content) != listing.checks[number]:
            raise UnreadableImageError(self._name(number), "content and checksum differ")
        return content

    def stream(self, number: int) -> IO[bytes]:
        """Open file `number` for reading from its beginning, piece by piece: for tables, which may be large.

        Raises
        ------
        UnreadableImageError
            At the beginning or at the end, if the file differs from its entry in the directory.
        """
        listing = self.listing
        name = listing.names[number].as_py()
        if not listing.is_zip:
            return open(listing.path / name, "rb")
        packed, size, check = (int(column[number]) for column in (listing.packed, listing.sizes, listing.checks))
        stored = bool(listing.methods[number] == STORED)
        start = int(listing.starts[number])
        begin = self._begin(number, start, os.pread(self._handle, _LOCAL_HEADER.size, start))
        stream = _Stream(self._handle, begin, packed, size, check, stored, self._name(number))
        return io.BufferedReader(stream, _BYTES_PER_PIECE)

    def _name(self, number: int) -> str:
        return f"{self.listing.path}/{self.listing.names[number].as_py()}"

    def _begin(self, number: int, start: int, header: bytes) -> int:
        """Return the offset of the content of an entry whose header begins at offset `start` of the zip."""
        if len(header) < _LOCAL_HEADER.size or header[:4] != b"PK\x03\x04":
            raise UnreadableImageError(self._name(number), "no zip entry where the directory says")
        *_, name_length, extra_length = _LOCAL_HEADER.unpack_from(header)
        return start + _LOCAL_HEADER.size + name_length + extra_length


class _Stream(io.RawIOBase):
    """The content of one zip entry, decompressed while it is read; reading ends with an error if size or CRC differ."""

    def __init__(self, handle: int, begin: int, packed: int, size: int, check: int, stored: bool, where: str) -> None:
        self._handle, self._at, self._end = handle, begin, begin + packed
        self._left, self._expected_crc, self._where = size, check, where
        self._decompressor = None if stored else zlib.decompressobj(-zlib.MAX_WBITS)
        self._crc = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read the next piece into `buffer`; return its number of bytes, 0 at the end."""
        piece = self._next(len(buffer))
        self._crc = zlib.crc32(piece, self._crc)
        self._left -= len(piece)
        if self._left < 0 or (not piece and (self._left or self._crc != self._expected_crc)):
            raise UnreadableImageError(self._where, "content and checksum differ")
        buffer[: len(piece)] = piece
        return len(piece)

    def _next(self, most: int) -> bytes:
        if self._decompressor is None:
            return self._fetch(most)
        while not self._decompressor.eof:
            waiting = self._decompressor.unconsumed_tail or self._fetch(_BYTES_PER_PIECE)
            try:
                piece = self._decompressor.decompress(waiting, most)
            except zlib.error as error:
                raise UnreadableImageError(self._where, f"damaged zip entry ({error})") from error
            if piece or not waiting:
                return piece
        return b""

    def _fetch(self, most: int) -> bytes:
        content = os.pread(self._handle, min(most, self._end - self._at), self._at)
        self._at += len(content)
        return content


def _inflate(packed: bytes, size: int, where: str) -> bytes:
    """Decompress at most one byte more than the directory gives: a zip bomb stops there, and the size differs."""
    try:
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, size + 1)
    except zlib.error as error:
        raise UnreadableImageError(where, f"damaged zip entry ({error})") from error
