"""One source image in, its images out: read, merge, crop, check the quality, encode.

Everything here is a function of one row, its files and `PixelSettings`: the result is the same in any process on any
machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import ConstantImageError, NotFiniteImageError
from ..formats.grey_png import encode_png
from ..formats.scale import Scale
from . import channels, crops, quality
from .channel_reader import Reader, Refused
from .digest import pixel_digest
from .normalise import add_normalised, normalise, to_grey8
from .quality import Levels, Verdict


@dataclass(frozen=True)
class PixelSettings:
    """The settings that pixels depend on.

    Parameters
    ----------
    seed : int
        Random seed of the crops.
    match_shapes : tuple of (height, width)
        Shapes of evaluation images in pixels. Channels of these shapes are also digested one by one, to be compared.
    procedure : int
        Version of what this module does to pixels; raised with every change that alters them.
    """

    seed: int = 0
    match_shapes: tuple[tuple[int, int], ...] = ()
    procedure: int = 1


class SourceImage(NamedTuple):
    """A source image, and the number of crops to cut from it.

    Parameters
    ----------
    idx : str
        Identifier of its row.
    channels : str
        Its files, as in the row: relative to RAW and joined by `|`.
    crops : int
        1 to 4.
    """

    idx: str
    channels: str
    crops: int


class Tried(NamedTuple):
    """An image that was tried: kept if `png` contains bytes, else rejected for the reason in `verdict`.

    `file` is the file at fault where there is one, `channel_digests` the digests requested by `match_shapes`.
    """

    box: crops.Box | None = None
    shape: tuple[int, int] = (0, 0)
    png: bytes = b""
    sha256: str = ""
    entropy: float = 0.0
    verdict: Verdict | None = None
    file: str = ""
    channel_digests: tuple[str, ...] = ()
    scale: Scale = Scale()


def images_of(source: SourceImage, reader: Reader, pixels: PixelSettings) -> Iterator[Tried]:
    """Compute the images of one source image.

    Parameters
    ----------
    source : SourceImage
    reader : Reader
        Reads channels below RAW.
    pixels : PixelSettings

    Yields
    ------
    Tried
        One for every crop; if no crop is kept, one more for the uncropped image. At least one.
    """
    try:
        merged, digests, scale = _merged(source, reader, pixels)
    except Refused as refused:
        yield Tried(verdict=refused.verdict, file=refused.file)
        return
    is_box = channels.parse(source.channels.split("|")[0]).box is not None
    boxes = [] if is_box else crops.crop_boxes(source.idx, pixels.seed, *merged.shape)[: source.crops]
    kept = False
    for box in boxes:
        tried = _crop(merged, box)._replace(channel_digests=digests, scale=scale)
        kept = kept or tried.verdict is None
        yield tried
    if not kept:
        yield _finished(to_grey8(merged))._replace(channel_digests=digests, scale=scale)


def _merged(
    source: SourceImage, reader: Reader, pixels: PixelSettings
) -> tuple[NDArray[np.float32], tuple[str, ...], Scale]:
    """Return the mean of the normalised channels, the digests of channels of a requested shape, and the scale.

    The scale is that of the first channel.

    The same as `normalise.merge_float`, but with one channel in memory at a time, and an error names the file.
    """
    files = source.channels.split("|")
    total: NDArray[np.float32] | None = None
    digests: list[str] = []
    scale: Scale | None = None
    for file in files:
        channel = reader.channel(file)
        scale = scale or reader.scale
        with _normalisable(channel, file):
            if channel.shape in pixels.match_shapes:
                digests.append(pixel_digest(to_grey8(normalise(channel))))
            if total is None:
                total = normalise(channel)
            elif total.shape == channel.shape:
                add_normalised(channel, total)
            else:
                normalise(channel)  # a channel that can't be normalised is rejected for that reason instead
                shapes = " and ".join(f"{width}x{height}" for height, width in (total.shape, channel.shape))
                raise Refused("unreadable", f"the channels of one field differ in size: {shapes}", file)
    assert total is not None and scale is not None
    return np.divide(total, len(files), out=total), tuple(digests), scale


@contextmanager
def _normalisable(channel: NDArray[Any], file: str) -> Iterator[None]:
    """Reject the source image of a channel that can't be normalised."""
    if channel.size == 0:
        raise Refused("empty", "no pixel", file)
    try:
        yield
    except ConstantImageError as error:
        if not channel.any():
            raise Refused("empty", "every pixel is 0", file) from error
        raise Refused("constant", error.what, file) from error
    except NotFiniteImageError as error:
        raise Refused("not_finite", error.what, file) from error


def _crop(merged: NDArray[np.float32], box: crops.Box) -> Tried:
    part = merged[box.y_min : box.y_max, box.x_min : box.x_max]
    verdict = quality.judge_crop(Levels(to_grey8(part)))
    if verdict is not None:
        return Tried(box, part.shape, verdict=verdict)
    try:
        return _finished(to_grey8(normalise(part)))._replace(box=box)
    except ConstantImageError as error:
        return Tried(box, part.shape, verdict=Verdict("constant", error.what))


def _finished(image: NDArray[np.uint8]) -> Tried:
    levels = Levels(image)
    verdict = quality.judge(levels)
    if verdict is not None:
        return Tried(shape=image.shape, verdict=verdict)
    return Tried(
        shape=image.shape,
        png=encode_png(image),
        sha256=pixel_digest(image),
        entropy=levels.entropy,
    )
