"""Read the directory at the end of a zip file into arrays.

Python's zipfile creates one object per entry: 640 MB for the 890,737 images of the published archive. Here an entry
takes forty bytes and its name. Layout: PKWARE's APPNOTE 6.3.9, sections 4.3.12 to 4.3.16 and 4.5.3.
"""

from __future__ import annotations

import os
import struct
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

_ENTRY = struct.Struct("<4s6H3I5H2I")
_END = struct.Struct("<4s4H2IH")
_LOCATOR = struct.Struct("<4sIQI")
_END_64 = struct.Struct("<4sQ2H2I4Q")
_IN_ZIP64_FIELD = 0xFFFFFFFF  # in place of a number that is in the zip64 field
_BYTES_PER_READ = 2**20
_MAX_COMMENT_BYTES = 2**16


class DamagedZipError(ValueError):
    """The directory of a zip file can't be read."""


@dataclass(frozen=True)
class Entry:
    """One file in the directory of a zip. `name` is empty if its bytes are not text.

    Attributes
    ----------
    name : str
    flags, method, mode, crc : int
        As in the zip: flag bits, compression method, Unix file mode, CRC-32 of the content.
    packed, size : int
        Compressed and decompressed size in bytes.
    start : int
        Offset of the entry's header in the file.
    """

    name: str
    flags: int
    method: int
    mode: int
    crc: int
    packed: int
    size: int
    start: int


@dataclass
class Columns:
    """The listed entries, column by column. `ends` are the ends of the names in `names`, after a leading 0."""

    names: bytearray = field(default_factory=bytearray)
    ends: array[int] = field(default_factory=lambda: array("q", [0]))
    sizes: array[int] = field(default_factory=lambda: array("q"))
    starts: array[int] = field(default_factory=lambda: array("q"))
    packed: array[int] = field(default_factory=lambda: array("q"))
    methods: array[int] = field(default_factory=lambda: array("q"))
    checks: array[int] = field(default_factory=lambda: array("q"))

    def add(self, entry: Entry) -> None:
        """Append one entry."""
        self.names += entry.name.encode()
        self.ends.append(len(self.names))
        self.sizes.append(entry.size)
        self.starts.append(entry.start)
        self.packed.append(entry.packed)
        self.methods.append(entry.method)
        self.checks.append(entry.crc)


def entries_of(path: Path) -> Iterator[Entry]:
    """Yield every entry of a zip file's directory, folders too.

    Raises
    ------
    DamagedZipError
        If the file ends early, or its directory differs from the record at its end.
    """
    with open(path, "rb") as file:
        begin, end, count, shift = _place(file)
        file.seek(begin)
        left, buffer, at = end - begin, b"", 0

        def need(size: int) -> None:
            """Read on until the buffer has `size` bytes from `at`."""
            nonlocal left, buffer, at
            while len(buffer) - at < size:
                block = file.read(min(_BYTES_PER_READ, left))
                if not block:
                    raise DamagedZipError("its directory is cut off")
                left -= len(block)
                buffer, at = buffer[at:] + block, 0

        for _ in range(count):
            need(_ENTRY.size)
            (mark, _, _, flags, method, _, _, crc, packed, size, name_length, extra_length, comment_length, _, _,
             outer, start) = _ENTRY.unpack_from(buffer, at)  # fmt: skip
            if mark != b"PK\x01\x02":
                raise DamagedZipError("its directory is damaged")
            whole = _ENTRY.size + name_length + extra_length + comment_length
            need(whole)
            after_name = at + _ENTRY.size + name_length
            name = buffer[at + _ENTRY.size : after_name]
            if _IN_ZIP64_FIELD in (packed, size, start):
                extra = buffer[after_name : after_name + extra_length]
                size, packed, start = _from_zip64_field(extra, size, packed, start)
            at += whole
            try:
                text = name.decode("utf-8" if flags & 0x800 else "cp437")
            except UnicodeDecodeError:
                text = ""
            yield Entry(text, flags, method, outer >> 16, crc, packed, size, start + shift)


def _place(file: IO[bytes]) -> tuple[int, int, int, int]:
    """Return begin and end of the directory, its number of entries, and the number of bytes before the zip itself."""
    total = file.seek(0, os.SEEK_END)
    tail_at = max(0, total - _END.size - _MAX_COMMENT_BYTES - _LOCATOR.size)
    file.seek(tail_at)
    tail = file.read()
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) - at < _END.size:
        raise DamagedZipError("it has no end record")
    _, disk, _, _, count, size, offset, _ = _END.unpack_from(tail, at)
    end = tail_at + at
    if at >= _LOCATOR.size and tail[at - _LOCATOR.size : at - _LOCATOR.size + 4] == b"PK\x06\x07":
        _, disk, _, _ = _LOCATOR.unpack_from(tail, at - _LOCATOR.size)
        end -= _LOCATOR.size + _END_64.size
        file.seek(max(0, end))
        record = file.read(_END_64.size)
        if len(record) < _END_64.size or record[:4] != b"PK\x06\x06":
            raise DamagedZipError("its zip64 end record is not where it should be")
        *_, count, size, offset = _END_64.unpack(record)
    if disk:
        raise DamagedZipError("it is one part of several")
    begin = end - size
    if begin < 0 or offset > begin or count * _ENTRY.size > size:
        raise DamagedZipError("its directory is cut off")
    return begin, end, count, begin - offset


def _from_zip64_field(extra: bytes, size: int, packed: int, start: int) -> tuple[int, int, int]:
    """Return size, packed and start, those too large for 32 bits from the zip64 field of `extra`."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        if kind == 1:
            numbers = [size, packed, start]
            place = at + 4
            for i, number in enumerate(numbers):
                if number == _IN_ZIP64_FIELD:
                    if place + 8 > min(at + 4 + length, len(extra)):
                        raise DamagedZipError("a zip64 field is cut off")
                    (numbers[i],) = struct.unpack_from("<Q", extra, place)
                    place += 8
            if max(numbers) >= 2**63:
                raise DamagedZipError("a zip64 field is damaged")
            return numbers[0], numbers[1], numbers[2]
        at += 4 + length
    return size, packed, start
