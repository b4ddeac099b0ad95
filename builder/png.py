"""The dataset's own image format: 8-bit grey PNG, written one way and read back exactly.

libpng through OpenCV, with run-length matching and the three cheap row filters, is nine times as fast as Pillow's
default at the same file size (benchmarks/pixels.py).
"""

from __future__ import annotations

from os import PathLike

import numpy as np
from numpy.typing import NDArray

from .errors import TooLargeError, UnreadableImageError

MAX_PIXELS = 2**26
"""The most pixels an image of the dataset may have: 8,192 x 8,192."""

SIGNATURE = b"\x89PNG\r\n\x1a\n"


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

    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
    if image is None:
        raise UnreadableImageError(where, "corrupt PNG data")
    return np.asarray(image, np.uint8)
