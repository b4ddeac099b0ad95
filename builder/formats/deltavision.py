"""DeltaVision `.dv` (idr0021, idr0067): an MRC-like file of planes, uncompressed.

The header has 1,024 bytes: columns, rows and number of planes (32 bits each, from byte 0), pixel type (byte 12), the
length of the extended header (byte 92), the mark -16224 (16 bits, byte 96), time points and the order of the planes
(byte 180 and 182) and wavelengths (byte 196). The byte order follows from the mark. Source: the header as Applied
Precision published it for IVE/Priism, and as Bio-Formats reads it.
"""

from __future__ import annotations

import struct
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from .limits import Limits, read_plain

HEADER_BYTES = 1024
MARK = -16224
_TYPES = {0: "u1", 1: "i2", 2: "f4", 6: "u2", 7: "i4"}  # 3 and 4 are complex
_ORDERS = {0: "WTZ", 1: "TZW", 2: "TWZ"}  # slowest axis first; the format names them fastest first: ZTW, WZT, ZWT


def is_deltavision(head: bytes) -> bool:
    """Return whether a file's first bytes are a DeltaVision header."""
    return _order(head) is not None


def read(file: IO[bytes], page: int | None, limits: Limits) -> NDArray[Any]:
    """Read one plane; see `read.read_channel`."""
    header = file.read(HEADER_BYTES)
    order = _order(header)
    assert order is not None
    if len(header) < HEADER_BYTES:
        raise limits.refuse("truncated in its header")
    width, height, planes, kind = struct.unpack_from(f"{order}4i", header, 0)
    extended = struct.unpack_from(f"{order}i", header, 92)[0]
    times, sequence = struct.unpack_from(f"{order}2h", header, 180)
    waves = struct.unpack_from(f"{order}h", header, 196)[0]
    limits.check(width, height)
    if kind not in _TYPES:
        raise limits.refuse(f"pixel type {kind} is not of an image")
    if planes < 1 or extended < 0:
        raise limits.refuse(f"the header says {planes} planes after {extended} bytes")
    chosen = limits.choose(page, *_axes(planes, waves, times, sequence))
    dtype = np.dtype(order + _TYPES[kind])
    start = HEADER_BYTES + extended + chosen * width * height * dtype.itemsize
    return read_plain(file, start, (height, width), dtype, limits)


def _order(head: bytes) -> str | None:
    """Return the byte order as `struct` writes it; None if this is not a DeltaVision header."""
    if len(head) < 98:
        return None
    return next((order for order in "<>" if struct.unpack_from(f"{order}h", head, 96)[0] == MARK), None)


def _axes(planes: int, waves: int, times: int, sequence: int) -> tuple[str, tuple[int, ...]]:
    """Return names and lengths of the axes of the planes, slowest first; one axis `I` if the header is inconsistent."""
    waves, times = max(waves, 1), max(times, 1)
    depth, rest = divmod(planes, waves * times)
    if rest or sequence not in _ORDERS:
        return "I", (planes,)
    lengths = {"W": waves, "T": times, "Z": depth}
    return _ORDERS[sequence], tuple(lengths[axis] for axis in _ORDERS[sequence])
