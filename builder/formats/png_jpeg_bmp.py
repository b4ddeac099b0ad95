"""PNG, JPEG and BMP, read with Pillow; each file is opened with the decoder of its own format only."""

from __future__ import annotations

import logging
import warnings
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import TooLargeError, UnreadableImageError
from .colours import mean_of_colours, through_palette
from .limits import Limits, check_jpeg, png_chunks, read_bounded

logging.getLogger("imagecodecs").addHandler(logging.NullHandler())  # files it warns about are refused or harmless

_PLAIN_CHUNKS = {b"IHDR", b"IDAT", b"IEND"}


def read_png(file: IO[bytes], page: int | None, limits: Limits) -> NDArray[Any]:
    """Read a PNG; see `read.read_channel`. Colour and alpha of 16 bits are not reduced to 8."""
    head = file.read(29)
    file.seek(0)
    if len(head) < 29 or head[12:16] != b"IHDR":
        raise limits.refuse("a PNG without a header")
    limits.check(int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big"))
    depth, colour = head[24], head[25]
    if depth == 16 and colour != 0:  # Pillow would reduce these to 8 bits
        import imagecodecs

        limits.choose(page, "I", (1,))
        data = read_bounded(file, limits)
        png_chunks(data, limits)
        return _plane_of_samples(imagecodecs.png_decode(data))
    plain = _plain_png(file, limits) if (depth, colour, head[28]) == (8, 0, 0) else None
    if plain is not None:
        limits.choose(page, "T", (1,))
        return plain
    return _with_pillow(file, "PNG", page, limits)


def _plain_png(file: IO[bytes], limits: Limits) -> NDArray[Any] | None:
    """Read an 8-bit grey PNG that has only its pixels, with libpng in one step; None if Pillow must read it."""
    import imagecodecs

    data = read_bounded(file, limits)
    file.seek(0)
    try:
        chunks = png_chunks(data, limits)
    except UnreadableImageError:
        return None  # Pillow reports the problem
    # sizes, texts, transparency, further frames, or damage
    if {kind for kind, _, _ in chunks} != _PLAIN_CHUNKS or chunks[-1][2] + 4 != len(data):
        return None
    try:
        return np.asarray(imagecodecs.png_decode(data))
    except imagecodecs.PngError:
        return None  # Pillow reports the problem, or reads the file nevertheless


def read_jpeg(file: IO[bytes], page: int | None, limits: Limits) -> NDArray[Any]:
    """Read a JPEG; see `read.read_channel`."""
    return _with_pillow(file, "JPEG", page, limits)


def read_bmp(file: IO[bytes], page: int | None, limits: Limits) -> NDArray[Any]:
    """Read a BMP; see `read.read_channel`."""
    return _with_pillow(file, "BMP", page, limits)


def _with_pillow(file: IO[bytes], kind: str, page: int | None, limits: Limits) -> NDArray[Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns about large sizes; the check below refuses them
        try:
            image = Image.open(file, formats=(kind,))
        except Image.DecompressionBombError as error:
            raise TooLargeError(limits.where, str(error)) from error
        with image:
            limits.check(*image.size)
            if kind == "JPEG":
                file.seek(0)
                check_jpeg(read_bounded(file, limits), limits)
            image.seek(limits.choose(page, "T", (getattr(image, "n_frames", 1),)))
            return _plane_of_pillow(image, limits)


def _plane_of_pillow(image: Image.Image, limits: Limits) -> NDArray[Any]:
    if image.mode in ("P", "PA"):
        codes = np.asarray(image) if image.mode == "P" else np.asarray(image)[..., 0]
        palette = np.asarray(image.getpalette("RGB") or [0, 0, 0], np.uint8).reshape(-1, 3)
        return through_palette(codes, palette)
    if image.mode in ("1", "L", "LA", "I;16", "I;16B", "I", "F", "RGB", "RGBA"):
        return _plane_of_samples(np.asarray(image))
    raise limits.refuse(f"{image.mode} is not a colour space of a microscope image")


def _plane_of_samples(samples: NDArray[Any]) -> NDArray[Any]:
    if samples.dtype == np.bool_:
        samples = samples.astype(np.uint8)  # not a view: in memory Pillow's true is 255
    if samples.ndim == 2:
        return samples
    return samples[..., 0] if samples.shape[-1] <= 2 else mean_of_colours(samples)
