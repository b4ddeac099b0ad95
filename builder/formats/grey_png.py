"""The image format of the dataset: 8-bit grey PNG, always written with the same settings.

Writing: libpng through OpenCV, with run-length matching and the three fast row filters, is nine times as fast as
Pillow's default at the same file size (benchmarks/pixels.py). Reading: libdeflate decompresses, libpng does the rest.
"""

from __future__ import annotations

import functools
import struct
from os import PathLike

import numpy as np
from numpy.typing import NDArray

from ..errors import UnreadableImageError
from .checksums import adler32, crc32
from .limits import Limits, png_chunks

SIGNATURE = b"\x89PNG\r\n\x1a\n"
START = SIGNATURE + b"\x00\x00\x00\rIHDR"
END = b"\0\0\0\0IEND\xaeB`\x82"
GREY_HEADER_END = bytes((8, 0, 0, 0, 0))  # last bytes of IHDR: 8 bits, grey, deflate, the usual filters, not interlaced
MIN_BYTES_TO_INFLATE = 8192
"""Smallest PNG, in bytes, whose pixels libdeflate decompresses before libpng sees them.

It must also have an eighth of the bytes of the raw pixels. For smaller files the preparation costs more than it saves.
"""
CHUNKS_WITHOUT_PIXELS = (b"bKGD", b"cHRM", b"gAMA", b"iCCP", b"iTXt", b"pHYs", b"sRGB", b"tEXt", b"tIME", b"zTXt")
"""Chunks that do not change the grey values that OpenCV reads."""

MAX_STORED_BLOCK_BYTES = 65_535  # of a deflate block without compression
_ANIMATION = {b"acTL", b"fcTL", b"fdAT"}


def encode_png(image: NDArray[np.uint8]) -> bytes:
    """Encode an image as 8-bit grey PNG; equal pixels give equal bytes.

    Parameters
    ----------
    image : array, shape (height, width), uint8

    Raises
    ------
    ValueError
        If the array has another type or shape, or no pixel.
    """
    import cv2

    if image.dtype != np.uint8 or image.ndim != 2 or image.size == 0:
        raise ValueError(f"not an 8-bit grey image: {image.dtype} of shape {image.shape}")
    # Huffman coding alone is even faster, but needs one bit for every pixel of a flat background
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
        A PNG. Pixels that are not 8-bit grey (a published file may be RGB) are converted.
    where : str or path
        Named in errors.

    Returns
    -------
    array, shape (height, width), uint8

    Raises
    ------
    UnreadableImageError
        If these are not the bytes of a complete PNG, or it is animated: OpenCV would return another frame than others.
    TooLargeError
        If its header gives more than `MAX_PIXELS` pixels; nothing was decompressed.

    Examples
    --------
    >>> decode_png(encode_png(np.array([[0, 255]], np.uint8))).tolist()
    [[0, 255]]
    """
    if len(data) < 33 or data[:8] != SIGNATURE or data[12:16] != b"IHDR":
        raise UnreadableImageError(where, "not a PNG")
    width, height = int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    limits = Limits(str(where))
    limits.check(width, height)
    chunks = png_chunks(data, limits)
    if not _ANIMATION.isdisjoint(kind for kind, _, _ in chunks):
        raise UnreadableImageError(where, "an animated PNG")
    import cv2

    _silence_opencv()
    checked = _with_inflated_pixels(data, chunks, width, height)
    if checked is data:
        checked = _checked(memoryview(data), where)
    image = cv2.imdecode(np.frombuffer(checked, np.uint8), cv2.IMREAD_GRAYSCALE)
    if image is None:
        raise UnreadableImageError(where, "corrupt PNG data")
    return np.asarray(image, np.uint8)


def _with_inflated_pixels(
    data: bytes | memoryview, chunks: list[tuple[bytes, int, int]], width: int, height: int
) -> bytes | memoryview:
    """Return the same PNG with its pixels stored uncompressed, so that libpng only has to undo the row filters.

    libpng uses zlib, which decompresses row by row; libdeflate decompresses all rows at once, in half of the time. A
    file that is damaged, or not of the kind that `encode_png` writes, is returned unchanged for libpng to judge.
    """
    import imagecodecs

    if data[24:29] != GREY_HEADER_END or len(data) < max(MIN_BYTES_TO_INFLATE, width * height // 8):
        return data
    deflated = _deflated_pixels(memoryview(data), chunks)
    if deflated is None:
        return data
    size = height * (width + 1)  # one byte before each row gives its filter
    try:
        rows = memoryview(imagecodecs.deflate_decode(deflated, out=size))
    except imagecodecs.DeflateError:
        return data
    if len(rows) != size:
        return data
    pieces: list[bytes | memoryview] = [b"IDAT\x78\x01"]
    for at in range(0, size, MAX_STORED_BLOCK_BYTES):
        block = rows[at : at + MAX_STORED_BLOCK_BYTES]
        is_last = at + MAX_STORED_BLOCK_BYTES >= size
        pieces += (struct.pack("<?HH", is_last, len(block), len(block) ^ 0xFFFF), block)
    pieces.append(adler32(rows).to_bytes(4, "big"))
    body = b"".join(pieces)
    return b"".join((data[:33], struct.pack(">I", len(body) - 4), body, struct.pack(">I", crc32(body)), END))


@functools.cache
def _silence_opencv() -> None:
    """Keep OpenCV's own warnings off the screen: each failure is an error of ours."""
    import cv2

    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


