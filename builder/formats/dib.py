"""Cellomics `.DIB` (BBBC017, ArrayScan): a bitmap header without a file header, then 16-bit pixels.

Four bytes 40, then width and height (32 bits each), planes and bits (16 bits each), compression (32 bits), all
little-endian; pixels start at byte 52, top row first, without padding (as Bio-Formats and CellProfiler read it). Pillow
takes the 16 bits for colours of 5 bits each and the start for byte 40, without an error.
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
    """Say whether a file's first bytes are a Cellomics header."""
    return head[:4] == b"\x28\x00\x00\x00" and len(head) >= PIXELS_START


def read(file: IO[bytes], page: int | None, limits: Limits) -> NDArray[Any]:
    """Read the plane; see `readers.read_channel`."""
    _, width, height, planes, bits, compression = _HEADER.unpack(file.read(_HEADER.size))
    limits.check(width, height)
    limits.choose(page, "C", (planes,))
    if bits != 16 or planes != 1 or compression != 0:
        raise limits.refuse(f"a DIB of {planes} planes, {bits} bits, compression {compression}; only 1, 16, 0 is known")
    return read_plain(file, PIXELS_START, (height, width), np.dtype("<u2"), limits)
