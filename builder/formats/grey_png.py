"""The dataset's own image format: 8-bit grey PNG, written one way and read back exactly.

libpng through OpenCV, with run-length matching and the three cheap row filters, is nine times as fast as Pillow's
default at the same file size (benchmarks/pixels.py). Reading, libdeflate inflates and libpng does the rest.
"""

from __future__ import annotations

import struct
import zlib
from os import PathLike

import numpy as np
from numpy.typing import NDArray

from ..errors import TooLargeError, UnreadableImageError

MAX_PIXELS = 2**26
"""The most pixels an image of the dataset may have: 8,192 x 8,192."""

SIGNATURE = b"\x89PNG\r\n\x1a\n"
OURS = bytes((8, 0, 0, 0, 0))  # what IHDR ends with: 8 bits, grey, deflate, the usual filters, not interlaced
END = b"\0\0\0\0IEND\xaeB`\x82"
WORTH = 8192  # bytes of a file from which on it pays to inflate apart, if they are also an eighth of the pixels
STORED = 65535  # the most bytes of a deflate block that is not compressed


def encode_png(image: NDArray[np.uint8]) -> bytes:
    """Encode an image, always with the same settings: equal pixels give equal bytes.

    Parameters
    ----------
    image : array, shape (height, width), uint8

    Returns
    -------
    bytes
        A PNG of colour type grey, 8 bits.
    """
    import cv2

    if image.dtype != np.uint8 or image.ndim != 2 or image.size == 0:
        raise ValueError(f"not an 8-bit grey image: {image.dtype} of shape {image.shape}")
    # Huffman coding alone is faster still, but spends a bit on every pixel of a flat background
    settings = (
        *(cv2.IMWRITE_PNG_COMPRESSION, 1),
        *(cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE),
        *(cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FAST_FILTERS),
    )
    done, data = cv2.imencode(".png", np.ascontiguousarray(image), settings)
    assert done, "OpenCV encodes every 8-bit image"
    return data.tobytes()


def decode_png(data: bytes | memoryview, where: str | PathLike[str] = "PNG") -> NDArray[np.uint8]:
    """Decode an image of the dataset.

    Parameters
    ----------
    data : bytes or memoryview
        A PNG. What is not 8-bit grey (a published file may be RGB) is brought to it.
    where : str or path
        Named in the error.

    Returns
    -------
    array, shape (height, width), uint8

    Raises
    ------
    UnreadableImageError
        If these are not the bytes of a whole PNG; `TooLargeError` if it has more than `MAX_PIXELS`, said by its
        header, before anything is decompressed.
    """
    if len(data) < 33 or data[:8] != SIGNATURE or data[12:16] != b"IHDR":
        raise UnreadableImageError(where, "not a PNG")
    width, height = int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    if width * height > MAX_PIXELS:
        raise TooLargeError(where, f"{width} x {height} pixels, at most {MAX_PIXELS:,} allowed")
    import cv2

    image = cv2.imdecode(np.frombuffer(_inflated(data, width, height), np.uint8), cv2.IMREAD_GRAYSCALE)
    if image is None:
        raise UnreadableImageError(where, "corrupt PNG data")
    return np.asarray(image, np.uint8)


def _inflated(data: bytes | memoryview, width: int, height: int) -> bytes | memoryview:
    """Replace the compressed pixels of a PNG by the same bytes uncompressed, so that libpng need only undo the filters.

    libpng has zlib inflate row by row; libdeflate inflates all rows at once, in half of the time. A file that is not a
    sound one of the kind that `encode_png` writes is returned as it is: libpng judges it.
    """
    import imagecodecs

    if data[24:29] != OURS or len(data) < max(WORTH, width * height // 8):
        return data
    deflated = _deflated(memoryview(data))
    if deflated is None:
        return data
    size = height * (width + 1)  # a byte before each row names its filter
    try:
        rows = memoryview(imagecodecs.deflate_decode(deflated, out=size))
    except imagecodecs.DeflateError:
        return data
    if len(rows) != size:
        return data
    pieces: list[bytes | memoryview] = [b"IDAT\x78\x01"]
    for at in range(0, size, STORED):
        block = rows[at : at + STORED]
        pieces += (struct.pack("<?HH", at + STORED >= size, len(block), len(block) ^ 0xFFFF), block)
    pieces.append(zlib.adler32(rows).to_bytes(4, "big"))
    body = b"".join(pieces)
    return b"".join((data[:33], struct.pack(">I", len(body) - 4), body, struct.pack(">I", zlib.crc32(body)), END))


def _deflated(view: memoryview) -> bytes | None:
    """Join the compressed parts of a PNG of IHDR, IDAT and IEND alone, all with their checksums; None for another."""
    kinds: list[bytes] = []
    parts: list[memoryview] = []
    start = 8
    while start + 12 <= len(view) and kinds[-1:] != [b"IEND"]:
        length, kind = struct.unpack_from(">I4s", view, start)
        stop = start + 8 + length
        if zlib.crc32(view[start + 4 : stop]) != int.from_bytes(view[stop : stop + 4], "big"):
            return None
        kinds.append(kind)
        parts.append(view[start + 8 : stop])
        start = stop + 4
    if kinds[:1] != [b"IHDR"] or kinds[-1] != b"IEND" or set(kinds[1:-1]) != {b"IDAT"}:
        return None
    return b"".join(parts[1:-1])


PNG_START = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"


EIGHT_BIT_GREY = b"\x08\x00"


def is_grey_png(png: bytes, width: int, height: int) -> bool:
    """Say whether bytes begin as an 8-bit grey PNG of this size; nothing is decompressed."""
    size = (int.from_bytes(png[16:20], "big"), int.from_bytes(png[20:24], "big"))
    return png.startswith(PNG_START) and png[24:26] == EIGHT_BIT_GREY and size == (width, height)
