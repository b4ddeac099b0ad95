"""Scale images to squares of one size, as a network needs them. Needs Pillow only."""

from __future__ import annotations

import io

from PIL import Image

from ..errors import UsageError
from .read_images import decode

MAX_SIDE = 8_192  # pixels; that of the largest image of a dataset


def resize(image: Image.Image, size: int) -> Image.Image:
    """Scale an image to a square, whatever its proportions.

    Interpolation is bilinear (preprint, 3.1). Where the image shrinks, each new pixel is a weighted mean of all pixels
    that it covers, so that no pixel is skipped.

    Parameters
    ----------
    image : PIL.Image.Image
        8-bit grey.
    size : int
        Side in pixels.

    Examples
    --------
    >>> resize(Image.new("L", (60, 40), 7), 2).getpixel((0, 0))
    7
    """
    return image.resize((size, size), Image.Resampling.BILINEAR)


def resize_png(png: bytes, size: int, where: str) -> bytes:
    """Return the PNG of an image, scaled to a square.

    Parameters
    ----------
    png : bytes
    size : int
        Side in pixels.
    where : str
        Place of the image, for the error message.
    """
    file = io.BytesIO()
    resize(decode(png, where), size).save(file, "PNG", compress_level=1)
    return file.getvalue()


def check_size(size: int | None) -> None:
    """Raise `UsageError` if a size is not a number of pixels."""
    if size is not None and (isinstance(size, bool) or not isinstance(size, int) or not 1 <= size <= MAX_SIDE):
        raise UsageError(f"size can't be {size!r}", next=f"Give the side of the images in pixels, 1 to {MAX_SIDE:,}")
