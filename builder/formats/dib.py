"""Cellomics `.DIB` (BBBC017, ArrayScan): a bitmap header without a file header, then 16-bit pixels.

The number 40 in four bytes, then width and height (32 bits each), planes and bits (16 bits each), compression (32
bits), all little-endian. Pixels start at byte 52, top row first, without padding, as Bio-Formats and CellProfiler read
them. Pillow reads such a file without an error but wrongly: as colours of 5 bits each, from byte 40.
"""

from __future__ import annotations

import struct
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from .limits import Limits, read_plain

PIXELS_START = 52
_HEADER = struct.Struct("<IIIHHI")


def is_dib(head: bytes) -> bool:
    """Return whether a file's first bytes are a Cellomics header."""
    return head[:4] == b"\x28\x00\x00\x00" and len(head) >= PIXELS_START


def read(file: IO[bytes], page: int | None, limits: Limits) -> NDArray[Any]:
    """Read the plane; see `read.read_channel`."""
    _, width, height, planes, bits, compression = _HEADER.unpack(file.read(_HEADER.size))
    limits.check(width, height)
    limits.choose(page, "C", (planes,))
    if bits != 16 or planes != 1 or compression != 0:
        raise limits.refuse(f"a DIB of {planes} planes, {bits} bits, compression {compression}; only 1, 16, 0 is known")
    return read_plain(file, PIXELS_START, (height, width), np.dtype("<u2"), limits)