def _checked(view: memoryview, where: str | PathLike[str]) -> bytes:
    """Return a PNG without the chunks about which libpng prints warnings, or raise an error if it is damaged.

    libpng prints its warnings and errors to the screen from C, where Python can't catch them. What libpng reads with a
    warning, such as a file with a wrong checksum in a chunk without pixels, is still read.
    """
    pieces: list[bytes | memoryview] = [view[:8]]
    start, kind = 8, b""
    while start + 12 <= len(view) and kind != b"IEND":
        length, kind = struct.unpack_from(">I4s", view, start)
        stop = start + 12 + length
        right = stop <= len(view) and crc32(view[start + 4 : stop - 4]) == int.from_bytes(view[stop - 4 : stop])
        critical = kind[:1].isupper()
        if stop > len(view) or (critical and not right and kind != b"IEND"):
            raise UnreadableImageError(where, "corrupt PNG data")
        if kind == b"IEND":
            pieces.append(END)
        elif right and kind not in CHUNKS_WITHOUT_PIXELS:
            pieces.append(view[start:stop])
        start = stop
    if kind != b"IEND":
        raise UnreadableImageError(where, "corrupt PNG data")
    return b"".join(pieces)


def _deflated_pixels(view: memoryview, chunks: list[tuple[bytes, int, int]]) -> bytes | None:
    """Return the compressed pixels of a PNG that has only IHDR, IDAT and IEND, with right checksums; otherwise None."""
    kinds = [kind for kind, _, _ in chunks]
    if kinds[:1] != [b"IHDR"] or kinds[-1] != b"IEND" or set(kinds[1:-1]) != {b"IDAT"}:
        return None
    if any(crc32(view[start - 4 : stop]) != int.from_bytes(view[stop : stop + 4], "big") for _, start, stop in chunks):
        return None
    return b"".join([view[start:stop] for _, start, stop in chunks[1:-1]])


def is_grey_png(png: bytes, width: int, height: int) -> bool:
    """Return whether bytes begin as an 8-bit grey PNG of this width and height; nothing is decompressed.

    Examples
    --------
    >>> is_grey_png(encode_png(np.zeros((5, 9), np.uint8)), width=9, height=5)
    True
    """
    size = (int.from_bytes(png[16:20], "big"), int.from_bytes(png[20:24], "big"))
    return png.startswith(START) and png[24:26] == GREY_HEADER_END[:2] and size == (width, height)
