"""A fast reader of the simplest TIFF files: one page of uncompressed 8 or 16 bits, its strips one after the other.

Most screens publish such files. The general reader spends three times as long on their tags as on the pixels; here a
few numbers of the header suffice. A file with any tag that is not known to be irrelevant for the pixels is left to the
general reader, and so are all errors but two: too many pixels, and a page that does not exist.
"""

from __future__ import annotations

import struct
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from .limits import Limits

_ORDERS = {b"II*\x00": "<", b"MM\x00*": ">"}
_WIDTH, _LENGTH, _BITS, _ROWS_PER_STRIP = 256, 257, 258, 278
_OFFSETS, _COUNTS = 273, 279
_DESCRIPTION, _SOFTWARE = 270, 305
_PLAIN = {254: 0, 259: 1, 262: 1, 266: 1, 277: 1, 284: 1, 339: 1}
"""Tags that must have this value if they are present: a full image, uncompressed, black is 0, one unsigned sample."""
_IRRELEVANT = {269, 271, 272, 274, 282, 283, 296, 297, 306, 315, 50838, 50839}
"""Tags without effect on pixels: names, dates, resolution, orientation (which is ignored), ImageJ's display range."""
_INTEGER_BYTES = {3: 2, 4: 4}  # by type of integer
_MAX_TAGS, _MAX_VALUE_BYTES = 64, 1 << 16
_STACKS = (b"images=", b"frames=", b"slices=", b"channels=", b"shape", b"state.", b"scanimage", b"<", b"{")
"""Words in a description that indicate further planes."""


def read(file: IO[bytes], page: int | None, limits: Limits) -> NDArray[Any] | None:
    """Read the only plane of a file, in its byte order; None if the general reader must read the file."""
    head = file.read(8)
    order = _ORDERS.get(head[:4])
    if order is None or len(head) < 8:
        return None
    tags = _tags(file, order, struct.unpack(f"{order}I", head[4:])[0])
    if tags is None or not {_WIDTH, _LENGTH, _BITS, 262, _OFFSETS, _COUNTS} <= tags.keys():
        return None
    if any(tags[code] != [value] for code, value in _PLAIN.items() if code in tags):
        return None
    if not all(len(tags[code]) == 1 for code in (_WIDTH, _LENGTH, _BITS)):
        return None
    (width,), (height,), (bits,) = tags[_WIDTH], tags[_LENGTH], tags[_BITS]
    software, description = (bytes(tags.get(code, b"")).rstrip(b"\0") for code in (_SOFTWARE, _DESCRIPTION))
    if bits not in (8, 16) or software.startswith(b"SI.") or not _one_plane(description, height, width):
        return None
    start = _start(tags, height, width * bits // 8)
    if start is None:
        return None
    limits.check(width, height)
    limits.choose(page, "IS", (1, 1))
    plane = np.empty((height, width), f"{order}u{bits // 8}")
    file.seek(start)
    filled = file.readinto(memoryview(plane).cast("B"))  # type: ignore[attr-defined, arg-type]
    return plane if filled == plane.nbytes else None


def _tags(file: IO[bytes], order: str, at: int) -> dict[int, Any] | None:
    """Return the value of every tag, if the file has one page and all its tags are known here; otherwise None."""
    file.seek(at)
    count = int.from_bytes(file.read(2), "little" if order == "<" else "big")
    block = file.read(12 * count + 4) if 0 < count <= _MAX_TAGS else b""
    if len(block) != 12 * count + 4 or any(block[-4:]):
        return None
    tags: dict[int, Any] = {}
    for code, kind, length, place in struct.iter_unpack(f"{order}HHI4s", block[:-4]):
        if code in tags:
            return None
        if code in _IRRELEVANT:
            tags[code] = None
        elif code in (_SOFTWARE, _DESCRIPTION) and kind == 2:
            tags[code] = _value(file, order, place, length)
        elif code in {*_PLAIN, _WIDTH, _LENGTH, _BITS, _ROWS_PER_STRIP, _OFFSETS, _COUNTS} and kind in _INTEGER_BYTES:
            data = _value(file, order, place, length * _INTEGER_BYTES[kind])
            tags[code] = list(struct.unpack(f"{order}{length}{' HI'[kind - 2]}", data)) if data else None
        else:
            return None
        if code not in _IRRELEVANT and tags[code] is None:
            return None
    return tags


def _value(file: IO[bytes], order: str, place: bytes, size: int) -> bytes | None:
    """Return the bytes of a tag's value, which are in another place of the file if they are more than four."""
    if size <= 4:
        return place[:size]
    if size > _MAX_VALUE_BYTES:
        return None
    file.seek(struct.unpack(f"{order}I", place)[0])
    data = file.read(size)
    return data if len(data) == size else None


def _one_plane(description: bytes, height: int, width: int) -> bool:
    """Return whether a description does not indicate further planes."""
    return description == b'{"shape": [%d, %d]}' % (height, width) or not any(word in description for word in _STACKS)


def _start(tags: dict[int, Any], height: int, row: int) -> int | None:
    """Return the first byte of the pixels, if every strip has its full length and follows the one before; else None."""
    offsets, counts = tags[_OFFSETS], tags[_COUNTS]
    per_strip = min(tags.get(_ROWS_PER_STRIP, [height])[0], height)
    if not per_strip or len(offsets) != len(counts) or len(offsets) != -(-height // per_strip):
        return None
    at = offsets[0]
    for number, (offset, count) in enumerate(zip(offsets, counts, strict=True)):
        if offset != at or count != row * min(per_strip, height - number * per_strip):
            return None
        at += count
    return int(offsets[0])
